package revise_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
)

// forget forgets the entity of an observation, and returns whether there was anything to forget.
func (d *harness) forget(o events.Observation) bool {
	d.t.Helper()
	hash, err := revise.HashOf(o.Event.Head().EntityID)
	require.NoError(d.t, err)
	for key, value := range d.store {
		if key.Hash != hash {
			continue
		}
		puts, err := revise.Forget(d.store, o.Event.EventType(), key, value)
		require.NoError(d.t, err)
		for _, put := range puts {
			d.store[put.Key] = put.Value
		}
		return puts != nil
	}
	require.FailNow(d.t, "the entity is not stored")
	return false
}

// What was forgotten is remembered by its hashes: it is no news where it is shown as it was, and what changes is the next revision.
func TestForget(t *testing.T) {
	long := "says all " + strings.Repeat("and more ", bound.Entity/4)
	for name, text := range map[string]string{"small": "says all", "in parts": long} {
		t.Run(name, func(t *testing.T) {
			d := newHarness(t)
			d.in.KeepObservations = true
			from := func(e events.Endpoint, edited *string) events.Observation {
				if e == events.Conversations {
					return summary(e, "s", nil, edited)
				}
				return summary(e, "s", &text, edited)
			}
			d.read(from(events.Interactions, nil), from(events.Conversations, str("corrected")), comment("a", "slow"))
			require.True(t, d.stores("says all"))

			require.True(t, d.forget(from(events.Interactions, nil)))
			require.False(t, d.stores("says all"))
			require.False(t, d.stores("corrected"))
			require.False(t, d.forget(from(events.Interactions, nil)), "there is nothing more to forget")
			require.False(t, d.forget(comment("a", "")), "of what one row shows there are no texts")

			d.quiet(from(events.Interactions, nil))
			require.False(t, d.stores("says all"), "after re-reading")
			d.quiet(from(events.Conversations, str("corrected")))
			got := d.one(from(events.Conversations, str("corrected again"))).Event
			require.EqualValues(t, 2, got.Head().Revision)
			require.Equal(t, "corrected again", *got.(*events.Summary).EditedSummary)
			require.Nil(t, got.(*events.Summary).Summary, "forgotten, although interactions still show it")
			d.quiet(from(events.Interactions, nil))
		})
	}
}

func TestForgetRefusesWhatItCannotRead(t *testing.T) {
	_, err := revise.Forget(mapStore{}, events.TypeSummary, checkpoint.Key{}, []byte("nonsense"))
	require.ErrorContains(t, err, "read stored entity")
}
