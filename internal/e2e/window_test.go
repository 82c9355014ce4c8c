package e2e_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// Windows that a consumer closes by offsets stay closed while conversations go on, are edited late and move between pages, requests fail,
// and the poller is killed.
func TestSmallWindows(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	for _, delivery := range []string{kafka.ExactlyOnce, kafka.AtLeastOnce} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			now := time.Now().UTC().Truncate(time.Second)
			profile, _ := koresim.ProfileNamed("records")
			for e := range profile.Latency {
				profile.Latency[e] /= 5
			}
			profile.Jitter = time.Second
			live := serve(t, "live", koresim.Config{
				Seed: 61, Start: now.Add(-5 * time.Minute), End: now.Add(8 * time.Second), SegmentsPerDay: 50_000, Pace: koresim.Burst,
				Profile: profile, LateEdits: 0.2, Faults: koresim.Faults{Rate: 0.03, Seed: 6, Hang: time.Second, Slow: 300 * time.Millisecond},
			})
			s := newSetup(t, embedded(t), live.yaml(quickSettings("1h")+shortLateness))
			s.delivery, s.more = delivery, s.kafka()+latest
			c := s.follow(t)
			poller := binary(t, "")
			for range 2 {
				run := s.startProcess(t, poller)
				before := live.Stats().ByAccount[live.account().ID]
				eventually(t, waitLimit, func() error { // during a pass, which has many pages
					if live.Stats().ByAccount[live.account().ID] < before+8 {
						return errNotYet
					}
					return nil
				})
				run.kill(t)
			}
			run := s.startInProcess(t)
			eventually(t, waitLimit, func() error { return complete(run, t, now.Add(8*time.Second)) })
			eventually(t, waitLimit, func() error {
				entries, pending := live.ledger(live.Now())
				once, _ := split(c.read(t))
				return settled(entries, pending, observed(once, live.account().ID), live)
			})
			run.stop(t)
			checkWindows(t, c, 3, live)
			c.checkLatest(t, s)
		})
	}
}

// shortLateness makes windows close within a test's duration.
const shortLateness = "    allowed_lateness: 1s\n"

// complete returns an error that names an endpoint that is not complete up to a time.
func complete(run *inProcess, t *testing.T, upTo time.Time) error {
	st := run.status(t)
	if !st.Accounts[0].Read {
		return errNotYet
	}
	for _, e := range st.Accounts[0].Endpoints {
		if e.CompleteUpTo == nil || e.CompleteUpTo.Before(upTo) {
			return fmt.Errorf("%s of %s is complete up to %v", e.Endpoint, e.BotID, e.CompleteUpTo)
		}
	}
	return nil
}

// checkWindows reads all records as consumers do that follow the docs: in the order in which they came, and in other possible orders. Starts
// is how often the poller was started.
func checkWindows(t *testing.T, c *consumer, starts int, centres ...*centre) {
	t.Helper()
	records := c.read(t)
	orders := [][]kafkaread.Record{records}
	for seed := range uint64(3) {
		orders = append(orders, shuffled(records, c.names.Watermark(), seed))
	}
	for i, order := range orders {
		w := newWindows(c.names)
		for n := range order {
			w.read(&order[n])
		}
		for _, pending := range w.pending {
			require.Empty(t, pending, "a watermark whose offsets are never reached")
		}
		require.Empty(t, w.wrong[:min(len(w.wrong), 5)], "%d events came to closed windows", len(w.wrong))
		for _, centre := range centres {
			said := w.compare(t, centre)
			if i == 0 {
				t.Log(said)
			}
		}
	}
	checkPace(t, records, c.names.Watermark(), starts)
}

// shuffled returns the watermarks first, and then the partitions' records interleaved at random.
func shuffled(records []kafkaread.Record, watermarks string, seed uint64) []kafkaread.Record {
	var out []kafkaread.Record
	left := map[string][]kafkaread.Record{}
	for _, r := range records {
		if r.Topic == watermarks {
			out = append(out, r)
			continue
		}
		at := place(r.Topic, int64(r.Partition))
		left[at] = append(left[at], r)
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	for places := slices.Sorted(maps.Keys(left)); len(places) > 0; {
		i := rnd.IntN(len(places))
		n := min(1+rnd.IntN(50), len(left[places[i]]))
		out = append(out, left[places[i]][:n]...)
		if left[places[i]] = left[places[i]][n:]; len(left[places[i]]) == 0 {
			places = slices.Delete(places, i, i+1)
		}
	}
	return out
}

// windows is a consumer that closes windows by the offsets of watermarks, and keeps what came when.
type windows struct {
	names    kafka.Names
	position map[string]int64
	pending  map[string][]watermark // watermarks whose offsets are not reached, by key
	last     map[string]watermark   // the last watermark of each key, reached or not
	closed   map[string]watermark   // the last one that was reached
	ids      map[string]bool
	seen     int // records so far

	things   map[string]arrival
	closings map[string][]closing // by source and topic
	wrong    []string
}

// arrival is the first revision of an entity.
type arrival struct {
	at   int
	when time.Time
	late bool
}

// closing is the statement that a topic is complete up to a time for one source.
type closing struct {
	at         int
	from, upTo time.Time
}

func newWindows(names kafka.Names) *windows {
	return &windows{
		names: names, position: map[string]int64{}, pending: map[string][]watermark{}, last: map[string]watermark{}, closed: map[string]watermark{},
		ids: map[string]bool{}, things: map[string]arrival{}, closings: map[string][]closing{},
	}
}

func (w *windows) read(r *kafkaread.Record) {
	w.seen++
	switch r.Topic {
	case w.names.DeadLetter():
		return
	case w.names.Watermark():
		w.watermark(r)
	default:
		w.event(r)
		w.position[place(r.Topic, int64(r.Partition))] = r.Offset + 1
	}
	for key := range w.pending {
		w.close(key)
	}
}

func (w *windows) watermark(r *kafkaread.Record) {
	if r.Value == nil { // not read any more
		delete(w.pending, r.Key)
		delete(w.last, r.Key)
		delete(w.closed, r.Key)
		return
	}
	m := watermarkOf(r)
	w.last[r.Key] = m
	w.pending[r.Key] = append(w.pending[r.Key], m)
}

// close closes windows by the watermarks of a key whose offsets are reached.
func (w *windows) close(key string) {
	n := 0
	for _, m := range w.pending[key] {
		if !w.reached(m) {
			break
		}
		n++
	}
	if n == 0 {
		return
	}
	m := w.pending[key][n-1]
	w.closed[key], w.pending[key] = m, w.pending[key][n:]
	for _, topic := range m.feeds {
		w.closeTopic(m.Field("source"), topic)
	}
}

func (w *windows) reached(m watermark) bool {
	for at, offset := range m.offsets {
		if w.position[at] < offset {
			return false
		}
	}
	return true
}

// closeTopic records up to when all endpoints that feed a topic are complete.
func (w *windows) closeTopic(source, topic string) {
	c := closing{at: w.seen}
	for key, m := range w.last {
		if m.Field("source") != source || !slices.Contains(m.feeds, topic) {
			continue
		}
		closed, ok := w.closed[key]
		if !ok || closed.complete.IsZero() {
			return
		}
		if c.upTo.IsZero() || closed.complete.Before(c.upTo) {
			c.upTo = closed.complete
		}
		if f := from(closed); f.After(c.from) {
			c.from = f
		}
	}
	w.closings[source+topic] = append(w.closings[source+topic], c)
}

func (w *windows) event(r *kafkaread.Record) {
	if id := r.Topic + r.Field("event_id"); w.ids[id] {
		return
	} else {
		w.ids[id] = true
	}
	when, _ := r.Value["event_time"].(time.Time)
	if r.Value["revision"] != int64(1) {
		return
	}
	late := r.Value["late"] == true
	source := r.Field("source")
	for _, bot := range []string{r.Field("bot_id"), "-"} {
		key := source + "/" + bot + "/" + r.Field("endpoint")
		m, ok := w.closed[key]
		if ok && !late && when.Before(m.complete) && !when.Before(from(m)) {
			w.wrong = append(w.wrong, fmt.Sprintf("%s:%d@%d of %v, and %s was closed up to %v", r.Topic, r.Partition, r.Offset, when, key, m.complete))
		}
	}
	if r.Topic == w.names.Negative() {
		return
	}
	typ := events.Type(r.Topic[strings.LastIndexByte(r.Topic, '.')+1:])
	name := source + string(typ) + " " + koresim.KeyOf(typ, r.Value)
	if _, ok := w.things[name]; !ok {
		w.things[name] = arrival{w.seen, when, late}
	}
}

// compare compares what had come when windows were closed with what had happened by then.
func (w *windows) compare(t *testing.T, c *centre) string {
	t.Helper()
	entries, _ := c.ledger(c.Now())
	inTime, late := 0, 0
	var missing []string
	for _, e := range entries {
		a, ok := w.things[c.name+string(e.Type)+" "+e.Key]
		if !ok {
			continue // that everything comes is checked elsewhere
		}
		i := slices.IndexFunc(w.closings[c.name+w.names.Event(e.Type)], func(c closing) bool {
			return a.when.Before(c.upTo) && !a.when.Before(c.from)
		})
		if i < 0 {
			continue
		}
		closed := w.closings[c.name+w.names.Event(e.Type)][i]
		switch {
		case a.at <= closed.at:
			inTime++
		case !a.late:
			missing = append(missing, fmt.Sprintf("%s %s of %v: closed up to %v", e.Type, e.Key, a.when, closed.upTo))
		default:
			late++
		}
	}
	require.Empty(t, missing[:min(len(missing), 5)], "%d of %d things were missing when their windows were closed", len(missing), len(entries))
	require.Positive(t, inTime, "no window of %s was closed", c.name)
	return fmt.Sprintf("of %d things of %s %d were there when their windows were closed, %d came late", len(entries), c.name, inTime, late)
}

// checkPace checks that an endpoint without new events has at most one watermark in ten seconds, except at starts.
func checkPace(t *testing.T, records []kafkaread.Record, topic string, starts int) {
	t.Helper()
	last, early := map[string]watermark{}, map[string]int{}
	for i := range records {
		r := &records[i]
		if r.Topic != topic || r.Value == nil {
			continue
		}
		m := watermarkOf(r)
		before, ok := last[r.Key]
		if ok && maps.Equal(before.offsets, m.offsets) && m.published.Sub(before.published) < 10*time.Second-time.Second/2 {
			early[r.Key]++
		}
		last[r.Key] = m
		for _, g := range r.Value["gaps"].([]any) {
			from, _ := g.(map[string]any)["from"].(time.Time)
			require.False(t, m.complete.After(from), "%s: complete up to %v, beyond a gap from %v on", r.Key, m.complete, from)
		}
	}
	for key, n := range early {
		// Each start brings one of its own, and the first pass another; a start is announced again once each bot is known to be read alone.
		require.LessOrEqual(t, n, 3*starts, "%s: watermarks that bring nothing, too soon after another", key)
	}
}
