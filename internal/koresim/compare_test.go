package koresim_test

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

// publisher is a poller that knows the ledger: it publishes the versions that a reader at given times would have seen.
type publisher struct {
	records []koresim.Observed
	offsets map[string]int64
}

func (p *publisher) put(topic, key string, fields map[string]any) {
	if p.offsets == nil {
		p.offsets = map[string]int64{}
	}
	p.records = append(p.records, koresim.Observed{Topic: topic, Key: key, Offset: p.offsets[topic], Fields: fields})
	p.offsets[topic]++
}

// publish writes all versions of all entries, as far as they can be read at now.
func (p *publisher) publish(entries iter.Seq[*koresim.Entry], now time.Time) {
	ordinal := map[string]int{}
	for e := range entries {
		name := string(e.Type) + e.Key
		ordinal[name]++
		entity := fmt.Sprint(name, "#", ordinal[name])
		identity := identityOf(e)
		revision, negative := int64(0), false
		for _, fields := range history(e, now) {
			revision++
			event := map[string]any{
				"event_id": fmt.Sprint(entity, revision), "entity_id": entity, "revision": revision,
				"account_id": e.AccountID, "bot_id": e.BotID, "conversation_id": e.ConversationID,
			}
			if len(e.EventTimes) > 0 {
				event["event_time"] = e.EventTimes[0]
			}
			maps.Copy(event, identity)
			maps.Copy(event, fields)
			for _, own := range []string{"execution_start_time", "display_time", "used_time", "dialog_start_time", "triggered_at", "adhered_at", "requested_at"} {
				if at, ok := fields[own]; ok {
					event["event_time"] = at
					break
				}
			}
			p.put("x."+string(e.Type), e.KafkaKey, event)
			if negative = negative || event["sentiment"] == "NEGATIVE"; negative {
				p.put("x.feedback-negative", e.KafkaKey, event)
			}
			if e.Superseded != 0 && fields["superseded_by"] != nil {
				break
			}
		}
	}
}

// history returns the contents of an entry in the order in which they could be read, as one who always reads everything
// would merge them.
func history(e *koresim.Entry, now time.Time) (list []koresim.Fields) {
	var times []time.Time
	gone := false
	for _, v := range e.Views {
		for _, version := range v.Versions {
			times = append(times, version.Visible)
		}
		gone = gone || !v.Gone.IsZero() && !v.Gone.After(now)
	}
	slices.SortFunc(times, time.Time.Compare)
	for _, t := range times {
		if t.After(now) {
			break
		}
		merged := koresim.Fields{}
		for _, v := range e.Views {
			for i := len(v.Versions) - 1; i >= 0; i-- {
				if version := v.Versions[i]; !version.Visible.After(t) {
					if e.Type == events.TypePlaybookStep || e.Type == events.TypeCoachingTriggered {
						merged = maps.Clone(version.Fields) // a later row counts alone
					}
					maps.Copy(merged, version.Fields)
					break
				}
			}
		}
		if n := len(list); n > 0 && list[n-1]["session_id"] != nil && e.Type != events.TypeSegment {
			merged["session_id"] = list[n-1]["session_id"] // which one is known first does not change what happened
		}
		if n := len(list); n == 0 || fmt.Sprint(list[n-1]) != fmt.Sprint(merged) {
			list = append(list, merged)
		}
	}
	if gone {
		last := maps.Clone(list[len(list)-1])
		last["superseded_by"] = "another"
		list = append(list, last)
	}
	return list
}

// identityOf undoes KeyOf.
func identityOf(e *koresim.Entry) map[string]any {
	parts := strings.Split(e.Key, "|")
	out := map[string]any{}
	set := func(names ...string) {
		for i, name := range names {
			if i < len(parts) && parts[i] != "" {
				out[name] = parts[i]
			}
		}
	}
	switch e.Type {
	case events.TypeSegment:
		set("segment_id")
	case events.TypeSearch, events.TypeSuggestionShown:
		if len(parts) > 1 {
			set("segment_id")
		}
	case events.TypeSuggestionUsed:
		if len(parts) > 1 {
			set("segment_id")
		}
	case events.TypeConversation:
		set("session_id")
		if e.ConversationID == "" {
			out["channel"] = parts[1]
		}
	case events.TypeAgentEngagement:
		set("session_id")
		out["queue"], out["agent"] = map[string]any{"queue_id": parts[2]}, map[string]any{"agent_id": parts[3]}
	case events.TypeFeedback:
		switch parts[1] {
		case "Conversation":
			set("", "", "session_id")
		case "Widget":
			out["agent"] = map[string]any{"agent_id": parts[3]}
		case "Agentic", "Summary":
			if strings.HasPrefix(parts[2], "ac-") {
				set("", "", "segment_id", "position_id")
			} else {
				out["agent"] = map[string]any{"agent_id": parts[3]}
			}
		default:
			set("", "", "segment_id", "target_name")
		}
	}
	return out
}

func ledgerOf(t *testing.T, p koresim.Profile) (*koresim.Server, time.Time) {
	c := newClient(t, koresim.Config{Seed: 11, Profile: p, SegmentsPerDay: 50, End: start.Add(24 * time.Hour), EmailOpen: 3 * time.Hour})
	c.now = start.Add(80 * time.Hour)
	return c.s, c.now
}

func TestCompareAcceptsWhatIsRight(t *testing.T) {
	for _, p := range profiles() {
		t.Run(p.Name, func(t *testing.T) {
			s, now := ledgerOf(t, p)
			var pub publisher
			pub.publish(s.Ledger(now), now)
			r := koresim.Compare(s.Ledger(now), pub.records, koresim.Scope{From: start, To: now, Settled: now, Now: now})
			require.True(t, r.OK(), r)
			require.Equal(t, r.Expected, r.Found)
			for _, kind := range events.Types() {
				require.NotZero(t, r.ByType[kind].Expected, kind)
			}
		})
	}
}

// Of what no record holds nothing may come, and nothing need come of a row that is too large.
func TestCompareOfWhatIsTooLarge(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 11, SegmentsPerDay: 50, End: start.Add(24 * time.Hour), EmailOpen: 3 * time.Hour, TooLarge: 0.5})
	now := start.Add(80 * time.Hour)
	c.now = now
	some := func(want func(*koresim.Entry) bool) iter.Seq[*koresim.Entry] {
		return func(yield func(*koresim.Entry) bool) {
			for e := range c.s.Ledger(now) {
				if want(e) && !yield(e) {
					return
				}
			}
		}
	}
	compare := func(published iter.Seq[*koresim.Entry]) *koresim.Report {
		var pub publisher
		pub.publish(published, now)
		return koresim.Compare(c.s.Ledger(now), pub.records, koresim.Scope{From: start, To: now, Settled: now, Now: now})
	}
	readable := func(e *koresim.Entry) bool {
		return slices.ContainsFunc(e.Views, func(v koresim.View) bool { return !v.Unreadable })
	}
	r := compare(some(readable))
	require.True(t, r.OK(), r)
	r = compare(some(func(e *koresim.Entry) bool { return !e.TooLarge }))
	require.True(t, r.OK(), r)
	r = compare(c.s.Ledger(now))
	require.Contains(t, strings.Join(r.Wrong, "\n"), "too large to be published")

	sizes := map[string]int{}
	for e := range c.s.Ledger(now) {
		text, _ := e.Views[0].Versions[0].Fields["summary"].(string)
		switch {
		case len(e.ConversationID) > 400_000:
			require.True(t, e.TooLarge)
			sizes["id"]++
		case e.TooLarge:
			require.Equal(t, events.TypeSummary, e.Type)
			require.Greater(t, len(text), 1<<20)
			sizes["summary"]++
		case !readable(e):
			sizes["row"]++
		case len(text) > 200_000:
			sizes["page"]++
		}
	}
	for _, kind := range []string{"id", "summary", "row", "page"} {
		require.NotZero(t, sizes[kind], kind)
	}
}

// In place of some rows there is something that nobody can read. Nothing need come of them.
func TestOddRows(t *testing.T) {
	for _, profile := range koresim.Profiles() {
		c := newClient(t, koresim.Config{Seed: 12, SegmentsPerDay: 100, End: start.Add(24 * time.Hour), Profile: profile, Odd: 0.5})
		now := start.Add(80 * time.Hour)
		c.now = now
		var readable []*koresim.Entry
		hidden := map[events.Endpoint]int{}
		for e := range c.s.Ledger(now) {
			some := false
			for _, v := range e.Views {
				if some = some || !v.Unreadable; v.Unreadable {
					hidden[v.Endpoint]++
				}
			}
			if some {
				readable = append(readable, e)
			}
		}
		require.Len(t, hidden, len(events.Endpoints()), profile.Name)
		var pub publisher
		pub.publish(slices.Values(readable), now)
		r := koresim.Compare(c.s.Ledger(now), pub.records, koresim.Scope{From: start, To: now, Settled: now, Now: now})
		require.True(t, r.OK(), "%s: %s", profile.Name, r)
	}
}

func TestCompareFindsFaults(t *testing.T) {
	s, now := ledgerOf(t, koresim.Profiles()[0])
	var pub publisher
	pub.publish(s.Ledger(now), now)
	// last is the index of the last event of an entity with several revisions on a topic.
	last := func(topic string, revisions int64) int {
		for i := range pub.records {
			r := &pub.records[i]
			if r.Topic != topic || r.Fields["revision"] != revisions {
				continue
			}
			if !slices.ContainsFunc(pub.records, func(o koresim.Observed) bool {
				return o.Topic == topic && o.Fields["entity_id"] == r.Fields["entity_id"] && o.Fields["revision"] == revisions+1
			}) {
				return i
			}
		}
		t.Fatalf("no entity with %d revisions on %s", revisions, topic)
		return 0
	}
	change := func(records []koresim.Observed, i int, name string, v any) []koresim.Observed {
		records[i].Fields = maps.Clone(records[i].Fields)
		records[i].Fields[name] = v
		return records
	}
	type list = []koresim.Observed
	cases := map[string]struct {
		spoil                 func(list) list
		lost, repeated, wrong string
	}{
		"event missing": {
			spoil: func(l list) list { return slices.Delete(l, last("x.message", 1), last("x.message", 1)+1) },
			lost:  "message",
		},
		"last version missing": {
			spoil: func(l list) list {
				i := last("x.coaching-triggered", 2)
				return slices.Delete(l, i, i+1)
			},
			lost: "last version: ",
		},
		"published twice": {
			spoil:    func(l list) list { return append(l, l[last("x.search", 1)]) },
			repeated: "event_id",
		},
		"same content again": {
			spoil: func(l list) list {
				again := l[last("x.search", 1)]
				again.Offset += 1000
				again.Fields = maps.Clone(again.Fields)
				again.Fields["event_id"], again.Fields["revision"] = "again", int64(2)
				return append(l, again)
			},
			repeated: "says the same",
		},
		"revision left out": {
			spoil: func(l list) list { return change(l, last("x.coaching-triggered", 2), "revision", int64(3)) },
			wrong: "revision 3 where 2 was due",
		},
		"order on the topic": {
			spoil: func(l list) list {
				l[last("x.coaching-triggered", 2)].Offset = -1
				return l
			},
			wrong: "is before revision 1",
		},
		"another key": {
			spoil: func(l list) list {
				l[last("x.coaching-triggered", 2)].Key = "other"
				return l
			},
			wrong: "key",
		},
		"content that never was": {
			spoil: func(l list) list { return change(l, last("x.search", 1), "search_phrase", "forged") },
			wrong: "never was: search_phrase is forged",
		},
		"thing that never was": {
			spoil: func(l list) list {
				return change(change(l, last("x.message", 1), "message_id", "ms-0"), last("x.message", 1), "event_id", "e0")
			},
			lost: "message", wrong: "no such thing",
		},
		"another account": {
			spoil: func(l list) list { return change(l, last("x.message", 1), "account_id", "a") },
			wrong: `account_id "a"`,
		},
		"event time": {
			spoil: func(l list) list { return change(l, last("x.message", 1), "event_time", now) },
			wrong: "event_time",
		},
		"negative copy missing": {
			spoil: func(l list) list {
				i := slices.IndexFunc(l, func(o koresim.Observed) bool { return o.Topic == "x.feedback-negative" })
				return slices.Delete(l, i, i+1)
			},
			lost: "is not on feedback-negative",
		},
		"negative copy of praise": {
			spoil: func(l list) list {
				i := slices.IndexFunc(l, func(o koresim.Observed) bool {
					return o.Topic == "x.feedback" && o.Fields["sentiment"] == "POSITIVE" && o.Fields["revision"] == int64(1)
				})
				praise := l[i]
				praise.Topic = "x.feedback-negative"
				return append(l, praise)
			},
			wrong: "has no place on feedback-negative",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := koresim.Compare(s.Ledger(now), tc.spoil(slices.Clone(pub.records)), koresim.Scope{From: start, To: now, Settled: now, Now: now})
			check := func(what, want string, got []string) {
				if want == "" {
					require.Empty(t, got, "%s: %s", what, r)
					return
				}
				require.NotEmpty(t, got, "%s: %s", what, r)
				require.Contains(t, strings.Join(got, "\n"), want)
			}
			check("lost", tc.lost, r.Lost)
			check("repeated", tc.repeated, r.Repeated)
			check("wrong", tc.wrong, r.Wrong)
		})
	}
}

// What changed after Settled need not be there, and what is outside of the window need not either.
func TestCompareAllowsForWhatIsUnderWay(t *testing.T) {
	s, now := ledgerOf(t, koresim.Profiles()[0])
	half := start.Add(12 * time.Hour)
	var pub publisher
	pub.publish(s.Ledger(half), half)
	r := koresim.Compare(s.Ledger(now), pub.records, koresim.Scope{From: start, To: now, Settled: half, Now: now})
	require.True(t, r.OK(), r)
	r = koresim.Compare(s.Ledger(now), pub.records, koresim.Scope{From: start, To: now, Settled: now, Now: now})
	require.NotEmpty(t, r.Lost)
	require.Empty(t, r.Wrong)
	r = koresim.Compare(s.Ledger(now), nil, koresim.Scope{From: now, To: now.Add(time.Hour), Settled: now, Now: now})
	require.True(t, r.OK(), r)
}

// A thing that two endpoints show loses a field after all had to be settled: that may have been read already, or not yet.
func TestCompareAllowsForAFieldThatIsDropped(t *testing.T) {
	s, now := ledgerOf(t, koresim.Profiles()[0])
	settled := now.Add(-time.Hour)
	dropped := 0
	for e := range s.Ledger(settled) {
		i, field := ownField(e)
		if i < 0 || e.Superseded != 0 {
			continue
		}
		dropped++
		v := &e.Views[i]
		without := maps.Clone(v.Versions[len(v.Versions)-1].Fields)
		delete(without, field)
		v.Versions = append(slices.Clone(v.Versions), koresim.Version{Visible: now.Add(-time.Minute), Fields: without})
		for _, read := range []time.Time{settled, now} {
			p := &publisher{}
			p.publish(slices.Values([]*koresim.Entry{e}), read)
			report := koresim.Compare(slices.Values([]*koresim.Entry{e}), p.records, koresim.Scope{
				From: now.Add(-365 * 24 * time.Hour), To: now, Now: now, Settled: settled, Endpoints: events.Endpoints(),
			})
			require.True(t, report.OK(), "%s read at %v: %s", field, read, report)
		}
		if dropped == 20 {
			return
		}
	}
	require.Positive(t, dropped)
}

// Feedback that was readable at the stop, and was taken back before it was read, need not be published. While it stands it must be.
func TestCompareAllowsForFeedbackThatNobodyRead(t *testing.T) {
	s, now := ledgerOf(t, koresim.Profiles()[0])
	found := 0
	for e := range s.Ledger(now) {
		if e.Type != events.TypeFeedback || len(e.Views) != 1 {
			continue
		}
		found++
		v := &e.Views[0]
		gone := maps.Clone(v.Versions[0].Fields)
		gone["sentiment"] = "WITHDRAWN"
		stopped := v.Versions[0].Visible.Add(time.Second)
		v.Versions = append(v.Versions[:1:1], koresim.Version{Visible: stopped.Add(time.Second), Fields: gone})
		compare := func(read time.Time) *koresim.Report {
			return koresim.Compare(slices.Values([]*koresim.Entry{e}), nil, koresim.Scope{
				From: now.Add(-365 * 24 * time.Hour), To: now, Settled: stopped, Now: read, Endpoints: events.Endpoints(),
			})
		}
		require.True(t, compare(stopped.Add(time.Second)).OK())
		require.Len(t, compare(stopped).Lost, 1)
	}
	require.Positive(t, found)
}

// Of two endpoints that show feedback, one is read for the first time after it was taken back: it adds nothing to what the other said.
func TestCompareAllowsForARowThatNeverShowedIt(t *testing.T) {
	s, now := ledgerOf(t, koresim.Profiles()[0])
	found := 0
	for e := range s.Ledger(now) {
		late, field := ownField(e)
		if late < 0 || e.Type != events.TypeFeedback || slices.ContainsFunc(e.Views, func(v koresim.View) bool {
			return v.Versions[len(v.Versions)-1].Fields["sentiment"] == "WITHDRAWN"
		}) {
			continue
		}
		found++
		for i := range e.Views {
			v := &e.Views[i]
			gone := maps.Clone(v.Versions[len(v.Versions)-1].Fields)
			gone["sentiment"] = "WITHDRAWN"
			for _, said := range []string{"response", "comment_text", "reason_codes"} {
				delete(gone, said)
			}
			v.Versions = []koresim.Version{v.Versions[len(v.Versions)-1], {Visible: now.Add(-time.Minute), Fields: gone}}
		}
		read := *e
		read.Views = []koresim.View{e.Views[1-late]}
		compare := func(published *koresim.Entry) *koresim.Report {
			p := &publisher{}
			p.publish(slices.Values([]*koresim.Entry{published}), now)
			return koresim.Compare(slices.Values([]*koresim.Entry{e}), p.records, koresim.Scope{
				From: now.Add(-365 * 24 * time.Hour), To: now, Now: now, Settled: now, Endpoints: events.Endpoints(),
			})
		}
		require.True(t, compare(&read).OK(), "%s: %s", field, compare(&read))
		for i := range e.Views {
			e.Views[i].Versions = e.Views[i].Versions[:len(e.Views[i].Versions)-1]
		}
		read.Views = []koresim.View{e.Views[1-late]}
		require.Contains(t, strings.Join(compare(&read).Lost, ""), field, "it was not taken back: whoever reads the row sees it")
	}
	require.Positive(t, found)
}

// ownField returns a view of a shared entry, and a field that only it has and has in its last version. The view is negative if
// there is none.
func ownField(e *koresim.Entry) (view int, field string) {
	if len(e.Views) != 2 || e.Views[0].Endpoint == e.Views[1].Endpoint || !e.Views[0].Gone.IsZero() || !e.Views[1].Gone.IsZero() {
		return -1, ""
	}
	for i, v := range e.Views {
		other := e.Views[1-i].Versions
		for _, k := range slices.Sorted(maps.Keys(v.Versions[len(v.Versions)-1].Fields)) {
			if !slices.ContainsFunc(other, func(o koresim.Version) bool { _, has := o.Fields[k]; return has }) {
				return i, k
			}
		}
	}
	return -1, ""
}
