package poll_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/revise"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// A year in which one row in a hundred is odd, e-mails stay open for more than a week, and something fails for an hour every few
// days: the API in every way, or Kafka, or the process is stopped. Rows are no rows, or too large, or stand beside an older copy of
// themselves; starts are corrected to the day before; one bot has a single row, which nobody can read. Every other row is published, right
// and once. What cannot be published is one dead letter. Nothing is red for longer than its fault lasts and the next poll takes.
func TestAccountYearOfOddRows(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		every := testsize.Pick(2*time.Hour, 6*time.Hour) // between two polls
		grace := every + 20*time.Minute                  // after a fault: until the next poll that is not held back has worked
		span := testsize.Pick(6*timeline.Day, 365*timeline.Day)
		open := testsize.Pick(2*timeline.Day, 9*timeline.Day) // for so long e-mails may stay open
		share := testsize.Pick(0.05, 0.01)
		r := newRig(t, koresim.Config{
			Seed: 61, Start: now, End: now.Add(span), Bots: 2, BusyBots: 1, IdlePerDay: 1e-9, SegmentsPerDay: testsize.Pick(12, 6),
			EmailOpen: open, Drift: true, TooLarge: share, Odd: share, Spikes: []koresim.Spike{{At: now.Add(4 * timeline.Day), Bot: 1, Rows: 1}},
		}, func(o *poll.Options) {
			o.Policy.Tiers = []plan.Tier{{Within: timeline.Day, Every: 6 * time.Hour}, {Within: open + 2*timeline.Day, Every: timeline.Day}}
			o.Policy.ConversationTiers, o.Policy.HotEvery = o.Policy.Tiers, every
			for e := range o.Endpoints {
				o.Endpoints[e] = poll.EndpointOptions{PollInterval: every}
			}
			o.TooLarge = largerThanARecord(t)
		})
		r.maxBody = 2 << 20
		r.start()

		excused := time.Now() // until when something may be red
		check := func(s status.Account) {
			if time.Now().Before(excused) {
				return
			}
			_, delivered := r.account.Status()
			require.Nil(t, delivered.LastError)
			for _, e := range s.Endpoints {
				require.NotEqual(t, status.Failing, e.State, "%s of %s at %s: %+v", e.Endpoint, e.BotName, time.Now(), e.LastError)
				require.NotNil(t, e.Lag, e.Endpoint)
				require.Less(t, time.Duration(*e.Lag), every+grace, "%s of %s at %s", e.Endpoint, e.BotName, time.Now())
			}
		}
		troubles := []func(lasts time.Duration){
			func(lasts time.Duration) {
				r.stop()
				time.Sleep(lasts)
				r.start()
			},
			func(lasts time.Duration) {
				r.topics.fail = func() error {
					return &kafka.RefusedError{Topic: "test.watermark", Record: "test", Bytes: 1000, Taken: 500, Err: errors.New("too large")}
				}
				time.Sleep(lasts)
				r.topics.fail = nil
			},
		}
		for _, kind := range koresim.FaultKinds() {
			rate := 1.0
			if kind == koresim.FaultClock || kind == koresim.FaultBadRecord { // answers that are taken for good ones
				rate = 0.02
			}
			troubles = append(troubles, func(lasts time.Duration) {
				r.sim.SetFaults(koresim.Faults{Rate: rate, Kinds: []koresim.Fault{kind}, Seed: uint64(time.Now().Unix())})
				time.Sleep(lasts)
				r.sim.SetFaults(koresim.Faults{})
			})
		}
		rnd := rand.New(rand.NewPCG(61, 1))
		rnd.Shuffle(len(troubles), func(i, k int) { troubles[i], troubles[k] = troubles[k], troubles[i] })
		n := 0
		for end := time.Now().Add(span); time.Now().Before(end); n++ {
			r.runFor(time.Duration(1+rnd.IntN(testsize.Pick(12, 336)))*time.Hour, 20*time.Minute, check)
			lasts := time.Duration(1+rnd.IntN(testsize.Pick(40, 60))) * time.Minute
			excused = time.Now().Add(lasts + grace)
			troubles[n%len(troubles)](lasts)
		}
		r.runFor(open+3*timeline.Day, 20*time.Minute, check) // what is open ends, and is swept
		contradicted := map[string]int64{}
		last, _ := r.account.Status()
		for _, c := range last.Contradictions {
			contradicted[c.Kind] += c.Count
		}
		report := r.compare(koresim.Scope{Settled: time.Now().Add(-2 * time.Hour)})

		type letter struct{ reason, raw string }
		once := map[letter]int{}
		quiet := 0 // dead letters of the bot that is not busy
		for _, d := range r.topics.dead {
			once[letter{d.Reason, string(d.RawBytes)}]++
			if d.BotID != nil && *d.BotID == r.options.Bots[1].ID {
				quiet++
			}
		}
		require.Equal(t, 1, quiet)
		for l, n := range once {
			require.Equal(t, 1, n, "%s: %.200s", l.reason, l.raw)
		}
		starts := map[string]map[string]bool{} // by segment
		for _, o := range r.topics.observed() {
			if strings.HasSuffix(o.Topic, ".segment") {
				id := fmt.Sprint(o.Fields["segment_id"])
				if starts[id] == nil {
					starts[id] = map[string]bool{}
				}
				starts[id][fmt.Sprint(o.Fields["segment_start_time"])] = true
			}
		}
		corrected := 0
		for _, said := range starts {
			if len(said) > 1 {
				corrected++
			}
		}
		requests := r.sim.Stats().ByAccount[r.options.AccountID]
		t.Logf("%s; %d requests, %d troubles, %d dead letters, %d late, %d starts corrected, %v", report, requests, n, len(r.topics.dead),
			r.topics.late, corrected, contradicted)
		require.NotEmpty(t, r.topics.dead)
		require.Positive(t, corrected)
		require.Positive(t, contradicted[string(revise.Copies)])
	})
}
