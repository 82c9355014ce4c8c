package checkpoint

import (
	"bytes"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"agentassist-poller/internal/faultpoint"
)

// stage holds the changes that Stage has taken and that are not in the file yet, in the form in which they go into the file. A commit of
// bbolt costs the same for much as for little, so that the changes of several batches share one.
//
//	Stage ──────► stage, in memory ─────────────────────────────► file
//	                │              all of it, in one transaction:  │
//	                │              once it is full or old, before  │
//	                │              any other write, and at Close   │
//	                ▼                                              ▼
//	Lookup, FindDead, Scan, Progress, AllProgress, Identity see the stage, and behind it the file;
//	Days, Due and Accounts see the file, after a Flush.
//
// What is staged has to be recorded elsewhere too, in an order: on the checkpoint topic. The caller stages with each batch how far the
// topic was applied (a record of Identity, "next" here). Everything staged goes into the file in one transaction, so that the file
// always ends where its own next says, and never claims what it does not hold:
//
//	topic  ├─ in the file ─────────┼─ staged ──────────────┼─ being delivered ──► offsets
//	                               ▲                       ▲
//	                         next in the file       next in the stage
//
//	a crash leaves the file with its own next. The next owner of the partition replays the topic from there.
//	a write that fails leaves the file and the stage as they were. Nothing more is staged until a write succeeds.
//	damage ends the store, and the stage with it. The file that replaces the damaged one is made from the topic.
//
// With a stage, no goroutine waits longer for the file, or for another account, than without one. A goroutine that changes the stage holds
// Store.writing. While the stage is written to the file it does not change, and is read as before. Store.mu is held only briefly.
type stage struct {
	accounts map[string]*stagedAccount
	identity map[string][]byte // sealed; nil deletes
	bytes    int               // about what the stage takes in memory
}

type stagedAccount struct {
	mu       sync.RWMutex // guards what follows; a goroutine that holds Store.writing may read without it
	days     map[uint32]*stagedDay
	progress map[string][]byte // sealed; nil deletes
}

type stagedDay struct {
	slots   [Slots]map[storedKey][]byte // entities and dead letters, sealed
	entries int
	touched uint32 // the hour in which the day was last touched since the stage has entries of it
	before  uint32 // the same for the time before that; it counts only if the file has the day
}

// The limits of what a crash leaves to be replayed: some ten pages of rows, or what is read in a few seconds.
var (
	stageBytes = 4 << 20
	stageFor   = 5 * time.Second
)

// entryOverhead is about what an entry takes in a map beside its value.
const entryOverhead = 64

// Stage records the changes as Commit does, but leaves it to a later write to put them into the file: a few seconds later at most. It is
// for changes that are recorded elsewhere as well, since a crash loses what is staged.
//
// Stage returns an error, and has not staged the changes, while what was staged before cannot be written and has come to its limit, or
// if the last write failed.
func (s *Store) Stage(c Changes) error {
	if err := c.check(); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable("stage"); err != nil {
		return err
	}
	if s.failed.Load() != nil || s.stage.bytes >= stageBytes {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if s.failed.Load() != nil { // and there was nothing to write
		if err := s.write("probe", probe); err != nil {
			return err
		}
	}
	if s.stage.empty() {
		s.late = time.AfterFunc(stageFor, s.flushLate)
	}
	s.add(&c)
	return nil
}

// add adds the changes to the stage.
func (s *Store) add(c *Changes) {
	s.mu.Lock()
	s.stage.bytes++ // it is not empty any more, even if nothing takes room
	if s.stage.identity == nil {
		s.stage.identity, s.stage.accounts = make(map[string][]byte), make(map[string]*stagedAccount)
	}
	for name, record := range c.Identity {
		s.stage.identity[name] = sealRecord("", name, record)
		s.stage.bytes += len(record) + entryOverhead
	}
	acc := s.stage.accounts[c.Account]
	if acc == nil && c.Account != "" {
		acc = &stagedAccount{days: make(map[uint32]*stagedDay), progress: make(map[string][]byte)}
		s.stage.accounts[c.Account] = acc
	}
	s.mu.Unlock()
	if acc != nil {
		s.stage.bytes += acc.add(c)
	}
}

// read runs fn in a read transaction, with what is staged of the account by then, nil for nothing.
func (s *Store) read(op, account string, fn func(tx *bolt.Tx, staged *stagedAccount) error) error {
	s.mu.RLock() // until the transaction has begun: what is written and leaves the stage later is still in both
	release := sync.OnceFunc(s.mu.RUnlock)
	defer release()
	return s.view(op, func(tx *bolt.Tx) error {
		staged := s.stage.accounts[account]
		release()
		if staged != nil {
			staged.mu.RLock()
			defer staged.mu.RUnlock()
		}
		return fn(tx, staged)
	})
}

// Flush writes what is staged into the file.
func (s *Store) Flush() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.flush()
}

// flush is Flush for a caller that holds writing.
func (s *Store) flush() error {
	if s.stage.empty() {
		return nil
	}
	if err := s.write("write what is staged", s.stage.write); err != nil {
		return err
	}
	s.late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = stage{}
	return nil
}

// flushLate is what the timer of the stage calls. A failure is in Failing, and is tried again.
func (s *Store) flushLate() {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.flush(); err != nil && s.usable("flush") == nil {
		s.late.Reset(stageFor)
	}
}

func (s *stage) empty() bool { return s.bytes == 0 }

// add returns about how much memory the changes take.
func (a *stagedAccount) add(c *Changes) (size int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := hour(c.ReadAt)
	for _, p := range c.puts() {
		day := a.edit(p.day)
		day.put(p.key, p.value)
		day.touched = max(day.touched, now)
		size += len(p.value) + entryOverhead
	}
	for _, d := range c.Touched {
		if day := a.edit(d); day.entries > 0 {
			day.touched = max(day.touched, now)
		} else {
			day.before = max(day.before, now)
		}
	}
	for name, record := range c.Progress {
		a.progress[name] = sealRecord(c.Account, name, record)
		size += len(record) + entryOverhead
	}
	return size
}

func (a *stagedAccount) edit(day uint32) *stagedDay {
	d := a.days[day]
	if d == nil {
		d = &stagedDay{}
		a.days[day] = d
	}
	return d
}

func (d *stagedDay) put(key storedKey, value []byte) {
	slot := key.slot()
	if d.slots[slot] == nil {
		d.slots[slot] = make(map[storedKey][]byte)
	}
	d.slots[slot][key] = value
	d.entries++
}

// get returns the sealed value of an entry, nil if none is staged.
func (a *stagedAccount) get(day uint32, key storedKey) []byte {
	if a == nil || a.days[day] == nil {
		return nil
	}
	return a.days[day].slots[key.slot()][key]
}

// slot returns the entries of a slot in the order of their keys.
func (a *stagedAccount) slot(day uint32, slot Slot) []put {
	if a == nil || a.days[day] == nil {
		return nil
	}
	return sortedPuts(day, a.days[day].slots[slot])
}

// record returns a sealed record of the account, and whether one is staged; nil if it is to be deleted.
func (a *stagedAccount) record(name string) (sealed []byte, ok bool) {
	if a == nil {
		return nil, false
	}
	sealed, ok = a.progress[name]
	return sealed, ok
}

// records returns the sealed records of the account that are staged.
func (a *stagedAccount) records() map[string][]byte {
	if a == nil {
		return nil
	}
	return a.progress
}

// stagedDays returns the days of which entries are staged.
func (a *stagedAccount) stagedDays() (days []uint32) {
	if a == nil {
		return nil
	}
	for day, staged := range a.days {
		if staged.entries > 0 {
			days = append(days, day)
		}
	}
	return days
}

// write puts everything into the file. Writing the same again changes nothing.
func (s *stage) write(tx *bolt.Tx) error {
	if s.empty() {
		return nil
	}
	for account, staged := range s.accounts {
		acc, err := createAccount(tx, account)
		if err != nil {
			return err
		}
		if err := staged.write(acc); err != nil {
			return err
		}
	}
	for name, record := range s.identity {
		if err := putRecord(tx.Bucket(bucketIdentity), name, record); err != nil {
			return err
		}
	}
	faultpoint.Reach(faultpoint.DuringDisk)
	return nil
}

func (a *stagedAccount) write(acc *bolt.Bucket) error {
	days := acc.Bucket(bucketDays)
	for day, staged := range a.days {
		if staged.entries == 0 {
			if _, err := touchDays(days, []uint32{day}, staged.before); err != nil {
				return err
			}
			continue
		}
		touched := staged.touched
		if days.Bucket(dayName(day)) != nil {
			touched = max(touched, staged.before)
		}
		if err := writeDay(days, sortedPuts(day, staged.slots[:]...), touched); err != nil {
			return err
		}
	}
	for name, record := range a.progress {
		if err := putRecord(acc.Bucket(bucketProgress), name, record); err != nil {
			return err
		}
	}
	return nil
}

// sortedPuts returns the entries of a day in the order of their keys.
func sortedPuts(day uint32, slots ...map[storedKey][]byte) []put {
	n := 0
	for _, entries := range slots {
		n += len(entries)
	}
	puts := make([]put, 0, n)
	for _, entries := range slots {
		for key, value := range entries {
			puts = append(puts, put{day: day, key: key, value: value})
		}
	}
	slices.SortFunc(puts, func(a, b put) int { return bytes.Compare(a.key[:], b.key[:]) })
	return puts
}
