package plan

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// budgetWorld plays requests against a server that counts strictly: every arrival, over the closed minute that ends with it.
// Time jumps from one event to the next.
type budgetWorld struct {
	t        *testing.T
	budget   *Budget
	random   *rand.Rand
	latency  func() time.Duration
	now      time.Time
	agenda   []appointment // by time
	taken    []taking
	arrivals []time.Time
}

type appointment struct {
	at time.Time
	do func()
}

type taking struct {
	priority Priority
	at       time.Time
}

func newBudgetWorld(t *testing.T, limit int, seed uint64) *budgetWorld {
	w := &budgetWorld{t: t, budget: NewBudget(limit), random: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0)}
	w.latency = func() time.Duration { return time.Duration(w.random.ExpFloat64() * float64(2*time.Second)) }
	return w
}

func (w *budgetWorld) after(d time.Duration, do func()) {
	a := appointment{w.now.Add(d), do}
	i, _ := slices.BinarySearchFunc(w.agenda, a, func(x, y appointment) int {
		if x.at.After(y.at) {
			return 1
		}
		return -1 // what was arranged first comes first
	})
	w.agenda = slices.Insert(w.agenda, i, a)
}

func (w *budgetWorld) run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.agenda) > 0 && !w.agenda[0].at.After(end) {
		next := w.agenda[0]
		w.agenda = slices.Delete(w.agenda, 0, 1)
		w.now = next.at
		next.do()
	}
	w.now = end
}

// send sends a request if the budget allows it now.
func (w *budgetWorld) send(priority Priority) (wait time.Duration, ok bool) {
	permit, wait, ok := w.budget.TryTake(w.now, priority)
	if !ok {
		if wait <= 0 {
			w.t.Fatalf("refused, and told to wait %v", wait)
		}
		permit.Done(w.now) // of no permit at all
		return wait, false
	}
	w.taken = append(w.taken, taking{priority, w.now})
	latency := w.latency()
	w.after(time.Duration(w.random.Float64()*float64(latency)), func() { w.arrivals = append(w.arrivals, w.now) })
	w.after(latency, func() {
		permit.Done(w.now)
		permit.Done(w.now.Add(-time.Hour))
	})
	return 0, true
}

// hunger makes a priority class send whenever it may, until then.
func (w *budgetWorld) hunger(priority Priority, until time.Time) {
	if w.now.After(until) {
		return
	}
	wait, ok := w.send(priority)
	if ok {
		wait = time.Millisecond
	}
	w.after(wait, func() { w.hunger(priority, until) })
}

// most is the highest number of arrivals in any closed minute.
func (w *budgetWorld) most() int {
	most, first := 0, 0
	for i, at := range w.arrivals {
		for at.Sub(w.arrivals[first]) > time.Minute {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// fewest is the lowest number of requests that a priority class sent in any span of this length.
func (w *budgetWorld) fewest(priority Priority, from, to time.Time, span time.Duration) int {
	fewest := 1 << 30
	for start := from; !start.Add(span).After(to); start = start.Add(time.Second) {
		n := 0
		for _, x := range w.taken {
			if x.priority == priority && !x.at.Before(start) && x.at.Before(start.Add(span)) {
				n++
			}
		}
		fewest = min(fewest, n)
	}
	return fewest
}

var everyPriority = []Priority{PriorityTail, PriorityHot, PrioritySweep, PriorityBackfill}

// Whatever is asked, when, and however long answers take, no sliding minute at the server holds more than the limit.
func TestBudgetIsNeverExceeded(t *testing.T) {
	for seed := range uint64(120) {
		limit := []int{1, 2, 3, 7, 10, 30, 60, 100}[seed%8]
		w := newBudgetWorld(t, limit, seed)
		switch seed % 5 {
		case 1: // no latency at all
			w.latency = func() time.Duration { return 0 }
		case 2: // minutes, sometimes
			w.latency = func() time.Duration {
				return time.Duration(w.random.ExpFloat64() * w.random.ExpFloat64() * float64(30*time.Second))
			}
		}
		var hum func()
		hum = func() { // bursts, pauses, changing wants
			priority := everyPriority[w.random.IntN(4)]
			for range w.random.IntN(2 * limit) {
				w.send(priority)
			}
			switch w.random.IntN(8) {
			case 0:
				w.budget.SetDemand(priority, w.random.Float64()*2*float64(limit))
			case 1:
				w.budget.Pause(w.now.Add(time.Duration(w.random.IntN(20)) * time.Second))
			}
			w.after(time.Duration(w.random.ExpFloat64()*float64(5*time.Second)), hum)
		}
		hum()
		for _, priority := range everyPriority[:w.random.IntN(5)] {
			w.budget.SetDemand(priority, float64(limit))
			w.hunger(priority, w.now.Add(time.Hour))
		}
		w.run(8 * time.Minute)
		require.LessOrEqual(t, w.most(), limit, "seed %d", seed)
		require.GreaterOrEqual(t, len(w.arrivals), limit, "seed %d: nothing was tried", seed)
	}
}

// All priority classes want everything: each gets its share in every minute, and nothing is left over.
func TestBudgetSharesUnderContention(t *testing.T) {
	for limit, want := range map[int][PriorityCount]int{
		1:   {},
		7:   {3, 1, 1, 0},
		10:  {5, 2, 1, 1},
		60:  {30, 15, 9, 6},
		100: {50, 25, 15, 10},
	} {
		for seed := range uint64(3) {
			w := newBudgetWorld(t, limit, seed)
			const slowest = 3 * time.Second
			w.latency = func() time.Duration { return time.Duration(w.random.Int64N(int64(slowest))) }
			start := w.now
			for i, priority := range everyPriority {
				w.budget.SetDemand(priority, 1000)
				w.after(time.Duration(w.random.IntN(5)+i)*time.Second, func() { w.hunger(priority, start.Add(time.Hour)) })
			}
			w.run(15 * time.Minute)
			total := 0
			for _, priority := range everyPriority {
				got := w.fewest(priority, start.Add(2*time.Minute), w.now, HoldFor+slowest+time.Millisecond)
				require.GreaterOrEqual(t, got, want[priority], "limit %d, seed %d, %v", limit, seed, priority)
				total += want[priority]
			}
			require.LessOrEqual(t, w.most(), limit)
			require.GreaterOrEqual(t, len(w.taken), 15*limit*60/64, "limit %d, seed %d: permits were left unused", limit, seed)
		}
	}
}

// What the others do not want goes to the one that does.
func TestBudgetLendsWhatIsNotWanted(t *testing.T) {
	for _, priority := range everyPriority {
		for _, others := range []float64{0, 1} {
			w := newBudgetWorld(t, 60, uint64(priority))
			w.latency = func() time.Duration { return time.Second }
			for _, l := range everyPriority {
				w.budget.SetDemand(l, others)
			}
			w.budget.SetDemand(priority, 1000)
			w.hunger(priority, w.now.Add(time.Hour))
			w.run(10 * time.Minute)
			want := 60 - 3*int(others)
			require.GreaterOrEqual(t, w.fewest(priority, w.now.Add(-8*time.Minute), w.now, HoldFor+time.Second+time.Millisecond), want)
			require.Equal(t, want, w.budget.Used(w.now)[priority])
		}
	}
}

// A priority class that demanded nothing, has its share back within a minute and the time of an answer, and no free
// permit is withheld from it meanwhile.
func TestBudgetGivesBackWhatWasLent(t *testing.T) {
	w := newBudgetWorld(t, 60, 1)
	w.latency = func() time.Duration { return 2 * time.Second }
	w.budget.SetDemand(PriorityBackfill, 1000)
	for range 60 { // spread, so that permits become free one by one
		_, ok := w.send(PriorityBackfill)
		require.True(t, ok)
		w.run(time.Second)
	}
	w.hunger(PriorityBackfill, w.now.Add(time.Hour))
	require.Equal(t, 60, w.budget.Used(w.now)[PriorityBackfill])

	w.budget.SetDemand(PriorityTail, 1000)
	w.budget.SetDemand(PriorityHot, 1000)
	w.hunger(PriorityTail, w.now.Add(time.Hour))
	w.hunger(PriorityHot, w.now.Add(time.Hour))
	for range 63 {
		w.run(time.Second)
		used := w.budget.Used(w.now)
		total := used[PriorityTail] + used[PriorityHot] + used[PriorityBackfill]
		require.Equal(t, 60, total, "a free permit was withheld")
	}
	used := w.budget.Used(w.now)
	require.GreaterOrEqual(t, used[PriorityTail], 30)
	require.GreaterOrEqual(t, used[PriorityHot], 15)
	require.LessOrEqual(t, w.most(), 60)
}

// The wait is exact where it can be: a moment earlier there is nothing.
func TestBudgetWait(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	at := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	b := NewBudget(2)
	first, _, ok := b.TryTake(at(0), PriorityTail)
	require.True(t, ok)
	second, _, ok := b.TryTake(at(1), PriorityTail)
	require.True(t, ok)
	_, wait, ok := b.TryTake(at(2), PriorityTail)
	require.False(t, ok)
	require.Equal(t, HoldFor, wait, "no answer came yet: none can be a minute old sooner")

	second.Done(at(3))
	first.Done(at(5))
	_, wait, ok = b.TryTake(at(10), PriorityTail)
	require.False(t, ok)
	require.Equal(t, 53*time.Second+10*time.Millisecond, wait)
	_, _, ok = b.TryTake(at(10).Add(wait-1), PriorityTail)
	require.False(t, ok)
	_, _, ok = b.TryTake(at(10).Add(wait), PriorityTail)
	require.True(t, ok)
	require.Equal(t, [PriorityCount]int{PriorityTail: 2}, b.Used(at(64)))
	require.Equal(t, [PriorityCount]int{PriorityTail: 1}, b.Used(at(66)))
	_, _, ok = b.TryTake(at(64), PriorityTail)
	require.False(t, ok, "looking at a later time frees nothing")
}

// A permit that another priority class gives back to its own share is no help.
func TestBudgetWaitSeesShares(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := NewBudget(10)
	b.SetDemand(PriorityTail, 100) // 5 are kept
	for i := range 5 {
		permit, _, ok := b.TryTake(now, PriorityTail)
		require.True(t, ok)
		permit.Done(now.Add(time.Duration(i) * time.Second))
	}
	for i := range 5 {
		permit, _, ok := b.TryTake(now, PrioritySweep)
		require.True(t, ok)
		permit.Done(now.Add(time.Duration(10+i) * time.Second))
	}
	_, wait, ok := b.TryTake(now.Add(20*time.Second), PrioritySweep)
	require.False(t, ok)
	require.Equal(t, 50*time.Second+10*time.Millisecond, wait)
}

func TestBudgetPause(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := NewBudget(60)
	b.Pause(now.Add(time.Hour))
	b.Pause(now.Add(time.Minute))
	require.Equal(t, now.Add(time.Hour), b.PausedUntil())
	for _, priority := range everyPriority {
		_, wait, ok := b.TryTake(now.Add(time.Minute), priority)
		require.False(t, ok)
		require.Equal(t, 59*time.Minute, wait)
		_, _, ok = b.TryTake(now.Add(time.Hour), priority)
		require.True(t, ok)
	}
}

func TestBudgetIsSafeForConcurrentUse(t *testing.T) {
	b := NewBudget(60)
	start := time.Unix(1_000_000, 0)
	var taken [PriorityCount]int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			priority := everyPriority[i%4]
			b.SetDemand(priority, 60)
			permit, _, ok := b.TryTake(start, priority)
			if !ok {
				return
			}
			permit.Done(start)
			b.Used(start)
			mu.Lock()
			taken[priority]++
			mu.Unlock()
		})
	}
	wg.Wait()
	require.Equal(t, taken, b.Used(start))
	require.LessOrEqual(t, taken[0]+taken[1]+taken[2]+taken[3], 60)
}
