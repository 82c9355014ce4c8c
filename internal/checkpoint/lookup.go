package checkpoint

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Probe asks for one entity. A shared entity may be remembered under another day than the one hinted at in Key, by up to
// Slack days; the nearest days are looked at first, and only days of which anything is remembered.
type Probe struct {
	Key   Key
	Slack uint32
}

// Found answers a Probe. Key is the key under which the entity is remembered, for changes of it to go by.
type Found struct {
	Known bool
	Key   Key
	Value []byte // a copy
}

// Lookup answers probes[i] in out[i], all from one state of the store. Both slices have the same length.
func (s *Store) Lookup(account string, probes []Probe, out []Found) error {
	if len(out) != len(probes) {
		return fmt.Errorf("look up %d entities: there is room for %d answers", len(probes), len(out))
	}
	clear(out)
	return s.view("look up entities", func(tx *bolt.Tx) error {
		days := readDays(tx, account)
		values := make([]byte, 0, 16*len(probes))
		for i, probe := range probes {
			key, stored := days.find(probe)
			if stored == nil {
				continue
			}
			value, err := unseal(key.Day, key.stored(), stored)
			if err != nil {
				return err
			}
			start := len(values)
			values = append(values, value...)
			out[i] = Found{Known: true, Key: key, Value: values[start:len(values):len(values)]}
		}
		return nil
	})
}

// SeenDead returns which of the dead letters are remembered, with the day of each, which is to be touched when it is seen
// again.
func (s *Store) SeenDead(account string, hashes []Hash) (map[Hash]uint32, error) {
	seen := make(map[Hash]uint32)
	err := s.view("look up dead letters", func(tx *bolt.Tx) error {
		days := readDays(tx, account)
		for _, hash := range hashes {
			key := newStoredKey(prefixDead, hash)
			for day := int64(days.last); day >= int64(days.first) && days.root != nil; day-- {
				if days.get(uint32(day), key) != nil {
					seen[hash] = uint32(day)
					break
				}
			}
		}
		return nil
	})
	return seen, err
}

// daysReader looks keys up in the days of one account, within one transaction.
type daysReader struct {
	root        *bolt.Bucket // nil if nothing is remembered
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

// find returns where the entity is stored and what; nil if it is not known.
func (d *daysReader) find(p Probe) (Key, []byte) {
	if d.root == nil {
		return p.Key, nil
	}
	key, stored := p.Key, p.Key.stored()
	if v := d.get(key.Day, stored); v != nil || !key.Shared {
		return key, v
	}
	hint := int64(key.Day)
	for distance := int64(1); distance <= int64(p.Slack); distance++ {
		before, after := hint-distance, hint+distance
		if before < int64(d.first) && after > int64(d.last) {
			break
		}
		for _, day := range [2]int64{after, before} {
			if day < int64(d.first) || day > int64(d.last) {
				continue
			}
			if v := d.get(uint32(day), stored); v != nil {
				key.Day = uint32(day)
				return key, v
			}
		}
	}
	return key, nil
}

// Progress returns the record that was last committed under the name, nil if there is none.
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

// Identity returns the record about the file as a whole that was last committed under the name, nil if there is none.
func (s *Store) Identity(name string) (record []byte, err error) {
	err = s.view("read identity", func(tx *bolt.Tx) error {
		record, err = readRecord(tx.Bucket(bucketIdentity), "", name)
		return err
	})
	return record, err
}
