package events_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
)

func TestEveryEndpointIsKnown(t *testing.T) {
	require.Len(t, events.Endpoints(), events.EndpointCount)
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"the table of endpoints": func(e events.Endpoint) error {
			s := e.Spec()
			require.Equal(t, e, events.Endpoints()[e.Index()])
			peer := s.Peer.Spec()
			return eventstest.Want(s.Row != "" && peer.Peer == e && peer.Row != "" && len(s.Feeds) > 0 && s.Timeout > 0 && s.Latency > 0 &&
				s.Scope != "" && s.Takes.Range > 0 && s.Takes.Limit > 0, "something of it is missing")
		},
		"the documentation of the field endpoint in schemas": func(e events.Endpoint) error {
			for _, typ := range append(events.Types(), events.TypeWatermark, events.TypeDeadLetter) {
				if doc := fieldDoc(t, typ, "endpoint"); !strings.Contains(doc, string(e)) {
					return fmt.Errorf("%s.avsc says %q", typ, doc)
				}
			}
			return nil
		},
	})
}

func fieldDoc(t *testing.T, typ events.Type, name string) string {
	var schema struct {
		Fields []struct{ Name, Doc string }
	}
	require.NoError(t, json.Unmarshal([]byte(events.Schema(typ)), &schema))
	for _, f := range schema.Fields {
		if f.Name == name {
			return f.Doc
		}
	}
	return ""
}

func TestEveryTypeIsKnown(t *testing.T) {
	eventstest.Types(t, map[string]func(typ events.Type) error{
		"the table of types": func(typ events.Type) error {
			return eventstest.Want(slices.Contains(events.Types(), typ), "it has no line")
		},
		"the table of endpoints": func(typ events.Type) error {
			return eventstest.Want(len(typ.Endpoints()) > 0, "no endpoint feeds it: no watermark would wait for its topic")
		},
		"New": func(typ events.Type) error {
			e := events.New(typ)
			return eventstest.Want(e != nil && e.EventType() == typ, "it makes no such event")
		},
		"schemas": func(typ events.Type) error { return eventstest.Want(events.Schema(typ) != "", "there is no such file") },
	})
	for _, e := range events.Endpoints() {
		for _, typ := range e.Spec().Feeds {
			require.Contains(t, events.Types(), typ, "%s feeds it", e)
		}
	}
	require.False(t, events.TypeMessage.OnByDefault())
	require.True(t, events.TypeFeedback.OnByDefault())
}

func TestTakes(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		return v
	}
	seconds, days := events.Interactions.Spec().Takes, events.Conversations.Spec().Takes
	from, to := seconds.Widen(at("2026-03-01T23:59:59.5+01:00"), at("2026-03-02T00:00:00.001Z"))
	require.Equal(t, at("2026-03-01T22:59:59Z"), from)
	require.Equal(t, at("2026-03-02T00:00:01Z"), to)
	from, to = days.Widen(at("2026-03-01T23:59:59Z"), at("2026-03-03T00:00:00Z"))
	require.Equal(t, at("2026-03-01T00:00:00Z"), from)
	require.Equal(t, at("2026-03-03T00:00:00Z"), to)

	start := at("2026-03-01T12:00:00Z")
	for name, tc := range map[string]struct {
		takes events.Takes
		end   time.Duration
		ok    bool
	}{
		"a moment":                        {seconds, 0, true},
		"backwards":                       {seconds, -1, false},
		"seven days less a second":        {seconds, 7*24*time.Hour - time.Second, true},
		"a part of a second more":         {seconds, 7*24*time.Hour - time.Second + 1, false},
		"seven days":                      {seconds, 7 * 24 * time.Hour, false},
		"seven calendar days":             {days, 6*24*time.Hour + 11*time.Hour, true},
		"six and a half that touch eight": {days, 6*24*time.Hour + 12*time.Hour, false},
		"seven days, by the calendar":     {days, 7 * 24 * time.Hour, false},
		"a year":                          {seconds, 365 * 24 * time.Hour, false},
		"calendar days, one and a half":   {days, 36 * time.Hour, true},
		"calendar days, nothing between":  {days, 0, true},
	} {
		require.Equal(t, tc.ok, tc.takes.CheckRange(start, start.Add(tc.end)) == nil, name)
	}
	require.Error(t, seconds.CheckRange(time.Time{}, start))
}
