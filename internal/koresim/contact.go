package koresim

// contactRef names a contact: its place in the world, from which all of it is generated.
type contactRef struct {
	indexKey
	n int32
}

// key identifies the contact's rows for their ingestion lag.
func (r contactRef) key() uint64 {
	return mix64(mix64(uint64(r.account)<<32^uint64(r.bot)) ^ uint64(r.slot)<<32 ^ uint64(r.n))
}

type channel int8

const (
	voice channel = iota
	chat
	messaging
	email
)

// Agent AI and Contact Center name the same channel differently.
var (
	assistNames    = [...]string{"voice", "chat", "messaging", "email"}
	analyticsNames = [...]string{"Voice", "Web / Mobile Client", "rtm", "System Mail"}
)

const (
	maxSegments        = 3
	segmentsPerContact = 1.25
)

// span is when a segment begins and ends. A redial shows the start of the same agent's first segment, but it is not readable
// before it really began.
type span struct {
	start, began, end moment
	// corrected is when the start is corrected: until then it is said to be when the row began. 0: it was right from the beginning.
	corrected moment
}

// startAt returns the start as it is said to be at t.
func (s *span) startAt(t moment) moment {
	if t < s.corrected {
		return s.began
	}
	return s.start
}

// outline is the skeleton of a contact: enough to know which rows there are and when.
type outline struct {
	key      uint64
	session  moment // begins with the bot
	transfer moment // to an agent, when the conversation gets its id; 0: never
	end      moment
	spans    [maxSegments]span
	segments int8
	channel  channel
	redial   bool
}

func (o *outline) assisted() bool { return o.transfer != 0 }

// outline generates the skeleton of a contact that begins at start, and returns the dice for the rest of it.
func (w *World) outline(ref contactRef, start moment) (outline, dice) {
	d := roll(w.cfg.Seed, 3, uint64(ref.account), uint64(ref.bot), uint64(ref.slot), uint64(ref.n))
	o := outline{key: ref.key(), session: start}
	m := w.cfg.Mix
	o.channel = channel(d.weighed(m.Voice, m.Chat, m.Messaging, m.Email))
	if d.chance(w.cfg.BotOnly / (1 + w.cfg.BotOnly)) {
		o.end = start + w.lasting(d, 2*second, 4*minute)
		return o, d
	}
	o.transfer = start
	if d.chance(0.3) {
		o.transfer += w.lasting(d, 20*second, 20*minute)
	}
	o.segments = int8(1 + d.weighed(80, 15, 5))
	o.redial = o.segments > 1 && d.chance(0.2)
	at := o.transfer + d.between(0, 3*second)
	for n := range o.segments {
		s := span{start: at, began: at}
		if n > 0 && o.redial {
			s.start = o.spans[0].start
		}
		s.end = at + w.duration(d, o.channel)/moment(o.segments)
		if w.cfg.Odd > 0 && !o.redial {
			w.misdate(&s, o.key+uint64(n))
		}
		o.spans[n] = s
		at = s.end + w.lasting(d, second, 40*second)
	}
	o.end = o.spans[o.segments-1].end
	return o, d
}

// lasting returns a duration of lifelike length, or the same in seconds where the pace is burst.
func (w *World) lasting(d dice, lo, hi moment) moment {
	if w.cfg.Pace == Burst {
		return d.between(300, 2500)
	}
	return d.between(lo, hi)
}

func (w *World) duration(d dice, c channel) moment {
	if w.cfg.Pace == Burst {
		return d.between(2*second, 7*second)
	}
	switch c {
	case voice:
		return d.between(2*minute, 12*minute)
	case chat:
		return d.between(3*minute, 25*minute)
	case messaging:
		return d.between(10*minute, 2*hour)
	}
	return d.between(hour, max(moment(w.cfg.EmailOpen.Milliseconds()), 2*hour))
}

// later returns how long after something an edit of it comes: mostly soon, sometimes a day later.
func (w *World) later(d dice) moment {
	if w.cfg.Pace == Burst {
		return d.between(400, 4*second)
	}
	if d.chance(w.cfg.LateEdits) {
		return d.between(hour, 26*hour)
	}
	if d.chance(0.35) {
		return d.between(2*minute, 40*minute)
	}
	return d.between(4*second, 2*minute)
}

// contact is everything that ever happens in one contact, each thing with its time.
type contact struct {
	ref     contactRef
	outline outline
	world   *World
	account *Account
	bot     Bot
	shape   shape

	large        large
	largeSegment *segment // whose summary is large; nil if it is something else
	misfit       *misfit  // nil if all rows can be read

	conversationID string
	sessionID      string
	recordID       string // _id on conversations
	backendSession string
	userID         string

	segments []*segment
	messages []*message
	searches []*agentic // searchHistory
	interim  *summary
	widgets  []*widgetFeedback
	outcome  outcome
}

// shape is the year whose JSON form a contact is shown in: upstream changed its form, and records keep the one they were made in.
type shape int

const (
	shape2024 shape = iota // flat targets, status "send", Up and Down
	shape2025              // flat dialog tasks, feedback beside the target
	shape2026              // nested targets, feedback inside
)

func (w *World) newContact(ref contactRef, start moment) *contact {
	o, d := w.outline(ref, start)
	a := w.accounts[ref.account]
	c := &contact{
		ref: ref, outline: o, world: w, account: a, bot: a.Bots[ref.bot],
		shape: shape(d.weighed(20, 30, 50)),
	}
	c.sessionID = d.objectID(o.session)
	c.userID = d.uuid("u-")
	if o.assisted() {
		c.conversationID = d.shortUUID("c-")
		if o.channel == chat && d.chance(0.3) {
			c.conversationID = "atesta-" + d.word36(8)
		}
		c.recordID = d.objectID(o.transfer)
		c.backendSession = d.objectID(o.end)
		c.script(d)
	}
	c.outcome = c.newOutcome(d)
	c.enlarge()
	c.spoilRow()
	return c
}

// lagKey is the identity of a row for its ingestion lag: each segment has its own, the other rows the contact's.
func lagKey(contact uint64, segment int) uint64 { return contact + uint64(segment+1)*0x9e37 }
