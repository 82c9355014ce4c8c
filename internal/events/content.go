package events

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// recipe is set with -ldflags "-X agentassist-poller/internal/events.recipe=3" by the test that upgrades a running
// installation.
var recipe = "2"

var parseRecipe = sync.OnceValue(func() int {
	n, err := strconv.Atoi(recipe)
	if err != nil || n < 1 {
		panic("events: the recipe set by the linker is not a positive number: " + recipe)
	}
	return n
})

// Recipe is the version of what counts as content. It rises when a field begins to count; fields say in the schema since
// which recipe they do. An entity that is unchanged under the recipe it was stored with is not published again.
func Recipe() int { return parseRecipe() }

var contentBuffers = sync.Pool{New: func() any { return new([]byte) }}

// ContentHash tells the upstream content of e under a recipe from that of other versions of the same entity: nobody gains by
// making two of them collide, so it need not be cryptographic. The recipe enters the hash, and for things of a segment which of its
// surroundings are known: see ContentIs.
func ContentHash(e Event, recipe int) [8]byte {
	buf := contentBuffers.Get().(*[]byte)
	defer contentBuffers.Put(buf)
	*buf = e.AppendContent(binary.AppendUvarint((*buf)[:0], uint64(recipe)), recipe)
	if inherits(e, recipe) {
		*buf = append(*buf, surroundings(e.Head()))
	}
	return sum(*buf)
}

// ContentIs reports whether hash is that of the content of e under a recipe. For things of a segment it is also the hash of the same content
// with more surroundings known: session, agent and queue may become known late, which makes a version, but that another row does not know
// them does not.
func ContentIs(hash [8]byte, e Event, recipe int) bool {
	buf := contentBuffers.Get().(*[]byte)
	defer contentBuffers.Put(buf)
	*buf = e.AppendContent(binary.AppendUvarint((*buf)[:0], uint64(recipe)), recipe)
	if !inherits(e, recipe) {
		return sum(*buf) == hash
	}
	*buf = append(*buf, 0)
	known := surroundings(e.Head())
	for more := range byte(allKnown + 1) {
		if more&known != known {
			continue
		}
		(*buf)[len(*buf)-1] = more
		if sum(*buf) == hash {
			return true
		}
	}
	return false
}

func sum(content []byte) (hash [8]byte) {
	binary.BigEndian.PutUint64(hash[:], xxhash.Sum64(content))
	return hash
}

// What is known of a segment, in bits.
const (
	sessionKnown = 1 << iota
	agentKnown
	queueKnown
	allKnown = 1<<iota - 1
)

// inherits reports whether e is of a type that takes session, agent and queue from its segment, and whether it counts under a recipe that they
// become known.
func inherits(e Event, recipe int) bool {
	switch e.EventType() {
	case TypeSegment, TypeConversation, TypeAgentEngagement, TypeMessage:
		return false
	}
	return recipe >= 2
}

func surroundings(h *Header) (known byte) {
	if !blank(h.SessionID) {
		known |= sessionKnown
	}
	if h.Agent != nil && !blank(h.Agent.AgentID) {
		known |= agentKnown
	}
	if h.Queue != nil && !blank(h.Queue.QueueID) {
		known |= queueKnown
	}
	return known
}

// The content of an event is, per field that counts and is not empty, its name and its value, both with their lengths:
// a field that is added later changes nothing for events that lack it. Blank text is as good as none, because upstream
// says now the one, now the other.

func contentName(dst []byte, name string) []byte {
	return append(append(dst, byte(len(name))), name...)
}

func contentStr(dst []byte, name string, v *string) []byte {
	if v == nil || *v == "" {
		return dst
	}
	dst = binary.AppendUvarint(contentName(dst, name), uint64(len(*v)))
	return append(dst, *v...)
}

func contentLong(dst []byte, name string, v *int64) []byte {
	if v == nil {
		return dst
	}
	return binary.AppendVarint(contentName(dst, name), *v)
}

func contentBoolean(dst []byte, name string, v *bool) []byte {
	switch {
	case v == nil:
		return dst
	case *v:
		return append(contentName(dst, name), 1)
	}
	return append(contentName(dst, name), 0)
}

func contentDouble(dst []byte, name string, v *float64) []byte {
	if v == nil {
		return dst
	}
	return binary.BigEndian.AppendUint64(contentName(dst, name), math.Float64bits(*v))
}

func contentTime(dst []byte, name string, v *time.Time) []byte {
	if v == nil || v.IsZero() {
		return dst
	}
	return binary.AppendVarint(contentName(dst, name), v.UnixMilli())
}

// contentList appends n items, each with its length; sorted if their order does not count.
func contentList(dst []byte, name string, n int, unordered bool, item func([]byte, int) []byte) []byte {
	if n == 0 {
		return dst
	}
	dst = binary.AppendUvarint(contentName(dst, name), uint64(n))
	if unordered && n > 1 {
		return contentSet(dst, n, item)
	}
	for i := range n {
		dst = contentItem(dst, i, item)
	}
	return dst
}

func contentItem(dst []byte, i int, item func([]byte, int) []byte) []byte {
	start := len(dst)
	dst = item(append(dst, 0, 0, 0, 0), i)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

func contentSet(dst []byte, n int, item func([]byte, int) []byte) []byte {
	items := make([][]byte, n)
	start := len(dst)
	for i := range n {
		from := len(dst)
		dst = contentItem(dst, i, item)
		items[i] = dst[from:]
	}
	slices.SortFunc(items, bytes.Compare)
	return append(dst[:start], slices.Concat(items...)...)
}

func contentMap(dst []byte, name string, m map[string]int64) []byte {
	keys := sortedKeys(m)
	return contentList(dst, name, len(keys), false, func(dst []byte, i int) []byte {
		return append(binary.AppendVarint(dst, m[keys[i]]), keys[i]...)
	})
}
