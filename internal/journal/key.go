package journal

import (
	"fmt"
	"strconv"
	"strings"

	"agentassist-poller/internal/checkpoint"
)

// slotTouched is a slot without entities: its snapshot says only when the day was last touched.
const (
	slotTouched = checkpoint.Slots
	slots       = slotTouched + 1
)

// Kind says what a record of the checkpoint topic holds. It is the first letter of the record's key.
type Kind byte

// The kinds that this version writes. A later version may add others.
const (
	KindManifest Kind = 'm'
	KindProgress Kind = 'p'
	KindDelta    Kind = 'd'
	KindSnapshot Kind = 's'
)

// KindOf returns what the record with this key holds, and the account that it is about. It returns false if the key is not one of
// a checkpoint topic; a kind that only a later version knows is returned as it is.
func KindOf(rawKey []byte) (kind Kind, account string, ok bool) {
	k, err := parseKey(rawKey)
	return k.kind, k.account, err == nil
}

// The keys are text:
//
//	m/<account>
//	p/<account>/<name>             name: not empty, and not one of the journal's own
//	d/<account>/<seq>              seq: 16 lower-case hexadecimal digits, counting from 1
//	s/<account>/<day>/<slot>/<n>   day, slot and n: decimal, without leading zeros; n counts from 0
//
// An account is not empty and has no slash. A reader refuses other keys, unless they begin with another letter and a slash: records
// with such keys are of a later version, and the reader skips or refuses them as it does sections that it does not know.

func manifestKey(account string) []byte       { return []byte("m/" + account) }
func progressKey(account, name string) []byte { return []byte("p/" + account + "/" + name) }

func deltaKey(account string, seq uint64) []byte { return fmt.Appendf(nil, "d/%s/%016x", account, seq) }

func partKey(account string, day uint32, slot checkpoint.Slot, n uint32) []byte {
	return fmt.Appendf(nil, "s/%s/%d/%d/%d", account, day, slot, n)
}

// key is a key taken apart. Which fields are set depends on kind.
type key struct {
	kind    Kind
	account string
	name    string
	seq     uint64
	day     uint32
	slot    checkpoint.Slot
	n       uint32
}

func parseKey(b []byte) (k key, err error) {
	text := string(b)
	refuse := func() (key, error) { return key{}, malformed("it is not a key of a checkpoint topic") }
	if len(text) < 3 || text[1] != '/' || text[0] < 'a' || text[0] > 'z' {
		return refuse()
	}
	k.kind = Kind(text[0])
	var rest string
	var more bool
	if k.account, rest, more = strings.Cut(text[2:], "/"); k.account == "" {
		return refuse()
	}
	switch k.kind {
	case KindManifest:
		if more {
			return refuse()
		}
	case KindProgress:
		if k.name = rest; k.name == "" || isLocal(k.name) {
			return refuse()
		}
	case KindDelta:
		if k.seq, err = strconv.ParseUint(rest, 16, 64); err != nil || k.seq == 0 || string(deltaKey(k.account, k.seq)) != text {
			return refuse()
		}
	case KindSnapshot:
		fields := strings.Split(rest, "/")
		if len(fields) != 3 {
			return refuse()
		}
		day, err1 := strconv.ParseUint(fields[0], 10, 32)
		slot, err2 := strconv.ParseUint(fields[1], 10, 8)
		n, err3 := strconv.ParseUint(fields[2], 10, 32)
		k.day, k.slot, k.n = uint32(day), checkpoint.Slot(slot), uint32(n)
		if err1 != nil || err2 != nil || err3 != nil || k.slot >= slots || string(partKey(k.account, k.day, k.slot, k.n)) != text {
			return refuse()
		}
	}
	return k, nil
}

// The journal's own records in the store, by their names among the progress records. They never travel.
const (
	localManifest  = "~manifest"  // the manifest
	localReplaying = "~replaying" // there, and empty, while a replay has begun to write and has not finished
	localDay       = "~day/"      // and the day in decimal: the state of a day (see dayState)
)

func isLocal(name string) bool { return strings.HasPrefix(name, "~") }

func localDayName(day uint32) string { return localDay + strconv.FormatUint(uint64(day), 10) }

func parseLocalDay(name string) (uint32, error) {
	day, err := strconv.ParseUint(strings.TrimPrefix(name, localDay), 10, 32)
	if err != nil || localDayName(uint32(day)) != name {
		return 0, malformed("it does not name a day")
	}
	return uint32(day), nil
}
