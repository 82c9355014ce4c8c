package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Probe asks for one entity. A shared entity may be stored under another day than that of Key, up to Slack days away. The entity of
// Key's day is preferred, then that of the nearest day.
type Probe struct {
	Key   Key
	Slack uint32
	// Earlier is where an earlier build may have stored the entity, which is looked at before other days; the zero value for nowhere.
	Earlier Key
}

// Anywhere is the Slack of an entity that may be stored under any day.
const Anywhere = math.MaxUint32

// Found answers a Probe. Key is the key under which the entity is stored; use it for later changes.
type Found struct {
	Known bool
	Key   Key
	Value []byte // a copy
}

// Lookup answers probes[i] in out[i], all from one state of the store. Both slices must have the same length.
func (s *Store) Lookup(account string, probes []Probe, out []Found) error {
	if len(out) != len(probes) {
		return fmt.Errorf("look up %d entities: there is room for %d answers", len(probes), len(out))
	}
	clear(out)
	generation := s.absent.begin()
	return s.read("look up entities", account, func(tx *bolt.Tx, staged *stagedAccount) error {
		days := readDays(tx, account, staged)
		var elsewhere []int // probes whose entity may be stored under another day
		for i, probe := range probes {
			if value := days.get(probe.Key.Day, probe.Key.stored()); value != nil {
				out[i] = Found{Known: true, Key: probe.Key, Value: value}
			} else if value := days.earlier(probe.Earlier); value != nil {
				out[i] = Found{Known: true, Key: probe.Earlier, Value: value}
			} else if probe.Key.Shared && probe.Slack > 0 {
				elsewhere = append(elsewhere, i)
			}
		}
		days.findElsewhere(probes, elsewhere, out, func(day uint32) (*dayFilter, func()) {
			bucket := days.bucket(day)
			if bucket == nil {
				return &dayFilter{}, func() {}
			}
			f := s.absent.of(account, day, unpackDayInfo(bucket.Sequence()).entities)
			return f, func() {
				if f.due() {
					f.fill(bucket)
				}
				s.absent.finish(generation, account, day, f)
			}
		})
		size := 0
		for i := range out {
			if !out[i].Known {
				continue
			}
			value, err := unseal(out[i].Key.Day, out[i].Key.stored(), out[i].Value)
			if err != nil {
				return err
			}
			out[i].Value = value
			size += len(value)
		}
		values := make([]byte, 0, size)
		for i := range out { // the values are valid only until the transaction ends
			if !out[i].Known {
				continue
			}
			start := len(values)
			values = append(values, out[i].Value...)
			out[i].Value = values[start:len(values):len(values)]
		}
		return nil
	})
}

// FindDead returns which of the dead letters are stored, and under which day, for the caller to touch.
func (s *Store) FindDead(account string, hashes []Hash) (map[Hash]uint32, error) {
	found := make(map[Hash]uint32)
	err := s.read("look up dead letters", account, func(tx *bolt.Tx, staged *stagedAccount) error {
		days := readDays(tx, account, staged)
		for _, hash := range hashes {
			key := newStoredKey(prefixDead, hash)
			for day := int64(days.last); day >= int64(days.first); day-- {
				if days.get(uint32(day), key) != nil {
					found[hash] = uint32(day)
					break
				}
			}
		}
		return nil
	})
	return found, err
}

// daysReader looks up keys in the days of one account, within one transaction.
type daysReader struct {
	staged      *stagedAccount
	root        *bolt.Bucket            // of the days in the file; nil if it has nothing of the account
	first, last uint32                  // days of the file and the stage; if there are none, first is after last
	cursors     map[uint32]*bolt.Cursor // nil cursor: the file has no such day
}

// readDays returns a reader that sees what is staged.
func readDays(tx *bolt.Tx, account string, staged *stagedAccount) *daysReader {
	d := &daysReader{staged: staged, first: math.MaxUint32, cursors: make(map[uint32]*bolt.Cursor)}
	if acc := tx.Bucket(bucketAccounts).Bucket([]byte(account)); acc != nil {
		d.root = acc.Bucket(bucketDays)
		if first, _ := d.root.Cursor().First(); first != nil {
			last, _ := d.root.Cursor().Last()
			d.first, d.last = binary.BigEndian.Uint32(first), binary.BigEndian.Uint32(last)
		}
	}
	for _, day := range staged.stagedDays() {
		d.first, d.last = min(d.first, day), max(d.last, day)
	}
	return d
}

// bucket returns the bucket of a day, nil if the file has none.
func (d *daysReader) bucket(day uint32) *bolt.Bucket {
	if d.root == nil {
		return nil
	}
	return d.root.Bucket(dayName(day))
}

// between returns the days from first to last that the file or the stage has, in order.
func (d *daysReader) between(first, last uint32) (days []uint32) {
	if d.root != nil {
		cursor := d.root.Cursor()
		for name, _ := cursor.Seek(dayName(first)); name != nil && bytes.Compare(name, dayName(last)) <= 0; name, _ = cursor.Next() {
			days = append(days, binary.BigEndian.Uint32(name))
		}
	}
	for _, day := range d.staged.stagedDays() {
		if at, there := slices.BinarySearch(days, day); !there && first <= day && day <= last {
			days = slices.Insert(days, at, day)
		}
	}
	return days
}

// get returns the sealed value, nil if there is none.
func (d *daysReader) get(day uint32, key storedKey) []byte {
	if value := d.staged.get(day, key); value != nil {
		return value
	}
	return d.stored(day, key)
}

// stored is get for what is in the file.
func (d *daysReader) stored(day uint32, key storedKey) []byte {
	cursor, ok := d.cursors[day]
	if !ok {
		if bucket := d.bucket(day); bucket != nil {
			cursor = bucket.Cursor()
		}
		d.cursors[day] = cursor
	}
	if cursor == nil {
		return nil
	}
	if k, v := cursor.Seek(key[:]); string(k) == string(key[:]) {
		return v
	}
	return nil
}

// earlier returns what is stored under the key of an earlier build, nil for nothing.
func (d *daysReader) earlier(key Key) []byte {
	if key == (Key{}) {
		return nil
	}
	return d.get(key.Day, key.stored())
}

// findElsewhere looks for probes under other days than their own. A new entity is under none of them, and a page may have hundreds of
// new entities. Therefore each day is searched once, in the order of its keys, while its pages are cached. filter returns what is known
// of a day, and what to call when the day was searched.
func (d *daysReader) findElsewhere(probes []Probe, which []int, out []Found, filter func(day uint32) (*dayFilter, func())) {
	if len(which) == 0 {
		return
	}
	slices.SortFunc(which, func(a, b int) int { return bytes.Compare(probes[a].Key.Hash[:], probes[b].Key.Hash[:]) })
	distance := func(day uint32, p Probe) uint32 { return max(day, p.Key.Day) - min(day, p.Key.Day) }
	first, last := uint32(math.MaxUint32), uint32(0)
	for _, i := range which {
		p := probes[i]
		first = min(first, p.Key.Day-min(p.Slack, p.Key.Day))
		last = max(last, p.Key.Day+min(p.Slack, math.MaxUint32-p.Key.Day))
	}
	for _, day := range d.between(first, last) {
		known, searched := filter(day)
		for _, i := range which {
			p := &probes[i]
			if away := distance(day, *p); away == 0 || away > p.Slack || out[i].Known && away > distance(out[i].Key.Day, *p) {
				continue
			}
			value := d.staged.get(day, p.Key.stored())
			if value == nil && !known.lacks(&p.Key.Hash) {
				if value = d.stored(day, p.Key.stored()); value == nil {
					known.missed()
				}
			}
			if value != nil {
				out[i] = Found{Known: true, Key: p.Key, Value: value}
				out[i].Key.Day = day
			}
		}
		searched()
	}
}

// Progress returns the record of the account with the name, nil if there is none.
func (s *Store) Progress(account, name string) (record []byte, err error) {
	err = s.read("read progress", account, func(tx *bolt.Tx, staged *stagedAccount) error {
		sealed, ok := staged.record(name)
		if acc := tx.Bucket(bucketAccounts).Bucket([]byte(account)); acc != nil && !ok {
			sealed = acc.Bucket(bucketProgress).Get([]byte(name))
		}
		record, err = unsealRecord(account, name, sealed)
		return err
	})
	return record, err
}

// AllProgress returns all records of the account by name.
func (s *Store) AllProgress(account string) (map[string][]byte, error) {
	records := make(map[string][]byte)
	err := s.read("read progress", account, func(tx *bolt.Tx, staged *stagedAccount) error {
		read := func(name string, sealed []byte) (err error) {
			if sealed != nil {
				records[name], err = unsealRecord(account, name, sealed)
			}
			return err
		}
		if acc := tx.Bucket(bucketAccounts).Bucket([]byte(account)); acc != nil {
			err := acc.Bucket(bucketProgress).ForEach(func(name, sealed []byte) error {
				if _, ok := staged.record(string(name)); ok {
					return nil
				}
				return read(string(name), sealed)
			})
			if err != nil {
				return err
			}
		}
		for name, sealed := range staged.records() {
			if err := read(name, sealed); err != nil {
				return err
			}
		}
		return nil
	})
	return records, err
}

// Identity returns the record about the file as a whole with the name, nil if there is none.
func (s *Store) Identity(name string) (record []byte, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err = s.view("read identity", func(tx *bolt.Tx) error {
		sealed, staged := s.stage.identity[name]
		if !staged {
			sealed = tx.Bucket(bucketIdentity).Get([]byte(name))
		}
		record, err = unsealRecord("", name, sealed)
		return err
	})
	return record, err
}
