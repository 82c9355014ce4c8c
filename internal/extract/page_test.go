package extract_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/payload"
)

func TestPageErrors(t *testing.T) {
	whole := readPage(t, "raw-data-v2")
	for name, c := range map[string]struct {
		body  string
		fault payload.Fault
		says  string
	}{
		"empty":               {"", payload.Truncated, "empty"},
		"blank":               {" \r\n", payload.Truncated, "empty"},
		"half":                {whole[:len(whole)/2], payload.Truncated, "ends in the middle"},
		"half a record":       {`{"data":[{"segmentID":"ac-1","agent":{"agentId":"a`, payload.Truncated, "ends in the middle"},
		"cut at a record":     {`{"data":[{"segmentID":"ac-1"}`, payload.Truncated, "ends in the middle"},
		"cut at the end":      {strings.TrimRight(whole, "}\n "), payload.Truncated, "ends in the middle"},
		"proxy":               {"<html><head><title>502 Bad Gateway</title></head></html>", payload.HTML, "502 Bad Gateway"},
		"text":                {"upstream connect error", payload.NotJSON, "upstream connect error"},
		"compressed":          {"\x1f\x8b\x08\x00", payload.NotJSON, "not JSON"},
		"broken envelope":     {`{"data":[],,}`, payload.NotJSON, "not JSON"},
		"two responses":       {`{"data":[]}{"data":[]}`, payload.NotJSON, "something follows"},
		"refused":             {`{"errors":[{"msg":"error verifying the jwt: possibly a replay","code":401}]}`, payload.Refused, "(code 401): error verifying the jwt: possibly a replay"},
		"refused beside data": {`{"data":[],"errors":[{"msg":"partial","code":"4002"}]}`, payload.Refused, "(code 4002): partial"},
		"refused beside null": {`{"data":null,"errors":["no"]}`, payload.Refused, "no"},
		"encrypted":           {`{"encryptedPayload":"9a8b","encryptedKey":"c2Vj","metaData":{"alg":"AES"}}`, payload.Encrypted, "Enforce Request and Response Payload Encryption"},
		"bare array":          {`[{"segmentID":"ac-1"}]`, payload.Shape, "an array"},
		"other object":        {`{"hello":1}`, payload.Shape, "neither data nor results"},
		"data of wrong type":  {`{"data":"none"}`, payload.Shape, "neither data nor results"},
		"records missing":     {`{"numResults":3,"data":null}`, payload.Shape, "it announces 3"},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := extract.Decode(scope(events.Interactions), []byte(c.body))
			require.Nil(t, page)
			var fault *extract.PageError
			require.ErrorAs(t, err, &fault)
			require.Equal(t, c.fault, fault.Fault, err.Error())
			require.Contains(t, err.Error(), c.says)
			require.Equal(t, c.fault.Class(), fault.Class)
			require.Equal(t, c.fault.Hint(), fault.Hint)
			require.True(t, strings.HasSuffix(err.Error(), fault.Hint))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestEnvelope(t *testing.T) {
	yes := true
	for name, c := range map[string]struct {
		body string
		want extract.Page
	}{
		"empty":           {`{"numResults":0,"hasMore":false,"data":[]}`, extract.Page{NumResults: 0, Total: -1, TotalPages: -1, HasMore: new(bool)}},
		"null":            {`{"data":null}`, extract.Page{NumResults: -1, Total: -1, TotalPages: -1}},
		"counts as text":  {`{"results":[],"totalPages":"3","totalResults":"41","hasMore":"true","skip":0,"limit":20}`, extract.Page{NumResults: -1, Total: 41, TotalPages: 3, HasMore: &yes}},
		"counts at end":   {`{"data":[],"numResults":7}`, extract.Page{NumResults: 7, Total: -1, TotalPages: -1}},
		"no errors":       {`{"errors":[],"data":[]}`, extract.Page{NumResults: -1, Total: -1, TotalPages: -1}},
		"byte order mark": {"\ufeff" + `{"data":[]}`, extract.Page{NumResults: -1, Total: -1, TotalPages: -1}},
		"new member":      {`{"data":[],"cursor":"x"}`, extract.Page{NumResults: -1, Total: -1, TotalPages: -1, Drift: map[string]int64{"cursor": 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, &c.want, decode(t, events.Interactions, c.body))
		})
	}
	require.Len(t, decode(t, events.Interactions, `{"data":`+segmentWith("")+`}`).Rows, 1, "one record without its array")
}

// segmentWith is a segment with more members.
func segmentWith(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"segmentID":"ac-1","conversationID":"c-1","segmentStartTime":"2026-02-25T09:00:00Z"` + members + `}`
}

// A record that cannot be read is kept whole and costs nothing but itself.
func TestDeadRecords(t *testing.T) {
	good := func(id string) string {
		return `{"segmentID":"` + id + `","segmentStartTime":"2026-02-25T09:00:00Z","tags":[{"name":"a"}]}`
	}
	for name, c := range map[string]struct {
		record, reason, stage string
		ids                   extract.Dead
	}{
		"a string":           {`"ac-2"`, "a string, not an object", "decode", extract.Dead{}},
		"a number":           {`42`, "a number, not an object", "decode", extract.Dead{}},
		"an array":           {`[{"segmentID":"ac-2"}]`, "an array, not an object", "decode", extract.Dead{}},
		"no identity":        {`{"conversationID":"c-2","botSessionID":"s-2","segmentStartTime":"2026-02-25T09:00:00Z"}`, "segmentID is missing", "map", extract.Dead{ConversationID: "c-2", SessionID: "s-2"}},
		"null identity":      {`{"conversationID":"c-2","segmentID":null}`, "segmentID is missing", "map", extract.Dead{ConversationID: "c-2"}},
		"no time":            {`{"segmentID":"ac-2","segmentStartTime":"","agent":{"agentId":"a"}}`, "no time in the record", "map", extract.Dead{SegmentID: "ac-2"}},
		"bad escape":         {`{"segmentID":"ac-2","channel":"a\x"}`, "broken JSON", "decode", extract.Dead{SegmentID: "ac-2"}},
		"control character":  {"{\"segmentID\":\"ac-2\",\"channel\":\"a\x01b\"}", "broken JSON", "decode", extract.Dead{SegmentID: "ac-2"}},
		"not a number":       {`{"segmentID":"ac-2","countScrollUp":NaN}`, "broken JSON", "decode", extract.Dead{SegmentID: "ac-2"}},
		"missing comma":      {`{"segmentID":"ac-2" "channel":"chat"}`, "broken JSON", "decode", extract.Dead{SegmentID: "ac-2"}},
		"brackets in a text": {`{"segmentID":"ac-2","channel":"\\\"]}","tags":[{]}}`, "broken JSON", "decode", extract.Dead{SegmentID: "ac-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"hasMore":false,"data":[` + good("ac-1") + `, ` + c.record + "\n," + good("ac-3") + `],"numResults":3}`
			page := decode(t, events.Interactions, body)
			require.Len(t, page.Rows, 2)
			require.Equal(t, "ac-1", page.Rows[0].ID)
			require.Equal(t, "ac-3", page.Rows[1].ID)
			require.EqualValues(t, 3, page.NumResults)
			require.Len(t, page.Dead, 1)
			dead := page.Dead[0]
			require.Equal(t, c.record, string(dead.Raw))
			require.Contains(t, dead.Reason, c.reason)
			require.Equal(t, c.stage, dead.Stage)
			dead.Raw, dead.Reason, dead.Stage = nil, "", ""
			require.Equal(t, c.ids, dead)
		})
	}
}

// What is wrong with a record, and where, is said of the record and not of its page, with the ids that stand before it.
func TestBrokenRecordFarDownAPage(t *testing.T) {
	filler := strings.Repeat(`{"segmentID":"ac-1","segmentStartTime":"2026-02-25T09:00:00Z"},`, 900)
	for name, c := range map[string]struct {
		endpoint events.Endpoint
		record   string
		reason   string
		ids      extract.Dead
	}{
		"trailing comma": {
			events.Interactions, `{"segmentID":"ac-2","conversationID":"c-2","botSessionID":7,"tags":[1],}`,
			`broken JSON: '}' at offset 71, where a name should be`, extract.Dead{SegmentID: "ac-2", ConversationID: "c-2", SessionID: "7"},
		},
		"before the ids": {events.Interactions, `{"channel":x,"segmentID":"ac-2"}`, `broken JSON: 'x' at offset 11, where a value should be`, extract.Dead{}},
		"conversation":   {events.Conversations, `{"_id":"1","convId":"c-2","mbSessionId":"s-2",}`, "at offset 46", extract.Dead{ConversationID: "c-2", SessionID: "s-2"}},
		"details":        {events.InteractionDetails, `{"conversationId":"c-2","sessionId":"s-2",}`, "at offset 42", extract.Dead{ConversationID: "c-2", SessionID: "s-2"}},
		"call":           {events.CallDetails, `{"conversationId":"c-2","sessionId":"s-2",}`, "at offset 42", extract.Dead{ConversationID: "c-2", SessionID: "s-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			page := decode(t, c.endpoint, `{"data":[`+filler+c.record+`]}`)
			dead := page.Dead[0] // the filler may be as dead to other endpoints
			require.Equal(t, c.record, string(dead.Raw))
			require.Contains(t, dead.Reason, c.reason)
			dead.Raw, dead.Reason, dead.Stage = nil, "", ""
			require.Equal(t, c.ids, dead)
		})
	}
}

func TestManyBrokenRecords(t *testing.T) {
	records := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"segmentID":"ac-%d",}`, i))
		}
		return `{"data":[` + strings.Join(list, ",") + `]}`
	}
	page := decode(t, events.Interactions, records(20))
	require.Len(t, page.Dead, 20)
	_, err := extract.Decode(scope(events.Interactions), []byte(records(21)))
	require.ErrorContains(t, err, "not JSON")
}

func TestDeadRecordsOfOtherEndpoints(t *testing.T) {
	page := decode(t, events.Conversations, `{"results":[{"startTime":"2026-02-25T09:00:00Z","mbSessionId":"s"}]}`)
	require.Len(t, page.Dead, 1)
	require.Contains(t, page.Dead[0].Reason, "_id and convId are missing")
	page = decode(t, events.CallDetails, `{"data":[{"conversationId":"c","sessionStartTime":"2026-02-25T09:00:00"}]}`)
	require.Len(t, page.Dead, 1)
	require.Contains(t, page.Dead[0].Reason, "sessionId is missing")
	require.Equal(t, "c", page.Dead[0].ConversationID)
}

// Rows of open conversations are remembered for days. Their ids must not keep whole pages alive.
func TestIDsOfRowsAreCopies(t *testing.T) {
	for name, endpoint := range pages {
		body := []byte(readPage(t, name))
		page, err := extract.Decode(scope(endpoint), body)
		require.NoError(t, err)
		require.NotEmpty(t, page.Rows)
		first := uintptr(unsafe.Pointer(unsafe.SliceData(body)))
		for _, row := range page.Rows {
			for _, id := range []string{row.ID, row.ConversationID} {
				at := uintptr(unsafe.Pointer(unsafe.StringData(id)))
				require.False(t, at >= first && at < first+uintptr(len(body)), "%s: %s is part of the page", name, id)
			}
		}
	}
}
