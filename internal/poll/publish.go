package poll

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/revise"
	"agentassist-poller/internal/status"
)

// publish hands what a step brought to the delivery, together with what is recorded with it: one batch a page, or several if the page is
// large. The order is fixed: look up what is known, publish what is new, and only then count anything as read. A watermark is published
// with the batch that ends a pass.
//
// One batch at a time is decided and delivered, so that two endpoints never call the same entity new at the same time, and so
// that no requests are spent, while Kafka is away, on pages that could not be published.
//
// The caller has locked publishing.
func (a *Account) publish(ctx context.Context, r *activePass, pg *pass.Page, end *pass.Outcome) error {
	parts := []pagePart{{}}
	if pg != nil {
		var err error
		if parts, err = a.divide(r, pg); err != nil {
			return err
		}
	}
	for ; len(parts) > 1; parts = parts[1:] {
		if err := a.deliverPage(ctx, r.unit, pg, a.partly(r.unit, &parts[0])); err != nil {
			return err
		}
	}
	batch, err := a.prepare(ctx, r, &parts[0], end)
	if err != nil {
		return err
	}
	if err := a.deliverPage(ctx, r.unit, pg, batch); err != nil {
		return err
	}
	if u := r.unit; end == nil || !u.Endpoint.PerAccount() || u.Bot != "" || u.state.Scoped != pass.ScopeBot {
		return nil
	}
	if err := a.rescope(r.unit.Endpoint); err != nil {
		return err
	}
	return a.announce(ctx)
}

// lockPublishing waits until no other goroutine decides, publishes and records, and returns what lets others do so again. It
// returns nil if ctx ends first, or if a batch was abandoned: its outcome is unknown, and the next process must settle it first.
func (a *Account) lockPublishing(ctx context.Context) (unlock func()) {
	select {
	case a.publishing <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	if a.abandoned {
		<-a.publishing
		<-ctx.Done() // the goroutine that abandoned it ends the account
		return nil
	}
	return func() { <-a.publishing }
}

// pagePart is what is delivered as one of a page.
type pagePart struct {
	events  []kafka.Outgoing
	dead    []events.DeadLetter
	changes checkpoint.Changes // entities, dead letters and days
	before  int                // events of the parts before
}

// divide decides what a page brings, and divides it into parts of bounded size: at least one.
func (a *Account) divide(r *activePass, pg *pass.Page) ([]pagePart, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := r.unit
	r.unsure = r.unsure || pg.Unsure
	a.seen(u, r, pg)
	a.loops[u.Endpoint].dropOutdated(r, pg)
	decided, err := a.decide(u, r, pg)
	if err != nil {
		return nil, err
	}
	a.countDecided(u, pg, decided)
	a.countEdits(u, r, pg, decided)
	parts, err := a.deadLetters(u, pg)
	if err != nil {
		return nil, err
	}
	before := 0
	for i, part := range decided.Divide(bound.Batch) {
		if i > 0 || len(parts) == 0 { // the first goes with the last of the dead letters
			parts = append(parts, pagePart{})
		}
		p := &parts[len(parts)-1]
		p.events, p.before, p.changes.Puts = a.outgoing(u, part.Events, pg.ReadAt), before, part.Puts
		for _, refused := range part.Refused {
			p.dead = append(p.dead, kafka.DeadLetterOf(kafka.Outgoing(refused.Outgoing), kafka.StagePublish, refused.Reason))
		}
		before += len(part.Events)
	}
	last := &parts[len(parts)-1].changes
	last.Touched = append(last.Touched, decided.Touched...)
	return parts, nil
}

// partly makes the batch of a part of a page that is not the last.
func (a *Account) partly(u *unit, part *pagePart) *kafka.Batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	record := a.newRecording(u)
	record.changes.Puts, record.changes.Dead, record.changes.Touched = part.changes.Puts, part.changes.Dead, part.changes.Touched
	record.feed, record.partly = u, true
	u.unmarked += len(part.events)
	return &kafka.Batch{
		Account: a.cfg.Name, Recording: record, Events: part.events, Dead: part.dead, Feeds: []kafka.Feed{u.feed(nil)},
	}
}

// prepare applies a step to what is known and makes the last batch for it.
func (a *Account) prepare(ctx context.Context, r *activePass, part *pagePart, end *pass.Outcome) (*kafka.Batch, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := r.unit
	if u.failing() != nil {
		u.lastFailing = time.Now().UTC() // in case this ends it
	}
	a.recovered(ctx, u)
	r.work.Due = a.api.Now()

	record := a.newRecording()
	record.changes.Puts, record.changes.Dead, record.changes.Touched = part.changes.Puts, part.changes.Dead, part.changes.Touched
	batch := &kafka.Batch{Account: a.cfg.Name, Recording: record, Events: part.events, Dead: part.dead}
	var err error
	if end != nil {
		if !r.asOf.IsZero() {
			end.ReadAt = timeline.Earlier(end.ReadAt, r.asOf)
		}
		if r.unsure && end.Unsettled == nil {
			end = &pass.Outcome{Unsettled: pass.ClockUnknown, ReadAt: end.ReadAt}
		}
		a.loops[u.Endpoint].finish(r, outcomeOf(end))
		u.conclude(r.work, end, r.starts)
		a.settle(r, end)
	}
	u.unmarked += len(batch.Events)
	if batch.Control, err = a.jobSteps(r, part.before+len(batch.Events), end != nil); err != nil {
		return nil, err
	}
	var mark *events.Watermark
	if now := a.api.Now(); end != nil && (u.unmarked > 0 || now.Sub(u.lastWatermark) >= watermarkEvery) {
		a.declare(u)
		mark = a.watermark(u)
		u.lastWatermark, u.unmarked = now, 0
	}
	batch.Feeds = []kafka.Feed{u.feed(mark)}
	if end != nil || len(batch.Events) > 0 { // events: their offsets would be forgotten if the pass is never ended
		record.feed, record.moved = u, []*unit{u}
	}
	return batch, nil
}

// deliverPage delivers a batch of a page, and counts it.
func (a *Account) deliverPage(ctx context.Context, u *unit, pg *pass.Page, batch *kafka.Batch) error {
	err := a.deliver(ctx, batch)
	if err == nil && pg != nil {
		a.countDelivered(u, pg, batch)
	}
	return err
}

// seen notes what a page shows about the server and about which rows will change. It drops the rows that are not to be published, and the
// observations in rows that were not asked for: those that had ended before reading began.
func (a *Account) seen(u *unit, r *activePass, pg *pass.Page) {
	u.learn(r.work, pg)
	a.dropUnwanted(u, r, pg)
	u.rows += int64(len(pg.Rows))
	for i := range pg.Rows {
		row := &pg.Rows[i]
		if !row.Start.IsZero() {
			r.starts = append(r.starts, row.Start)
		}
		if u.Endpoint == events.Interactions && (row.Open || row.End.After(pg.ReadAt.Add(-hotFor))) {
			a.wakeConversations(u, row, pg.ReadAt)
		}
		last := row.Start
		if !row.End.IsZero() {
			last = row.End
		}
		from := u.Start
		if r.job != nil {
			from = r.job.From
		}
		if last.Before(from) && !row.Open || r.job != nil && !row.Start.Before(r.job.To) {
			row.Observations, row.Unsaid = nil, nil
		}
	}
}

// wakeConversations puts a conversation into the hot set of the bot's `conversations`.
func (a *Account) wakeConversations(from *unit, row *extract.Row, readAt time.Time) {
	for _, u := range a.units {
		if u.Endpoint == events.Conversations && u.Bot == from.Bot {
			u.watch(row, readAt)
			a.nudge(u.Endpoint)
		}
	}
}

// wakeBot schedules a poll of a bot after an account-wide endpoint has shown fresh activity of the bot.
func (a *Account) wakeBot(bot string, at time.Time) {
	for _, u := range a.units {
		if u.Bot == bot && !u.Endpoint.PerAccount() && at.After(u.LastPoll) && at.After(u.WokenAt) {
			u.WokenAt = at
			a.nudge(u.Endpoint)
		}
	}
}

// decide decides which of the entities on a page are new or changed.
func (a *Account) decide(u *unit, r *activePass, pg *pass.Page) (*revise.Result, error) {
	n := 0
	for i := range pg.Rows {
		n += len(pg.Rows[i].Observations) + len(pg.Rows[i].Unsaid)
	}
	observations := make([]events.Observation, 0, n)
	for i := range pg.Rows {
		for _, list := range [][]events.Observation{pg.Rows[i].Observations, pg.Rows[i].Unsaid} {
			observations = append(observations, list...)
		}
	}
	return revise.Decide(revise.Input{
		Source: a.cfg.Name, Observations: observations, Off: a.cfg.Off, ShownAt: pg.ShownAt, Received: pg.Received,
		CompleteFrom: u.completeFrom(), CompleteUpTo: u.state.CompleteUpTo,
		LastRead:         func(s *events.Observation) time.Time { return u.lastRead(s.Row) },
		Replay:           r.work.Replay,
		KeepObservations: a.bothRead(u.Endpoint), Link: a.cfg.Link, Privacy: a.cfg.Privacy,
		TooLarge: a.tooLarge(),
	}, revise.OfAccount(a.cfg.Store, a.cfg.AccountID))
}

// countEdits notes how old the rows were whose edits a page shows: rows that had been read before, and are not hot, because sweeps are what
// finds such edits.
func (a *Account) countEdits(u *unit, r *activePass, pg *pass.Page, decided *revise.Result) {
	if r.job != nil || len(decided.Events) == 0 {
		return
	}
	hot := map[int64]bool{} // by start
	for i := range pg.Rows {
		row := &pg.Rows[i]
		if u.hot[row.ID] != nil || u.Endpoint == events.Conversations && u.hot[row.ConversationID] != nil {
			hot[row.Start.UnixMilli()] = true
		}
	}
	for i, start := range decided.Rows {
		if before := u.lastRead(start); !before.IsZero() && !hot[start.UnixMilli()] {
			weight, ok := a.cfg.EditWeights[decided.Events[i].Event.EventType()]
			if !ok {
				weight = 1
			}
			u.Edits.Observe(start, before, pg.ReadAt, weight)
		}
	}
}

// tooLarge returns how the delivery says that an event is too large, nil if it does not.
func (a *Account) tooLarge() func(revise.Outgoing) string {
	if a.cfg.TooLarge == nil {
		return nil
	}
	return func(o revise.Outgoing) string { return a.cfg.TooLarge(kafka.Outgoing(o)) }
}

// outgoing returns the events that were decided on, and notes what they say of the unit and of others.
func (a *Account) outgoing(u *unit, decided []revise.Outgoing, readAt time.Time) []kafka.Outgoing {
	out := make([]kafka.Outgoing, 0, len(decided))
	for _, o := range decided {
		h := o.Event.Head()
		if h.Revision == 1 {
			u.observe(h, readAt)
		}
		if u.Endpoint.PerAccount() && h.BotID != nil && !h.EventTime.Before(readAt.Add(-hotFor)) {
			a.wakeBot(*h.BotID, readAt)
		}
		out = append(out, kafka.Outgoing(o))
	}
	return out
}

// bothRead reports whether the endpoint that shows the same entities as e is read too.
func (a *Account) bothRead(e events.Endpoint) bool {
	_, ok := a.cfg.Endpoints[e.Spec().Peer]
	return ok
}

// deadLetters returns the records of a page that could not be read and are not on the dead-letter topic yet, in as many parts as they
// need: none if there are none.
func (a *Account) deadLetters(u *unit, pg *pass.Page) ([]pagePart, error) {
	if len(pg.Dead) == 0 {
		return nil, nil
	}
	hashes := make([]checkpoint.Hash, len(pg.Dead))
	names := make([]string, len(pg.Dead))
	for i, dead := range pg.Dead {
		names[i] = kafka.RawHash(dead.Raw)
		raw, err := hex.DecodeString(names[i])
		if err != nil {
			return nil, fmt.Errorf("hash unreadable record: %w", err)
		}
		copy(hashes[i][:], raw)
	}
	seen, err := a.cfg.Store.FindDead(a.cfg.AccountID, hashes)
	if err != nil {
		return nil, err
	}
	today := uint32(pg.ReadAt.Unix() / int64(timeline.Day/time.Second))
	parts, size := make([]pagePart, 1), 0
	for i, dead := range pg.Dead {
		if known, ok := seen[hashes[i]]; ok {
			parts[0].changes.Touched = append(parts[0].changes.Touched, known)
			continue
		}
		seen[hashes[i]] = today
		if size += min(len(dead.Raw), bound.DeadRaw); size > bound.Batch {
			parts, size = append(parts, pagePart{}), min(len(dead.Raw), bound.DeadRaw)
		}
		p := &parts[len(parts)-1]
		p.changes.Dead = append(p.changes.Dead, checkpoint.DeadLetter{Day: today, Hash: hashes[i]})
		letter := events.DeadLetter{
			Stage: dead.Stage, Reason: dead.Reason, Endpoint: string(u.Endpoint), Source: a.cfg.Name, AccountID: a.cfg.AccountID,
			ConversationID: orNil(dead.ConversationID), SessionID: orNil(dead.SessionID), SegmentID: orNil(dead.SegmentID),
			BotID: orNil(u.Bot), RawBytes: dead.Raw, RawHash: names[i], ObservedTime: pg.Received,
		}
		if !a.cfg.Privacy.KeepsRaw() {
			letter.RawBytes, letter.RawTruncated = nil, true
		}
		p.dead = append(p.dead, letter)
		a.log.Warn("record could not be read; it is on the dead-letter topic", "endpoint", u.Endpoint, "bot", u.botName,
			"stage", dead.Stage, "reason", dead.Reason, "raw_hash", names[i])
	}
	return parts, nil
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// deliver publishes and records a batch, however many attempts that takes. No other page is published meanwhile. After ctx has ended,
// deliver continues for the drain time. It returns an error only if it abandoned the batch.
func (a *Account) deliver(ctx context.Context, batch *kafka.Batch) (err error) {
	ctx, transaction := a.traceTransaction(ctx, batch)
	defer func() { endTransaction(transaction, batch, err) }()
	out, cancel := a.draining(ctx)
	defer cancel()
	for failures := 0; ; failures++ {
		a.attempting(time.Now())
		err := a.cfg.Delivery.Deliver(out, batch)
		a.attempting(time.Time{})
		if err == nil {
			a.acked(failures)
			return nil
		}
		if _, lost := errors.AsType[*kafka.LostError](err); lost {
			a.abandoned = true
			return err
		}
		if out.Err() != nil {
			a.abandoned = true
			return fmt.Errorf("deliver a batch of %d events before the end: %w; it will be published again",
				len(batch.Events)+len(batch.Again), err)
		}
		a.refused(err, failures)
		traceRefused(transaction, err)
		select {
		case <-out.Done():
		case <-time.After(min(100*time.Millisecond<<min(failures, 9), 30*time.Second)):
		}
	}
}

// attempting notes since when an attempt at a delivery is under way; zero for none.
func (a *Account) attempting(since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attempt = since
}

// acked notes that a batch was delivered, after so many failures.
func (a *Account) acked(failures int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.delivered.LastError != nil {
		a.log.Info("delivery works again", "failures", failures)
	}
	now := time.Now().UTC()
	a.delivered.LastAck, a.delivered.LastError = &now, nil
}

// refused notes that a batch could not be delivered.
func (a *Account) refused(err error, failures int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	trouble := status.Error{Since: time.Now().UTC()}
	if a.delivered.LastError == nil {
		a.log.Error("delivery fails; the batch is held and nothing more is read", "err", err)
	} else {
		trouble = *a.delivered.LastError
	}
	trouble.Text, trouble.Hint, trouble.Count, trouble.Class = err.Error(), kafka.Hint(err), failures+1, status.ClassPermanent
	if may, _ := kafka.Retryable(err); may {
		trouble.Class = status.ClassRetry
	}
	if e, ok := errors.AsType[*checkpoint.Error](err); ok && e.Hint() != "" {
		trouble.Class, trouble.Hint = status.ClassPermanent, e.Hint()
	}
	a.delivered.LastError = &trouble
}

// draining returns a context that outlives ctx by the drain time, unless Abort ends before.
func (a *Account) draining(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	// A timer that remains afterwards cancels a context that is cancelled already.
	stops := []func() bool{context.AfterFunc(ctx, func() { time.AfterFunc(a.cfg.Drain, cancel) })}
	if a.cfg.Abort != nil {
		stops = append(stops, context.AfterFunc(a.cfg.Abort, cancel))
	}
	return out, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// countDecided notes what a page shows, for status and metrics. The caller holds mu.
func (a *Account) countDecided(u *unit, pg *pass.Page, decided *revise.Result) {
	a.cfg.Observer.Page(a.cfg.Name, u.Endpoint, len(pg.Rows), len(pg.Dead), pg.Drift)
	a.cfg.Observer.Entities(a.cfg.Name, u.Endpoint, decided.Unchanged, decided.MergeHits, decided.Unreadable)
	a.unreadableEntities(u, decided)
	a.contradictions(u, decided)
	for i, refused := range decided.Refused {
		level := slog.LevelDebug
		if i == 0 {
			level = slog.LevelWarn
		}
		a.log.Log(context.Background(), level, "an event is too large to be published; it is on the dead-letter topic", "endpoint", u.Endpoint,
			"bot", u.botName, "type", refused.Event.EventType(), "entity", refused.Event.Head().EntityID, "reason", refused.Reason)
	}
}

// countDelivered notes what of a page was published.
func (a *Account) countDelivered(u *unit, pg *pass.Page, batch *kafka.Batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	types := map[events.Type]int{}
	for _, o := range batch.Events {
		types[o.Event.EventType()]++
	}
	undelivered := batch.Undelivered()
	for _, dead := range undelivered {
		types[events.Type(*dead.EventType)]--
	}
	a.undelivered(u, undelivered)
	for t, n := range types {
		u.published[string(t)] += int64(n)
		a.cfg.Observer.Published(a.cfg.Name, u.Endpoint, t, n)
	}
	if len(batch.Events) > 0 {
		a.cfg.Observer.Freshness(u.Endpoint, a.api.Now().Sub(pg.ReadAt))
	}
	if a.delivered.Published == 0 && len(batch.Events) > len(undelivered) {
		a.log.Info("the first events are on Kafka", "endpoint", u.Endpoint, "bot", u.botName, "events", len(batch.Events)-len(undelivered))
	}
	a.delivered.Published += int64(len(batch.Events) - len(undelivered))
	a.delivered.DeadLetters += int64(len(batch.Dead) + len(undelivered))
}

// undelivered logs the events of a batch that could not be published: the first, and how many there are.
func (a *Account) undelivered(u *unit, dead []*events.DeadLetter) {
	if len(dead) > 0 {
		a.log.Warn("events could not be published; they are on the dead-letter topic", "endpoint", u.Endpoint, "bot", u.botName,
			"events", len(dead), "first", *dead[0].EventType, "entity", *dead[0].EntityID, "stage", dead[0].Stage, "reason", dead[0].Reason)
	}
}

// unreadableEntities counts what the store holds of entities and cannot be read, and logs the first of it.
func (a *Account) unreadableEntities(u *unit, decided *revise.Result) {
	if decided.Unreadable > 0 && a.unreadable == 0 {
		a.log.Error("a stored entity cannot be read and counts as new: it is published again as revision 1; more of them are counted, not logged",
			"endpoint", u.Endpoint, "bot", u.botName, "err", decided.Damage)
	}
	a.unreadable += int64(decided.Unreadable)
}

// contradictions counts how often a page contradicted itself or others, and logs the first of each kind.
func (a *Account) contradictions(u *unit, decided *revise.Result) {
	for _, kind := range slices.Sorted(maps.Keys(decided.Contradicted)) {
		n := decided.Contradicted[kind]
		a.cfg.Observer.Contradicted(a.cfg.Name, u.Endpoint, string(kind), n)
		i := slices.IndexFunc(a.contradicted, func(c status.Contradiction) bool { return c.Kind == string(kind) })
		if i < 0 {
			i = len(a.contradicted)
			a.contradicted = append(a.contradicted, status.Contradiction{Kind: string(kind), Endpoint: string(u.Endpoint), First: decided.Examples[kind]})
			a.log.Warn("the API contradicts itself: what is published follows a rule; more of this kind is counted, not logged",
				"kind", kind, "endpoint", u.Endpoint, "bot", u.botName, "first", decided.Examples[kind])
		}
		a.contradicted[i].Count += int64(n)
	}
}

// recovered logs that a unit works again after failures.
func (a *Account) recovered(ctx context.Context, u *unit) {
	if over := u.worked(); over != nil && over.Count > 1 {
		a.log.Log(ctx, slog.LevelInfo, "reading works again", "endpoint", u.Endpoint, "bot", u.botName, "failures", over.Count)
	}
}

// announce publishes a watermark for every unit at the start, so that consumers know all endpoints before any event, and ends the
// watermarks of units that are no longer read. It also records the units' starts, so that `now` stays the time at which reading first
// began.
func (a *Account) announce(ctx context.Context) error {
	recorded, err := a.cfg.Store.AllProgress(a.cfg.AccountID)
	if err != nil {
		return err
	}
	a.mu.Lock()
	batch := &kafka.Batch{}
	batches := []*kafka.Batch{}
	for units := range slices.Chunk(a.units, announcedAtOnce) {
		batch = &kafka.Batch{Account: a.cfg.Name, Recording: a.newRecording(units...)}
		for _, u := range units {
			batch.Feeds = append(batch.Feeds, u.feed(a.watermark(u)))
			delete(recorded, u.progressName())
		}
		batches = append(batches, batch)
	}
	a.mu.Unlock()
	for name := range recorded {
		if key, ok := a.watermarkKey(name); ok {
			batch.Ended = append(batch.Ended, key)
		}
	}
	for _, b := range batches {
		if err := a.deliver(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// announcedAtOnce is how many units are announced in one batch: the progress of each can be as large as a record may get.
const announcedAtOnce = 100

// expireEvery is how often entities past their retention are deleted.
const expireEvery = time.Hour

// expire deletes what was last observed before the retention, until ctx ends.
func (a *Account) expire(ctx context.Context) error {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		if err := a.expireOnce(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (a *Account) expireOnce(ctx context.Context) error {
	unlock := a.lockPublishing(ctx)
	if unlock == nil {
		return nil
	}
	defer unlock()
	batch, err := a.cfg.Journal.Expire(a.api.Now().Add(-a.cfg.Retention))
	if err != nil || batch == nil {
		return err
	}
	return a.deliver(ctx, batch)
}
