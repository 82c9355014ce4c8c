package koresim

import (
	"fmt"
	"sort"
	"sync"
	"time"
)

// World is the contact centre. It is safe for concurrent use.
type World struct {
	cfg      Config
	accounts []*Account
	start    moment
	stop     moment // no contact begins from here on; 0: never
	slot     moment // contacts are generated a slot at a time
	perSlot  float64
	perIdle  float64

	mu      sync.Mutex
	indexes map[indexKey]*index
	rows    int // in indexes
	recent  map[contactRef]*contact
	older   map[contactRef]*contact
}

// Account is one customer of Kore.ai, with the app that reads its data.
type Account struct {
	ID, Name, ClientID, ClientSecret string
	Bots                             []Bot

	number int
	agents []agent
	queues []queue
}

// Bot is one bot ("stream") of an account.
type Bot struct{ ID, Name string }

type agent struct{ id, first, last, email string }

func (a agent) name() string { return a.first + " " + a.last }

type queue struct{ id, name string }

const (
	maxIndexedRows = 400_000
	maxContacts    = 2_000
)

// NewWorld returns the world of a configuration. It generates nothing until it is asked.
func NewWorld(cfg Config) (*World, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("simulate world: %w", err)
	}
	w := &World{
		cfg:     cfg,
		start:   momentOf(cfg.Start),
		slot:    day,
		indexes: map[indexKey]*index{},
		recent:  map[contactRef]*contact{},
	}
	if !cfg.End.IsZero() {
		w.stop = momentOf(cfg.End)
	}
	assisted := float64(cfg.SegmentsPerDay) / segmentsPerContact / float64(cfg.BusyBots)
	perDay := assisted * (1 + cfg.BotOnly)
	if perDay > 20_000 {
		w.slot = hour
	}
	w.perSlot = perDay * float64(w.slot) / float64(day)
	w.perIdle = cfg.IdlePerDay * float64(w.slot) / float64(day)
	for n := range cfg.Accounts {
		w.accounts = append(w.accounts, newAccount(cfg, n))
	}
	return w, nil
}

// Accounts returns the accounts with what a client needs to read them.
func (w *World) Accounts() []*Account { return w.accounts }

// Now is the world's time.
func (w *World) Now() time.Time { return w.cfg.Clock() }

func newAccount(cfg Config, n int) *Account {
	d := roll(cfg.Seed, 1, uint64(n))
	a := &Account{
		number:       n,
		Name:         fmt.Sprintf("account-%d", n+1),
		ID:           d.objectID(momentOf(cfg.Start) - 365*day),
		ClientID:     d.uuid("cs-"),
		ClientSecret: d.word36(44),
	}
	for b := range cfg.Bots {
		a.Bots = append(a.Bots, Bot{ID: d.uuid("st-"), Name: fmt.Sprintf("bot-%d", b+1)})
	}
	for range 25 {
		first, last := pick(d, firstNames), pick(d, lastNames)
		a.agents = append(a.agents, agent{
			id: d.uuid("u-"), first: first, last: last,
			email: fmt.Sprintf("%s.%s.%s@example.com", first, last, d.word36(3)),
		})
	}
	for _, name := range queueNames {
		a.queues = append(a.queues, queue{d.shortUUID("qu-"), name})
	}
	return a
}

// bot returns the index of a bot in its account, or -1.
func (a *Account) bot(id string) int {
	for i, b := range a.Bots {
		if b.ID == id {
			return i
		}
	}
	return -1
}

type indexKey struct{ account, bot, slot int32 }

// index holds, for one bot and slot, when the rows of each endpoint begin and end: what is needed to select a page
// without generating what is in it.
type index struct {
	outlines []outline
	segments []segmentRow
}

type segmentRow struct {
	span
	key     uint64 // of the contact
	contact int32  // in outlines
	n       int8
}

// spread is the longest time from the slot of a contact to the start or end of its last row.
func (w *World) spread() moment {
	if w.cfg.Pace == Burst {
		return 5 * minute
	}
	return moment(w.cfg.EmailOpen.Milliseconds()) + 12*hour
}

// slots calls f with every slot of a bot whose rows can touch [from, to].
func (w *World) slots(account, bot int, from, to moment, f func(ix *index, key indexKey)) {
	if w.stop != 0 {
		to = min(to, w.stop-1)
	}
	first := max((from-w.spread()-w.start)/w.slot, 0)
	for s := first; w.start+s*w.slot <= to; s++ {
		key := indexKey{int32(account), int32(bot), int32(s)}
		f(w.index(key), key)
	}
}

func (w *World) index(key indexKey) *index {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ix := w.indexes[key]; ix != nil {
		return ix
	}
	ix := w.newIndex(key)
	if w.rows > maxIndexedRows {
		clear(w.indexes)
		w.rows = 0
	}
	w.indexes[key] = ix
	w.rows += len(ix.outlines) + len(ix.segments) + 1
	return ix
}

func (w *World) newIndex(key indexKey) *index {
	expected := w.perSlot
	if int(key.bot) >= w.cfg.BusyBots {
		expected = w.perIdle
	}
	d := roll(w.cfg.Seed, 2, uint64(key.account), uint64(key.bot), uint64(key.slot))
	n := int(expected)
	if d.chance(expected - float64(n)) {
		n++
	}
	begin := w.start + moment(key.slot)*w.slot
	starts := make([]moment, 0, n)
	for range n {
		starts = append(starts, d.between(begin, begin+w.slot))
	}
	for _, s := range w.cfg.Spikes {
		at := momentOf(s.At).second()
		if s.Account == int(key.account) && s.Bot == int(key.bot) && at >= begin && at < begin+w.slot {
			for range s.Rows {
				starts = append(starts, d.between(at, at+second))
			}
		}
	}
	sort.Slice(starts, func(i, j int) bool { return starts[i] < starts[j] })
	ix := &index{outlines: make([]outline, 0, len(starts))}
	for _, start := range starts {
		if w.stop != 0 && start >= w.stop {
			break
		}
		i := len(ix.outlines)
		o, _ := w.outline(contactRef{key, int32(i)}, start)
		ix.outlines = append(ix.outlines, o)
		for n := range o.segments {
			ix.segments = append(ix.segments, segmentRow{o.spans[n], o.key, int32(i), n})
		}
	}
	// So that a listing, which is sorted each time, is nearly sorted already.
	sort.SliceStable(ix.segments, func(i, j int) bool { return ix.segments[i].start < ix.segments[j].start })
	return ix
}

// contact returns everything about one contact. It generates the contact again if it is not in the cache.
func (w *World) contact(ref contactRef) *contact {
	ix := w.index(ref.indexKey)
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.recent[ref]
	if c == nil {
		if c = w.older[ref]; c == nil {
			c = w.newContact(ref, ix.outlines[ref.n].session)
		}
		if len(w.recent) >= maxContacts {
			w.recent, w.older = map[contactRef]*contact{}, w.recent
		}
		w.recent[ref] = c
	}
	return c
}
