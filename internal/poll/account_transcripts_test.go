package poll_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/testsize"
)

// Where no messages are published, transcripts are fetched only until it is known that agentic entries come without them. Everything else is
// published as ever.
func TestAccountLeavesOutTranscripts(t *testing.T) {
	testsize.Slow(t)
	for name, c := range map[string]struct {
		needed  bool
		says    string
		message bool
	}{
		"spare":  {says: "not fetched"},
		"needed": {says: "fetched: agentic entries do not come without them", needed: true},
		"wanted": {message: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				profile := koresim.Profiles()[0]
				profile.AgenticNeedsHistory = c.needed
				world := koresim.Config{Seed: 9, Start: now.Add(-2 * time.Hour), End: now, Bots: 1, SegmentsPerDay: 1000, Profile: profile}
				r := newRig(t, world, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Conversations: {PollInterval: time.Minute}}
					o.Policy.Tiers, o.Policy.ConversationTiers = quickTiers, quickTiers
					if !c.message {
						o.Off = []events.Type{events.TypeMessage}
					}
				})
				count := &flagCount{next: r.sim.Transport()}
				r.transport = count
				r.start()
				r.caughtUp(time.Hour)
				require.Positive(t, count.with.Load())
				s, _ := r.account.Status()
				require.Equal(t, c.says, s.Endpoints[0].Transcripts)
				r.stop()

				with, without := count.with.Load(), count.without.Load()
				r.start() // it is found out once
				r.runFor(30*time.Minute, time.Minute, nil)
				if c.needed || c.message {
					require.Equal(t, without, count.without.Load())
					require.Greater(t, count.with.Load(), with)
				} else {
					require.Equal(t, with, count.with.Load())
					require.Greater(t, count.without.Load(), without)
				}
				types := slices.DeleteFunc(events.Types(), func(kind events.Type) bool { return kind == events.TypeMessage && !c.message })
				r.compare(koresim.Scope{Settled: time.Now().Add(-20 * time.Minute), Types: types})
				r.stop()
			})
		})
	}
}

// flagCount counts the requests with agentic history by whether they ask for the transcripts, too.
type flagCount struct {
	next          http.RoundTripper
	with, without atomic.Int64
}

func (f *flagCount) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case !bytes.Contains(body, []byte(`"includeAgenticHistory":true`)):
	case bytes.Contains(body, []byte(`"includeHistory":true`)):
		f.with.Add(1)
	default:
		f.without.Add(1)
	}
	return f.next.RoundTrip(r)
}
