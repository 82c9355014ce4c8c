package poll_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

// answers is an API that answers every request with a body.
type answers func(req *http.Request) (status int, header http.Header, body string)

func (f answers) RoundTrip(req *http.Request) (*http.Response, error) {
	code, header, body := f(req)
	if header == nil {
		header = http.Header{"Content-Type": {"application/json"}}
	}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	return &http.Response{
		StatusCode: code, Header: header, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

// A conversation that has been open for longer than one query can ask for is read again like any other that is hot, while the
// youngest rows are hot too.
func TestAccountReadsRowsThatStayOpen(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{8 * timeline.Day, 20 * timeline.Day} {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, koresim.Config{Seed: 1, Start: now.Add(-age - timeline.Day)}, func(o *poll.Options) {
				o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
				o.Bots = o.Bots[:1]
			})
			open, ended := now.Add(-age), now.Add(-10*time.Minute)
			var searches atomic.Int64
			r.transport = answers(func(req *http.Request) (int, http.Header, string) {
				q := req.URL.Query()
				rows := []string{}
				for start, end := range map[time.Time]string{open: "null", ended: fmt.Sprintf("%q", ended.Add(time.Minute).Format(time.RFC3339))} {
					if at := start.Format("2006-01-02T15:04:05"); at < q.Get("from") || at > q.Get("to") {
						continue
					}
					var actions []string
					for i := range searches.Load() {
						actions = append(actions, fmt.Sprintf(`{"actionType":"SearchBarEntry","action":{"searchPhrase":"fees","executionStartTime":%q}}`,
							open.Add(age+time.Duration(i)*time.Second).Format(time.RFC3339)))
					}
					rows = append(rows, fmt.Sprintf(`{"segmentID":"ac-%d","conversationID":"c-%d","segmentStartTime":%q,"segmentEndTime":%s,"agentActions":[%s]}`,
						start.Unix(), start.Unix(), start.Format(time.RFC3339), end, strings.Join(actions, ",")))
				}
				return http.StatusOK, nil, fmt.Sprintf(`{"numResults":%d,"hasMore":false,"data":[%s]}`, len(rows), strings.Join(rows, ","))
			})
			r.start()
			well := func(s status.Account) { require.Nil(t, s.Endpoints[0].LastError) }
			r.runFor(2*time.Minute, time.Second, well)
			for n := range int64(5) {
				searches.Add(1)
				r.runFor(90*time.Second, time.Second, well)
				require.EqualValues(t, 2*(n+1), r.topics.count(events.TypeSearch), "search %d in what has been open for %v", n, age)
			}
			require.Equal(t, 2, r.topics.count(events.TypeSegment))
		})
	}
}
