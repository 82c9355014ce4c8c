package poll_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/revise"
)

// samples are the pages of the documentation, with ids as upstream makes them and with ids that tell nothing of a time.
var samples = map[string]events.Endpoint{
	"raw-data-v2":            events.Interactions,
	"raw-data-v2-earlier":    events.Interactions,
	"aaconversation":         events.Conversations,
	"interaction-details-v2": events.InteractionDetails,
	"call-details-v1":        events.CallDetails,
}

// Upstream may correct any time. What was published stays what it was: no entity begins again with revision 1, and no event id is
// used twice, whichever time of the samples moves, however far, and moves back.
func TestMovedTimes(t *testing.T) {
	moves := map[string]func(time.Time) time.Time{
		"a second on":   func(t time.Time) time.Time { return t.Add(time.Second) },
		"a minute back": func(t time.Time) time.Time { return t.Add(-time.Minute) },
		"a day on":      func(t time.Time) time.Time { return t.AddDate(0, 0, 1) },
		"a month back":  func(t time.Time) time.Time { return t.AddDate(0, -1, 0) },
	}
	for name, endpoint := range samples {
		body, err := os.ReadFile(filepath.Join("../extract/testdata", name+".json"))
		require.NoError(t, err)
		for ids, body := range map[string]string{"": string(body), " with object ids": withObjectIDs(string(body))} {
			t.Run(name+ids, func(t *testing.T) {
				r := newReader(t, endpoint, inCheckpoint(t))
				require.NotEmpty(t, r.read("as it is", body))
				times := timesOf(t, body)
				require.NotEmpty(t, times)
				for _, path := range times {
					for what, move := range moves {
						r.read(path+" "+what, moved(t, body, move, path))
						r.read(path+" as it was", body)
					}
				}
				for what, move := range moves {
					r.read("all times "+what, moved(t, body, move, times...))
				}
			})
		}
	}
}

// withObjectIDs makes of ids that the samples mask ids as they are: with the time of the object in them.
func withObjectIDs(body string) string {
	for i := range len(body) - 28 {
		if id := body[i+1 : i+25]; body[i] == '"' && body[i+25] == '"' && strings.HasSuffix(id, "x") && strings.Trim(id, "0123456789abcdefx") == "" {
			body = body[:i+1] + strings.ReplaceAll(id, "x", "0") + body[i+25:]
		}
	}
	return body
}

// reader reads pages of one endpoint, one after the other, as an account does.
type reader struct {
	t     *testing.T
	scope extract.Scope
	*published
}

// published is what was published, and what is stored of it.
type published struct {
	store  revise.Store
	commit func(*revise.Result, time.Time)
	at     time.Time
	begun  map[string]string // entity ids, and when they were published as revision 1
	events map[string]string // event ids likewise
	last   map[string]string // the content that was published last, by entity
}

func newReader(t *testing.T, e events.Endpoint, p *published) *reader {
	s := extract.Scope{Source: "test", AccountID: "account", Endpoint: e}
	if !e.PerAccount() {
		s.BotID = "st-1"
	}
	return &reader{t: t, scope: s, published: p}
}

func nothingPublished() *published {
	return &published{at: now, begun: map[string]string{}, events: map[string]string{}, last: map[string]string{}}
}

// inCheckpoint returns what is published with a checkpoint store.
func inCheckpoint(t *testing.T) *published {
	p, store := nothingPublished(), checkpointtest.Open(t)
	p.store = lookups(func(probes []checkpoint.Probe, out []checkpoint.Found) error {
		return store.Lookup("account", probes, out)
	})
	p.commit = func(r *revise.Result, at time.Time) {
		require.NoError(t, store.Commit(checkpoint.Changes{Account: "account", ReadAt: at, Puts: r.Puts, Touched: r.Touched}))
	}
	return p
}

// inMemory returns what is published with a store in memory.
func inMemory() *published {
	p, m := nothingPublished(), memory{}
	p.store = m
	p.commit = func(r *revise.Result, _ time.Time) {
		for _, put := range r.Puts {
			m[put.Key] = put.Value
		}
	}
	return p
}

type lookups func(probes []checkpoint.Probe, out []checkpoint.Found) error

func (l lookups) Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error {
	return l(probes, out)
}

// memory is a checkpoint store in a map.
type memory map[checkpoint.Key][]byte

// Lookup implements revise.Store.
func (m memory) Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error {
	for i, p := range probes {
		const days = 5 // more than lie between the things of a muddle
		for away := range min(p.Slack, days) + 1 {
			for _, day := range []uint32{p.Key.Day + away, p.Key.Day - away} {
				key := p.Key
				key.Day = day
				if value, ok := m[key]; ok && !out[i].Known {
					out[i] = checkpoint.Found{Known: true, Key: key, Value: value}
				}
			}
		}
	}
	return nil
}

// read reads a page and returns what is published for it.
func (r *reader) read(what, body string) []revise.Outgoing {
	r.t.Helper()
	r.at = r.at.Add(time.Minute)
	page, err := extract.Decode(r.scope, []byte(body))
	require.NoError(r.t, err)
	require.Empty(r.t, page.Dead)
	in := revise.Input{ShownAt: r.at, LastRead: func(*events.Observation) time.Time { return time.Time{} }, KeepObservations: true}
	for i := range page.Rows {
		in.Observations = append(append(in.Observations, page.Rows[i].Observations...), page.Rows[i].Unsaid...)
	}
	result, err := revise.Decide(in, r.store)
	require.NoError(r.t, err)
	require.Zero(r.t, result.Unreadable)
	r.commit(result, r.at)
	for _, o := range result.Events {
		h := o.Event.Head()
		if h.Revision == 1 {
			require.Empty(r.t, r.begun[h.EntityID], "%s is published a second time as revision 1 at %q", o.Event.EventType(), what)
			r.begun[h.EntityID] = what
		}
		require.Empty(r.t, r.events[h.EventID], "%s: event id a second time at %q", o.Event.EventType(), what)
		r.events[h.EventID] = what
		r.last[h.EntityID] = string(o.Event.EventType()) + " " + string(o.Event.AppendContent(nil, events.Recipe())) + " " + o.Key
	}
	return result.Events
}

// layouts are the forms in which the samples write times.
var layouts = []string{"2006-01-02T15:04:05.000Z", "2006-01-02T15:04:05Z", "2006-01-02T15:04:05", "2006-01-02 15:04:05"}

// timesOf returns the paths of all times on a page.
func timesOf(t *testing.T, body string) (paths []string) {
	t.Helper()
	walk(t, body, func(path string, v any) any {
		if w, _ := move(v, func(t time.Time) time.Time { return t.Add(time.Hour) }); w != v {
			paths = append(paths, path)
		}
		return v
	})
	slices.Sort(paths)
	return paths
}

// moved returns the page with some of its times moved.
func moved(t *testing.T, body string, by func(time.Time) time.Time, paths ...string) string {
	t.Helper()
	return walk(t, body, func(path string, v any) any {
		if slices.Contains(paths, path) {
			v, _ = move(v, by)
		}
		return v
	})
}

// move moves a value if it is a time.
func move(v any, by func(time.Time) time.Time) (any, bool) {
	switch v := v.(type) {
	case string:
		for _, layout := range layouts {
			if at, err := time.Parse(layout, v); err == nil {
				return by(at).Format(layout), true
			}
		}
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil && n > 1e12 && n < 2e12 {
			return json.Number(strconv.FormatInt(by(time.UnixMilli(n)).UnixMilli(), 10)), true
		}
	}
	return v, false
}

// walk replaces every scalar of a page by what f returns.
func walk(t *testing.T, body string, f func(path string, v any) any) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	var page any
	require.NoError(t, decoder.Decode(&page))
	var visit func(path string, v any) any
	visit = func(path string, v any) any {
		switch v := v.(type) {
		case map[string]any:
			for name := range v {
				v[name] = visit(path+"."+name, v[name])
			}
			return v
		case []any:
			for i := range v {
				v[i] = visit(fmt.Sprintf("%s[%d]", path, i), v[i])
			}
			return v
		}
		return f(path, v)
	}
	out, err := json.Marshal(visit("", page))
	require.NoError(t, err)
	return string(out)
}
