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

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
)

// fields are what a thing shows: by name, empty for null.
type fields map[string]string

// thing is something upstream that changes over time, with what must be published of it. It knows nothing of hashes or
// stored states: it compares what is visible.
type thing struct {
	name string
	// observations are the ways in which it can be read at present, each as one observation.
	observations func() []view
	change       func(r *rand.Rand)
	// visible is what was last published, nil before the first read.
	visible fields
	seen    map[events.Endpoint]fields // what each endpoint last showed
	rank    int64
	want    []fields // all versions to be published, in order
}

// view is one way to read a thing.
type view struct {
	from events.Endpoint
	rank int64
	fields
}

// read notes that the thing was read in one way, and what is to be published for it.
func (x *thing) read(v view) {
	if v.rank < x.rank {
		return
	}
	x.rank = v.rank
	x.seen[v.from] = v.fields
	merged := fields{}
	for _, from := range []events.Endpoint{events.Conversations, events.Interactions} { // the owner has the last word
		for name, value := range x.seen[from] {
			if value != "" {
				merged[name] = value
			}
		}
	}
	if x.visible == nil || fmt.Sprint(merged) != fmt.Sprint(x.visible) {
		x.visible = merged
		x.want = append(x.want, merged)
	}
}

// pick returns what a field may say. At times it is so long that what is stored of the thing takes several parts.
func pick(r *rand.Rand) string {
	if r.IntN(300) == 0 {
		return string(rune('d'+r.IntN(2))) + long
	}
	return []string{"", "a", "b", "c"}[r.IntN(4)]
}

var long = strings.Repeat("long ", bound.Entity/6)

// newThings returns things of each kind: feedback that turns; playbook steps that two segments show, the newer of which
// counts; summaries that two endpoints show, each knowing a part.
func newThings(n int) []*thing {
	var all []*thing
	for i := range n {
		verdict := "a"
		all = append(all, &thing{
			name:         fmt.Sprint("feedback-", i),
			observations: func() []view { return []view{{from: events.Interactions, fields: fields{"response": verdict}}} },
			change:       func(r *rand.Rand) { verdict = pick(r) },
		})

		statuses := map[int64]string{100: "a"}
		all = append(all, &thing{
			name: fmt.Sprint("step-", i),
			observations: func() (views []view) {
				for _, rank := range slices.Sorted(maps.Keys(statuses)) {
					views = append(views, view{events.Interactions, rank, fields{"status": statuses[rank]}})
				}
				return views
			},
			change: func(r *rand.Rand) { statuses[100*int64(1+r.IntN(3))] = pick(r) },
		})

		by := map[events.Endpoint]fields{events.Interactions: {"summary": "a"}, events.Conversations: {"summary": "b"}}
		all = append(all, &thing{
			name: fmt.Sprint("summary-", i),
			observations: func() (views []view) {
				for _, from := range []events.Endpoint{events.Interactions, events.Conversations} {
					views = append(views, view{from: from, fields: maps.Clone(by[from])})
				}
				return views
			},
			change: func(r *rand.Rand) {
				from := []events.Endpoint{events.Interactions, events.Conversations}[r.IntN(2)]
				by[from][[]string{"summary", "edited", "model"}[r.IntN(3)]] = pick(r)
			},
		})
	}
	for _, x := range all {
		x.seen = map[events.Endpoint]fields{}
	}
	return all
}

func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// observation makes of a view what a reader of pages makes of it.
func (x *thing) observation(r *rand.Rand, v view) events.Observation {
	s := events.Observation{Endpoint: v.from, Anchor: noon.Add(-2 * time.Hour), Rank: v.rank}
	switch x.name[:4] {
	case "feed":
		s.Event = &events.Feedback{Header: header(events.TypeFeedback, x.name), Response: null(v.fields["response"]), GivenBy: "AGENT"}
	case "step":
		s.Event = &events.PlaybookStep{Header: header(events.TypePlaybookStep, x.name), StageStatus: null(v.fields["status"])}
		s.Shared, s.Slack = true, 35*24*time.Hour
	case "summ":
		s.Event = &events.Summary{
			Header: header(events.TypeSummary, x.name), Summary: null(v.fields["summary"]),
			EditedSummary: null(v.fields["edited"]), SummaryModel: null(v.fields["model"]),
		}
		s.Shared, s.Slack = true, 48*time.Hour
		s.Anchor = s.Anchor.Add(time.Duration(r.IntN(48)-24) * time.Hour) // endpoints disagree
	}
	// The surroundings change all the time and are no news.
	s.Event.Head().SegmentID = str(fmt.Sprint("seg-", r.IntN(100)))
	if v.rank != 0 { // the segment is what the rank is of
		s.Event.Head().SegmentID = str(fmt.Sprint("seg-", v.rank))
	}
	s.Event.Head().Agent = &events.Agent{Name: str(fmt.Sprint("agent ", r.IntN(100)))}
	return s
}

// shown returns the fields of a published event.
func shown(e events.Event) fields {
	all := map[string]*string{}
	switch e := e.(type) {
	case *events.Feedback:
		all["response"] = e.Response
	case *events.PlaybookStep:
		all["status"] = e.StageStatus
	case *events.Summary:
		all["summary"], all["edited"], all["model"] = e.Summary, e.EditedSummary, e.SummaryModel
	}
	f := fields{}
	for name, value := range all {
		if value != nil {
			f[name] = *value
		}
	}
	return f
}

// TestRandomHistories reads things that change at random, in shuffled pages with repeats, through either endpoint, with
// upgrades in between; all that is remembered goes through its stored form. What is published is compared with what the
// things themselves say.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		d := newDesk(t)
		d.in.KeepObservations = true
		things := newThings(1 + r.IntN(3))
		published := map[string][]events.Event{}
		recipe := 1
		revise.SetRecipe(t, recipe)
		for range 40 {
			for range r.IntN(3) {
				things[r.IntN(len(things))].change(r)
			}
			if r.IntN(12) == 0 {
				recipe++
				revise.SetRecipe(t, recipe)
			}
			var page []events.Observation
			for _, i := range r.Perm(2 * len(things)) {
				x := things[i%len(things)]
				for _, v := range x.observations() {
					if r.IntN(3) > 0 {
						continue
					}
					x.read(v)
					page = append(page, x.observation(r, v))
				}
			}
			for _, o := range d.read(page...).Events {
				id := o.Event.Head().EntityID
				published[id] = append(published[id], o.Event)
			}
		}
		ids := map[string]bool{}
		for _, x := range things {
			var got []fields
			for i, e := range published[x.entityID()] {
				got = append(got, shown(e))
				require.EqualValues(t, i+1, e.Head().Revision, "seed %d, %s", seed, x.name)
				require.False(t, ids[e.Head().EventID], "seed %d, %s: event id twice", seed, x.name)
				ids[e.Head().EventID] = true
			}
			require.Equal(t, x.want, got, "seed %d, %s", seed, x.name)
		}
	}
}

func (x *thing) entityID() string {
	return x.observation(rand.New(rand.NewPCG(1, 1)), x.observations()[0]).Event.Head().EntityID
}

// TestMergingDoesNotDependOnTheOrder reads the same observations in every order: the last revision is the same.
func TestMergingDoesNotDependOnTheOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		things := newThings(1)
		x := things[2]
		for range 5 {
			x.change(r)
		}
		views := x.observations()
		var last []fields
		for _, order := range [][]view{{views[0], views[1]}, {views[1], views[0]}, {views[1], views[0], views[1]}} {
			d := newDesk(t)
			d.in.KeepObservations = true
			var published events.Event
			for _, v := range order {
				for _, o := range d.read(x.observation(r, v)).Events {
					published = o.Event
				}
			}
			last = append(last, shown(published))
		}
		require.Equal(t, last[0], last[1], "seed %d", seed)
		require.Equal(t, last[0], last[2], "seed %d", seed)
	}
}
