package poll

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

var jobEpoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func at(hours float64) time.Time { return jobEpoch.Add(time.Duration(hours * float64(time.Hour))) }

func hoursOf(from, to float64) timeline.Span { return timeline.Span{From: at(from), To: at(to)} }

// What was read counts once, and time to be replayed only if it was read as that.
func TestUnitJobSubtract(t *testing.T) {
	all := []jobSpan{{hoursOf(0, 10), false}, {hoursOf(10, 20), true}, {hoursOf(20, 30), false}}
	for name, test := range map[string]struct {
		read    timeline.Span
		replay  bool
		left    []jobSpan
		changed bool
	}{
		"nothing":             {hoursOf(30, 40), true, all, false},
		"a whole part":        {hoursOf(0, 10), false, all[1:], true},
		"the middle":          {hoursOf(2, 4), false, []jobSpan{{hoursOf(0, 2), false}, {hoursOf(4, 10), false}, all[1], all[2]}, true},
		"across, not replay":  {hoursOf(5, 25), false, []jobSpan{{hoursOf(0, 5), false}, all[1], {hoursOf(25, 30), false}}, true},
		"across, as replay":   {hoursOf(5, 25), true, []jobSpan{{hoursOf(0, 5), false}, {hoursOf(25, 30), false}}, true},
		"replay not as that":  {hoursOf(10, 20), false, all, false},
		"all":                 {hoursOf(-5, 50), true, nil, true},
		"ends before it was":  {hoursOf(-5, 0), false, all, false},
		"no time":             {hoursOf(4, 4), false, all, false},
		"from within a part":  {hoursOf(8, 10), false, []jobSpan{{hoursOf(0, 8), false}, all[1], all[2]}, true},
		"up to within a part": {hoursOf(20, 21), false, []jobSpan{all[0], all[1], {hoursOf(21, 30), false}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			j := &unitJob{From: at(0), To: at(30), Left: all}
			require.Equal(t, test.changed, j.subtract(test.read, test.replay))
			require.Equal(t, test.left, j.Left)
		})
	}
}

// A range is divided by what is remembered of it.
func TestSpansOf(t *testing.T) {
	for name, test := range map[string]struct {
		endpoint events.Endpoint
		past     []timeline.ReadSpan // read before Start, which is hour 48
		read     []timeline.ReadSpan
		lost     time.Time // since when there is a store
		want     []jobSpan
	}{
		"never read":                    {events.Interactions, nil, nil, time.Time{}, []jobSpan{{hoursOf(10, 60), false}}},
		"remembered":                    {events.Interactions, []timeline.ReadSpan{{Span: hoursOf(0, 48), ReadAt: at(101)}}, []timeline.ReadSpan{{Span: hoursOf(48, 90), ReadAt: at(101)}}, time.Time{}, []jobSpan{{hoursOf(10, 60), false}}},
		"forgotten before the start":    {events.Interactions, []timeline.ReadSpan{{Span: hoursOf(20, 48), ReadAt: at(99)}}, []timeline.ReadSpan{{Span: hoursOf(48, 90), ReadAt: at(101)}}, time.Time{}, []jobSpan{{hoursOf(10, 20), false}, {hoursOf(20, 48), true}, {hoursOf(48, 60), false}}},
		"forgotten on both sides":       {events.Interactions, []timeline.ReadSpan{{Span: hoursOf(20, 48), ReadAt: at(99)}}, []timeline.ReadSpan{{Span: hoursOf(48, 50), ReadAt: at(98)}}, time.Time{}, []jobSpan{{hoursOf(10, 20), false}, {hoursOf(20, 50), true}, {hoursOf(50, 60), false}}},
		"in pieces":                     {events.Interactions, []timeline.ReadSpan{{Span: hoursOf(5, 12), ReadAt: at(90)}, {Span: hoursOf(30, 31), ReadAt: at(90)}}, nil, time.Time{}, []jobSpan{{hoursOf(10, 12), true}, {hoursOf(12, 30), false}, {hoursOf(30, 31), true}, {hoursOf(31, 60), false}}},
		"the store was lost in between": {events.Interactions, []timeline.ReadSpan{{Span: hoursOf(20, 48), ReadAt: at(101)}}, nil, at(102), []jobSpan{{hoursOf(10, 20), false}, {hoursOf(20, 48), true}, {hoursOf(48, 60), false}}},
		"whole days of conversations":   {events.Conversations, []timeline.ReadSpan{{Span: hoursOf(30, 31), ReadAt: at(90)}}, nil, time.Time{}, []jobSpan{{hoursOf(10, 24), false}, {hoursOf(24, 48), true}, {hoursOf(48, 60), false}}},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := newUnit(test.endpoint, "st-1", time.Minute, &progress{Start: at(48), StoreLost: test.lost})
			require.NoError(t, err)
			for _, s := range test.past {
				u.past.Mark(s.From, s.To, s.ReadAt)
			}
			for _, s := range test.read {
				u.Read.Mark(s.From, s.To, s.ReadAt)
			}
			require.Equal(t, test.want, u.spansOf(at(10), at(60), at(100)))
		})
	}
}

// What is forgotten stays known to have been read, in the progress record too.
func TestForgottenTimeIsKnownToHaveBeenRead(t *testing.T) {
	u, err := newUnit(events.Interactions, "st-1", time.Minute, &progress{Start: at(0)})
	require.NoError(t, err)
	for h := range 1000 {
		u.Read.Mark(at(float64(h)), at(float64(h+1)), at(float64(h+2)))
		u.forget(at(float64(h - 100)))
	}
	require.LessOrEqual(t, u.past.Len(), maxPast)
	records := map[string][]byte{}
	require.NoError(t, u.addRecord(records))
	p, err := decodeProgress(records[progressName(u.Endpoint, u.Bot)])
	require.NoError(t, err)
	again, err := newUnit(events.Interactions, "st-1", time.Minute, p)
	require.NoError(t, err)
	require.Equal(t, []jobSpan{{hoursOf(-5, 0), false}, {hoursOf(0, 890), true}}, again.spansOf(at(-5), at(890), at(900)))
}

func TestJobRecords(t *testing.T) {
	job := &Job{
		ID: "20261121-1", Account: "retail-us", AccountID: "acc1", From: at(0), To: at(5), Endpoints: []events.Endpoint{events.Interactions},
		Bots: []string{"care"}, Republish: true, Requested: at(7),
	}
	key, value, err := job.Encode()
	require.NoError(t, err)
	require.Equal(t, "backfill/20261121-1", string(key))
	r, err := DecodeJobRecord(key, value)
	require.NoError(t, err)
	require.Equal(t, job, r.Job)
	require.Contains(t, string(value), `"version":1`)

	word := &JobProgress{ID: job.ID, Account: job.Account, State: JobRunning, Fraction: 0.5, Updated: at(8)}
	key, value, err = word.Encode()
	require.NoError(t, err)
	require.Equal(t, "progress/20261121-1", string(key))
	r, err = DecodeJobRecord(key, value)
	require.NoError(t, err)
	require.Equal(t, word, r.Progress)

	for name, test := range map[string]struct{ key, value, err string }{
		"another's":      {"somebody/else", "{}", ""},
		"no id":          {"backfill/", "{}", ""},
		"odd id":         {"backfill/A B", "{}", ""},
		"tombstone":      {"backfill/a", "", ""},
		"no JSON":        {"backfill/a", "x", "invalid character"},
		"later version":  {"backfill/a", `{"version":2,"body":{}}`, "written by a later release"},
		"another job":    {"backfill/a", `{"version":1,"body":{"id":"b"}}`, "the key of another job"},
		"no account":     {"backfill/a", `{"version":1,"body":{"id":"a"}}`, "it names no account"},
		"no range":       {"backfill/a", `{"version":1,"body":{"id":"a","account":"x"}}`, "want an end after the beginning"},
		"years":          {"backfill/a", `{"version":1,"body":{"id":"a","account":"x","from":"2020-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}}`, "want at most 366 days at once"},
		"wrong endpoint": {"backfill/a", `{"version":1,"body":{"id":"a","account":"x","from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","endpoints":["chats"]}}`, `"chats" is not an endpoint`},
		"another's word": {"progress/a", `{"version":1,"body":{"id":"b"}}`, "the key of another job"},
	} {
		t.Run(name, func(t *testing.T) {
			value := []byte(test.value)
			if test.value == "" {
				value = nil
			}
			r, err := DecodeJobRecord([]byte(test.key), value)
			if test.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.err)
			}
			require.Nil(t, r.Job)
			require.Nil(t, r.Progress)
		})
	}
}

func FuzzDecodeJobRecord(f *testing.F) {
	f.Add([]byte("backfill/a"), []byte(`{"version":1,"body":{"id":"a","account":"x","from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}}`))
	f.Add([]byte("progress/a"), []byte(`{"version":1,"body":{"id":"a","state":"done"}}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := DecodeJobRecord(key, value)
		if err != nil || r.Job == nil {
			return
		}
		again, written, err := r.Job.Encode()
		require.NoError(t, err)
		require.Equal(t, key, again)
		once, err := DecodeJobRecord(again, written)
		require.NoError(t, err)
		require.True(t, once.Job.From.Equal(r.Job.From) && once.Job.To.Equal(r.Job.To))
	})
}
