package poll

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

// What passes by itself is tried again in place; what a person must change only now and then. A page of another shape may be
// either, and so is the one first and the other later.
func TestFailuresAreRetriedByClass(t *testing.T) {
	type attempt struct {
		retry  time.Duration
		repeat bool
	}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		err  error
		want []attempt
	}{
		{"connection", &kore.Error{Class: status.ClassRetry}, []attempt{{time.Second, true}, {2 * time.Second, true}, {4 * time.Second, true}}},
		{"unknown", errors.New("?"), []attempt{{time.Second, true}}},
		{"rate limit", &kore.Error{Class: status.ClassWait, RetryAfter: 7 * time.Second}, []attempt{{7 * time.Second, true}, {7 * time.Second, true}}},
		{"scope", &kore.Error{Class: status.ClassPermanent, Reason: kore.ReasonScope}, []attempt{{2 * time.Second, true}, {30 * time.Second, false}, {time.Minute, false}, {2 * time.Minute, false}}},
		{"secret", &kore.Error{Class: status.ClassPermanent, Reason: kore.ReasonCredentials}, []attempt{
			{2 * time.Second, true}, {30 * time.Second, false}, {time.Minute, false}, {time.Minute, false}, {time.Minute, false},
		}},
		{"HTML", &kore.Error{Class: status.ClassShape}, []attempt{
			{2 * time.Second, true}, {8 * time.Second, true}, {32 * time.Second, false}, {128 * time.Second, false}, {5 * time.Minute, false},
		}},
		{"stuck", pass.ErrStuck, []attempt{{2 * time.Second, true}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			u := &unit{}
			for i, want := range test.want {
				retry, repeat, news := u.failed(test.err, now)
				require.Equal(t, want, attempt{retry, repeat}, "failure %d", i+1)
				require.Equal(t, i == 0, news, "said once")
			}
		})
	}
}

// A failure of another kind is the first of its kind: a day whose page came as HTML, after an API could not be reached for minutes,
// is not held back for minutes.
func TestFailuresOfAnotherClassBeginAnew(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	u := &unit{}
	for range 8 {
		u.failed(&kore.Error{Class: status.ClassRetry}, now)
	}
	retry, repeat, _ := u.failed(&kore.Error{Class: status.ClassShape}, now)
	require.Equal(t, 2*time.Second, retry)
	require.True(t, repeat)
	require.Equal(t, 9, u.lastError.Count)
	u.worked()
	retry, _, _ = u.failed(&kore.Error{Class: status.ClassRetry}, now)
	require.Equal(t, time.Second, retry)
}

var epoch = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

// What was just read by id is known to have been to the plan at once, not only when the budget is shared out anew.
func TestRowsReadByIDAreNotAskedForAgain(t *testing.T) {
	u, err := newUnit(events.Conversations, "st-1", time.Minute, &progress{Start: epoch})
	require.NoError(t, err)
	u.watch(&extract.Row{ConversationID: "c-1", Start: epoch, Open: true}, epoch)
	u.refresh(epoch)
	u.conclude(plan.Work{Priority: plan.PriorityHot, Kind: plan.KindHot}, &pass.Outcome{IDs: []string{"c-1"}, ReadAt: epoch.Add(time.Minute)}, nil)
	require.Equal(t, epoch.Add(time.Minute), u.Hot[0].Read)
}

// A row is hot until it was read once more half an hour after its end, and the plan knows when that was.
func TestRowsAreHotUntilTheyWereReadOnceMore(t *testing.T) {
	u, err := newUnit(events.Conversations, "st-1", time.Minute, &progress{Start: epoch})
	require.NoError(t, err)
	end := epoch.Add(10 * time.Minute)
	u.watch(&extract.Row{ConversationID: "c-1", Start: epoch, Open: true}, epoch)
	u.refresh(epoch)
	require.Equal(t, []plan.HotRef{{ID: "c-1", Start: epoch}}, u.Hot)
	readBy := func(at time.Time) {
		u.conclude(plan.Work{Priority: plan.PriorityHot, Kind: plan.KindHot}, &pass.Outcome{IDs: []string{"c-1"}, ReadAt: at}, nil)
	}
	watched := func() {
		u.watch(&extract.Row{ConversationID: "c-1", Start: epoch, End: end}, end.Add(time.Second))
		readBy(end.Add(hotFor - time.Minute))
		u.refresh(end.Add(hotFor + time.Minute))
		require.Equal(t, []plan.HotRef{{ID: "c-1", Start: epoch, End: end, Read: end.Add(hotFor - time.Minute)}}, u.Hot)
	}
	watched()
	readBy(end.Add(hotFor + 2*time.Minute))
	require.Empty(t, u.Hot)
	watched()
	u.refresh(end.Add(hotFor + hotGrace + time.Second))
	require.Empty(t, u.Hot, "nothing reads it")
}

// The first read lasts until nothing of what is older than the beginning of all reading is left, or the rest cannot be read. Gaps that
// come later are none of it.
func TestFirstReadIsOver(t *testing.T) {
	began := epoch.Add(24 * time.Hour)
	now := began.Add(time.Hour)
	u, err := newUnit(events.Interactions, "st-1", time.Minute, &progress{Start: epoch, Began: began})
	require.NoError(t, err)
	firstRead := func() bool {
		u.refresh(now)
		return u.FirstRead
	}
	require.True(t, firstRead(), "nothing was read")
	u.Read.Mark(began.Add(-time.Hour), now, now)
	require.True(t, firstRead(), "history is left")
	u.hold(timeline.Span{From: epoch, To: began.Add(-time.Hour)}, now, time.Hour, "refused")
	require.False(t, firstRead(), "the rest cannot be read")
	u.withheld = nil
	u.Read.Mark(epoch, began, now)
	require.False(t, firstRead())
	u.Read.Mark(now.Add(time.Hour), now.Add(2*time.Hour), now.Add(2*time.Hour))
	require.False(t, firstRead(), "an outage")
}
