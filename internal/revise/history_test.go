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
	"agentassist-poller/internal/privacy"
	"agentassist-poller/internal/revise"
)

// fields are the fields of an entity by name, empty for null.
type fields map[string]string

// thing is an entity upstream that changes over time, with the versions that must be published. It knows nothing of hashes or stored
// states: it compares fields.
type thing struct {
	name string
	// shows returns what each endpoint and parent shows of it now.
	shows  func() []row
	change func(r *rand.Rand)
	// visible is the last published version, nil before the first read.
	visible fields
	shown   map[events.Endpoint]fields // what each endpoint last showed
	rank    int64
	want    []fields // all versions to be published, in order
}

// row is what one endpoint and parent show of a thing.
type row struct {
	from events.Endpoint
	rank int64
	fields
}

// read notes what one row of a page shows of the thing.
func (x *thing) read(v row) {
	if v.rank < x.rank {
		return
	}
	x.rank = v.rank
	x.shown[v.from] = v.fields
}

// settle adds the version that must be published once a page is read, if any.
func (x *thing) settle() {
	merged := fields{}
	for _, from := range []events.Endpoint{events.Conversations, events.Interactions} { // the owner has the last word
		for name, value := range x.shown[from] {
			if value != "" {
				merged[name] = value
			}
		}
	}
	if len(x.shown) > 0 && (x.visible == nil || fmt.Sprint(merged) != fmt.Sprint(x.visible)) {
		x.visible = merged
		x.want = append(x.want, merged)
	}
}

// pick returns what a field may say, something new each time: what comes back again and again is not followed (see TestAlternation). At
// times it is so long that what is stored of the thing takes several parts.
func pick(r *rand.Rand) string {
	if r.IntN(300) == 0 {
		return fmt.Sprint("new ", r.Uint32(), long)
	}
	return fmt.Sprint("new ", r.Uint32())
}

var long = strings.Repeat("long ", bound.Entity/6)

// newThings returns n things of each kind: feedback that changes; playbook steps that several segments show, of which the newest counts;
// summaries that two endpoints show, each with a part of the fields.
func newThings(n int) []*thing {
	var all []*thing
	for i := range n {
		verdict := "a"
		all = append(all, &thing{
			name:   fmt.Sprint("feedback-", i),
			shows:  func() []row { return []row{{from: events.Interactions, fields: fields{"response": verdict}}} },
			change: func(r *rand.Rand) { verdict = pick(r) },
		})

		statuses := map[int64]string{100: "a"}
		all = append(all, &thing{
			name: fmt.Sprint("step-", i),
			shows: func() (rows []row) {
				for _, rank := range slices.Sorted(maps.Keys(statuses)) {
					rows = append(rows, row{events.Interactions, rank, fields{"status": statuses[rank]}})
				}
				return rows
			},
			change: func(r *rand.Rand) { statuses[100*int64(1+r.IntN(3))] = pick(r) },
		})

		by := map[events.Endpoint]fields{events.Interactions: {"summary": "a"}, events.Conversations: {"summary": "b"}}
		all = append(all, &thing{
			name: fmt.Sprint("summary-", i),
			shows: func() (rows []row) {
				for _, from := range []events.Endpoint{events.Interactions, events.Conversations} {
					rows = append(rows, row{from: from, fields: maps.Clone(by[from])})
				}
				return rows
			},
			change: func(r *rand.Rand) {
				from := []events.Endpoint{events.Interactions, events.Conversations}[r.IntN(2)]
				by[from][[]string{"summary", "edited"}[r.IntN(2)]] = []string{"", pick(r)}[r.IntN(2)]
				by[from]["model"] = pick(r)
			},
		})
	}
	for _, x := range all {
		x.shown = map[events.Endpoint]fields{}
	}
	return all
}

func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// observation returns the observation that package extract makes of a row.
func (x *thing) observation(r *rand.Rand, v row) events.Observation {
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
		s.Shared, s.Merged, s.Slack = true, true, 48*time.Hour
		s.Anchor = s.Anchor.Add(time.Duration(r.IntN(48)-24) * time.Hour) // endpoints disagree
	}
	// Fields that are not content change all the time and are no news.
	s.Event.Head().SegmentID = str(fmt.Sprint("seg-", r.IntN(100)))
	if v.rank != 0 { // the rank is that of the segment
		s.Event.Head().SegmentID = str(fmt.Sprint("seg-", v.rank))
		s.Parent = *s.Event.Head().SegmentID
	}
	s.Event.Head().Agent = &events.Agent{Name: str(fmt.Sprint("agent ", r.IntN(100)))}
	return s
}

// fieldsOf returns the fields of a published event.
func fieldsOf(e events.Event) fields {
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

// TestRandomHistories reads things that change at random, in shuffled pages with repeats, through either endpoint, with upgrades in between.
// Every state goes through its stored form. The published events must be the versions that the things themselves name.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(200) {
		randomHistory(t, seed, func(*revise.Input, *rand.Rand) {}, func(f fields) fields { return f })
	}
}

// What is concealed makes the same revisions: another text is another version, and where it is masked that shows by the revision alone. To mask
// and to drop may take turns.
func TestRandomHistoriesConcealed(t *testing.T) {
	policies := []*privacy.Policy{policy(t, privacy.Config{Text: "mask"}), policy(t, privacy.Config{Text: "drop", Name: "hash"})}
	for seed := range uint64(50) {
		randomHistory(t, seed, func(in *revise.Input, r *rand.Rand) { in.Privacy = policies[r.IntN(2)] }, func(f fields) fields {
			f = maps.Clone(f)
			for _, name := range []string{"summary", "edited"} {
				delete(f, name)
			}
			return f
		})
	}
}

// randomHistory plays a history. set sets what a poller is configured to do before each page, and public returns what is compared of a version.
func randomHistory(t *testing.T, seed uint64, set func(*revise.Input, *rand.Rand), public func(fields) fields) {
	r := rand.New(rand.NewPCG(seed, 1))
	d := newHarness(t)
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
			for _, v := range x.shows() {
				if r.IntN(3) > 0 {
					continue
				}
				x.read(v)
				page = append(page, x.observation(r, v))
			}
		}
		for _, x := range things {
			x.settle()
		}
		set(&d.in, r)
		for _, o := range d.read(page...).Events {
			id := o.Event.Head().EntityID
			published[id] = append(published[id], o.Event)
		}
	}
	ids := map[string]bool{}
	for _, x := range things {
		var got, want []fields
		for _, f := range x.want {
			want = append(want, public(f))
		}
		for i, e := range published[x.entityID()] {
			got = append(got, public(fieldsOf(e)))
			require.EqualValues(t, i+1, e.Head().Revision, "seed %d, %s", seed, x.name)
			require.False(t, ids[e.Head().EventID], "seed %d, %s: event id twice", seed, x.name)
			ids[e.Head().EventID] = true
		}
		require.Equal(t, want, got, "seed %d, %s", seed, x.name)
	}
}

func (x *thing) entityID() string {
	return x.observation(rand.New(rand.NewPCG(1, 1)), x.shows()[0]).Event.Head().EntityID
}

// TestMergingDoesNotDependOnTheOrder reads the same observations in every order: the last revision is always the same.
func TestMergingDoesNotDependOnTheOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		things := newThings(1)
		x := things[2]
		for range 5 {
			x.change(r)
		}
		rows := x.shows()
		var last []fields
		for _, order := range [][]row{{rows[0], rows[1]}, {rows[1], rows[0]}, {rows[1], rows[0], rows[1]}} {
			d := newHarness(t)
			d.in.KeepObservations = true
			var published events.Event
			for _, v := range order {
				for _, o := range d.read(x.observation(r, v)).Events {
					published = o.Event
				}
			}
			last = append(last, fieldsOf(published))
		}
		require.Equal(t, last[0], last[1], "seed %d", seed)
		require.Equal(t, last[0], last[2], "seed %d", seed)
	}
}
