package plan

import (
	"math"
	"slices"
	"sync"
	"time"
)

// HoldFor is how long a slot stays taken after the answer. It is a hair more than the server's minute: its timestamps may be
// cut to milliseconds, and its clock may be a little faster or slower than ours.
const HoldFor = time.Minute + 10*time.Millisecond

// Budget is how many requests an account may send: at most limit in any sliding minute, as the server sees it.
//
// The server counts a request when it arrives, some time between our sending and our receiving the answer. So a slot is
// taken when a request is sent, and is free again a minute after its answer came. Suppose that limit+1 requests arrived
// within a minute. When the last of them took its slot, it had not arrived yet, so less than a minute had passed since any
// other arrived, and less still since that one's answer: all the others held their slots, which are only limit.
//
// Each lane has a guaranteed share, as far as it says that it wants it (SetDemand); what it does not want is lent to the others.
// A lane that wants more again gets its share back as the lent slots become free, within a minute and the time of an answer.
// Shares are whole requests, rounded down: below 10 requests a minute the smallest lanes live on what others leave.
//
// The times given must be of one steady clock, such as time.Now: a clock that is set forward in between, as an estimate of the
// server's is, would free slots early. It is safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	limit   int
	demand  [PriorityCount]float64
	used    [PriorityCount]int // slots taken and not free again, by lane
	cooling []cooling          // those of them whose answer came, by the time when they are free
	paused  time.Time          // nothing is given before
}

type cooling struct {
	lane Priority
	free time.Time
}

// Permit is the right to send one request. The zero value is none.
type Permit struct{ hold *hold }

type hold struct {
	budget *Budget
	lane   Priority
	done   bool
}

// NewBudget returns a budget of limit requests in any sliding minute. No lane wants any yet.
func NewBudget(limit int) *Budget { return &Budget{limit: limit} }

// SetDemand states how many requests a minute a lane wants.
func (b *Budget) SetDemand(lane Priority, perMinute float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.demand[lane] = perMinute
}

// TryTake takes a slot for a request that is sent now. If there is none, it says how long there will be none for sure; it does
// not wait. A slot that is taken counts until a minute after its Done, so that Done must follow, whatever came of the request.
func (b *Budget) TryTake(now time.Time, lane Priority) (slot Permit, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.paused) {
		return Permit{}, b.paused.Sub(now), false
	}
	b.release(now)
	if b.allows(lane, b.used) {
		b.used[lane]++
		return Permit{&hold{budget: b, lane: lane}}, 0, true
	}
	used := b.used
	for _, c := range b.cooling {
		used[c.lane]--
		if b.allows(lane, used) {
			return Permit{}, c.free.Sub(now), false
		}
	}
	return Permit{}, HoldFor, false // it hangs on answers that have not come
}

// allows reports whether a lane may take one more slot when so many are used. Within its own share it may take any slot that
// there is; beyond it only what leaves all others the rest of theirs.
func (b *Budget) allows(lane Priority, used [PriorityCount]int) bool {
	total, owed := 0, 0
	for l := range PriorityCount {
		total += used[l]
		if l != lane {
			owed += max(0, b.reserve(l)-used[l])
		}
	}
	if used[lane] < b.reserve(lane) {
		owed = 0
	}
	return total+1+owed <= b.limit
}

// reserve is what is kept for a lane.
func (b *Budget) reserve(lane Priority) int {
	const rounding = 1e-9
	share := math.Floor(lane.Share()*float64(b.limit) + rounding)
	return int(math.Ceil(min(share, max(b.demand[lane], 0))))
}

func (b *Budget) release(now time.Time) {
	n := 0
	for n < len(b.cooling) && !b.cooling[n].free.After(now) {
		b.used[b.cooling[n].lane]--
		n++
	}
	b.cooling = slices.Delete(b.cooling, 0, n)
}

// Done says that the answer came, or that none will. Only the first call counts.
func (s Permit) Done(now time.Time) {
	if s.hold == nil {
		return
	}
	b := s.hold.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.hold.done {
		return
	}
	s.hold.done = true
	b.cool(cooling{s.hold.lane, now.Add(HoldFor)})
}

// cool notes when a slot will be free.
func (b *Budget) cool(c cooling) {
	i, _ := slices.BinarySearchFunc(b.cooling, c, func(x, y cooling) int { return x.free.Compare(y.free) })
	b.cooling = slices.Insert(b.cooling, i, c)
}

// Precharge takes n slots, or all that there are, until then, for requests that were sent before the budget was made: the server
// still counts them. They weigh on the lowest lane, so that the others keep their guarantees.
func (b *Budget) Precharge(n int, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, used := range b.used {
		n = min(n, b.limit-used)
	}
	for range n {
		b.used[PriorityBackfill]++
		b.cool(cooling{PriorityBackfill, until})
	}
}

// Pause gives no slots to anyone until then. A pause never shortens an earlier one.
func (b *Budget) Pause(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until.After(b.paused) {
		b.paused = until
	}
}

// PausedUntil is the end of the latest pause, zero if there was none.
func (b *Budget) PausedUntil() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paused
}

// Used is how many slots each lane holds: for requests under way, and for those answered within the last minute. It frees none.
func (b *Budget) Used(now time.Time) [PriorityCount]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := b.used
	for _, c := range b.cooling {
		if !c.free.After(now) {
			used[c.lane]--
		}
	}
	return used
}
