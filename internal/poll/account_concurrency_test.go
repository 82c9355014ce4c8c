package poll_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/testsize"
)

// Several requests of each endpoint in flight, whose answers overtake each other, and rows that change all the time: no older state of a row is
// published after a newer one, nothing is lost, and no watermark promises what comes later.
func TestAccountWithRequestsInFlight(t *testing.T) {
	testsize.Slow(t)
	for i, profile := range koresim.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			if i > 1 && testing.Short() {
				t.Skip("at full size only")
			}
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				span := testsize.Pick(8*time.Minute, 3*time.Hour)
				world := koresim.Config{
					Seed: 9, Start: now.Add(-time.Hour), End: now.Add(span), Bots: 2, SegmentsPerDay: testsize.Pick(2000, 4000), Profile: profile,
					RequestsPerMinute: 600, Faults: koresim.Faults{Rate: 0.03, Seed: 3}, EmailOpen: time.Hour, Pace: koresim.Burst,
					InFlight: map[events.Endpoint]int{
						events.Interactions: 3, events.Conversations: 4, events.InteractionDetails: 2, events.CallDetails: 3,
					},
				}
				r := newRig(t, world, func(o *poll.Options) { o.Policy.Tiers, o.Policy.ConversationTiers = quickTiers, quickTiers })
				r.latency = func(events.Endpoint) time.Duration { return rand.N(8 * time.Second) }
				r.late = rand.Float64
				r.start()
				r.runFor(span, time.Minute, nil)
				r.sim.SetFaults(koresim.Faults{})
				r.runFor(45*time.Minute, time.Minute, nil)
				report := r.compare(koresim.Scope{Settled: time.Now().Add(-30 * time.Minute)})
				stats := r.sim.Stats()
				require.Zero(t, stats.Violations)
				t.Logf("%s; %d requests, %d late, %d watermarks", report, stats.ByAccount[r.options.AccountID], r.topics.late, r.topics.marks)
			})
		})
	}
}

// lateByID hands out the answers to requests by id long after they were given.
type lateByID struct{ poll.API }

func (l lateByID) Fetch(ctx context.Context, q kore.Query) (*kore.Response, error) {
	resp, err := l.API.Fetch(ctx, q)
	if len(q.ConversationIDs) > 0 {
		time.Sleep(20 * time.Second)
	}
	return resp, err
}

// A request by id is answered long after polls and sweeps have shown the same conversations, as they are by then: what it shows is older,
// and is not published after that.
func TestAccountPublishesNoOlderStateAfterANewerOne(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		world := koresim.Config{
			Seed: 9, Start: now.Add(-10 * time.Minute), End: now.Add(20 * time.Minute), Bots: 1, SegmentsPerDay: 10_000, Pace: koresim.Burst,
			RequestsPerMinute: 600, InFlight: map[events.Endpoint]int{events.Conversations: 3},
		}
		r := newRig(t, world, func(o *poll.Options) {
			delete(o.Endpoints, events.InteractionDetails)
			delete(o.Endpoints, events.CallDetails)
			o.Policy.Tiers, o.Policy.ConversationTiers, o.Policy.HotEvery = quickTiers, quickTiers, 5*time.Second
			c := o.Endpoints[events.Conversations]
			c.PollInterval = 5 * time.Second
			o.Endpoints[events.Conversations] = c
		})
		r.wrap = func(api poll.API) poll.API { return lateByID{api} }
		r.latency = func(events.Endpoint) time.Duration { return rand.N(time.Second) }
		r.start()
		r.runFor(40*time.Minute, time.Minute, nil)
		t.Log(r.compare(koresim.Scope{Settled: time.Now().Add(-15 * time.Minute)}))

		// Somebody may change an opinion and then change it back, in the same words.
		type opinion struct{ conversation, comment any }
		resumed := map[opinion]bool{}
		for e := range r.sim.Ledger(time.Now()) {
			for _, v := range e.Views {
				given := map[any]int{} // the number of the last version with a comment
				for n, version := range v.Versions {
					comment := version.Fields["comment_text"]
					if last, before := given[comment]; before && last < n-1 {
						resumed[opinion{e.ConversationID, comment}] = true
					}
					given[comment] = n
				}
			}
		}
		versions := map[string][]string{} // by entity, what has not changed between revisions left out
		for _, o := range r.topics.observed() {
			id, ok := o.Fields["entity_id"].(string)
			again := strings.HasSuffix(o.Topic, ".feedback") && resumed[opinion{o.Fields["conversation_id"], o.Fields["comment_text"]}]
			if !ok || again || strings.HasSuffix(o.Topic, "feedback-negative") {
				continue
			}
			for _, name := range []string{"event_id", "revision", "observed_time", "changed_after", "changed_before", "late", "endpoint"} {
				delete(o.Fields, name)
			}
			content := fmt.Sprint(o.Fields)
			require.NotContains(t, versions[id], content, "a state that was over is published again")
			versions[id] = append(versions[id], content)
		}
	})
}
