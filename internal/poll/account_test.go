package poll_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// A rig is an account that reads a simulated contact centre in simulated time: the real client, without sockets, the real
// checkpoint store and a delivery that remembers what it was given. It lives in a bubble.
type rig struct {
	t         *testing.T
	world     koresim.Config
	sim       *koresim.Server
	store     *checkpoint.Store
	topics    *topics
	options   poll.Options
	latency   func(events.Endpoint) time.Duration // of a request
	late      func() float64                      // the part of it that passes before the server answers; nil: half
	wrap      func(poll.API) poll.API             // what the account has in place of the client; nil: the client
	wrapStore func(poll.Store) poll.Store         // and in place of the store
	transport http.RoundTripper                   // what answers in place of the world; nil: the world
	maxBody   int64                               // what the client reads of an answer; 0: what it does by itself

	account *poll.Account
	began   time.Time    // when the account that runs was started
	done    <-chan error // what Run has returned
	stop    func()
}

// now is a moment of simulated time to begin at.
var now = time.Date(2026, 6, 10, 9, 0, 0, 0, time.UTC)

// inBubble runs f in simulated time that begins at now.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		f(t)
	})
}

// newRig makes a world and an account for it that is not started yet. The account reads all endpoints from the beginning of the
// world on.
func newRig(t *testing.T, world koresim.Config, change func(*poll.Options)) *rig {
	t.Helper()
	if world.InFlight == nil {
		world.InFlight = map[events.Endpoint]int{events.Conversations: 2}
	}
	r := &rig{t: t, world: world, topics: newTopics(t)}
	r.serve()
	store, err := checkpoint.Open(filepath.Join(t.TempDir(), "poller.db"), checkpoint.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	r.store = store
	a := r.sim.Accounts()[0]
	r.options = poll.Options{
		Name: "test", AccountID: a.ID, RequestsPerMinute: max(r.world.RequestsPerMinute, 60),
		Start:     func(time.Time) time.Time { return world.Start },
		Endpoints: map[events.Endpoint]poll.EndpointOptions{},
		Policy:    plan.DefaultPolicy(), Retention: 35 * timeline.Day, Lateness: poll.Lateness{Auto: true}, Drain: 10 * time.Second,
		Delivery: r.topics, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler),
	}
	if testing.Verbose() {
		r.options.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	}
	for i, b := range a.Bots {
		r.options.Bots = append(r.options.Bots, poll.Bot{Name: fmt.Sprintf("bot-%d", i+1), ID: b.ID})
	}
	for _, e := range events.Endpoints() {
		r.options.Endpoints[e] = poll.EndpointOptions{PollInterval: pollIntervals[e], Concurrency: world.InFlight[e]}
	}
	if change != nil {
		change(&r.options)
	}
	return r
}

var pollIntervals = map[events.Endpoint]time.Duration{
	events.Interactions: 15 * time.Second, events.Conversations: time.Minute,
	events.InteractionDetails: 30 * time.Second, events.CallDetails: 30 * time.Second,
}

// serve puts a new server in front of the same world.
func (r *rig) serve() {
	r.t.Helper()
	sim, err := koresim.New(r.world)
	require.NoError(r.t, err)
	r.sim = sim
}

// killAtRandom runs the account so many times and kills it each time, in one delivery of oneIn and after some of its events. It stays dead for up
// to most, a whole number of seconds.
func (r *rig) killAtRandom(seed uint64, times, oneIn int, most time.Duration) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	r.topics.die = func(events int) (int, bool) {
		if rnd.IntN(oneIn) > 0 {
			return events, false
		}
		return rnd.IntN(events + 1), true
	}
	for range times {
		r.start()
		require.ErrorIs(r.t, <-r.done, errKilled)
		r.stop = func() {}
		time.Sleep(time.Duration(rnd.IntN(int(most/time.Second))) * time.Second)
	}
	r.topics.die = nil
}

// start runs the account, as a new process would.
func (r *rig) start() {
	r.t.Helper()
	a := r.sim.Accounts()[0]
	transport := r.transport
	if transport == nil {
		transport = r.sim.Transport()
	}
	client, err := kore.New(kore.Config{
		BaseURL: "http://kore.test", AccountID: a.ID, ClientID: a.ClientID, ClientSecret: secret.New(a.ClientSecret),
		MaxBody: r.maxBody,
	}, kore.WithTransport(&slowTransport{t: r.t, next: transport, latency: r.latency, late: r.late, allowed: r.options.Endpoints}))
	require.NoError(r.t, err)
	r.options.API, r.options.Store = client, r.store
	if r.wrap != nil {
		r.options.API = r.wrap(client)
	}
	if r.wrapStore != nil {
		r.options.Store = r.wrapStore(r.store)
	}
	r.account, err = poll.NewAccount(r.options)
	require.NoError(r.t, err)
	r.began = time.Now()
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	r.done = done
	go func() { done <- r.account.Run(ctx) }()
	r.stop = func() {
		cancel()
		require.NoError(r.t, <-done)
		r.stop = func() {}
	}
	r.t.Cleanup(func() { r.stop() })
}

// runFor lets time pass and passes the status to check from time to time.
func (r *rig) runFor(d, every time.Duration, check func(status.Account)) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(every, time.Until(end)))
		if check != nil {
			s, _ := r.account.Status()
			check(s)
		}
	}
}

// caughtUp waits until all that the endpoints show has been read without a gap to a minute ago, and nothing is behind.
func (r *rig) caughtUp(limit time.Duration) {
	r.t.Helper()
	var behind string
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Second) {
		s, _ := r.account.Status()
		behind = ""
		for _, e := range s.Endpoints {
			if e.ReadThrough == nil || time.Duration(*e.Lag) > 2*time.Duration(e.PollIntervalActual)+time.Minute || len(e.Gaps) > 0 || e.FirstRead != nil {
				behind = fmt.Sprintf("%s %s: read through %v, gaps %v, first read %+v, last error %+v", e.Endpoint, e.BotName, e.ReadThrough, e.Gaps, e.FirstRead, e.LastError)
			}
		}
		if behind == "" {
			return
		}
	}
	r.t.Fatalf("not caught up after %v: %s", limit, behind)
}

// compare compares what was published with the ledger of the world. What was readable by settled must be there.
func (r *rig) compare(scope koresim.Scope) *koresim.Report {
	r.t.Helper()
	return r.compareWith(r.sim.Ledger(r.sim.Now()), scope)
}

// compareWith is compare with a part of the ledger.
func (r *rig) compareWith(ledger iter.Seq[*koresim.Entry], scope koresim.Scope) *koresim.Report {
	r.t.Helper()
	if scope.Now.IsZero() {
		scope.Now = r.sim.Now()
	}
	if scope.To.IsZero() {
		scope.To = scope.Now.Add(timeline.Day)
	}
	if scope.From.IsZero() {
		scope.From = r.options.Start(time.Now())
	}
	for e := range r.options.Endpoints {
		scope.Endpoints = append(scope.Endpoints, e)
	}
	// An edit is due when it is by what status states.
	scope.SettledBy = map[events.Endpoint]time.Time{}
	s, _ := r.account.Status()
	for _, e := range s.Endpoints {
		by := scope.Settled
		for k, w := range e.Sweeps {
			if k > 0 && time.Duration(e.Sweeps[k-1].Within) >= scope.Now.Sub(scope.From) {
				break // nothing is as old as what this sweep is for
			}
			if at := scope.Now.Add(-time.Duration(w.Actual)); at.Before(by) {
				by = at
			}
		}
		if old, ok := scope.SettledBy[events.Endpoint(e.Endpoint)]; !ok || by.Before(old) {
			scope.SettledBy[events.Endpoint(e.Endpoint)] = by
		}
	}
	r.t.Logf("%v: settled by %v", scope.Now, scope.SettledBy)
	report := koresim.Compare(ledger, r.topics.observed(), scope)
	require.True(r.t, report.OK(), report.String())
	require.Positive(r.t, report.Expected)
	return report
}

// slowTransport takes time for every request, and fails the test if more are in flight at an endpoint than are allowed.
type slowTransport struct {
	t       *testing.T
	next    http.RoundTripper
	latency func(events.Endpoint) time.Duration
	late    func() float64 // the part of the time that passes before the server answers; nil: half of it
	allowed map[events.Endpoint]poll.EndpointOptions

	mu       sync.Mutex
	inFlight map[events.Endpoint]int
}

func (s *slowTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	e := endpointOf(req.URL.Path)
	s.count(e, 1)
	defer s.count(e, -1)
	if s.latency == nil {
		return s.next.RoundTrip(req)
	}
	d, part := s.latency(e), 0.5
	if s.late != nil {
		part = s.late()
	}
	before := time.Duration(part * float64(d))
	time.Sleep(before)
	defer time.Sleep(d - before)
	return s.next.RoundTrip(req)
}

func (s *slowTransport) count(e events.Endpoint, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight == nil {
		s.inFlight = map[events.Endpoint]int{}
	}
	if s.inFlight[e] += more; s.inFlight[e] > max(1, s.allowed[e].Concurrency) {
		s.t.Errorf("%d requests to %s are in flight", s.inFlight[e], e)
	}
}

func endpointOf(path string) events.Endpoint {
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "agentassistinteractions":
		return events.Interactions
	case "aaconversation":
		return events.Conversations
	case "calldetails":
		return events.CallDetails
	}
	return events.InteractionDetails
}

// usual is how long requests take: a fast endpoint, two middling ones and a slow one.
func usual(e events.Endpoint) time.Duration {
	base := 400 * time.Millisecond
	if e == events.Conversations {
		base = 3 * time.Second
	}
	return base + rand.N(base)
}

// topics is a delivery that keeps what is published, and checks of each watermark that nothing comes after it that it
// said had come.
type topics struct {
	t      *testing.T
	schema map[events.Type]*avro.Schema
	fail   func() error // what goes wrong, if anything
	// die says how many of so many events are published, and whether the process is killed then. Nil: all, and no.
	die     func(events int) (published int, killed bool)
	intents [][]kafka.Outgoing

	mu         sync.Mutex
	records    []record
	offsets    kafka.Offsets
	dead       []events.DeadLetter
	watermarks map[string]events.Watermark // the last one of each unit
	ends       map[string]kafka.Offsets    // of each unit: the offsets after its last events
	marks      int
	late       int
	jobs       map[string]poll.JobProgress // the last word on each
	words      []poll.JobProgress
}

// errKilled ends an account as a kill would: it is not tried again.
var errKilled = &kafka.LostError{Err: errors.New("killed")}

type record struct {
	topic, key string
	kind       events.Type
	partition  int32
	offset     int64
	value      []byte
	head       *events.Header // endpoint and bot only
}

const partitions = 3

func newTopics(t *testing.T) *topics {
	d := &topics{t: t, schema: map[events.Type]*avro.Schema{}, offsets: kafka.Offsets{}, watermarks: map[string]events.Watermark{}, ends: map[string]kafka.Offsets{},
		jobs: map[string]poll.JobProgress{}}
	for _, kind := range events.Types() {
		s, err := avro.Parse(events.Schema(kind))
		require.NoError(t, err)
		d.schema[kind] = s
	}
	return d
}

// Deliver implements kafka.Delivery.
func (d *topics) Deliver(_ context.Context, b *kafka.Batch) error {
	if d.fail != nil {
		if err := d.fail(); err != nil {
			return err
		}
	}
	if d.die != nil && len(b.Events)+len(b.Dead) > 0 {
		if err := b.Recording.Intend(d.intent(b.Events)); err != nil {
			return err
		}
	}
	var after kafka.Offsets
	if len(b.Feeds) > 0 {
		after = kafka.Offsets{}
		for topic, offsets := range b.Feeds[0].Offsets {
			after[topic] = slices.Clone(offsets)
		}
	}
	d.mu.Lock()
	publish := b.Events
	if b.Again != nil {
		publish = d.again(b)
	}
	killed := false
	if d.die != nil && len(publish) > 0 {
		var n int
		n, killed = d.die(len(publish))
		publish = publish[:n]
	}
	for _, o := range publish {
		d.publish(o, after)
	}
	if killed {
		d.mu.Unlock()
		return errKilled
	}
	for _, dead := range b.Dead {
		d.dead = append(d.dead, events.DeadLetter{BotID: dead.BotID, Reason: dead.Reason, RawBytes: bytes.Clone(dead.RawBytes)})
	}
	for _, r := range b.Control {
		word, err := poll.DecodeJobRecord(r.Key, r.Value)
		if err != nil || word.Progress == nil {
			d.t.Errorf("word on a job: %s: %v", r.Value, err)
			continue
		}
		d.jobs[word.ID] = *word.Progress
		d.words = append(d.words, *word.Progress)
	}
	d.mu.Unlock()
	if err := b.Recording.Prepare(after); err != nil {
		return err
	}
	if err := b.Recording.Commit(0); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range b.Ended {
		d.endMark(key)
	}
	for i, f := range b.Feeds {
		if i == 0 {
			f.Offsets = after
		}
		if f.Watermark != nil {
			d.mark(f)
		}
	}
	return nil
}

// intent returns what stands for events that are about to be published.
func (d *topics) intent(batch []kafka.Outgoing) kafka.Intent {
	d.intents = append(d.intents, batch)
	return kafka.Intent{{Topic: strconv.Itoa(len(d.intents) - 1)}}
}

// again returns the events that an intent stands for.
func (d *topics) again(b *kafka.Batch) []kafka.Outgoing {
	n, err := strconv.Atoi(b.Again[0].Topic)
	require.NoError(d.t, err)
	return d.intents[n]
}

func (d *topics) Close(context.Context) error { return nil }

func (d *topics) publish(o kafka.Outgoing, after kafka.Offsets) {
	kind := o.Event.EventType()
	value, err := events.AppendAvro(nil, o.Event)
	if err != nil {
		d.t.Errorf("encode %s: %v", kind, err)
	}
	hash := fnv.New32a()
	hash.Write([]byte(o.Key))
	partition := int32(hash.Sum32() % partitions)
	names := []string{"test." + string(kind)}
	if o.Negative {
		names = append(names, "test.feedback-negative")
	}
	for _, topic := range names {
		if len(d.offsets[topic]) == 0 {
			d.offsets[topic] = make([]int64, partitions)
		}
		offset := d.offsets[topic][partition]
		d.offsets[topic][partition]++
		// Texts are parts of their page: what is kept of them must not keep the page.
		h := o.Event.Head()
		bot := strings.Clone(value0(h.BotID))
		head := &events.Header{Endpoint: h.Endpoint, BotID: &bot}
		d.records = append(d.records, record{topic, strings.Clone(o.Key), kind, partition, offset, value, head})
		after.Raise(topic, partition, offset+1)
		d.end(o.Event.Head()).Raise(topic, partition, offset+1)
	}
	h := o.Event.Head()
	if h.Late {
		d.late++
	}
	for _, name := range []string{h.Endpoint + "/", h.Endpoint + "/" + value0(h.BotID)} {
		w, ok := d.watermarks[name]
		if !ok || w.CompleteUpTo == nil || h.Revision != 1 || h.Late {
			continue
		}
		if h.EventTime.Before(*w.CompleteUpTo) && !h.EventTime.Before(*w.CompleteFrom) {
			d.t.Errorf("%s of %v at %v: the watermark said that %s is complete from %v up to %v, and it is not flagged late",
				kind, h.EventTime, h.ObservedTime, name, w.CompleteFrom, w.CompleteUpTo)
		}
	}
}

// endMark takes an endpoint's watermark away. What it spoke about is then spoken about by those of the bots.
func (d *topics) endMark(key string) {
	endpoint := key[strings.LastIndexByte(key, '/')+1:]
	if !strings.Contains(key, "/-/") {
		d.t.Errorf("the watermark of %s ends", key)
	}
	delete(d.watermarks, endpoint+"/")
	for _, r := range d.records {
		if h := r.head; h.Endpoint == endpoint {
			d.end(h).Raise(r.topic, r.partition, r.offset+1)
		}
	}
}

// end returns the offsets after the last events of the unit that an event is from.
func (d *topics) end(h *events.Header) kafka.Offsets {
	name := h.Endpoint + "/"
	if _, account := d.watermarks[name]; !account {
		name += value0(h.BotID)
	}
	if d.ends[name] == nil {
		d.ends[name] = kafka.Offsets{}
	}
	return d.ends[name]
}

func (d *topics) mark(f kafka.Feed) {
	w := *f.Watermark
	name := w.Endpoint + "/" + value0(w.BotID)
	for topic, ends := range d.ends[name] {
		for p, end := range ends {
			if have := f.Offsets[topic]; len(have) <= p || have[p] < end {
				d.t.Errorf("%s: the watermark leaves out events of %s:%d up to %d, at %v", name, topic, p, end, have)
			}
		}
	}
	before := d.watermarks[name]
	if before.CompleteUpTo != nil && (w.CompleteUpTo == nil || w.CompleteUpTo.Before(*before.CompleteUpTo)) {
		d.t.Errorf("%s: the watermark went back from %v to %v", name, before.CompleteUpTo, w.CompleteUpTo)
	}
	if w.CompleteUpTo != nil && w.ReadThrough.Before(*w.CompleteUpTo) {
		d.t.Errorf("%s: complete up to %v, and read through %v only", name, w.CompleteUpTo, w.ReadThrough)
	}
	d.watermarks[name] = w
	d.marks++
}

func value0(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// observed decodes what was published, with another implementation than the one that encoded it. What a kill has repeated, byte for
// byte, is there once.
func (d *topics) observed() []koresim.Observed {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]koresim.Observed, 0, len(d.records))
	seen := map[string]bool{}
	for _, r := range d.records {
		same := r.topic + string(r.value)
		if len(d.intents) > 0 && seen[same] {
			continue
		}
		seen[same] = true
		var fields map[string]any
		if _, err := d.schema[r.kind].Decode(r.value, &fields); err != nil {
			d.t.Errorf("decode %s: %v", r.kind, err)
		}
		out = append(out, koresim.Observed{Topic: r.topic, Key: r.key, Partition: r.partition, Offset: r.offset, Fields: fields})
	}
	return out
}

// job returns the last word on a job.
func (d *topics) job(id string) poll.JobProgress {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.jobs[id]
}

// count returns how many events of a type were published.
func (d *topics) count(kind events.Type) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.records {
		if r.topic == "test."+string(kind) {
			n++
		}
	}
	return n
}

func (d *topics) published() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.records)
}

// lease is that of a partition that somebody else may take over. A nil function means true.
type lease struct{ mayAsk, confirmed func() bool }

func (l lease) MayAsk() bool         { return l.mayAsk == nil || l.mayAsk() }
func (l lease) Confirmed() bool      { return l.confirmed == nil || l.confirmed() }
func (lease) Overlap() time.Duration { return kafka.OwnedFor }

type noObserver struct{}

func (noObserver) Page(string, events.Endpoint, int, int, map[string]int64) {}
func (noObserver) Dropped(string, events.Endpoint, string, int64)           {}
func (noObserver) Published(string, events.Endpoint, events.Type, int)      {}
func (noObserver) Entities(string, events.Endpoint, int, int, int)          {}
func (noObserver) Contradicted(string, events.Endpoint, string, int)        {}
func (noObserver) Freshness(events.Endpoint, time.Duration)                 {}

// quickTiers make sweeps come round within minutes, so that a short run sees late edits.
var quickTiers = []plan.Tier{{Within: 2 * time.Hour, Every: 2 * time.Minute}, {Within: 7 * timeline.Day, Every: 10 * time.Minute}}

// Every profile of the API, with faults: nothing is lost, repeated or wrong, and no watermark promises what comes later.
func TestAccountReadsEveryProfile(t *testing.T) {
	testsize.Slow(t)
	for _, profile := range koresim.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				span := testsize.Pick(20*time.Minute, 6*time.Hour)
				world := koresim.Config{
					Seed: 5, Start: now.Add(-2 * time.Hour), End: now.Add(span), Bots: 2, SegmentsPerDay: testsize.Pick(400, 1000), Profile: profile,
					RequestsPerMinute: 240, Faults: koresim.Faults{Rate: testsize.Pick(0.15, 0.05), Seed: 3}, EmailOpen: time.Hour,
				}
				r := newRig(t, world, func(o *poll.Options) { o.Policy.Tiers, o.Policy.ConversationTiers = quickTiers, quickTiers })
				r.latency = usual
				r.start()
				r.runFor(span, time.Minute, nil)
				r.sim.SetFaults(koresim.Faults{})
				r.runFor(45*time.Minute, time.Minute, nil)
				report := r.compare(koresim.Scope{Settled: time.Now().Add(-30 * time.Minute)})
				stats := r.sim.Stats()
				require.Zero(t, stats.Violations)
				require.Zero(t, stats.Crowded)
				t.Logf("%s; %d requests, faults %v, %d late, %d watermarks", report, stats.ByAccount[r.options.AccountID], stats.Faults, r.topics.late, r.topics.marks)
			})
		})
	}
}
