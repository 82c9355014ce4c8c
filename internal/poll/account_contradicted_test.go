package poll_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/revise"
	"agentassist-poller/internal/status"
)

// Rows that contradict each other are counted and shown by kind, and the first of a kind is logged.
func TestContradictionsShow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, small(5), nil)
		var log bytes.Buffer
		counted := &contradictedCount{}
		r.options.Log, r.options.Observer = slog.New(slog.NewTextHandler(&log, nil)), counted
		r.wrap = func(api poll.API) poll.API { return &copyingAPI{api} }
		r.start()
		r.runFor(10*time.Minute, time.Minute, nil)
		s, _ := r.account.Status()
		r.stop()
		i := slices.IndexFunc(s.Contradictions, func(c status.Contradiction) bool { return c.Kind == string(revise.Copies) })
		require.GreaterOrEqual(t, i, 0)
		c := s.Contradictions[i]
		require.Equal(t, string(events.Interactions), c.Endpoint)
		require.Contains(t, c.First, `segment`)
		require.Greater(t, c.Count, int64(1))
		require.Equal(t, c.Count, counted.copies.Load())
		require.Equal(t, 1, strings.Count(log.String(), "kind=copies"), log.String())
		require.Contains(t, log.String(), "the API contradicts itself")
	})
}

// copyingAPI shows every segment in a second copy, with another count of scrolls.
type copyingAPI struct{ poll.API }

func (c *copyingAPI) Fetch(ctx context.Context, q kore.Query) (*kore.Response, error) {
	answer, err := c.API.Fetch(ctx, q)
	if err != nil || q.Endpoint != events.Interactions {
		return answer, err
	}
	answer.Body = withCopies(answer.Body)
	return answer, nil
}

// withCopies returns a page with a second copy of each of its rows.
func withCopies(body []byte) []byte {
	var page map[string]any
	if err := json.Unmarshal(body, &page); err != nil {
		return body // a refusal
	}
	rows, _ := page["data"].([]any)
	for _, row := range rows {
		copied := maps.Clone(row.(map[string]any))
		copied["countScrollUp"] = 1_000
		rows = append(rows, copied)
	}
	page["data"], page["numResults"] = rows, len(rows)
	out, err := json.Marshal(page)
	if err != nil {
		panic(err)
	}
	return out
}

// contradictedCount counts the rows of which an observer is told that a page shows them twice.
type contradictedCount struct {
	noObserver
	copies atomic.Int64
}

func (c *contradictedCount) Contradicted(_ string, _ events.Endpoint, kind string, n int) {
	if kind == string(revise.Copies) {
		c.copies.Add(int64(n))
	}
}
