package revise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
)

// single is a store of one entity.
type single struct{ value []byte }

func (m *single) Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error {
	out[0] = checkpoint.Found{Known: m.value != nil, Key: probes[0].Key, Value: m.value}
	return nil
}

// TestUpgradeThatReadsMoreFields starts with the state of an older build, which did not read edited_summary. The summary is shown by two
// endpoints. The observations of that build lack the field; their hashes, under its recipe, are the same with the field as without.
func TestUpgradeThatReadsMoreFields(t *testing.T) {
	SetRecipe(t, 2)
	text, edited, changed := "text", "edited", "changed"
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	observed := func(from events.Endpoint, text, edited *string) events.Observation {
		s := &events.Summary{Summary: text, EditedSummary: edited}
		s.EntityID, s.EventTime, s.SegmentID = events.EntityID("account", "bot", events.TypeSummary, "1"), at, &changed
		return events.Observation{Event: s, Endpoint: from, Anchor: at, Shared: true, Merged: true}
	}
	interactions := func() events.Observation { return observed(events.Interactions, &text, nil) }
	conversations := func() events.Observation { return observed(events.Conversations, &text, &edited) }

	unread := observed(events.Conversations, &text, nil).Event
	older := state{revision: 1, recipe: 1, hash: events.ContentHash(unread, 1), key: "seg"}
	older.keep(observation{place: place{endpoint: events.Interactions}, recipe: 1, hash: events.ContentHash(interactions().Event, 1), body: encodeObservation(interactions().Event)})
	older.keep(observation{place: place{endpoint: events.Conversations}, recipe: 1, hash: events.ContentHash(conversations().Event, 1), body: encodeObservation(unread)})

	for name, order := range map[string][]func() events.Observation{
		"the endpoint with the field first": {conversations, interactions},
		"the endpoint with the field last":  {interactions, conversations},
	} {
		t.Run(name, func(t *testing.T) {
			m := &single{value: older.encode()}
			read := func(s events.Observation) *Result {
				result, err := Decide(Input{
					Observations: []events.Observation{s}, ShownAt: at, KeepObservations: true,
					LastRead: func(*events.Observation) time.Time { return time.Time{} },
				}, m)
				require.NoError(t, err)
				for _, put := range result.Puts {
					m.value = put.Value
				}
				return result
			}
			for range 2 {
				for _, s := range order {
					require.Empty(t, read(s()).Events)
				}
			}
			news := read(observed(events.Interactions, &changed, nil)).Events
			require.Len(t, news, 1)
			require.Equal(t, "edited", *news[0].Event.(*events.Summary).EditedSummary)
		})
	}
}

// TestUpgradeToPlaces starts with states of a build that did not store which row showed an entity, or only that of a run.
func TestUpgradeToPlaces(t *testing.T) {
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	text, edited, segment, older := "text", "edited", "ac-2", "ac-1"
	summary := func(from events.Endpoint, edited *string) events.Observation {
		s := &events.Summary{Summary: &text, EditedSummary: edited}
		s.EntityID, s.EventTime, s.SegmentID = events.EntityID("account", "bot", events.TypeSummary, "1"), at, &segment
		return events.Observation{Event: s, Endpoint: from, Anchor: at, Shared: true, Merged: true, Parent: segment + string(from), Rank: events.Rank(at, nil)}
	}
	step := func(segment, status string, start time.Time) events.Observation {
		s := &events.PlaybookStep{StageStatus: &status}
		s.EntityID, s.EventTime, s.SegmentID = events.EntityID("account", "bot", events.TypePlaybookStep, "1"), at, &segment
		return events.Observation{Event: s, Endpoint: events.Interactions, Anchor: at, Shared: true, Parent: segment, Rank: events.Rank(start, nil)}
	}
	inPlace := func(o events.Observation) observation {
		return observation{place: place{endpoint: o.Endpoint}, recipe: recipe(), hash: events.ContentHash(o.Event, recipe()), body: encodeObservation(o.Event)}
	}
	merged := events.Merge(summary(events.Interactions, nil).Event, events.Interactions, summary(events.Conversations, &edited).Event, events.Conversations)
	newest := func() events.Observation { return step(segment, "CLOSED", at.Add(time.Minute)) }
	for name, c := range map[string]struct {
		stored state
		keep   bool
		reads  []func() events.Observation
		change events.Observation
	}{
		"two endpoints": {
			state{revision: 2, recipe: recipe(), hash: events.ContentHash(merged, recipe()), key: "key", observations: []observation{
				inPlace(summary(events.Interactions, nil)), inPlace(summary(events.Conversations, &edited))}},
			true,
			[]func() events.Observation{
				func() events.Observation { return summary(events.Conversations, &edited) },
				func() events.Observation { return summary(events.Interactions, nil) },
			},
			summary(events.Conversations, &text),
		},
		"one endpoint": {
			state{revision: 2, recipe: recipe(), hash: events.ContentHash(summary(events.Interactions, nil).Event, recipe())},
			false,
			[]func() events.Observation{func() events.Observation { return summary(events.Interactions, nil) }},
			summary(events.Interactions, &text),
		},
		"a run": {
			state{revision: 2, recipe: recipe(), hash: events.ContentHash(newest().Event, recipe()), rank: newest().Rank, parent: hashID(segment)},
			false,
			[]func() events.Observation{func() events.Observation { return step(older, "OPEN", at) }, newest},
			step(segment, "OPEN", at.Add(time.Minute)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &single{value: c.stored.encode()}
			read := func(o events.Observation) *Result {
				result, err := Decide(Input{
					Observations: []events.Observation{o}, ShownAt: at, KeepObservations: c.keep,
					LastRead: func(*events.Observation) time.Time { return time.Time{} },
				}, m)
				require.NoError(t, err)
				require.Zero(t, result.Unreadable)
				for _, put := range result.Puts {
					m.value = put.Value
				}
				return result
			}
			for n := range 3 {
				for _, o := range c.reads {
					result := read(o())
					require.Empty(t, result.Events)
					require.True(t, n == 0 || len(result.Puts) == 0, "read %d", n)
				}
			}
			result := read(c.change)
			require.Len(t, result.Events, 1)
			require.EqualValues(t, 3, result.Events[0].Event.Head().Revision)
		})
	}
}
