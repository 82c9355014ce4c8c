package poll

import (
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/timeline"
)

// watermarkEvery is how often an endpoint's watermark is published at most when its passes bring no events.
const watermarkEvery = 10 * time.Second

// completeFrom returns the start of the time that the unit's watermarks cover: its start, or the retention.
func (u *unit) completeFrom() time.Time {
	return timeline.Later(u.Start, u.forgotten)
}

// allowedLateness is how far a watermark of the unit stays behind what was read.
func (a *Account) allowedLateness(u *unit) time.Duration {
	if a.cfg.Lateness.Auto {
		return u.late.Allowed()
	}
	return a.cfg.Lateness.Max
}

// declare moves the time up to which the unit's events are complete: the end of what was read without a gap, less the allowed lateness,
// and no later than the last read of any open row. It never moves back.
func (a *Account) declare(u *unit) {
	if u.state.Scoped == pass.ScopeUnknown && u.Endpoint.PerAccount() || u.zoneAssumed() {
		return
	}
	from := u.completeFrom()
	through := u.Read.ReadThrough(from)
	if through.Equal(from) {
		return
	}
	complete := through.Add(-a.allowedLateness(u))
	for _, h := range u.hot {
		if !h.open || h.start.Before(from) {
			continue
		}
		read, ok := u.Read.LastRead(h.start)
		if !ok {
			read = h.start
		}
		complete = timeline.Earlier(complete, timeline.Later(read, h.read))
	}
	if complete.After(u.state.CompleteUpTo) && !complete.Before(from) {
		u.state.CompleteUpTo = complete.Truncate(time.Millisecond)
	}
}

// watermark describes the unit as it is now. The delivery adds feeds, offsets and the time of publishing.
func (a *Account) watermark(u *unit) *events.Watermark {
	w := &events.Watermark{
		Endpoint: string(u.Endpoint), Source: a.cfg.Name, AccountID: a.cfg.AccountID,
		Basis: u.state.basisOf(u.Endpoint), PassesStable: u.state.PassesStable,
		AllowedLatenessMs: a.allowedLateness(u).Milliseconds(),
	}
	if u.Bot != "" {
		w.BotID = &u.Bot
	}
	if from := u.completeFrom(); !u.Read.Empty() && !u.zoneAssumed() {
		through := u.Read.ReadThrough(from)
		w.CompleteFrom, w.ReadThrough = &from, &through
		last := u.Read.Bounds().To
		for _, g := range u.Read.Gaps(from, last) {
			w.Gaps = append(w.Gaps, events.WatermarkGap{From: g.From, To: g.To, Reason: u.gapReason(g)})
		}
	}
	if !u.state.CompleteUpTo.IsZero() {
		complete := u.state.CompleteUpTo
		w.CompleteUpTo = &complete
	}
	if most := u.late.Max(); most > 0 {
		w.LatenessP50Ms, w.LatenessP999Ms, w.LatenessMaxMs = millis(u.late.Quantile(0.5)), millis(u.late.Quantile(0.999)), millis(most)
	}
	return w
}

// gapReason says why a span was not read.
func (u *unit) gapReason(g timeline.Span) string {
	for _, c := range u.state.Capped {
		if c.From.Before(g.To) && g.From.Before(c.To) {
			return "capped"
		}
	}
	return "not read yet"
}

func millis(d time.Duration) *int64 {
	ms := d.Milliseconds()
	return &ms
}
