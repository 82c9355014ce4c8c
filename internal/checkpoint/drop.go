package checkpoint

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// Due returns the days of the account that Expire would forget. It changes nothing.
func (s *Store) Due(account string, before time.Time) ([]Expired, error) {
	infos, err := s.Days(account)
	var due []Expired
	for _, info := range infos {
		if expired(info.Touched, before) {
			due = append(due, Expired{Account: account, Day: info.Day, Entities: info.Entities})
		}
	}
	return due, err
}

// Forget forgets the days of the account, whenever they were last touched. It ignores days that the store does not have.
func (s *Store) Forget(account string, days []uint32) error {
	if len(days) > 0 {
		defer s.absent.forget()
	}
	return s.update("forget days", func(tx *bolt.Tx) error {
		acc := tx.Bucket(bucketAccounts).Bucket([]byte(account))
		if acc == nil {
			return errUnchanged
		}
		changed := false
		for _, day := range days {
			dropped, err := dropDay(acc.Bucket(bucketDays), day)
			if err != nil {
				return err
			}
			changed = changed || dropped
		}
		if !changed {
			return errUnchanged
		}
		return nil
	})
}

// Accounts returns the ids of the accounts that the store has anything of.
func (s *Store) Accounts() (accounts []string, err error) {
	if err := s.Flush(); err != nil {
		return nil, err
	}
	err = s.view("list accounts", func(tx *bolt.Tx) error {
		return tx.Bucket(bucketAccounts).ForEachBucket(func(name []byte) error {
			accounts = append(accounts, string(name))
			return nil
		})
	})
	return accounts, err
}

// Drop deletes everything of the account: its days and its progress.
func (s *Store) Drop(account string) error {
	defer s.absent.forget()
	return s.update("drop account", func(tx *bolt.Tx) error {
		accounts := tx.Bucket(bucketAccounts)
		if accounts.Bucket([]byte(account)) == nil {
			return errUnchanged
		}
		return accounts.DeleteBucket([]byte(account))
	})
}

func dropDay(days *bolt.Bucket, day uint32) (dropped bool, err error) {
	if days.Bucket(dayName(day)) == nil {
		return false, nil
	}
	return true, days.DeleteBucket(dayName(day))
}

// dropSlot deletes the contents of the slot, and the day with it if nothing else is left of it.
func dropSlot(days *bolt.Bucket, day uint32, slot Slot) error {
	bucket := days.Bucket(dayName(day))
	if bucket == nil {
		return nil
	}
	// A cursor can skip keys when others are deleted, so the keys are collected first.
	var keys [][]byte
	first, last := slot.bounds()
	cursor := bucket.Cursor()
	for k, _ := cursor.Seek(first[:]); k != nil && string(k) <= string(last[:]); k, _ = cursor.Next() {
		keys = append(keys, append([]byte{}, k...))
	}
	for _, key := range keys {
		if err := bucket.Delete(key); err != nil {
			return err
		}
	}
	info := unpackDayInfo(bucket.Sequence())
	if info.entities -= min(info.entities, uint32(len(keys))); info.entities == 0 {
		return days.DeleteBucket(dayName(day))
	}
	return bucket.SetSequence(info.pack())
}
