package extract_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/testsize"
)

// A record with a text too long to be repeated in all its events costs itself: the reason names the field, its length and the limit.
func TestLongTextsThatEventsRepeat(t *testing.T) {
	fits, long := strings.Repeat("L", bound.ID), strings.Repeat("L", 400_000)
	conversation := func(members string) string {
		return `{"_id":"i-1","convId":"c-1","startTime":"2026-02-25T09:00:00Z",` + members + `}`
	}
	session := func(members string) string {
		return `{"sessionId":"s-1","conversationId":"c-1","sessionStartTime":"2026-02-25T09:00:00Z",` + members + `}`
	}
	for _, c := range []struct {
		endpoint events.Endpoint
		name     string
		record   string // %s is the text
	}{
		{events.Interactions, "conversationID", segmentWith(`"conversationID":"%s"`)},
		{events.Interactions, "botSessionID", segmentWith(`"botSessionID":"%s"`)},
		{events.Interactions, "segmentID", segmentWith(`"segmentID":"%s"`)},
		{events.Interactions, "channel", segmentWith(`"channel":"%s"`)},
		{events.Interactions, "agent.agentId", segmentWith(`"agent":{"agentId":"%s"}`)},
		{events.Interactions, "agent.email", segmentWith(`"agent":{"agentId":"u","email":"%s"}`)},
		{events.Interactions, "queueInfo.queueName", segmentWith(`"queueInfo":{"queueName":"%s"}`)},
		{events.Conversations, "_id", conversation(`"_id":"%s"`)},
		{events.Conversations, "convId", conversation(`"convId":"%s"`)},
		{events.Conversations, "mbUserId", conversation(`"mbUserId":"%s"`)},
		{events.Conversations, "agenticSearchSessionIds", conversation(`"agenticSearchSessionIds":["a","%s"]`)},
		{events.InteractionDetails, "conversationId", session(`"conversationId":"%s"`)},
		{events.InteractionDetails, "sessionId", session(`"sessionId":"%s"`)},
		{events.CallDetails, "botId", session(`"botId":"%s"`)},
		{events.CallDetails, "channel", session(`"channel":"%s"`)},
	} {
		t.Run(string(c.endpoint)+" "+c.name, func(t *testing.T) {
			good := fmt.Sprintf(c.record, fits)
			body := `{"data":[` + good + `,` + fmt.Sprintf(c.record, long) + `,` + good + `]}`
			page := decode(t, c.endpoint, body)
			require.Len(t, page.Rows, 2)
			require.Len(t, page.Dead, 1)
			require.Equal(t, "map", page.Dead[0].Stage)
			require.Contains(t, page.Dead[0].Reason, c.name+" has 4000")
			require.Regexp(t, `^\S+ has \d+ bytes; want at most \d+$`, page.Dead[0].Reason)
		})
	}
}

// What is made of a body is bounded, whatever the body holds.
func TestHostileBodies(t *testing.T) {
	testsize.Slow(t)
	many := func(n int, element string) string { return strings.TrimSuffix(strings.Repeat(element+",", n), ",") }
	const size = 16 << 20
	for name, c := range map[string]struct {
		record, reason string
	}{
		"nested arrays":         {segmentWith(`"new":` + strings.Repeat("[", size/2) + strings.Repeat("]", size/2)), "nests too deep"},
		"nested objects":        {segmentWith(`"metaInfo":` + strings.Repeat(`{"a":`, size/6) + "1" + strings.Repeat("}", size/6)), "nests too deep"},
		"nested in a known":     {segmentWith(`"agentActions":` + strings.Repeat("[", size/2) + strings.Repeat("]", size/2)), "nests too deep"},
		"elements":              {segmentWith(`"agentActions":[` + many(size/8, `{"a":1}`) + `]`), "more than 20000 elements"},
		"elements in elements":  {segmentWith(`"agentActions":[` + many(200, `{"used":[`+many(200, `{"a":1}`)+`]}`) + `]`), "more than 20000 elements"},
		"elements that are not": {segmentWith(`"tags":[` + many(size/2, `1`) + `]`), "more than 20000 elements"},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(`{"data":[` + segmentWith("") + `,` + c.record + `,` + segmentWith("") + `]}`)
			var page *extract.Page
			took := allocated(func() {
				var err error
				page, err = extract.Decode(scope(events.Interactions), body)
				require.NoError(t, err)
			})
			require.Len(t, page.Rows, 2)
			require.Len(t, page.Dead, 1)
			require.Contains(t, page.Dead[0].Reason, c.reason)
			require.Less(t, took, uint64(len(body)+(32<<20)), "one copy, and what elements are made into")
		})
	}
	for name, c := range map[string]struct{ body, reason string }{
		"nested beside records": {`{"new":` + strings.Repeat("[", size) + `,"data":[]}`, "nests too deep"},
		"records":               {`{"data":[` + many(size/2, "1") + `]}`, "more than 1000 records"},
		"elements of a page": {
			`{"data":[` + many(100, segmentWith(`"tags":[`+many(1000, `{"name":"a"}`)+`]`)) + `]}`, "more than 50000 elements",
		},
		"names": {`{` + many(size/8, `"a1":1`) + `}`, "neither data nor results"},
	} {
		t.Run(name, func(t *testing.T) {
			took := allocated(func() {
				_, err := extract.Decode(scope(events.Interactions), []byte(c.body))
				require.ErrorContains(t, err, c.reason)
			})
			require.Less(t, took, uint64(len(c.body)+(64<<20)))
		})
	}
}

// allocated returns how many bytes f takes, garbage included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
