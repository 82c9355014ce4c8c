package explain

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

// An auditReader reads the rows of one account by the passes of the poller.
type auditReader struct {
	*audit
	up      *upstream
	budget  *plan.Budget
	zone    pass.Bounds
	started int // requests that were sent before the unit
	sent    int
}

func (a *audit) newReader(account *Account, client *kore.Client) *auditReader {
	return &auditReader{
		audit: a, budget: plan.NewBudget(a.options.RequestsPerMinute),
		up: &upstream{explanation: a.explanation, account: account, client: client, store: memory{}},
	}
}

// bounds is the time that is read: a row may have events in the span of a row in another endpoint that begins a little earlier or later.
func (r *auditReader) bounds() timeline.Span {
	return timeline.Span{From: r.options.From.Add(-around), To: timeline.Earlier(r.options.To.Add(around), r.up.client.Now())}
}

// A chunk returns the pass over the beginning of what is left of a span, at most a day, and the time that it should read.
type chunk func(left timeline.Span) (pass.Pass, timeline.Span)

// day returns the first day of a span.
func day(left timeline.Span) timeline.Span {
	return timeline.Span{From: left.From, To: timeline.Earlier(left.To, left.From.Add(timeline.Day))}
}

// readUnit reads an endpoint of one bot.
func (r *auditReader) readUnit(ctx context.Context, endpoint events.Endpoint, bot poll.Bot) {
	r.started = r.sent
	if endpoint == events.Conversations {
		facts := pass.NewConversationFacts()
		r.readAll(ctx, endpoint, bot.ID, func(left timeline.Span) (pass.Pass, timeline.Span) {
			return pass.NewDay(bot.ID, left.From, facts), timeline.Span{}
		})
		return
	}
	if !r.zone.Known && !r.zone.Assumed() {
		now := r.up.client.Now()
		if _, err := r.run(ctx, pass.NewBounds(bot.ID, timeline.Span{From: now.Add(-timeline.Day), To: now}, &r.zone), nil); err != nil {
			r.answer(Answer{Endpoint: string(endpoint), Bot: bot.ID, Error: err.Error()})
			return
		}
	}
	r.readAll(ctx, endpoint, bot.ID, func(left timeline.Span) (pass.Pass, timeline.Span) {
		span := day(left)
		return pass.NewInteractions(bot.ID, span, r.zone.Zone), span
	})
}

// readShared reads an endpoint of the account: once, or once for each bot where the server shows each only its own rows.
func (r *auditReader) readShared(ctx context.Context, endpoint events.Endpoint) {
	r.started = r.sent
	var bots []string
	for _, b := range r.up.account.Poll.Bots {
		bots = append(bots, b.ID)
	}
	scope := pass.ScopeAccount
	if len(bots) > 1 { // else there is nothing that could be hidden
		scope = pass.ScopeUnknown
		if _, err := r.run(ctx, pass.NewScope(endpoint, bots, &scope, new(int), r.up.client.Now()), nil); err != nil {
			r.answer(Answer{Endpoint: string(endpoint), Error: err.Error()})
			return
		}
	}
	read := func(bot string) {
		iid := r.up.account.Poll.IIDOf(endpoint, bot)
		facts, density := &pass.AnalyticsFacts{}, &timeline.Density{}
		r.readAll(ctx, endpoint, bot, func(left timeline.Span) (pass.Pass, timeline.Span) {
			span := day(left)
			return pass.NewAnalytics(endpoint, iid, span, facts, density), span
		})
	}
	if scope != pass.ScopeBot {
		read("")
		return
	}
	for _, bot := range r.bots(r.up.account) {
		read(bot.ID)
		r.started = r.sent
	}
}

// readAll reads all of the time that is wanted of a unit, and adds to the report what came of it.
func (r *auditReader) readAll(ctx context.Context, endpoint events.Endpoint, bot string, next chunk) {
	left := r.bounds()
	a := Answer{Endpoint: string(endpoint), Bot: bot, From: left.From, To: left.To, Whole: true}
	unit := unitKey{r.up.account.Poll.Name, endpoint, bot}
	for left.From.Before(left.To) && a.Error == "" {
		p, span := next(left)
		end, err := r.run(ctx, p, func(pg *pass.Page) {
			a.Rows, a.Dead = a.Rows+len(pg.Rows), a.Dead+len(pg.Dead)
			r.take(unit, pg, left.From)
		})
		switch {
		case err != nil:
			a.Error = err.Error()
		case end.Unsettled != nil:
			a.Error = end.Unsettled.Text + "; " + end.Unsettled.Hint
		case len(end.Capped) > 0:
			a.Error = "a second holds more rows than the API gives out: " + clock(end.Capped[0].From)
		case span.To.IsZero(): // a calendar day of the server's zone
			left.From = timeline.Later(end.Read[len(end.Read)-1].To, left.From.Add(time.Second))
		default:
			left.From = span.To
		}
	}
	a.Whole = a.Error == ""
	r.whole[unit] = a.Whole
	r.answer(a)
}

func (r *auditReader) answer(a Answer) {
	a.Account, a.Requests = r.up.account.Poll.Name, r.sent-r.started
	r.report.Answers = append(r.report.Answers, a)
	if r.options.Progress != nil {
		r.options.Progress(a)
	}
}

// tries is how often a request is sent at most, while that may help.
const tries = 4

// run has a pass read, and gives what it publishes to take, which may be nil.
func (r *auditReader) run(ctx context.Context, p pass.Pass, take func(*pass.Page)) (*pass.Outcome, error) {
	for failures := 0; ; {
		pg, failed := r.fetch(ctx, p.Query())
		page, end, err := p.Read(pg, failed)
		if err != nil {
			failures++
			pause, again := retry(err, failures)
			if !again || failures == tries || ctx.Err() != nil {
				return nil, err
			}
			if err := wait(ctx, pause); err != nil {
				return nil, err
			}
			continue
		}
		failures = 0
		if page != nil && page.Page != nil && take != nil {
			take(page)
		}
		if end != nil {
			return end, nil
		}
	}
}

// retry returns after which pause a request may be sent again that has failed, and whether that may help.
func retry(err error, failures int) (pause time.Duration, again bool) {
	k, ok := errors.AsType[*kore.Error](err)
	switch {
	case !ok:
		return 0, false
	case k.Reason == kore.ReasonClock, k.Reason == kore.ReasonOption: // the next one is dated rightly, or leaves out what was refused
		return 0, true
	case k.Class == status.ClassWait:
		return k.RetryAfter, true
	}
	return time.Second << failures, k.Class == status.ClassRetry
}

// wait waits for a pause to end, or returns the error of ctx.
func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// fetch sends a request as soon as the budget allows. With an error it returns a page that has only the times of the answer.
func (r *auditReader) fetch(ctx context.Context, q kore.Query) (*pass.Page, error) {
	for {
		permit, pause, ok := r.budget.TryTake(time.Now(), plan.PriorityBackfill)
		if ok {
			defer func() { permit.Done(time.Now()) }()
			break
		}
		if err := wait(ctx, max(pause, time.Millisecond)); err != nil {
			return nil, err
		}
	}
	r.sent++
	sent := time.Now()
	resp, err := r.up.client.Fetch(ctx, q)
	skew, known := r.up.client.Skew()
	if err == nil {
		var page *extract.Page
		if page, err = extract.Decode(r.up.account.Poll.Scope(q.BotID, q.Endpoint), resp.Body); err == nil {
			return pass.NewPage(page, resp, skew, known), nil
		}
	}
	return pass.NewFailedPage(sent, time.Now(), skew, known), err
}

// take makes events of the rows of a page, and notes what it shows. From is the beginning of the time that was asked for.
func (r *auditReader) take(unit unitKey, pg *pass.Page, from time.Time) {
	account := &r.up.account.Poll
	filter := account.Endpoints[unit.endpoint].Filter
	bots := r.options.Bots
	if len(bots) == 0 && unit.endpoint.PerAccount() {
		bots = account.KeptBots()
	}
	wanted := slices.DeleteFunc(slices.Clone(pg.Rows), func(row extract.Row) bool {
		if (len(bots) == 0 || row.BotID == "" || slices.Contains(bots, row.BotID)) && filter.Takes(&row) {
			return false
		}
		r.dropped[strings.Clone(row.ID)] = true
		return true
	})
	r.up.decide(unit.endpoint, poll.Bot{ID: unit.bot}, wanted)
	if r.rows[unit.endpoint] == nil {
		r.rows[unit.endpoint] = map[string]bool{}
	}
	for i := range wanted {
		row := &wanted[i]
		if !row.Start.IsZero() && row.Start.Before(from.Add(-timeline.Edge)) && unit.endpoint != events.Conversations {
			r.byEnd[unit] = true
		}
		r.note(unit.endpoint, row.ID, mayChange(row, pg))
		r.note(unit.endpoint, row.ConversationID, mayChange(row, pg))
		for j := range row.Observations {
			r.see(unit, row, &row.Observations[j], pg)
		}
	}
}

// note notes that a row was shown, and whether it may still change. One conversation may have several rows.
func (r *auditReader) note(endpoint events.Endpoint, id string, changes bool) {
	r.rows[endpoint][strings.Clone(id)] = changes || r.rows[endpoint][id]
}

// mayChange reports whether a row of a page is open, or ended a short while ago.
func mayChange(row *extract.Row, pg *pass.Page) bool {
	return row.Open || row.End.After(pg.ReadAt.Add(-settling))
}

// see notes that a row shows an entity.
func (r *auditReader) see(unit unitKey, row *extract.Row, o *events.Observation, pg *pass.Page) {
	h := o.Event.Head()
	entity := r.byID[h.EntityID]
	if entity == nil { // an event that cannot be made
		return
	}
	entity.shown = nil // it keeps the page in memory, and its content says enough
	if entity.shownBy == nil {
		entity.shownBy = map[string]bool{}
	}
	entity.shownBy[string(unit.endpoint)] = true
	entity.readAt = pg.Received
	entity.settling = entity.settling || mayChange(row, pg)
	if !o.Row.Before(r.options.From) && o.Row.Before(r.options.To) {
		entity.inSpan = true
		entity.by, entity.row, entity.unit = unit.endpoint, o.Row, unit
	}
	if f, ok := o.Event.(*events.Feedback); ok && f.TargetEntityID != nil {
		entity.rated = rating(*f.TargetEntityID, f.GivenBy)
	}
	if h.ConversationID != nil {
		entity.conversation = strings.Clone(*h.ConversationID)
	}
	if h.SessionID != nil {
		r.note(unit.endpoint, *h.SessionID, mayChange(row, pg))
	}
}
