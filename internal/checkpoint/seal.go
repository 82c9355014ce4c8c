package checkpoint

import (
	"encoding/binary"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
)

// sealSize is the length of the checksum before every value of an entity and every record. The checksum covers the value and where it
// belongs. A wrong span of time read would lose events, and a wrong entity would repeat one. With transactions, either would also
// reach the checkpoint topic, from which the file is made again.
const sealSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends the value of an entity as it is stored.
func seal(dst []byte, day uint32, key storedKey, value []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, entitySum(day, key, value))
	return append(dst, value...)
}

// unseal returns the value of an entity that is stored under the day and the key. The value refers to stored.
func unseal(day uint32, key storedKey, stored []byte) (value []byte, err error) {
	if len(stored) < sealSize || binary.BigEndian.Uint32(stored) != entitySum(day, key, stored[sealSize:]) {
		return nil, damage("checksum of entity %x of day %d does not match", key, day)
	}
	return stored[sealSize:], nil
}

func entitySum(day uint32, key storedKey, value []byte) uint32 {
	var place [4 + storedKeySize]byte
	binary.BigEndian.PutUint32(place[:], day)
	copy(place[4:], key[:])
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, value)
}

// unsealRecord returns a copy of a record that is stored under the name, nil for nil. The account is empty for records about the file.
func unsealRecord(account, name string, stored []byte) ([]byte, error) {
	if stored == nil {
		return nil, nil
	}
	if err := checkRecord(account, name, stored); err != nil {
		return nil, err
	}
	return append([]byte{}, stored[sealSize:]...), nil
}

func checkRecord(account, name string, stored []byte) error {
	if len(stored) < sealSize || binary.BigEndian.Uint32(stored) != recordSum(account, name, stored[sealSize:]) {
		return damage("checksum of record %q of account %q does not match", name, account)
	}
	return nil
}

func writeRecord(bucket *bolt.Bucket, account, name string, record []byte) error {
	return putRecord(bucket, name, sealRecord(account, name, record))
}

// sealRecord returns the record as it is stored, nil for nil.
func sealRecord(account, name string, record []byte) []byte {
	if record == nil {
		return nil
	}
	stored := binary.BigEndian.AppendUint32(make([]byte, 0, sealSize+len(record)), recordSum(account, name, record))
	return append(stored, record...)
}

// putRecord stores a sealed record; nil deletes it.
func putRecord(bucket *bolt.Bucket, name string, sealed []byte) error {
	if sealed == nil {
		return bucket.Delete([]byte(name))
	}
	return bucket.Put([]byte(name), sealed)
}

func recordSum(account, name string, record []byte) uint32 {
	place := append(append([]byte(account), 0), name...)
	return crc32.Update(crc32.Checksum(place, castagnoli), castagnoli, record)
}
