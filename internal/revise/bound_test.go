package revise_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
	"agentassist-poller/internal/testsize"
)

// tooLarge refuses events with more content than a megabyte, as a delivery does.
func tooLarge(o revise.Outgoing) string {
	if n := len(o.Event.AppendContent(nil, events.Recipe())); n > 1<<20 {
		return fmt.Sprintf("a record of %d bytes", n)
	}
	return ""
}

func text(c string, n int) *string { return str(strings.Repeat(c, n)) }

// refusedOnce reads a page whose event is refused as too large.
func (d *harness) refusedOnce(observations ...events.Observation) {
	d.t.Helper()
	result := d.quiet(observations...)
	require.Len(d.t, result.Refused, 1)
	require.Contains(d.t, result.Refused[0].Reason, "a record of 1")
	require.NotEmpty(d.t, result.Refused[0].Event.Head().EntityID)
}

// silent reads a page that must change nothing.
func (d *harness) silent(observations ...events.Observation) {
	d.t.Helper()
	result := d.quiet(observations...)
	require.Empty(d.t, result.Refused)
	require.Empty(d.t, result.Puts)
}

// An event that is too large is refused once and is not a revision: the events before and after it have consecutive revisions, and the
// last published version is no news when it comes back.
func TestTooLargeIsNoRevision(t *testing.T) {
	feedback := func(comment *string) events.Observation {
		s := thumb("1", "NEGATIVE")
		s.Event.(*events.Feedback).CommentText = comment
		return s
	}
	d := newHarness(t)
	d.in.TooLarge = tooLarge
	huge := text("x", 1_500_000)
	d.refusedOnce(feedback(huge))
	d.silent(feedback(huge))
	require.EqualValues(t, 1, d.one(feedback(str("a"))).Event.Head().Revision)
	d.silent(feedback(str("a")))
	d.refusedOnce(feedback(huge))
	d.silent(feedback(huge))
	d.quiet(feedback(str("a"))) // what was published last
	d.silent(feedback(str("a")))
	d.refusedOnce(feedback(text("y", 1_500_000)))
	require.EqualValues(t, 2, d.one(feedback(str("b"))).Event.Head().Revision)
	d.silent(feedback(str("b")))
}

// An observation of one endpoint that is too large by itself does not hold back the other endpoint, whichever is read first. Both
// observations together can also be too large.
func TestTooLargeFromOneEndpoint(t *testing.T) {
	huge := text("x", 1_500_000)
	for name, order := range map[string][]events.Endpoint{
		"the large one first": {events.Interactions, events.Conversations}, "the large one last": {events.Conversations, events.Interactions},
	} {
		t.Run(name, func(t *testing.T) {
			d := newHarness(t)
			d.in.TooLarge, d.in.KeepObservations = tooLarge, true
			read := map[events.Endpoint]func(){
				events.Interactions:  func() { d.refusedOnce(summary(events.Interactions, "1", huge, nil)) },
				events.Conversations: func() { d.one(summary(events.Conversations, "1", str("short"), nil)) },
			}
			for _, e := range order {
				read[e]()
			}
			for range 2 {
				d.silent(summary(events.Interactions, "1", huge, nil))
				d.silent(summary(events.Conversations, "1", str("short"), nil))
			}
			o := d.one(summary(events.Conversations, "1", str("short"), str("edited")))
			require.EqualValues(t, 2, o.Event.Head().Revision)
			require.Equal(t, "short", *o.Event.(*events.Summary).Summary)
			o = d.one(summary(events.Interactions, "1", str("no longer"), nil))
			require.EqualValues(t, 3, o.Event.Head().Revision)
		})
	}
	t.Run("together", func(t *testing.T) {
		d := newHarness(t)
		d.in.TooLarge, d.in.KeepObservations = tooLarge, true
		d.one(summary(events.Interactions, "1", text("x", 700_000), nil))
		d.refusedOnce(summary(events.Conversations, "1", nil, text("y", 700_000)))
		for range 2 {
			d.silent(summary(events.Interactions, "1", text("x", 700_000), nil))
			d.silent(summary(events.Conversations, "1", nil, text("y", 700_000)))
		}
		o := d.one(summary(events.Conversations, "1", nil, text("z", 7_000)))
		require.EqualValues(t, 2, o.Event.Head().Revision)
		require.Len(t, *o.Event.(*events.Summary).Summary, 700_000, "what the other endpoint said is whole")
	})
}

// A state of which a part is missing, or belongs to an earlier state, counts as unreadable.
func TestPartsThatAreMissing(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	d.one(summary(events.Interactions, "1", text("x", 700_000), nil))
	before := maps.Clone(d.store)
	require.Len(t, d.store, 1+4)
	d.one(summary(events.Interactions, "1", text("y", 700_000), nil))
	require.Len(t, d.store, 1+4+4, "parts of the one are never taken for those of the other")
	for key, value := range d.store {
		if _, old := before[key]; len(value) < 100 || old {
			continue
		}
		delete(d.store, key)
		result := d.read(summary(events.Interactions, "1", text("y", 700_000), nil))
		require.Equal(t, 1, result.Unreadable)
		require.Len(t, result.Events, 1)
		return
	}
}

// The parts of a page are published and committed one after the other. Whichever part is the last, reading the page again gives the rest,
// and nothing twice.
func TestDividedPages(t *testing.T) {
	testsize.Slow(t)
	for seed := range testsize.Pick(uint64(20), 100) {
		r := rand.New(rand.NewPCG(seed, 2))
		page := func() []events.Observation {
			var all []events.Observation
			for i := range 30 {
				r := rand.New(rand.NewPCG(seed, uint64(i%25)))
				s := thumb(fmt.Sprint(i%25), "NEGATIVE") // some of them twice
				s.Event.(*events.Feedback).CommentText = text(string(rune('a'+r.IntN(3))), r.IntN(20_000))
				if r.IntN(5) == 0 {
					s = summary(events.Interactions, fmt.Sprint(i%25), text("x", r.IntN(300_000)), nil)
				}
				if r.IntN(10) == 0 {
					s = summary(events.Interactions, fmt.Sprint(i%25), text("x", 1_500_000), nil)
				}
				all = append(all, s)
			}
			return all
		}
		whole := newHarness(t)
		whole.in.TooLarge, whole.in.KeepObservations = tooLarge, true
		want := whole.read(page()...)
		require.Len(t, want.Divide(1<<30), 1)

		d := newHarness(t)
		d.in = whole.in
		d.in.ShownAt = noon
		var published []string
		refused := 0
		for done := false; !done; {
			d.in.ShownAt, d.in.Observations = d.in.ShownAt.Add(time.Minute), page()
			result, err := revise.Decide(d.in, d.store)
			require.NoError(t, err)
			parts := result.Divide(50_000)
			cut := r.IntN(len(parts) + 1) // where it is killed
			for _, p := range parts[:cut] {
				for _, o := range p.Events {
					published = append(published, o.Event.Head().EntityID)
				}
				refused += len(p.Refused)
				for _, put := range p.Puts {
					d.store[put.Key] = put.Value
				}
			}
			done = cut == len(parts)
		}
		var all []string
		for _, o := range want.Events {
			all = append(all, o.Event.Head().EntityID)
		}
		slices.Sort(published)
		slices.Sort(all)
		require.Equal(t, all, published, "seed %d", seed)
		require.Equal(t, len(want.Refused), refused, "seed %d", seed)
		require.Equal(t, sizes(whole.store), sizes(d.store), "seed %d", seed)
	}
}

// sizes returns the sizes of the stored values; the values themselves differ in their times.
func sizes(m mapStore) map[checkpoint.Key]int {
	out := map[checkpoint.Key]int{}
	for key, value := range m {
		out[key] = len(value)
	}
	return out
}
