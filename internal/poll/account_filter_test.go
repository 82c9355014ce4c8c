package poll_test

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// What a filter takes is published as ever, and nothing else is. A filter that takes more has everything read again, and nothing counts as
// complete until it has been; one that takes less does not.
func TestAccountWithFilter(t *testing.T) {
	testsize.Slow(t)
	for name, c := range map[string]struct {
		endpoint events.Endpoint
		profile  string
		filter   func(shown) poll.Filter
		less     func(poll.Filter) poll.Filter
	}{
		"interactions": {
			endpoint: events.Interactions, profile: "documented",
			filter: func(s shown) poll.Filter {
				return poll.Filter{Channels: []string{"chat", "voice"}, Agents: s.some(func(row shownRow) []string { return row.agents })}
			},
			less: func(f poll.Filter) poll.Filter { return poll.Filter{Channels: f.Channels[:1], Agents: f.Agents} },
		},
		"sessions": {
			endpoint: events.InteractionDetails, profile: "documented",
			filter: func(s shown) poll.Filter {
				return poll.Filter{Queues: s.some(func(row shownRow) []string { return row.queues })}
			},
			less: func(f poll.Filter) poll.Filter { return poll.Filter{Queues: f.Queues, Agents: []string{"nobody"}} },
		},
		"sessions by agent": {
			endpoint: events.CallDetails, profile: "records",
			filter: func(s shown) poll.Filter {
				return poll.Filter{Agents: s.some(func(row shownRow) []string { return row.agents })}
			},
			less: func(f poll.Filter) poll.Filter { return poll.Filter{Agents: f.Agents[1:]} },
		},
		"conversations": {
			endpoint: events.Conversations, profile: "documented",
			filter: func(shown) poll.Filter { return poll.Filter{Channels: []string{"chat"}} },
			less:   func(f poll.Filter) poll.Filter { return poll.Filter{Channels: f.Channels, Queues: []string{"none"}} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				profile, _ := koresim.ProfileNamed(c.profile)
				world := koresim.Config{
					Seed: 7, Start: now.Add(-2 * time.Hour), End: now.Add(10 * time.Minute), Bots: 1, SegmentsPerDay: 1000, EmailOpen: 30 * time.Minute, Profile: profile,
				}
				r := newRig(t, world, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{c.endpoint: {PollInterval: 30 * time.Second}}
					o.Policy.Tiers, o.Policy.ConversationTiers = quickTiers, quickTiers
				})
				filter := c.filter(rowsOf(r.sim.Ledger(world.End), c.endpoint))
				set := func(f poll.Filter) {
					s := r.options.Endpoints[c.endpoint]
					s.Filter = f
					r.options.Endpoints[c.endpoint] = s
				}
				now := func() status.Endpoint {
					s, _ := r.account.Status()
					return s.Endpoints[0]
				}
				set(filter)
				r.start()
				r.caughtUp(time.Hour)
				r.runFor(30*time.Minute, time.Minute, nil)
				all := r.sim.Ledger(r.sim.Now())
				r.compareWith(taken(all, rowsOf(all, c.endpoint), c.endpoint, filter), koresim.Scope{Settled: time.Now().Add(-20 * time.Minute)})
				published := len(r.topics.observed())
				require.NotNil(t, now().CompleteUpTo)
				if c.endpoint != events.Interactions { // there the API filters
					require.Positive(t, now().Filtered)
				}
				for _, w := range r.topics.watermarks {
					require.Contains(t, w.Basis, "; "+filter.String())
				}
				r.stop()

				set(c.less(filter))
				r.start()
				r.runFor(time.Minute, time.Minute, nil)
				require.NotNil(t, now().CompleteUpTo, "what is complete for a filter is so for one that takes less")
				r.stop()

				clear(r.topics.watermarks) // which begin again
				set(poll.Filter{})
				r.start()
				require.Nil(t, now().CompleteUpTo)
				r.caughtUp(time.Hour)
				r.runFor(30*time.Minute, time.Minute, nil)
				require.NotNil(t, now().CompleteUpTo)
				require.Greater(t, len(r.topics.observed()), published)
				r.compare(koresim.Scope{Settled: time.Now().Add(-20 * time.Minute)})
				r.stop()
			})
		})
	}
}

// shown is what the rows of an endpoint show of those who took part, by the id of the row.
type shown map[string]shownRow

type shownRow struct {
	channel        string
	queues, agents []string
}

// some returns a third of the names that rows have.
func (s shown) some(names func(shownRow) []string) []string {
	all := map[string]bool{}
	for _, row := range s {
		for _, name := range names(row) {
			all[name] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(all))
	return sorted[:max(2, len(sorted)/3)]
}

// rowsOf returns what the ledger knows of the rows of an endpoint.
func rowsOf(ledger iter.Seq[*koresim.Entry], e events.Endpoint) shown {
	out := shown{}
	for entry := range ledger {
		for _, v := range entry.Views {
			if v.Endpoint != e {
				continue
			}
			row := out[v.Row]
			row.channel = cmp.Or(row.channel, entry.Channel)
			if entry.AgentID != "" && (entry.Type == events.TypeSegment || entry.Type == events.TypeAgentEngagement) {
				row.agents = append(row.agents, entry.AgentID)
			}
			if ways, ok := v.Versions[len(v.Versions)-1].Fields["destinations"].([]any); ok {
				for _, way := range ways {
					if id := way.(koresim.Fields)["queue_id"]; id != nil {
						row.queues = append(row.queues, fmt.Sprint(id))
					}
				}
			}
			out[v.Row] = row
		}
	}
	return out
}

// taken returns what of the ledger rows of an endpoint show that a filter takes. What a session was before it got a queue or an agent is not
// taken.
func taken(ledger iter.Seq[*koresim.Entry], rows shown, e events.Endpoint, f poll.Filter) iter.Seq[*koresim.Entry] {
	overlap := func(wanted, values []string) bool {
		return len(wanted) == 0 || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(wanted, v) })
	}
	return func(yield func(*koresim.Entry) bool) {
		for entry := range ledger {
			part := *entry
			part.Views = slices.DeleteFunc(slices.Clone(entry.Views), func(v koresim.View) bool {
				row := rows[v.Row]
				return v.Endpoint != e || !overlap(f.Channels, []string{row.channel}) || !overlap(f.Queues, row.queues) || !overlap(f.Agents, row.agents)
			})
			if e.PerAccount() && entry.ConversationID == "" || len(part.Views) == 0 {
				continue
			}
			if !yield(&part) {
				return
			}
		}
	}
}

// An account is read without what the API refuses of selected fields and filters, and the status says so.
func TestAccountLeavesOutWhatTheAPIRefuses(t *testing.T) {
	testsize.Slow(t)
	inBubble(t, func(t *testing.T) {
		profile := koresim.Profiles()[0]
		profile.Refuses = []string{"userleveltags", "channels"}
		world := koresim.Config{Seed: 8, Start: now.Add(-time.Hour), End: now, Bots: 1, SegmentsPerDay: 1000, Profile: profile}
		r := newRig(t, world, func(o *poll.Options) {
			o.Endpoints = map[events.Endpoint]poll.EndpointOptions{
				events.Interactions:       {PollInterval: 30 * time.Second, Filter: poll.Filter{Channels: []string{"chat"}}},
				events.InteractionDetails: {PollInterval: 30 * time.Second},
			}
		})
		r.start()
		r.caughtUp(time.Hour)
		s, _ := r.account.Status()
		require.Equal(t, []string{"channels"}, s.Endpoints[0].LeftOut)
		require.Positive(t, s.Endpoints[0].Filtered)
		require.Equal(t, []string{"userleveltags"}, s.Endpoints[1].LeftOut)
		require.Nil(t, s.Endpoints[1].LastError)
		skills := false
		for _, o := range r.topics.observed() {
			skills = skills || o.Fields["skills"] != nil
			require.Empty(t, o.Fields["user_level_tags"])
		}
		require.True(t, skills, "what the API takes is still selected")
		r.stop()
	})
}
