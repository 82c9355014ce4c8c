package binform_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/binform"
)

func TestReader(t *testing.T) {
	b := binary.AppendUvarint([]byte{7}, 300)
	b = binary.AppendVarint(b, -5)
	b = binary.AppendUvarint(b, math.MaxUint64)
	b = binform.AppendBytes(b, "text")
	b = binary.BigEndian.AppendUint32(b, 1<<31)
	b = binary.BigEndian.AppendUint64(b, 1<<63)
	b = append(b, 2, 'a', 'b', 'c', 'd')
	r := binform.NewReader(b)
	require.EqualValues(t, 7, r.Byte())
	require.EqualValues(t, 300, r.Uint(300))
	require.EqualValues(t, -5, r.Int(-5, 0))
	require.EqualValues(t, uint64(math.MaxUint64), r.Uvarint())
	require.Equal(t, "text", string(r.Bytes()))
	require.EqualValues(t, 1<<31, r.Uint32())
	require.EqualValues(t, uint64(1<<63), r.Uint64())
	require.Equal(t, 2, r.Count(2))
	var two [2]byte
	r.Fill(two[:])
	require.Equal(t, "ab", string(two[:]))
	require.True(t, r.More())
	require.Equal(t, 2, r.Len())
	require.Equal(t, "cd", string(r.Rest()))
	require.False(t, r.More())
	require.NoError(t, r.Done())
}

func TestReaderFails(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		read func(r *binform.Reader)
		want string
	}{
		"no byte":             {nil, func(r *binform.Reader) { r.Byte() }, "a byte is missing"},
		"no number":           {nil, func(r *binform.Reader) { r.Uvarint() }, "cut off"},
		"a number cut off":    {[]byte{0x80}, func(r *binform.Reader) { r.Uvarint() }, "cut off"},
		"a longer form":       {[]byte{0x81, 0}, func(r *binform.Reader) { r.Uvarint() }, "longer than it needs to be"},
		"a longer signed":     {[]byte{0x81, 0}, func(r *binform.Reader) { r.Varint() }, "longer than it needs to be"},
		"more than 64 bits":   {[]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 2}, func(r *binform.Reader) { r.Uvarint() }, "cut off or longer"},
		"beyond the limit":    {[]byte{9}, func(r *binform.Reader) { r.Uint(8) }, "9 is more than 8"},
		"below the range":     {[]byte{3}, func(r *binform.Reader) { r.Int(-1, 1) }, "-2 is not within -1 and 1"},
		"bytes cut off":       {[]byte{3, 'a'}, func(r *binform.Reader) { r.Bytes() }, "3 bytes are announced, and 1 left"},
		"a huge length":       {binary.AppendUvarint(nil, 1<<63), func(r *binform.Reader) { r.Bytes() }, "are announced, and 0 left"},
		"4 bytes cut off":     {[]byte{1, 2, 3}, func(r *binform.Reader) { r.Uint32() }, "4 bytes are announced, and 3 left"},
		"8 bytes cut off":     {[]byte{1, 2, 3}, func(r *binform.Reader) { r.Uint64() }, "8 bytes are announced, and 3 left"},
		"a count of too many": {[]byte{3, 1, 2, 3, 4, 5}, func(r *binform.Reader) { r.Count(2) }, "3 items of at least 2 bytes are announced, and 5 bytes are left"},
		"a huge count":        {binary.AppendUvarint(nil, math.MaxUint64), func(r *binform.Reader) { r.Count(1) }, "items of at least 1 bytes"},
		"bytes left over":     {[]byte{1, 2}, func(r *binform.Reader) { r.Byte() }, "1 bytes are left over"},
		"a format's own":      {[]byte{1}, func(r *binform.Reader) { r.Failf("day %d", r.Byte()) }, "day 1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := binform.NewReader(c.b)
			c.read(&r)
			require.ErrorContains(t, r.Done(), c.want)
			require.ErrorContains(t, r.Err(), c.want)
		})
	}
}

// The first failure is the one that counts, and afterwards nothing is left to read.
func TestReaderKeepsTheFirstFailure(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	r := binform.NewReader([]byte{1, 2, 3})
	r.Byte()
	require.NoError(t, r.Err())
	r.Fail(first)
	r.Fail(second)
	r.Failf("third")
	require.ErrorIs(t, r.Err(), first)
	require.False(t, r.More())
	require.Zero(t, r.Len())
	require.Zero(t, r.Byte())
	require.Zero(t, r.Uvarint())
	require.Zero(t, r.Varint())
	require.Zero(t, r.Uint(0))
	require.Zero(t, r.Int(1, 2))
	require.Zero(t, r.Count(1))
	require.Zero(t, r.Uint32())
	require.Zero(t, r.Uint64())
	require.Nil(t, r.Take(0))
	require.Nil(t, r.Bytes())
	require.Nil(t, r.Rest())
	require.Equal(t, first, r.Err())
	require.Equal(t, first, r.Done())
}

// FuzzReader reads any bytes in any order, and compares with what the pieces are by definition: a piece that is read is what
// its appender writes, nothing is read twice or left out, and nothing follows a failure.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6}, []byte("\x07\x80\x01\x09\x03abc\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x01z"))
	f.Add([]byte{3, 3}, []byte{0x81, 0})
	f.Add([]byte{6, 6}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, order, b []byte) {
		r := binform.NewReader(b)
		var again []byte
		for _, piece := range order {
			failed, before := r.Err() != nil, r.Len()
			var wrote []byte
			var zero bool
			switch piece % 8 {
			case 0:
				v := r.Byte()
				wrote, zero = []byte{v}, v == 0
			case 1:
				v := r.Uvarint()
				wrote, zero = binary.AppendUvarint(nil, v), v == 0
			case 2:
				v := r.Int(math.MinInt32, math.MaxInt64)
				require.GreaterOrEqual(t, v, int64(math.MinInt32))
				wrote, zero = binary.AppendVarint(nil, v), v == 0
			case 3:
				v := r.Bytes()
				wrote, zero = binform.AppendBytes(nil, v), v == nil
			case 4:
				v := r.Uint32()
				wrote, zero = binary.BigEndian.AppendUint32(nil, v), v == 0
			case 5:
				v := r.Uint64()
				wrote, zero = binary.BigEndian.AppendUint64(nil, v), v == 0
			case 6:
				n := r.Count(int(piece) + 1)
				require.LessOrEqual(t, n*(int(piece)+1), r.Len())
				wrote, zero = binary.AppendUvarint(nil, uint64(n)), n == 0
			default:
				n := r.Uint(uint64(piece))
				require.LessOrEqual(t, n, uint64(piece))
				wrote, zero = binary.AppendUvarint(nil, n), n == 0
			}
			switch {
			case r.Err() != nil:
				require.True(t, zero)
				require.Zero(t, r.Len())
			default:
				require.False(t, failed)
				require.Equal(t, before-len(wrote), r.Len())
				again = append(again, wrote...)
			}
		}
		if rest := r.Rest(); r.Err() == nil {
			require.True(t, bytes.Equal(b, append(again, rest...)))
			require.NoError(t, r.Done())
		}
		require.Equal(t, r.Err(), r.Done())
	})
}
