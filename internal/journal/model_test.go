package journal_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/testsize"
)

// model is accounts with a topic, a store, and what the store must hold, in the simplest form.
type model struct {
	t        *testing.T
	random   *rand.Rand
	topic    topic
	dir      string
	files    int
	store    *checkpointtest.Store
	saved    string // a copy of the store as it was at some time; a crash may leave no more than it
	savedAt  int64  // its next offset
	journals map[string]*journal.Journal
	want     map[string]map[string]string // by account, as dump has it
	now      time.Time
	staged   bool // commits are staged, and a crash loses what was not written
	crashes  int
	rebuilds int
}

var accounts = []string{"a1", "a2", "a3"}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), now: time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC),
		want: make(map[string]map[string]string), staged: seed%2 == 1,
	}
	for _, account := range accounts {
		m.want[account] = make(map[string]string)
	}
	m.store = m.newStore()
	m.open()
	return m
}

func (m *model) newStore() *checkpointtest.Store {
	m.files++
	return checkpointtest.OpenAt(m.t, filepath.Join(m.dir, strconv.Itoa(m.files)))
}

func (m *model) open() {
	m.journals = make(map[string]*journal.Journal)
	for _, account := range accounts {
		j, err := journal.New(m.store.Store, account)
		require.NoError(m.t, err)
		j.Shrink()
		m.journals[account] = j
	}
}

func today(now time.Time) uint32 { return uint32(now.Unix() / 86400) }

// changes returns a random batch: mostly of the last days, with few hashes, so that entities change.
func (m *model) changes(account string) checkpoint.Changes {
	c := checkpoint.Changes{Account: account, ReadAt: m.now, Progress: map[string][]byte{}}
	day := func() uint32 { return today(m.now) - uint32(m.random.IntN(4)*m.random.IntN(4)) }
	hash := func() (h checkpoint.Hash) {
		h[0], h[11] = byte(m.random.IntN(256)), byte(m.random.IntN(2))
		return h
	}
	for range m.random.IntN(30) * m.random.IntN(2) {
		key := checkpoint.Key{Day: day(), Shared: m.random.IntN(3) == 0, Hash: hash()}
		if !key.Shared {
			key.Minute = uint16(key.Hash[0]) * 5
		}
		value := make([]byte, m.random.IntN(40))
		for i := range value {
			value[i] = byte(m.random.IntN(256))
		}
		c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: value})
	}
	for range m.random.IntN(3) {
		c.Touched = append(c.Touched, day())
	}
	if m.random.IntN(4) == 0 {
		c.Dead = append(c.Dead, checkpoint.DeadLetter{Day: day(), Hash: hash()})
	}
	for range m.random.IntN(3) {
		name := fmt.Sprintf("unit/%d", m.random.IntN(6))
		c.Progress[name] = strconv.AppendInt(nil, m.random.Int64(), 36)
		if m.random.IntN(4) == 0 {
			c.Progress[name] = nil
		}
	}
	return c
}

// learn applies the changes to the model.
func (m *model) learn(c checkpoint.Changes) {
	want := m.want[c.Account]
	hour := func(day uint32) int {
		var hour int
		_, _ = fmt.Sscanf(want[fmt.Sprintf("day %d", day)], "touched %d", &hour)
		return hour
	}
	seen := func(day uint32) {
		want[fmt.Sprintf("day %d", day)] = fmt.Sprintf("touched %d", max(hour(day), int(c.ReadAt.Unix()/3600)))
	}
	for _, put := range c.Puts {
		seen(put.Key.Day)
		if k := put.Key; k.Shared {
			want[fmt.Sprintf("shared %d %x", k.Day, k.Hash)] = string(put.Value)
		} else {
			want[fmt.Sprintf("entity %d %d %x", k.Day, k.Minute, k.Hash)] = string(put.Value)
		}
	}
	for _, dead := range c.Dead {
		seen(dead.Day)
		want[fmt.Sprintf("dead %d %x", dead.Day, dead.Hash)] = ""
	}
	for _, day := range c.Touched {
		if want[fmt.Sprintf("day %d", day)] != "" {
			seen(day)
		}
	}
	for name, record := range c.Progress {
		if name[0] == '~' {
			continue
		}
		delete(want, "progress "+name)
		if record != nil {
			want["progress "+name] = string(record)
		}
	}
}

func (m *model) forget(account string, days []uint32) {
	for _, day := range days {
		maps.DeleteFunc(m.want[account], func(name, _ string) bool {
			var of uint32
			for _, kind := range []string{"day", "dead", "shared", "entity"} {
				if n, _ := fmt.Sscanf(name, kind+" %d", &of); n == 1 && of == day {
					return true
				}
			}
			return false
		})
	}
}

func (m *model) step() {
	m.now = m.now.Add(time.Duration(m.random.IntN(90)) * time.Minute)
	account := accounts[m.random.IntN(len(accounts))]
	j := m.journals[account]
	c := m.changes(account)
	records, err := j.Append(&c, bound.Record)
	require.NoError(m.t, err)
	for m.random.IntN(5) == 0 { // the transaction is aborted
		if m.random.IntN(2) == 0 {
			c = m.changes(account)
		}
		records, err = j.Append(&c, bound.Record)
		require.NoError(m.t, err)
	}
	m.topic.write(records)
	m.learn(c)
	if m.random.IntN(30) == 0 {
		m.crash() // before the store knows
		return
	}
	m.commit(j, c)
	switch m.random.IntN(40) {
	case 0, 1:
		m.expire(account)
	case 2:
		m.compact()
	case 3:
		m.save()
	case 4:
		m.rebuild()
	}
}

func (m *model) commit(j *journal.Journal, c checkpoint.Changes) {
	c.Identity = map[string][]byte{"next/7": strconv.AppendInt(nil, m.topic.next, 10)}
	commit := m.store.Commit
	if m.staged {
		commit = m.store.Stage
	}
	require.NoError(m.t, commit(c))
	j.Committed()
}

func (m *model) expire(account string) {
	due, err := m.store.Due(account, m.now.Add(-60*time.Hour))
	require.NoError(m.t, err)
	var days []uint32
	for _, e := range due {
		days = append(days, e.Day)
	}
	if m.random.IntN(6) == 0 {
		days = append(days, today(m.now)-uint32(m.random.IntN(3))) // whatever the reason
	}
	c := checkpoint.Changes{Account: account, ReadAt: m.now}
	records, err := m.journals[account].Expire(days, &c, bound.Record)
	require.NoError(m.t, err)
	known := false
	for _, day := range days {
		known = known || m.want[account][fmt.Sprintf("day %d", day)] != ""
	}
	require.Equal(m.t, known, records != nil)
	if records == nil {
		return
	}
	m.topic.write(records)
	m.forget(account, days)
	if m.random.IntN(4) == 0 {
		m.crash()
		return
	}
	require.NoError(m.t, m.store.Forget(account, days))
	if m.random.IntN(4) == 0 {
		m.crash()
		return
	}
	m.commit(m.journals[account], c)
}

func (m *model) compact() {
	require.NoError(m.t, m.store.Flush())
	horizon := storeNext(m.t, m.store.Store)
	if m.saved != "" {
		horizon = min(horizon, m.savedAt)
	}
	m.topic.compact(m.random, m.random.Int64N(m.topic.next+1), horizon)
}

// save copies the store, as an unsynced disk might keep it.
func (m *model) save() {
	require.NoError(m.t, m.store.Flush())
	m.savedAt = storeNext(m.t, m.store.Store)
	m.saved = m.copyOfFile()
}

// copyOfFile copies the file as it is, without what is staged, and returns the path of the copy.
func (m *model) copyOfFile() string {
	file, err := os.ReadFile(m.store.Path)
	require.NoError(m.t, err)
	m.files++
	path := filepath.Join(m.dir, strconv.Itoa(m.files))
	require.NoError(m.t, os.WriteFile(path, file, 0o600))
	return path
}

// crash leaves a store that is some commits behind, or no store. A replay brings it up to date.
func (m *model) crash() {
	m.crashes++
	switch kind := m.random.IntN(4); {
	case kind == 0 && m.saved != "":
		m.store, m.saved = checkpointtest.OpenAt(m.t, m.saved), ""
	case kind == 1:
		m.store = m.newStore()
	case kind == 2: // the process was killed
		m.store = checkpointtest.OpenAt(m.t, m.copyOfFile())
	}
	from := storeNext(m.t, m.store.Store)
	if m.random.IntN(3) == 0 { // again, before it has finished
		r := journal.NewReplay(m.store.Store, func(string) bool { return true })
		r.Shrink()
		for _, record := range m.topic.records {
			if record.offset >= from && m.random.IntN(50) > 0 {
				require.NoError(m.t, r.Add(record.Key, record.Value, record.offset+1))
			} else if record.offset >= from {
				break
			}
		}
	}
	_, err := m.topic.replay(m.store.Store, from, m.random.IntN(2) == 0)
	require.NoError(m.t, err)
	m.check()
	m.open()
}

func (m *model) check() {
	for _, account := range accounts {
		require.Equal(m.t, m.want[account], withoutOwn(dump(m.t, m.store.Store, account)))
	}
}

// rebuild makes another store from the start of the topic. It must be the same in every record.
func (m *model) rebuild() {
	m.rebuilds++
	m.check()
	fresh := m.newStore()
	_, err := m.topic.replay(fresh.Store, 0, m.random.IntN(2) == 0)
	require.NoError(m.t, err)
	for _, account := range accounts {
		require.Equal(m.t, dump(m.t, m.store.Store, account), dump(m.t, fresh.Store, account))
	}
}

// Whatever happens, the topic makes the store: from the start, and from where the store was left.
func TestTopicMakesTheStore(t *testing.T) {
	testsize.Slow(t)
	const steps = 300
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			for range steps {
				m.step()
			}
			m.rebuild()
			t.Logf("%d offsets, %d records left, %d crashes, %d rebuilds", m.topic.next, len(m.topic.records), m.crashes, m.rebuilds)
		})
	}
}
