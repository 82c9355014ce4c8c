package kafka

import "encoding/binary"

// murmur2 is the hash that Kafka's clients place keys with: MurmurHash2 with Kafka's seed.
func murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		mul  = 0x5bd1e995
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key) * mul
		k = (k ^ k>>24) * mul
		h = h*mul ^ k
		key = key[4:]
	}
	if len(key) > 0 {
		for i := len(key) - 1; i >= 0; i-- {
			h ^= uint32(key[i]) << (8 * i)
		}
		h *= mul
	}
	h = (h ^ h>>13) * mul
	return h ^ h>>15
}

// PartitionOf returns the partition that a key goes to out of n.
func PartitionOf(key string, n int) int { return partitionOf([]byte(key), n) }

func partitionOf(key []byte, n int) int { return int(murmur2(key)&0x7fffffff) % n }
