package events_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

func TestNewer(t *testing.T) {
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	later := at.Add(time.Second)
	for name, c := range map[string]struct{ newer, older events.Event }{
		"has ended":     {&events.Segment{SegmentStartTime: &at, SegmentEndTime: &later}, &events.Segment{SegmentStartTime: &at, CountScrollUp: new(int64(9))}},
		"counted on":    {&events.Segment{SegmentEndTime: &at, CountScrollUp: new(int64(2))}, &events.Segment{SegmentEndTime: &at, CountScrollUp: new(int64(1))}},
		"lists more":    {&events.Segment{Tags: []events.SegmentTag{{}, {}}}, &events.Segment{Tags: []events.SegmentTag{{Name: new("a")}}}},
		"came true":     {&events.CoachingTriggered{IsAdhered: new(true)}, &events.CoachingTriggered{IsAdhered: new(false)}},
		"negative":      {&events.Feedback{Sentiment: events.SentimentNegative, Response: new("down")}, &events.Feedback{Sentiment: events.SentimentPositive, Response: new("up")}},
		"larger bytes":  {&events.Message{Lang: new("b")}, &events.Message{Lang: new("a")}},
		"a total":       {&events.PlaybookStep{TotalStages: map[string]int64{"a": 2}}, &events.PlaybookStep{TotalStages: map[string]int64{"a": 1}}},
		"a huge number": {&events.Segment{CountScrollUp: new(int64(1 << 62)), CountScrollDn: new(int64(1 << 62))}, &events.Segment{}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Positive(t, events.Newer(c.newer, c.older))
			require.Negative(t, events.Newer(c.older, c.newer))
			require.Zero(t, events.Newer(c.older, c.older))
		})
	}
	one, other := &events.Message{}, &events.Message{}
	one.SegmentID = new("ac-1")
	require.Positive(t, events.Newer(one, other), "what is no content decides last")
	require.Negative(t, events.Newer(other, one))
}
