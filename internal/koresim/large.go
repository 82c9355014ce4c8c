package koresim

import (
	"strings"

	"agentassist-poller/internal/events"
)

// large says what of a contact is larger than anybody expects.
type large int

const (
	largeNothing large = iota
	// largeSummary is a summary that no record of Kafka's usual size holds. What stands beside it in its rows does.
	largeSummary
	// largeRow is a summary that makes its rows larger than what a careful client reads of an answer.
	largeRow
	// largeID is a conversation id that no key holds, nor any event: it costs all rows of the contact.
	largeID
	// largePage is a summary that can be published, but of which few fit on a page.
	largePage
)

// Sizes in bytes.
const (
	summaryBytes = 1_500_000
	rowBytes     = 2_500_000
	idBytes      = 400_000
	pageBytes    = 250_000
)

// enlarge makes something of a contact large, of as many contacts as the configuration says.
func (c *contact) enlarge() {
	ref, cfg := c.ref, &c.world.cfg
	d := roll(cfg.Seed, 9, uint64(ref.account), uint64(ref.bot), uint64(ref.slot), uint64(ref.n))
	if cfg.TooLarge == 0 || !c.outline.assisted() || !d.chance(cfg.TooLarge) {
		return
	}
	for _, s := range c.segments {
		if m := s.summary; m != nil && m.onInteractions && !m.failed {
			kind := []large{largeSummary, largeRow, largePage}[d.IntN(3)]
			size := map[large]int{largeSummary: summaryBytes, largeRow: rowBytes, largePage: pageBytes}[kind]
			m.text += strings.Repeat(" And so on.", size/11)
			c.large, c.largeSegment = kind, s
			return
		}
	}
	if c.outline.transfer == c.outline.session { // else the session is shown before it has the id
		c.conversationID += strings.Repeat("0", idBytes)
		c.large = largeID
	}
}

// mark says of what a contact shows that it need not be published, or cannot be.
func (c *contact) mark(list []*Entry) {
	for _, e := range list {
		e.TooLarge = c.large == largeID || c.large == largeSummary && e.Type == events.TypeSummary && e.of == c.largeSegment.summary
		for i := range e.Views {
			v := &e.Views[i]
			v.Unreadable = e.TooLarge || c.large == largeRow && (v.Row == c.largeSegment.id || v.Row == c.recordID) || c.misfit.hides(v)
		}
	}
}
