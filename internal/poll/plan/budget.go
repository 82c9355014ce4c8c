package plan

import (
	"math"
	"slices"
	"sync"
	"time"
)

// HoldFor is how long a permit counts after the answer. It is a little more than the server's minute: the server may cut its timestamps
// to milliseconds, and its clock may run a little faster or slower than ours.
const HoldFor = time.Minute + 10*time.Millisecond

// Budget limits how many requests an account sends: at most limit in any sliding minute, as the server counts them.
//
// The server counts a request when it arrives, some time between our sending it and our receiving the answer. So a permit counts from
// when the request is sent until a minute after its answer came. Suppose that limit+1 requests arrived within a minute. When the last
// of them took its permit, it had not arrived yet, so less than a minute had passed since any other arrived, and less still since that
// one's answer: the permits of all the others still counted, and there are only limit of them.
//
// Each priority class has a guaranteed share, as far as it states a demand (SetDemand). What it does not demand is free for the others.
// A class whose demand rises has its share back as those permits expire, within a minute and the time of an answer. Shares are
// whole requests, rounded down: below 10 requests a minute the smallest classes live on what the others leave.
//
// All times given must come from one steady clock, such as time.Now: a clock that is set forward, as an estimate of the server's is,
// would free permits early. A Budget is safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	limit   int
	demand  [PriorityCount]float64
	used    [PriorityCount]int // permits that count, by priority class
	cooling []cooling          // those of them whose answer came, ordered by when they expire
	paused  time.Time          // no permits before
}

type cooling struct {
	priority Priority
	free     time.Time
}

// Permit is the right to send one request. The zero value holds no right.
type Permit struct{ hold *hold }

type hold struct {
	budget   *Budget
	priority Priority
	done     bool
}

// NewBudget returns a budget of limit requests in any sliding minute. No priority class has a demand yet.
func NewBudget(limit int) *Budget { return &Budget{limit: limit} }

// SetDemand states how many requests a minute a priority class demands.
func (b *Budget) SetDemand(priority Priority, perMinute float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.demand[priority] = perMinute
}

// TryTake takes a permit for a request that is sent now. It does not wait: if there is no permit, it returns how long there will be none
// for certain. A permit counts until a minute after its Done, so the caller must call Done, whatever the outcome of the request.
func (b *Budget) TryTake(now time.Time, priority Priority) (permit Permit, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.paused) {
		return Permit{}, b.paused.Sub(now), false
	}
	b.release(now)
	if b.allows(priority, b.used) {
		b.used[priority]++
		return Permit{&hold{budget: b, priority: priority}}, 0, true
	}
	used := b.used
	for _, c := range b.cooling {
		used[c.priority]--
		if b.allows(priority, used) {
			return Permit{}, c.free.Sub(now), false
		}
	}
	return Permit{}, HoldFor, false // only an answer that has not come can free one
}

// allows reports whether a priority class may take one more permit when so many are used. Within its own share it may take any permit;
// beyond its share it must leave all others the rest of theirs.
func (b *Budget) allows(priority Priority, used [PriorityCount]int) bool {
	total, owed := 0, 0
	for l := range PriorityCount {
		total += used[l]
		if l != priority {
			owed += max(0, b.reserve(l)-used[l])
		}
	}
	if used[priority] < b.reserve(priority) {
		owed = 0
	}
	return total+1+owed <= b.limit
}

// reserve returns how many permits are kept for a priority class.
func (b *Budget) reserve(priority Priority) int {
	const rounding = 1e-9
	share := math.Floor(priority.Share()*float64(b.limit) + rounding)
	return int(math.Ceil(min(share, max(b.demand[priority], 0))))
}

func (b *Budget) release(now time.Time) {
	n := 0
	for n < len(b.cooling) && !b.cooling[n].free.After(now) {
		b.used[b.cooling[n].priority]--
		n++
	}
	b.cooling = slices.Delete(b.cooling, 0, n)
}

// Done states that the answer came, or that none will. Only the first call has an effect.
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
	b.cool(cooling{s.hold.priority, now.Add(HoldFor)})
}

// cool notes when a permit expires.
func (b *Budget) cool(c cooling) {
	i, _ := slices.BinarySearchFunc(b.cooling, c, func(x, y cooling) int { return x.free.Compare(y.free) })
	b.cooling = slices.Insert(b.cooling, i, c)
}

// Precharge takes n permits until then, or all that are left, for requests that were sent before the Budget was made: the server still
// counts them. They count for the lowest priority class, so that the others keep their guarantees.
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

// Pause stops the giving of permits until then. A pause never shortens an earlier one.
func (b *Budget) Pause(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until.After(b.paused) {
		b.paused = until
	}
}

// PausedUntil returns the end of the latest pause, zero if there was none.
func (b *Budget) PausedUntil() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paused
}

// Used returns how many permits count for each priority class: of requests in flight, and of those answered within the last minute.
func (b *Budget) Used(now time.Time) [PriorityCount]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := b.used
	for _, c := range b.cooling {
		if !c.free.After(now) {
			used[c.priority]--
		}
	}
	return used
}
