package koresim

import (
	"cmp"
	"fmt"
	"slices"
)

// segment is one agent's part of a conversation: a row of interactions.
type segment struct {
	id      string
	n       int
	span    span
	agent   agent
	bare    bool // only the agent's id is known
	queue   queue
	session string // "" : not recorded
	joined  moment // when the session is recorded, 0 if from the beginning

	tags       []tag
	scrolls    timeline[[2]int64]
	welcomed   moment
	links      []link
	actions    []*action
	shown      []*proactive
	runs       []*playbookView
	nudges     []*nudge
	carried    []*nudge // of the segment before
	activities []*agentic
	passedOn   []*agentic // of the segment before
	asked      []*agentic // of the search history
	summary    *summary

	position int // of the last suggestion: positionIds are unique in a segment only
}

type tag struct {
	kind, name, value, message string
	at                         moment
}

type link struct {
	url string
	at  moment
}

// action is what an agent did: a search, or a choice from the library, which has no search.
type action struct {
	at     moment // becomes visible
	search *search
	used   []*use
}

type search struct {
	phrase, input               string
	typing, execution, display  moment
	offered                     []string
	offeredUsed                 int64
	corrections, correctionsHit int64
	list                        []*suggestion
	unlisted                    bool // only the counts are told
}

type suggestion struct {
	target                         target
	position, title, url, body     string
	connector, path, name, product string
}

type target string

// The target types of used[]. The last two are in no documentation: a snippet lies flat in its target, a video clip is nested
// under a name of its own.
const (
	dialogTask target = "DialogTask"
	faq        target = "FAQ"
	answer     target = "Answer"
	file       target = "File"
	webPage    target = "WebPage"
	dataSource target = "GeneralDataSource"
	agenticUse target = "Agentic"
	snippet    target = "Snippet"
	videoClip  target = "VideoClip"
)

// proactive is a list that Agent AI displayed by itself.
type proactive struct {
	utterance string
	display   moment
	untimed   bool // displayTime is not in the record
	list      []*suggestion
	unlisted  bool // only the counts are told
	used      []*use
}

// use is one suggestion taken, opened or rated.
type use struct {
	of       *suggestion
	target   target
	at       moment
	started  moment // dialog tasks
	finished moment
	outcome  string
	runType  string
	sent     moment // sent or copied; before, the status is blank
	status   string
	more     moment // "show more" clicked
	links    timeline[[]string]
	counts   [4]int64 // tell, ask, tellUsed, askUsed
	thumbs   timeline[thumb]
	position bool // positionId is in the record
}

// thumb is what somebody thought of something.
type thumb struct {
	none    bool // it was taken back
	blank   bool // and is shown without words instead of not at all
	up      bool
	reasons []string
	comment string
}

// script fills in what happens in the segments, and what the conversation has of its own.
func (c *contact) script(d dice) {
	for n := range int(c.outline.segments) {
		c.segments = append(c.segments, c.newSegment(d, n))
	}
	if !c.world.cfg.Quiet {
		c.scriptRuns(d)
		for _, s := range c.segments {
			c.scriptSegment(d, s)
		}
		c.scriptConversation(d)
	}
}

func (c *contact) newSegment(d dice, n int) *segment {
	s := &segment{
		id: d.shortUUID("ac-"), n: n, span: c.outline.spans[n],
		agent: pick(d, c.account.agents), bare: d.chance(0.2), queue: pick(d, c.account.queues), session: c.sessionID,
	}
	if n > 0 && c.outline.redial {
		s.agent = c.segments[0].agent
	}
	if d.chance(0.1) {
		s.session = ""
	}
	if late := roll(c.world.cfg.Seed, 21, c.ref.key(), uint64(n)); late.chance(0.3) {
		s.joined = s.within(late, 0.05, 0.6)
	}
	return s
}

// sessionAt returns the session as the segment shows it at t.
func (s *segment) sessionAt(t moment) string {
	if t < s.joined {
		return ""
	}
	return s.session
}

// at returns the moment when a part of the segment is over.
func (s *segment) at(part float64) moment {
	return s.span.began + moment(part*float64(s.span.end-s.span.began))
}

// within returns a random moment in the first parts of the segment.
func (s *segment) within(d dice, from, to float64) moment {
	return s.at(from + d.Float64()*(to-from))
}

func (c *contact) scriptSegment(d dice, s *segment) {
	s.scrolls = always([2]int64{}, s.span.began)
	if d.chance(0.4) {
		s.scrolls = s.scrolls.then(s.within(d, 0.2, 0.5), [2]int64{int64(d.IntN(3)), 1})
		s.scrolls = s.scrolls.then(s.within(d, 0.6, 0.9), [2]int64{3, int64(2 + d.IntN(4))})
	}
	if d.chance(0.7) {
		s.welcomed = s.at(0.05)
	}
	for range d.weighed(60, 30, 10) {
		s.tags = append(s.tags, c.newTag(d, s))
	}
	if d.chance(0.2) {
		s.links = append(s.links, link{fmt.Sprintf("https://example.com/help/%s", d.word36(5)), s.within(d, 0.3, 0.9)})
	}
	for range d.weighed(35, 40, 25) {
		s.actions = append(s.actions, c.newSearch(d, s))
	}
	if d.chance(0.15) {
		s.actions = append(s.actions, c.fromLibrary(d, s))
	}
	for i := range d.weighed(35, 35, 30) {
		s.shown = append(s.shown, c.newProactive(d, s, i))
	}
	for range d.weighed(55, 30, 15) {
		s.nudges = append(s.nudges, c.newNudge(d, s))
	}
	for range d.weighed(50, 30, 20) {
		s.activities = append(s.activities, c.newAgentic(d, s, "aa-"))
	}
	slices.SortFunc(s.activities, func(a, b *agentic) int { return cmp.Compare(a.requested, b.requested) })
	c.passOn(s)
	if d.chance(0.7) {
		s.summary = c.newSummary(d, s, "final", s.span.end-40)
	}
}

func (c *contact) newTag(d dice, s *segment) tag {
	t := tag{kind: pick(d, []string{"message", "session", "user"}), name: pick(d, tagNames), value: d.word36(6), at: s.within(d, 0.1, 0.9)}
	if t.kind == "message" {
		t.message = d.uuid("ms-")
	}
	return t
}

func (c *contact) newSearch(d dice, s *segment) *action {
	q := &search{phrase: pick(d, phrases), typing: s.within(d, 0.1, 0.6)}
	q.execution = q.typing + d.between(200, 900)
	q.display = q.execution + d.between(300, 1500)
	q.input = q.phrase[:d.IntN(len(q.phrase))/2]
	q.input = trimRunes(q.input)
	if d.chance(0.6) {
		q.offered = []string{q.phrase, q.phrase + " online"}
		q.offeredUsed = int64(d.IntN(2))
	}
	q.corrections = int64(d.IntN(4))
	q.correctionsHit = q.corrections / 2
	q.list = s.suggest(d, 1+d.IntN(5), true)
	a := &action{at: q.display, search: q}
	a.used = c.use(d, s, q.list, q.display, 0.7)
	q.list, q.unlisted = c.vary(q.list, a.used, q.execution)
	return a
}

// trimRunes cuts what a byte slice left of a rune at the end.
func trimRunes(s string) string {
	for i, r := range s {
		if r == '\uFFFD' {
			return s[:i]
		}
	}
	return s
}

func (c *contact) fromLibrary(d dice, s *segment) *action {
	list := s.suggest(d, 1, false)
	list[0].target, list[0].name = dialogTask, pick(d, dialogNames)
	u := c.newUse(d, s, list[0], s.within(d, 0.2, 0.8))
	return &action{at: u.at, used: []*use{u}}
}

func (c *contact) newProactive(d dice, s *segment, i int) *proactive {
	p := &proactive{
		// Utterances repeat in the world but not in a segment, where they may be all that tells two lists apart.
		utterance: utterances[(s.position+i*4+d.IntN(4))%len(utterances)],
		display:   s.within(d, 0.05, 0.7),
		list:      s.suggest(d, 1+d.IntN(3), false),
		untimed:   c.shape == shape2025 && d.chance(0.3),
	}
	if i > 0 {
		p.untimed = false
	}
	p.used = c.use(d, s, p.list, p.display, 0.5)
	p.list, p.unlisted = c.vary(p.list, p.used, p.display)
	return p
}

// vary makes some lists of which nothing was used empty, and says of some that only their counts are told. It rolls dice of its own.
func (c *contact) vary(list []*suggestion, used []*use, at moment) (now []*suggestion, unlisted bool) {
	d := roll(c.world.cfg.Seed, 19, c.ref.key(), uint64(at))
	switch {
	case len(used) > 0:
		return list, false
	case d.chance(0.3):
		return nil, false
	}
	return list, d.chance(0.3)
}

func (s *segment) suggest(d dice, n int, agenticToo bool) []*suggestion {
	kinds := []target{dialogTask, faq, answer, file, webPage, dataSource}
	if agenticToo {
		kinds = append(kinds, agenticUse, snippet, videoClip)
	}
	list := make([]*suggestion, n)
	for i := range list {
		s.position++
		list[i] = &suggestion{
			target:   pick(d, kinds),
			position: fmt.Sprintf("dg-%010d", s.position),
			title:    fmt.Sprintf("%s (%d)", pick(d, phrases), s.position),
			url:      fmt.Sprintf("https://example.com/kb/%d?s=%s", s.position, d.word36(4)),
			path:     fmt.Sprintf("/home/docs/%d.pdf", s.position),
			body:     pick(d, answers), connector: pick(d, connectors), product: "searchai",
			name: pick(d, dialogNames),
		}
	}
	return list
}

// use lets the agent take something of a list, each thing with probability p halved for the next.
func (c *contact) use(d dice, s *segment, list []*suggestion, shown moment, p float64) (used []*use) {
	for _, of := range list {
		if d.chance(p) {
			at := d.between(shown+300, max(s.span.end, shown+400))
			u := c.newUse(d, s, of, at)
			used = append(used, u)
			if p /= 2; of.target == webPage && d.chance(0.15) {
				// Taken a second time: nothing but the time tells the two apart.
				twin := *u
				twin.at = d.between(u.at+200, max(s.span.end, u.at+300))
				twin.sent, twin.thumbs = twin.at, nil
				used = append(used, &twin)
			}
		}
	}
	return used
}

func (c *contact) newUse(d dice, s *segment, of *suggestion, at moment) *use {
	u := &use{of: of, target: of.target, at: at, position: true}
	switch of.target {
	case dialogTask:
		u.started, u.runType = at, pick(d, []string{"assist", "RunWithAgentInput"})
		u.outcome = pick(d, []string{"completed", "Completed", "PrematurelyTerminated", "TimedOut"})
		u.finished = d.between(at+200, max(s.span.end, at+400))
		u.counts = [4]int64{int64(d.IntN(3)), int64(d.IntN(3)), 0, int64(d.IntN(2))}
	case faq, webPage, file, dataSource, videoClip:
		u.position = c.shape == shape2024 || d.chance(0.3)
		fallthrough
	default:
		u.sent, u.status = at, pick(d, []string{"Sent", "Copied"})
		if c.shape == shape2024 {
			u.status = pick(d, []string{"send", "copy"})
		}
		// An answer may be opened or rated first and sent later, or never.
		if of.target == answer && d.chance(0.4) {
			u.more, u.sent = at, 0
			if d.chance(0.6) {
				u.sent = at + d.between(500, 3*second)
			}
		}
		if of.target == answer && d.chance(0.2) {
			u.links = u.links.then(at+d.between(100, 900), []string{of.url})
		}
	}
	if d.chance(0.45) {
		u.thumbs = c.newThumbs(d, max(at, u.sent)+d.between(100, 2*second))
	}
	return u
}

// newThumbs returns a first opinion, in a third of the cases changed, and sometimes changed back.
func (c *contact) newThumbs(d dice, at moment) timeline[thumb] {
	up := d.chance(0.6)
	t := always(newThumb(d, up), at)
	if d.chance(0.35) {
		at += c.world.later(d)
		t = t.then(at, newThumb(d, !up))
		if d.chance(0.5) {
			t = t.then(at+c.world.later(d), t[0].value)
		}
	}
	return c.takeBack(t)
}

// takeBack makes the agent have no opinion any more, and perhaps the same one again, at times. It rolls dice of its own.
func (c *contact) takeBack(t timeline[thumb]) timeline[thumb] {
	d := roll(c.world.cfg.Seed, 32, c.ref.key(), uint64(t[0].at))
	if len(t) > 2 || !d.chance(0.2) {
		return t
	}
	last := t[len(t)-1]
	gone := last.at + c.world.later(d)
	t = t.then(gone, thumb{none: true, blank: d.chance(0.5)})
	if len(t) == 2 && d.chance(0.3) {
		t = t.then(gone+c.world.later(d), last.value)
	}
	return t
}

func newThumb(d dice, up bool) thumb {
	t := thumb{up: up, comment: pick(d, compliments), reasons: []string{pick(d, praise)}}
	if !up {
		t.comment = pick(d, complaints)
		t.reasons = []string{pick(d, reasonCodes)}
	}
	if d.chance(0.3) {
		t.reasons = nil
	}
	return t
}
