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
	return s.view("look up entities", func(tx *bolt.Tx) error {
		days := readDays(tx, account)
		if days.root == nil {
			return nil
		}
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
			bucket := days.root.Bucket(dayName(day))
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
	err := s.view("look up dead letters", func(tx *bolt.Tx) error {
		days := readDays(tx, account)
		for _, hash := range hashes {
			key := newStoredKey(prefixDead, hash)
			for day := int64(days.last); day >= int64(days.first) && days.root != nil; day-- {
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
	root        *bolt.Bucket // nil if the account has no days
	first, last uint32
	cursors     map[uint32]*bolt.Cursor // nil cursor: no such day
}

func readDays(tx *bolt.Tx, account string) *daysReader {
	days := &daysReader{cursors: make(map[uint32]*bolt.Cursor)}
	acc := tx.Bucket(bucketAccounts).Bucket([]byte(account))
	if acc == nil {
		return days
	}
	root := acc.Bucket(bucketDays)
	first, _ := root.Cursor().First()
	if first == nil {
		return days
	}
	last, _ := root.Cursor().Last()
	days.root, days.first, days.last = root, binary.BigEndian.Uint32(first), binary.BigEndian.Uint32(last)
	return days
}

func (d *daysReader) get(day uint32, key storedKey) []byte {
	cursor, ok := d.cursors[day]
	if !ok {
		if bucket := d.root.Bucket(dayName(day)); bucket != nil {
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
	days := d.root.Cursor()
	for name, _ := days.Seek(dayName(first)); name != nil && bytes.Compare(name, dayName(last)) <= 0; name, _ = days.Next() {
		day := binary.BigEndian.Uint32(name)
		known, searched := filter(day)
		for _, i := range which {
			p := &probes[i]
			if away := distance(day, *p); away == 0 || away > p.Slack || out[i].Known && away > distance(out[i].Key.Day, *p) || known.lacks(&p.Key.Hash) {
				continue
			}
			if value := d.get(day, p.Key.stored()); value != nil {
				out[i] = Found{Known: true, Key: p.Key, Value: value}
				out[i].Key.Day = day
			} else {
				known.missed()
			}
		}
		searched()
	}
}

// Progress returns the record of the account with the name, nil if there is none.
func (s *Store) Progress(account, name string) (record []byte, err error) {
	err = s.view("read progress", func(tx *bolt.Tx) error {
		if acc := tx.Bucket(bucketAccounts).Bucket([]byte(account)); acc != nil {
			record, err = readRecord(acc.Bucket(bucketProgress), account, name)
		}
		return err
	})
	return record, err
}

// AllProgress returns all records of the account by name.
func (s *Store) AllProgress(account string) (map[string][]byte, error) {
	records := make(map[string][]byte)
	err := s.view("read progress", func(tx *bolt.Tx) error {
		acc := tx.Bucket(bucketAccounts).Bucket([]byte(account))
		if acc == nil {
			return nil
		}
		return acc.Bucket(bucketProgress).ForEach(func(name, _ []byte) (err error) {
			records[string(name)], err = readRecord(acc.Bucket(bucketProgress), account, string(name))
			return err
		})
	})
	return records, err
}

// Identity returns the record about the file as a whole with the name, nil if there is none.
func (s *Store) Identity(name string) (record []byte, err error) {
	err = s.view("read identity", func(tx *bolt.Tx) error {
		record, err = readRecord(tx.Bucket(bucketIdentity), "", name)
		return err
	})
	return record, err
}
