package app

import (
	"context"
	"log/slog"
	"time"

	"agentassist-poller/internal/status"
)

const (
	// healthEvery is how often a process that is well says so.
	healthEvery = time.Hour
	// healthLook is how soon it notices that there is something to say.
	healthLook = 30 * time.Second
)

// tellHealth logs, until ctx ends, that the process is well: first when all that is read here is complete up to some time, then every hour.
// A problem is logged where it is found.
func tellHealth(ctx context.Context, log *slog.Logger, current func() status.Status) {
	tick := time.NewTicker(healthLook)
	defer tick.Stop()
	var h health
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if !h.due(now) {
				continue
			}
			s := current()
			h.tell(log, &s, now)
		}
	}
}

// health remembers when it was told last.
type health struct{ told time.Time }

func (h *health) due(now time.Time) bool { return h.told.IsZero() || now.Sub(h.told) >= healthEvery }

// tell logs a line if all is well.
func (h *health) tell(log *slog.Logger, s *status.Status, now time.Time) {
	if s.State.Red() {
		return
	}
	accounts, endpoints, used, limit, rows := 0, 0, 0, 0, int64(0)
	var complete time.Time // the earliest
	for i := range s.Accounts {
		a := &s.Accounts[i]
		if !a.Read {
			continue
		}
		accounts, used, limit = accounts+1, used+a.Budget.Used, limit+a.Budget.Limit
		for _, e := range a.Endpoints {
			if e.CompleteUpTo == nil {
				return
			}
			rows += e.Rows
			if endpoints++; complete.IsZero() || e.CompleteUpTo.Before(complete) {
				complete = *e.CompleteUpTo
			}
		}
	}
	if endpoints == 0 {
		return
	}
	log.Info("all is well", "accounts", accounts, "endpoints", endpoints, "complete_up_to", complete.UTC(),
		"rows_read", rows, "published", s.Delivery.Published, "requests_last_minute", used, "requests_per_minute", limit)
	h.told = now
}
