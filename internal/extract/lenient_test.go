package extract_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// only returns the one event of a type on a page.
func only[E events.Event](t *testing.T, endpoint events.Endpoint, body string) E {
	t.Helper()
	list := all[E](decode(t, endpoint, body).Rows[0].Observations)
	require.Len(t, list, 1)
	return list[0]
}

func all[E events.Event](observations []events.Observation) []E {
	var list []E
	for _, s := range observations {
		if e, ok := s.Event.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

func segments(members string) string { return `{"data":[` + segmentWith(members) + `]}` }

// text shows a value as JSON, so that pointers and nil can be compared at a glance.
func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestScalars(t *testing.T) {
	for name, c := range map[string]struct {
		members string
		get     func(*events.Segment) any
		want    string
		drift   string
	}{
		"number":            {`"countScrollUp":3`, func(e *events.Segment) any { return e.CountScrollUp }, `3`, ""},
		"number as text":    {`"countScrollUp":" 3 "`, func(e *events.Segment) any { return e.CountScrollUp }, `3`, ""},
		"number as float":   {`"countScrollUp":3.0`, func(e *events.Segment) any { return e.CountScrollUp }, `3`, ""},
		"number in array":   {`"countScrollUp":[3]`, func(e *events.Segment) any { return e.CountScrollUp }, `3`, ""},
		"number, exponent":  {`"countScrollUp":1e3`, func(e *events.Segment) any { return e.CountScrollUp }, `1000`, ""},
		"number is null":    {`"countScrollUp":null`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, ""},
		"number is blank":   {`"countScrollUp":""`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, ""},
		"number is empty":   {`"countScrollUp":[]`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, ""},
		"number is nothing": {`"countScrollUp":{}`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, ""},
		"fraction":          {`"countScrollUp":3.5`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, "bad:data[].countScrollUp"},
		"too large":         {`"countScrollUp":1e30`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, "bad:data[].countScrollUp"},
		"number is word":    {`"countScrollUp":"many"`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, "bad:data[].countScrollUp"},
		"number is object":  {`"countScrollUp":{"n":1}`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, "bad:data[].countScrollUp"},
		"number is array":   {`"countScrollUp":[1,2]`, func(e *events.Segment) any { return e.CountScrollUp }, `null`, "bad:data[].countScrollUp"},
		"truth":             {`"isWelcomeMsgRead":true`, func(e *events.Segment) any { return e.IsWelcomeMsgRead }, `true`, ""},
		"truth as text":     {`"isWelcomeMsgRead":"False"`, func(e *events.Segment) any { return e.IsWelcomeMsgRead }, `false`, ""},
		"truth as word":     {`"isWelcomeMsgRead":"YES"`, func(e *events.Segment) any { return e.IsWelcomeMsgRead }, `true`, ""},
		"truth as number":   {`"isWelcomeMsgRead":0`, func(e *events.Segment) any { return e.IsWelcomeMsgRead }, `false`, ""},
		"truth is unclear":  {`"isWelcomeMsgRead":"maybe"`, func(e *events.Segment) any { return e.IsWelcomeMsgRead }, `null`, "bad:data[].isWelcomeMsgRead"},
		"text":              {`"channel":"chat"`, func(e *events.Segment) any { return e.Channel }, `"chat"`, ""},
		"text as number":    {`"channel":12.50`, func(e *events.Segment) any { return e.Channel }, `"12.50"`, ""},
		"text as truth":     {`"channel":true`, func(e *events.Segment) any { return e.Channel }, `"true"`, ""},
		"text in array":     {`"channel":["chat"]`, func(e *events.Segment) any { return e.Channel }, `"chat"`, ""},
		"text is blank":     {`"channel":""`, func(e *events.Segment) any { return e.Channel }, `null`, ""},
		"text is object":    {`"channel":{"a":1}`, func(e *events.Segment) any { return e.Channel }, `null`, "bad:data[].channel"},
		"escapes":           {`"channel":"a\"\u00e9\n"`, func(e *events.Segment) any { return e.Channel }, `"a\"é\n"`, ""},
		"lone surrogate":    {`"channel":"a\ud800b"`, func(e *events.Segment) any { return e.Channel }, "\"a\ufffdb\"", ""},
		"broken character":  {"\"channel\":\"a\xffb\"", func(e *events.Segment) any { return e.Channel }, "\"a\ufffdb\"", ""},
		"twice":             {`"channel":"chat","channel":"voice"`, func(e *events.Segment) any { return e.Channel }, `"voice"`, ""},
		"other case":        {`"Channel":"chat"`, func(e *events.Segment) any { return e.Channel }, `null`, "data[].Channel"},
		"unknown":           {`"newField":{"x":[1]}`, func(e *events.Segment) any { return e.Channel }, `null`, "data[].newField"},
		"unknown inside":    {`"agent":{"agentId":"a","grade":1}`, func(e *events.Segment) any { return e.Agent }, `{"agent_id":"a"}`, "data[].agent.grade"},
		"object is null":    {`"agent":null`, func(e *events.Segment) any { return e.Agent }, `null`, ""},
		"object is empty":   {`"agent":[]`, func(e *events.Segment) any { return e.Agent }, `null`, ""},
		"object is nothing": {`"agent":{}`, func(e *events.Segment) any { return e.Agent }, `null`, ""},
		"nothing in array":  {`"tags":[{},{"name":"a"}]`, func(e *events.Segment) any { return e.Tags }, `[{"name":"a"}]`, ""},
		"object is blank":   {`"agent":""`, func(e *events.Segment) any { return e.Agent }, `null`, ""},
		"object in array":   {`"agent":[{"agentId":7}]`, func(e *events.Segment) any { return e.Agent }, `{"agent_id":"7"}`, ""},
		"object is text":    {`"agent":"jsmith01"`, func(e *events.Segment) any { return e.Agent }, `null`, "bad:data[].agent"},
		"two objects":       {`"agent":[{"agentId":"a"},{"agentId":"b"}]`, func(e *events.Segment) any { return e.Agent }, `{"agent_id":"a"}`, "bad:data[].agent"},
		"array is null":     {`"tags":null`, func(e *events.Segment) any { return e.Tags }, `null`, ""},
		"array is object":   {`"tags":{"name":"a"}`, func(e *events.Segment) any { return e.Tags }, `[{"name":"a"}]`, ""},
		"null in array":     {`"tags":[null,{"name":"a"},null]`, func(e *events.Segment) any { return e.Tags }, `[{"name":"a"}]`, ""},
		"bad element":       {`"tags":[{"name":"a"},5,{"name":"b"}]`, func(e *events.Segment) any { return e.Tags }, `[{"name":"a"},{"name":"b"}]`, "bad:data[].tags[]"},
		"array is text":     {`"tags":"none"`, func(e *events.Segment) any { return e.Tags }, `null`, "bad:data[].tags[]"},
		"link as text":      {`"linksClicked":"https://a.example/in/, 2024-12-17T11:04:37.163Z"`, func(e *events.Segment) any { return e.LinksClicked }, `[{"url":"https://a.example/in/","timestamp":"2024-12-17T11:04:37.163Z"}]`, ""},
		"links as texts":    {`"linksClicked":["https://a.example","https://b.example"]`, func(e *events.Segment) any { return e.LinksClicked }, `[{"url":"https://a.example"},{"url":"https://b.example"}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			page := decode(t, events.Interactions, segments(c.members))
			require.Empty(t, page.Dead)
			require.Equal(t, c.want, text(t, c.get(all[*events.Segment](page.Rows[0].Observations)[0])))
			if c.drift == "" {
				require.Empty(t, page.Drift)
			} else {
				require.Equal(t, map[string]int64{c.drift: 1}, page.Drift)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	for in, want := range map[string]string{
		`"2026-02-25T09:33:10.120Z"`:           "2026-02-25T09:33:10.12Z",
		`"2026-02-25T09:33:10Z"`:               "2026-02-25T09:33:10Z",
		`"2026-02-25T09:33:10"`:                "2026-02-25T09:33:10Z",
		`"2026-02-25 09:33:10"`:                "2026-02-25T09:33:10Z",
		`"2023-01-10 2:25:54"`:                 "2023-01-10T02:25:54Z",
		`"2026-02-25T09:33"`:                   "2026-02-25T09:33:00Z",
		`"2026-02-25"`:                         "2026-02-25T00:00:00Z",
		`"2026-02-25T09:33:10.123456789Z"`:     "2026-02-25T09:33:10.123Z",
		`"2026-02-25T09:33:10.1+05:30"`:        "2026-02-25T04:03:10.1Z",
		`"2026-02-25T09:33:10-0500"`:           "2026-02-25T14:33:10Z",
		`" 2026-02-25T09:33:10Z "`:             "2026-02-25T09:33:10Z",
		`"2026-12-31T23:59:60Z"`:               "2027-01-01T00:00:00Z",
		`1772011990120`:                        "2026-02-25T09:33:10.12Z",
		`"1772011990120"`:                      "2026-02-25T09:33:10.12Z",
		`1772011990`:                           "2026-02-25T09:33:10Z",
		`1.77201199012e12`:                     "2026-02-25T09:33:10.12Z",
		`["2026-02-25T09:33:10Z"]`:             "2026-02-25T09:33:10Z",
		`""`:                                   "",
		`null`:                                 "",
		`[]`:                                   "",
		`"0001-01-01T00:00:00Z"`:               "bad",
		`"1970-01-01T00:00:00Z"`:               "bad",
		`0`:                                    "bad",
		`-5`:                                   "bad",
		`9e18`:                                 "bad",
		`"2026-02-31T00:00:00Z"`:               "bad",
		`"2026-13-01T00:00:00Z"`:               "bad",
		`"2026-02-25T24:00:00Z"`:               "bad",
		`"2026-02-25T09:33:10.Z"`:              "bad",
		`"2026-02-25T09:33:10Zulu"`:            "bad",
		`"yesterday"`:                          "bad",
		`"9999-99-99"`:                         "bad",
		`"25/02/2026"`:                         "bad",
		`true`:                                 "bad",
		`{"$date":"2026-02-25T09:33:10.120Z"}`: "bad",
	} {
		t.Run(in, func(t *testing.T) {
			page := decode(t, events.Interactions, segments(`"segmentEndTime":`+in))
			got := page.Rows[0].End
			switch want {
			case "bad":
				require.Equal(t, map[string]int64{"bad:data[].segmentEndTime": 1}, page.Drift)
				require.True(t, got.IsZero())
			case "":
				require.Empty(t, page.Drift)
				require.True(t, got.IsZero())
				require.True(t, page.Rows[0].Open)
			default:
				require.Empty(t, page.Drift)
				require.Equal(t, want, got.Format(time.RFC3339Nano))
			}
		})
	}
}

// Upstream's customers name some members, so what is reported stays bounded.
func TestDriftIsBounded(t *testing.T) {
	var members string
	for i := range 500 {
		members += `"member` + string(rune('a'+i%26)) + text(t, i) + `":1,`
	}
	long := make([]byte, 10_000)
	for i := range long {
		long[i] = 'x'
	}
	page := decode(t, events.Interactions, segments(members+`"`+string(long)+`":1`))
	require.LessOrEqual(t, len(page.Drift), 101)
	var n int64
	for path, count := range page.Drift {
		require.LessOrEqual(t, len(path), 200)
		n += count
	}
	require.EqualValues(t, 501, n)
}
