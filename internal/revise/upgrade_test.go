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
	older.keep(observation{events.Interactions, 1, events.ContentHash(interactions().Event, 1), encodeObservation(interactions().Event), false, false})
	older.keep(observation{events.Conversations, 1, events.ContentHash(conversations().Event, 1), encodeObservation(unread), false, false})

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
