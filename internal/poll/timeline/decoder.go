package timeline

import (
	"encoding/binary"
	"errors"
	"math"
)

var (
	errTruncated = errors.New("truncated")
	errTrailing  = errors.New("bytes left over")
	errRange     = errors.New("number out of range")
)

// decoder reads the small binary forms in which planning state is kept. After the first error it returns zeros, and done
// returns that error. It never allocates by what the bytes claim: counts are checked against what is left.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errTruncated)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errTruncated)
		return 0
	}
	d.b = d.b[n:]
	if v > maxPlausibleMilli || v < -maxPlausibleMilli {
		d.fail(errRange)
		return 0
	}
	return v
}

// size reads an unsigned number that is no larger than a time in milliseconds may be.
func (d *decoder) size() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errTruncated)
		return 0
	}
	d.b = d.b[n:]
	if v > 2*maxPlausibleMilli {
		d.fail(errRange)
		return 0
	}
	return int64(v)
}

// count reads a number of items of at least itemBytes bytes each.
func (d *decoder) count(itemBytes int) int {
	v := d.size()
	if v > int64(len(d.b)/itemBytes) {
		d.fail(errTruncated)
		return 0
	}
	return int(v)
}

func (d *decoder) float() float64 {
	if len(d.b) < 4 {
		d.fail(errTruncated)
		return 0
	}
	v := float64(math.Float32frombits(binary.BigEndian.Uint32(d.b)))
	d.b = d.b[4:]
	if math.IsNaN(v) || v < 0 || v > math.MaxInt32*1e6 {
		d.fail(errRange)
		return 0
	}
	return v
}

func (d *decoder) done() error {
	if d.err == nil && len(d.b) > 0 {
		d.err = errTrailing
	}
	return d.err
}

// maxPlausibleMilli is the year 9999: sums of two such times cannot overflow.
const maxPlausibleMilli = 253402214400_000

func plausible(ms int64) bool { return ms >= -maxPlausibleMilli && ms <= maxPlausibleMilli }

func appendFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(v)))
}
