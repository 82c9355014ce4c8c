package koresim

import (
	"fmt"
	"strings"

	"agentassist-poller/internal/events"
)

// misfit is what stands in a list in place of a row, the same on every page.
type misfit struct {
	endpoint events.Endpoint
	n        int // segment, or everySegment; 0 on other endpoints
	text     string
}

// everySegment says of a misfit that it stands in place of all rows of the contact on interactions.
const everySegment = -1

// spoilRow puts something that nobody can read in place of a row, of as many contacts as the configuration says, and of all contacts of
// bots that are not busy.
func (c *contact) spoilRow() {
	ref, cfg := c.ref, &c.world.cfg
	d := roll(cfg.Seed, 10, uint64(ref.account), uint64(ref.bot), uint64(ref.slot), uint64(ref.n))
	quiet := int(ref.bot) >= cfg.BusyBots
	if cfg.Odd == 0 || c.large != largeNothing || !d.chance(cfg.Odd) && !quiet {
		return
	}
	m := &misfit{endpoint: pick(d, []events.Endpoint{events.InteractionDetails, events.CallDetails})}
	if c.outline.assisted() && d.chance(0.6) {
		m.endpoint = pick(d, []events.Endpoint{events.Interactions, events.Conversations})
	}
	switch {
	case quiet && c.outline.assisted():
		m.endpoint, m.n = events.Interactions, everySegment
	case m.endpoint == events.Interactions:
		m.n = d.IntN(len(c.segments))
	}
	switch id := d.word36(12); d.IntN(3) {
	case 0:
		m.text = fmt.Sprintf(`"record %s is lost in migration"`, id)
	case 1:
		const levels = 200
		m.text = fmt.Sprintf(`{"id":%q,"tree":%s%s}`, id, strings.Repeat("[", levels), strings.Repeat("]", levels))
	case 2:
		m.text = fmt.Sprintf(`{"id":%q,"startTime":2026-11-02}`, id)
	}
	c.misfit = m
}

// renderMisfit writes what stands in place of a row, if something does.
func (c *contact) renderMisfit(w *jsonWriter, e events.Endpoint, n int) bool {
	m := c.misfit
	if !m.replaces(e, n) {
		return false
	}
	w.raw("", m.text)
	return true
}

// hides reports whether a misfit stands in place of the row of a view.
func (m *misfit) hides(v *View) bool {
	return m.replaces(v.Endpoint, int(v.row.n))
}

func (m *misfit) replaces(e events.Endpoint, n int) bool {
	return m != nil && m.endpoint == e && (m.n == n || m.n == everySegment)
}

// starts returns all that the start of a segment is ever said to be.
func (s *span) starts() []moment {
	if s.corrected != 0 {
		return []moment{s.start, s.began}
	}
	return []moment{s.start}
}

// misdate has some of the segments that last beyond midnight begin, as far as anybody can see, in the first minute of the next day, until
// they have ended.
func (w *World) misdate(s *span, key uint64) {
	d := roll(w.cfg.Seed, 11, key)
	if midnight := (s.start/day + 1) * day; midnight+minute < s.end && d.chance(0.3) {
		s.began, s.corrected = midnight+d.between(0, minute), s.end
	}
}

// twin returns when a segment was as its second copy shows it, and whether there is one.
func (c *contact) twin(n int) (moment, bool) {
	d := roll(c.world.cfg.Seed, 12, c.outline.key, uint64(n))
	return c.outline.spans[n].began, c.world.cfg.Odd > 0 && c.large == largeNothing && c.misfit == nil && d.chance(c.world.cfg.Odd)
}
