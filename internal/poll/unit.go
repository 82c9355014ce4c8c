package poll

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

const (
	// hotFor is how long after its end a conversation is re-read often. It leaves the hot set with the first read after that, or hotGrace later.
	hotFor   = 30 * time.Minute
	hotGrace = 30 * time.Minute
	// maxHot bounds the hot set of a unit. The oldest are left to the sweeps.
	maxHot = 5_000
	// maxSpans bounds the set of spans that is written with every pass.
	maxSpans = 128
	// maxPast bounds the set of spans before Start.
	maxPast = 32
	// fruitless is how long to wait after a poll that could not be concluded.
	fruitless = 5 * time.Second
	// zoneRetry is how long a search for the zone of bounds may take before another unit begins one.
	zoneRetry = time.Hour
	// capRetry is how long to wait before a second with more rows than the server returns is asked for again.
	capRetry = time.Hour
)

// unit is an endpoint of one bot, or of the account: read, planned and watermarked on its own. The account's mutex guards it.
type unit struct {
	plan.Unit
	botName string
	iid     string
	// bots are all bots, for an account-wide unit: it finds out whether each must be asked for by itself.
	bots     []string
	scopeTry int
	// noTranscripts is set if no messages are published.
	noTranscripts bool
	zone          *pass.Bounds // of interactions; shared by all bots
	state         *progress
	recorded      []byte // the progress as it was recorded last; nil if it was not since the start
	late          *timeline.Lateness
	hot           map[string]*hotRow
	past          *timeline.Set // what was read before Start

	forgotten           time.Time // what was published before is no longer remembered
	lastWatermark       time.Time
	unmarked            int // events published since
	failures            int // in a row
	alike               int // of them, of the class of the last one in a row
	lastError           *status.Error
	refused             *kore.Error // the last failure, if the credentials were refused
	withheld            []withheld  // spans that could not be read
	answered            bool        // since the account was made
	answers             int64       // requests that were answered, since the account was made
	unsettled           []*unsettled
	lastFailing         time.Time           // by our clock: when it was failing last, and ceased to be
	inVain              [plan.KindCount]int // passes that concluded nothing, less those that concluded something
	longestPollInterval time.Duration
	rows                int64
	otherBots           int64 // rows that were dropped because their bots are not configured
	filtered            int64 // rows that were dropped because the filter does not take them
	published           map[string]int64
}

// hotRow is a row that is open or ended a short while ago.
type hotRow struct {
	start, end time.Time
	open       bool
	read       time.Time // by id, on conversations
	openAt     time.Time // when a row last showed it as open, on conversations
}

func newUnit(e events.Endpoint, bot string, interval time.Duration, p *progress) (*unit, error) {
	u := &unit{
		Unit:  plan.Unit{Endpoint: e, Bot: bot, Start: p.Start, PollInterval: interval, Read: &timeline.Set{}, Density: &timeline.Density{}},
		state: p, late: &timeline.Lateness{}, past: &timeline.Set{}, hot: map[string]*hotRow{}, published: map[string]int64{},
	}
	var err error
	if len(p.Read) > 0 {
		if u.Read, err = timeline.DecodeSet(p.Read); err != nil {
			return nil, err
		}
	}
	if len(p.Past) > 0 {
		if u.past, err = timeline.DecodeSet(p.Past); err != nil {
			return nil, err
		}
	}
	if len(p.Density) > 0 {
		if u.Density, err = timeline.DecodeDensity(p.Density); err != nil {
			return nil, err
		}
	}
	if len(p.Edits) > 0 {
		edits, err := timeline.DecodeEdits(p.Edits)
		if err != nil {
			return nil, err
		}
		u.Edits = *edits
	}
	if len(p.Lateness) > 0 {
		if u.late, err = timeline.DecodeLateness(p.Lateness); err != nil {
			return nil, err
		}
	}
	facts[e.Index()](p)
	for _, o := range p.Open {
		u.hot[o.ID] = &hotRow{start: o.Start, open: true}
	}
	u.refresh(time.Time{})
	return u, nil
}

// facts makes room in a unit's progress for what the passes of each endpoint learn. What the passes of `interactions` learn is shared by
// the account.
var facts = events.ForEach(func(*progress) {}, (*progress).conversationFacts, (*progress).analyticsFacts, (*progress).analyticsFacts)

func (p *progress) conversationFacts() {
	if p.Conversations == nil {
		p.Conversations = pass.NewConversationFacts()
	}
	p.Conversations.Restore()
}

func (p *progress) analyticsFacts() {
	if p.Analytics == nil {
		p.Analytics = &pass.AnalyticsFacts{}
	}
}

// refresh brings what the plan sees of the unit up to date.
func (u *unit) refresh(now time.Time) {
	u.Hot = u.Hot[:0]
	for id, h := range u.hot {
		if settled := h.end.Add(hotFor); !h.open && (settled.Before(h.read) || settled.Add(hotGrace).Before(now)) {
			delete(u.hot, id)
			continue
		}
		ref := plan.HotRef{ID: id, Start: h.start, Read: h.read}
		if !h.open {
			ref.End = h.end
		}
		u.Hot = append(u.Hot, ref)
	}
	slices.SortFunc(u.Hot, func(a, b plan.HotRef) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	if f := u.state.Conversations; f != nil {
		f.RetryIDs(now)
	}
	_, history := u.unread()
	u.FirstRead = u.Read.Empty() || len(history) > 0
	u.apply()
	u.queue()
}

// apply tells the plan what was learned about the server.
func (u *unit) apply() {
	if f := u.state.Analytics; f != nil {
		u.Keyset, u.WindowPages = f.Keyset(), f.WindowPages()
	}
	if f := u.state.Conversations; f != nil {
		u.Zone, u.ZoneWest, u.Counts, u.IDsIgnored, u.IDsUnknown = f.Zone(), f.ZoneWest(), f.Counts, f.IDsIgnored(), f.IDsUnknown()
	}
}

// begin makes the pass for a piece of work.
func (u *unit) begin(w plan.Work, now time.Time) pass.Pass {
	return passes[u.Endpoint.Index()](u, w, now)
}

// passes makes the passes of each endpoint.
var passes = events.ForEach((*unit).interactionsPass, (*unit).conversationsPass, (*unit).analyticsPass, (*unit).analyticsPass)

func (u *unit) interactionsPass(w plan.Work, now time.Time) pass.Pass {
	span := timeline.Span{From: w.From, To: w.To}
	if !u.zone.Known && (!u.zone.Assumed() || w.Kind == plan.KindTail && !now.Before(u.zone.RetryAt)) {
		u.zone.RetryAt = now.Add(zoneRetry) // so that one unit searches at a time, until zoneUnknown says when to search again
		return pass.NewBounds(u.Bot, span, u.zone)
	}
	return pass.NewInteractions(u.Bot, span, u.zone.Zone)
}

func (u *unit) analyticsPass(w plan.Work, now time.Time) pass.Pass {
	if u.scopeHidden() {
		return pass.NewScope(u.Endpoint, u.bots, &u.state.Scoped, &u.scopeTry, now)
	}
	return pass.NewAnalytics(u.Endpoint, u.iid, timeline.Span{From: w.From, To: w.To}, u.state.Analytics, u.Density)
}

func (u *unit) conversationsPass(w plan.Work, now time.Time) pass.Pass {
	p := u.conversationsPassOf(w, now)
	if u.noTranscripts {
		return pass.WithoutTranscripts(p, u.state.Conversations)
	}
	return p
}

func (u *unit) conversationsPassOf(w plan.Work, now time.Time) pass.Pass {
	facts := u.state.Conversations
	switch w.Kind {
	case plan.KindProbe:
		return pass.NewTail(u.Bot, facts, u.Start, w.From, now)
	case plan.KindHot:
		var ids []string
		var starts []time.Time
		for _, r := range w.Refs {
			ids, starts = append(ids, r.ID), append(starts, r.Start)
		}
		return pass.NewByID(u.Bot, ids, starts, facts, now)
	default:
		return pass.NewDay(u.Bot, w.From, facts)
	}
}

// transcripts says whether transcripts are asked for, and why, where nobody wants them; it is empty elsewhere.
func (u *unit) transcripts() string {
	if !u.noTranscripts || u.state.Conversations == nil {
		return ""
	}
	switch u.state.Conversations.Transcripts {
	case pass.TranscriptsSpare:
		return "not fetched"
	case pass.TranscriptsNeeded:
		return "fetched: agentic entries do not come without them"
	default:
		return "fetched until it is known whether agentic entries come without them"
	}
}

// see updates the hot set from a page.
func (u *unit) see(pg *pass.Page) {
	for i := range pg.Rows {
		r := &pg.Rows[i]
		if u.Endpoint == events.Conversations || r.Start.IsZero() {
			continue
		}
		ended := r.End
		if ended.IsZero() {
			ended = pg.ReadAt
		}
		if !r.Open && ended.Add(hotFor).Before(pg.ReadAt) {
			delete(u.hot, r.ID)
			continue
		}
		if len(u.hot) < maxHot || u.hot[r.ID] != nil {
			u.hot[r.ID] = &hotRow{start: r.Start, end: ended, open: r.Open}
		}
	}
}

// watch adds a conversation to the hot set that another endpoint shows activity of.
func (u *unit) watch(r *extract.Row, readAt time.Time) {
	if r.ConversationID == "" || len(u.hot) >= maxHot && u.hot[r.ConversationID] == nil {
		return
	}
	h := u.hot[r.ConversationID]
	if h == nil {
		h = &hotRow{start: r.Start}
		u.hot[r.ConversationID] = h
	}
	h.start = timeline.Earlier(h.start, r.Start)
	// A conversation is open as long as any of its segments is.
	switch {
	case r.Open:
		h.open, h.openAt, h.end = true, readAt, readAt
	case readAt.After(h.openAt):
		h.open, h.end = false, timeline.Later(h.end, r.End)
	}
}

// learn notes what a page shows about how the server selects rows.
func (u *unit) learn(w plan.Work, pg *pass.Page) {
	if u.zone != nil && u.zone.Known || u.Endpoint.PerAccount() {
		for _, r := range pg.Rows {
			if w.Kind != plan.KindHot && r.Start.Before(w.From.Add(-timeline.Edge)) && !r.End.Before(w.From) && !r.Start.IsZero() {
				u.state.FiltersOnEnd = true
			}
		}
	}
}

// observe notes how late a new entity became readable. It must be called before the pass is concluded: an entity in a span that had been
// read before was late, the others came with their rows.
func (u *unit) observe(h *events.Header, readAt time.Time) {
	lateness := readAt.Sub(h.EventTime)
	if lateness < 0 || h.EventTime.Before(u.Start) {
		return
	}
	if _, before := u.Read.LastRead(h.EventTime); !before {
		lateness = min(lateness, u.PollInterval)
	}
	u.late.Observe(readAt, lateness, 1)
}

// conclude applies the outcome of a pass to the unit.
func (u *unit) conclude(w plan.Work, end *pass.Outcome, starts []time.Time) {
	u.apply()
	through := end.ReadAt.Add(-timeline.Edge)
	marked := false
	for _, span := range end.Read {
		if span.From.IsZero() { // a poll: it continued where the last one ended
			span.From = w.From
		}
		span.To = timeline.Earlier(span.To, through)
		if u.scopeHidden() {
			continue
		}
		if !u.zoneAssumed() {
			u.readForJobs(w, span, end.ReadAt)
		}
		span.From = timeline.Later(span.From, u.Start)
		if !span.From.Before(span.To) {
			continue
		}
		u.Read.Mark(span.From, span.To, end.ReadAt)
		marked = true
		if sample := (timeline.Span{From: timeline.Later(span.From, w.Sample.From), To: timeline.Earlier(span.To, w.Sample.To)}); sample.From.Before(sample.To) {
			u.Density.Observe(sample, starts)
		}
	}
	u.cappedForJobs(w, end.Capped)
	for _, span := range end.Capped {
		u.hold(span, end.ReadAt, capRetry, "capped")
		u.noteCapped(span)
	}
	for _, id := range end.IDs {
		if h := u.hot[id]; h != nil {
			h.read = end.ReadAt
		}
	}
	if len(end.IDs) > 0 {
		u.refresh(end.ReadAt) // else the plan would ask for the same rows again
	}
	if w.Priority == plan.PriorityTail {
		if !marked { // otherwise the plan would poll again at once, for ever
			u.After[plan.KindTail] = end.ReadAt.Add(min(u.PollInterval, fruitless))
		}
		u.state.PassesStable++
		if end.Unsettled != nil {
			u.state.PassesStable = 0
		}
	}
	if !end.ReadAt.IsZero() {
		u.Read.Coalesce(maxSpans, end.ReadAt)
		u.Read.Limit(bound.ReadSpans)
	}
}

// withheld is a span that could not be read, and why. It counts until it was surely asked for again.
type withheld struct {
	timeline.Span
	why   string
	until time.Time
}

// maxHold is how long a span that cannot be read is held at the most, and less than askedAgain passes until it is asked for again.
const (
	maxHold    = time.Hour
	askedAgain = 30 * time.Minute
)

// hold has a span that could not be read not asked for for a while, which is the longer the more often that was so.
func (u *unit) hold(span timeline.Span, now time.Time, wait time.Duration, why string) {
	for i := range u.withheld {
		if u.withheld[i].overlaps(span) {
			wait = max(wait, min(2*wait, maxHold))
		}
	}
	u.Held = append(u.Held, plan.Held{Span: span, Until: now.Add(wait)})
	u.withheld = append(u.withheld, withheld{span, why, now.Add(wait + askedAgain)})
}

func (w *withheld) overlaps(s timeline.Span) bool { return w.From.Before(s.To) && s.From.Before(w.To) }

// release drops the spans that need not be held any more.
func (u *unit) release(now time.Time) {
	u.Held = slices.DeleteFunc(u.Held, func(h plan.Held) bool { return !h.Until.After(now) })
	u.withheld = slices.DeleteFunc(u.withheld, func(w withheld) bool { return !w.until.After(now) })
}

// noteCapped notes a span that holds more rows than the endpoint gives out. Spans that touch become one, and of too many the oldest go.
func (u *unit) noteCapped(span timeline.Span) {
	capped := append(u.state.Capped, span)
	slices.SortFunc(capped, func(a, b timeline.Span) int { return a.From.Compare(b.From) })
	out := capped[:1]
	for _, s := range capped[1:] {
		if last := &out[len(out)-1]; !s.From.After(last.To) {
			last.To = timeline.Later(last.To, s.To)
		} else {
			out = append(out, s)
		}
	}
	u.state.Capped = out[max(0, len(out)-bound.Capped):]
}

// forget states that what was read before reach is no longer remembered. Time before reach that was read is not read again, because its
// events would be published again: the unit continues as if it had started later. Gaps before reach are still to be read.
func (u *unit) forget(reach time.Time) {
	reach = reach.Truncate(time.Second)
	if !u.Start.Before(reach) {
		return
	}
	u.forgotten = reach
	before := u.Start
	u.Start = timeline.Later(u.Start, timeline.Earlier(u.Read.ReadThrough(u.Start), reach)).Truncate(time.Second)
	for _, s := range u.Read.ReadSpans(before, u.Start) { // a job may ask for it
		u.past.Mark(s.From, s.To, s.ReadAt)
	}
	u.past.Coalesce(maxPast, reach)
	u.past.Limit(bound.ReadSpans)
	u.state.Start = u.Start
	u.Read.Drop(u.Start)
}

// scopeHidden reports whether rows of other bots may be hidden from the unit: as long as that is not known, nothing it
// reads counts as read.
func (u *unit) scopeHidden() bool {
	return u.Endpoint.PerAccount() && u.Bot == "" && u.state.Scoped != pass.ScopeAccount
}

// zoneAssumed reports whether the zone of bounds is not known and taken for UTC: what was read may be other time than was asked for.
func (u *unit) zoneAssumed() bool { return u.zone != nil && u.zone.Assumed() }

// feed returns the unit's feed, with a watermark to publish; nil for none.
func (u *unit) feed(mark *events.Watermark) kafka.Feed {
	return kafka.Feed{Types: u.Endpoint.Spec().Feeds, Offsets: u.state.Offsets, Watermark: mark}
}

// progressName is the key of the unit's record.
func (u *unit) progressName() string { return progressName(u.Endpoint, u.Bot) }

// addRecord adds the unit's progress to the records of a change.
func (u *unit) addRecord(records map[string][]byte) (err error) {
	p := u.state
	p.Read = u.Read.AppendBinary(nil)
	if p.Past = nil; !u.past.Empty() {
		p.Past = u.past.AppendBinary(nil)
	}
	p.Density = u.Density.AppendBinary(nil)
	p.Lateness = u.late.AppendBinary(nil)
	if !u.Edits.Empty() {
		p.Edits = u.Edits.AppendBinary(nil)
	}
	p.Open = u.open()
	u.recorded, err = p.encode()
	records[u.progressName()] = u.recorded
	return err
}

// open returns the rows that are open, as far as a record has room for them: those that began first, which hold back what can be
// declared complete.
func (u *unit) open() []openParent {
	const beside = 64 // an id, in JSON
	var open []openParent
	size := 0
	for id, h := range u.hot {
		if h.open {
			open = append(open, openParent{id, h.start})
			size += beside + len(strconv.Quote(id))
		}
	}
	if size <= bound.OpenRows {
		return open
	}
	slices.SortFunc(open, func(a, b openParent) int { return a.Start.Compare(b.Start) })
	size = 0
	for i, row := range open {
		if size += beside + 6*len(row.ID); size > bound.OpenRows { // a character takes six in JSON at the most
			return open[:i]
		}
	}
	return open
}

// addOffsets adds the unit's progress as it was recorded last, but for its offsets.
func (u *unit) addOffsets(records map[string][]byte) error {
	if u.recorded == nil {
		return u.addRecord(records)
	}
	p, err := decodeProgress(u.recorded)
	if err != nil {
		return err
	}
	p.Offsets = u.state.Offsets
	u.recorded, err = p.encode()
	records[u.progressName()] = u.recorded
	return err
}

// failed notes a failure. It says when to try again, whether the same step may then succeed, and whether the failure is news.
func (u *unit) failed(err error, now time.Time) (retry time.Duration, repeat, news bool) {
	class, hint := status.ClassRetry, ""
	var ke *kore.Error
	var pe *extract.PageError
	var ce *clockError
	switch {
	case errors.As(err, &ce):
		class, hint = status.ClassShape, ce.hint()
	case errors.As(err, &ke):
		class, hint = ke.Class, ke.Hint
	case errors.As(err, &pe):
		class, hint = pe.Class, pe.Hint
	case errors.Is(err, pass.ErrStuck):
		class, hint = status.ClassShape, pass.StuckHint
	}
	u.refused = nil
	if ke != nil && ke.Reason == kore.ReasonCredentials {
		u.refused = ke
	}
	u.failures++
	if u.alike++; u.lastError != nil && u.lastError.Class != class {
		u.alike = 1 // a strange page after ten lost connections is still the first
	}
	passing := expectedToPass(class)
	switch class {
	case status.ClassWait:
		retry = ke.RetryAfter
	case status.ClassRetry:
		retry = min(time.Second<<min(u.alike-1, 6), time.Minute)
	case status.ClassShape:
		// One page of a gateway that restarts looks like a setting that is wrong: the first two are asked for again soon.
		passing = u.alike <= 2
		retry = min(2*time.Second<<min(2*(u.alike-1), 10), 5*time.Minute)
	default:
		// One refusal among good answers is some gateway's: what is permanent comes again.
		if passing = u.alike == 1; passing {
			retry = 2 * time.Second
			break
		}
		retry = min(30*time.Second<<min(u.alike-2, 4), 5*time.Minute)
		if u.refused != nil {
			retry = min(retry, time.Minute) // the other side may turn back to the secret that was refused
		}
	}
	news = u.lastError == nil || u.lastError.Text != err.Error()
	if u.lastError == nil {
		u.lastError = &status.Error{Since: now}
	}
	u.lastError.Text, u.lastError.Hint, u.lastError.Class, u.lastError.Count = err.Error(), hint, class, u.failures
	return retry, passing, news
}

// expectedToPass reports whether failures of a class are.
func expectedToPass(c status.Class) bool { return c == status.ClassWait || c == status.ClassRetry }

// tryNextIID names another bot in the header iId of an account-wide endpoint after a bot that was not configured was refused: one mistyped
// bot must not stop the others. It reports whether there is a bot that was not refused yet.
func (u *unit) tryNextIID(err error) bool {
	ke, ok := errors.AsType[*kore.Error](err)
	if !ok || ke.Class != status.ClassPermanent || u.Bot != "" || len(u.bots) < 2 {
		return false
	}
	u.iid = u.bots[(slices.Index(u.bots, u.iid)+1)%len(u.bots)]
	return u.failures < len(u.bots)
}

// worked notes a success. It returns the failure that this ended, nil if there was none.
func (u *unit) worked() *status.Error {
	u.answered = true
	u.answers++
	over := u.lastError
	if over != nil {
		u.failures, u.alike, u.lastError, u.refused, u.NotBefore = 0, 0, nil, nil, time.Time{}
	}
	return over
}

func (u *unit) String() string {
	if u.Bot == "" {
		return string(u.Endpoint)
	}
	return fmt.Sprintf("%s of %s", u.Endpoint, u.botName)
}
