package journal

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// later returns the value as version 3 might write it: with more sections, which version 2 does not know.
func later(value []byte, oldest byte) []byte {
	value = append([]byte{3, oldest}, value[2:]...)
	return appendSection(appendSection(value, 40, []byte("news")), 1<<40, []byte{1, 2, 3})
}

func examples(t testing.TB) []Record {
	t.Helper()
	store := checkpointtest.Open(t)
	j, err := New(store.Store, "a1")
	require.NoError(t, err)
	j.limits = limits{value: 60, compact: 0, deltas: 1, snapshots: 1 << 20, tombstones: 10}
	seen := time.Date(2026, 11, 3, 12, 30, 0, 0, time.UTC)
	var all []Record
	for n := range byte(4) {
		c := checkpoint.Changes{
			Account: "a1", ReadAt: seen.Add(time.Duration(n) * time.Hour),
			Touched:  []uint32{checkpoint.KeyAt(seen, false, checkpoint.Hash{}).Day},
			Dead:     []checkpoint.DeadLetter{{Day: 20_000, Hash: checkpoint.Hash{1, n}}},
			Progress: map[string][]byte{"interactions/st-1": {n}, "empty": {}},
		}
		for i := range byte(6) {
			key := checkpoint.KeyAt(seen.Add(-20*time.Hour*time.Duration(i)), i%2 == 0, checkpoint.Hash{i, n})
			c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: bytes.Repeat([]byte{n}, int(i)*5)})
		}
		records, err := j.Append(&c, bound.Record)
		require.NoError(t, err)
		require.NoError(t, store.Commit(c))
		j.Committed()
		all = append(all, records...)
	}
	c := checkpoint.Changes{Account: "a1", ReadAt: seen}
	records, err := j.Expire([]uint32{20_000}, &c, bound.Record)
	require.NoError(t, err)
	return append(all, records...)
}

// A roll-back works: version 2 skips what version 3 adds, unless version 3 says that version 2 is too old.
func TestLaterVersionIsRead(t *testing.T) {
	records := examples(t)
	read := func(change func([]byte) []byte) (map[string][]byte, error) {
		store := checkpointtest.Open(t)
		r := NewReplay(store.Store, func(string) bool { return true })
		for i, record := range records {
			value := record.Value
			if value != nil {
				value = change(bytes.Clone(value))
			}
			if err := r.Add(record.Key, value, int64(i+1)); err != nil {
				return nil, err
			}
		}
		if err := r.Add([]byte("z/a1/of-a-later-kind"), later(newValue(0), 1), 100); err != nil {
			return nil, err
		}
		_, err := r.Finish(nil)
		require.NoError(t, err)
		state, err := store.AllProgress("a1")
		for slot := range state { // sizes differ
			if strings.HasPrefix(slot, localDay) {
				delete(state, slot)
			}
		}
		return state, err
	}
	ours, err := read(func(value []byte) []byte { return value })
	require.NoError(t, err)
	theirs, err := read(func(value []byte) []byte { return later(value, 1) })
	require.NoError(t, err)
	require.Equal(t, ours, theirs)

	_, err = read(func(value []byte) []byte { return later(value, 3) })
	require.ErrorIs(t, err, ErrTooNew)
	require.ErrorContains(t, err, "it needs a reader of version 3, and this is version 2: written by a later version of this program; run that version")
}

func TestGarbageIsRefused(t *testing.T) {
	value := func(sections ...[]byte) []byte { return bytes.Join(append([][]byte{{1, 1}}, sections...), nil) }
	part := func(body ...byte) []byte {
		return appendSection(value([]byte{1, 4, 9, 0, 1, 7}), partEntities, body)
	}
	hash := bytes.Repeat([]byte{7}, 12)
	for name, c := range map[string]struct {
		key   string
		value []byte
		want  string
	}{
		"an empty key":           {"", nil, "not a key of a checkpoint topic"},
		"a key without account":  {"d//0000000000000001", nil, "not a key"},
		"a delta without a seq":  {"d/a1/1", nil, "not a key"},
		"a delta 0":              {"d/a1/0000000000000000", nil, "not a key"},
		"capital digits":         {"d/a1/000000000000000A", nil, "not a key"},
		"a slot too many":        {"s/a1/20000/42/0", nil, "not a key"},
		"a leading zero":         {"s/a1/20000/1/00", nil, "not a key"},
		"a local record":         {"p/a1/~manifest", []byte{1, 1, 1, 0}, "not a key"},
		"a manifest with a name": {"m/a1/x", nil, "not a key"},
		"an unknown kind":        {"z/a1/x", []byte{1, 1}, "version 1 writes no such keys"},
		"no value":               {"m/a1", []byte{}, "does not begin with two versions"},
		"version 0":              {"m/a1", []byte{0, 0}, "does not begin with two versions"},
		"oldest above version":   {"m/a1", []byte{1, 2}, "does not begin with two versions"},
		"a section cut off":      {"p/a1/x", value([]byte{1, 5, 'a'}), "5 bytes are announced, and 1 left"},
		"an unknown section":     {"p/a1/x", value([]byte{1, 1, 7, 9, 1, 7}), "section 9 is unknown to version 1"},
		"sections out of order":  {"d/a1/0000000000000001", value([]byte{4, 1, 0, 1, 1, 5}), "section 1 comes after section 4"},
		"a section twice":        {"p/a1/x", value([]byte{1, 1, 5, 1, 1, 5}), "section 1 comes after section 1"},
		"an empty section":       {"p/a1/x", value([]byte{1, 0}), "section 1 is empty"},
		"a long number":          {"m/a1", value([]byte{1, 5, 0x81, 0, 1, 1, 0}), "longer than it needs to be"},
		"a manifest of nothing":  {"m/a1", value(), "are not in order"},
		"deltas out of order":    {"m/a1", value([]byte{1, 4, 3, 2, 3, 0}), "are not in order"},
		"bytes left over":        {"m/a1", value([]byte{1, 5, 1, 2, 1, 0, 0}), "1 bytes are left over"},
		"a delta without hour":   {"d/a1/0000000000000001", value(), "it has no hour"},
		"a day before the first": {
			"d/a1/0000000000000001", value([]byte{1, 1, 5, 4, 1, 1}), "day -1 is out of range",
		},
		"a minute too many":   {"d/a1/0000000000000001", appendSection(value([]byte{1, 1, 5}), deltaPuts, []byte{0, 0xa1, 11}), "1441 is more than 1440"},
		"an entity cut off":   {"d/a1/0000000000000001", appendSection(value([]byte{1, 1, 5}), deltaPuts, append([]byte{0, 1}, hash[:9]...)), "12 bytes are announced, and 9 left"},
		"a part of no parts":  {"s/a1/20000/3/0", value([]byte{1, 4, 9, 0, 0, 7}), "part 0 of 0"},
		"another part":        {"s/a1/20000/3/1", value([]byte{1, 4, 9, 0, 2, 7}), "cannot have the number 1"},
		"a minute elsewhere":  {"s/a1/20000/3/0", part(append([]byte{60}, append(hash, 0)...)...), "60 is more than 59"},
		"the same hash twice": {"s/a1/20000/3/0", part(append(append([]byte{0}, append(hash, 0)...), append(append([]byte{0}, hash...), 0)...)...), "not in order"},
		"of another slot":     {"s/a1/20000/30/0", part(append(hash, 0)...), "belongs to slot 24"},
		"entities of no slot": {"s/a1/20000/41/0", part(append(hash, 0)...), "this slot holds no entities"},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReplay(checkpointtest.Open(t).Store, func(string) bool { return true })
			err := r.Add([]byte(c.key), c.value, 8)
			require.ErrorIs(t, err, ErrMalformed)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "before offset 8")
		})
	}
}

func fuzz(f *testing.F, kind Kind, decode func(t *testing.T, k key, value []byte) (again []byte, err error)) {
	for _, record := range examples(f) {
		if is, _, _ := KindOf(record.Key); is == kind && record.Value != nil {
			f.Add(string(record.Key), record.Value)
			f.Add(string(record.Key), later(record.Value, 1))
		}
	}
	f.Fuzz(func(t *testing.T, rawKey string, value []byte) {
		k, err := parseKey([]byte(rawKey))
		if err != nil || k.kind != kind {
			return
		}
		again, err := decode(t, k, value)
		if err == nil && value[0] == version {
			require.Equal(t, value[2:], again[2:], "a value has one encoding")
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	fuzz(f, KindManifest, func(_ *testing.T, _ key, value []byte) ([]byte, error) {
		m, err := decodeManifest(value)
		return m.encode(), err
	})
}

func FuzzDecodeProgress(f *testing.F) {
	fuzz(f, KindProgress, func(_ *testing.T, _ key, value []byte) ([]byte, error) {
		record, err := decodeProgress(value)
		return encodeProgress(record), err
	})
}

func FuzzDecodeDelta(f *testing.F) {
	fuzz(f, KindDelta, func(t *testing.T, _ key, value []byte) ([]byte, error) {
		d, err := decodeDelta(value)
		require.LessOrEqual(t, len(d.puts)*15+len(d.dead)*13+len(d.touched)+len(d.forget), len(value)+15, "but for the one that was cut off")
		again, rest := d.encode(1 << 30)
		require.Empty(t, rest)
		return again, err
	})
}

func FuzzDecodePart(f *testing.F) {
	fuzz(f, KindSnapshot, func(t *testing.T, k key, value []byte) ([]byte, error) {
		p, err := decodePart(value, k.day, k.slot, k.n)
		require.LessOrEqual(t, len(p.puts)*13+len(p.dead)*12, len(value)+13, "but for the one that was cut off")
		return reencode(p, k), err
	})
}

// reencode is a second, simpler encoder of parts.
func reencode(p part, k key) []byte {
	var head, body []byte
	for _, n := range []uint64{p.asOf, uint64(p.n), uint64(p.total), uint64(p.touched)} {
		head = binary.AppendUvarint(head, n)
	}
	minute := uint16(k.slot) * 60
	for _, put := range p.puts {
		if k.slot < checkpoint.SlotShared {
			body = binary.AppendUvarint(body, uint64(put.Key.Minute-minute))
			minute = put.Key.Minute
		}
		body = binform.AppendBytes(append(body, put.Key.Hash[:]...), put.Value)
	}
	for _, hash := range p.dead {
		body = append(body, hash[:]...)
	}
	return appendSection(appendSection(newValue(0), partHead, head), partEntities, body)
}

func FuzzDecodeDay(f *testing.F) {
	f.Add((&dayState{touched: 5}).encode())
	f.Add((&dayState{touched: 1 << 20, slots: [slots]slotState{3: {1, 0, 0, 0}, 41: {9, 8, 1, 700}}}).encode())
	f.Fuzz(func(t *testing.T, value []byte) {
		if s, err := decodeDay(value); err == nil && value[0] == version {
			require.Equal(t, value[2:], s.encode()[2:])
		}
	})
}

func TestKindOf(t *testing.T) {
	kinds := map[Kind]int{}
	for _, record := range examples(t) {
		kind, account, ok := KindOf(record.Key)
		require.True(t, ok, "%s", record.Key)
		require.Equal(t, "a1", account)
		kinds[kind]++
	}
	for _, kind := range []Kind{KindManifest, KindProgress, KindDelta, KindSnapshot} {
		require.NotZero(t, kinds[kind], "%c", kind)
	}
	require.Len(t, kinds, 4)

	kind, account, ok := KindOf([]byte("z/a1/of-a-later-kind"))
	require.True(t, ok)
	require.Equal(t, "a1", account)
	require.Equal(t, Kind('z'), kind)
	for _, key := range []string{"", "m/", "m/a1/x", "d/a1/1", "owner"} {
		kind, _, ok := KindOf([]byte(key))
		require.False(t, ok, key)
		require.Zero(t, kind, key)
	}
}
