package explain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/revise"
)

const (
	// requestTimeout bounds one request.
	requestTimeout = 30 * time.Second
	// maxRequests is how many requests one account gets at most: a poller that runs shares its budget.
	maxRequests = 20
	// maxPages is how many pages one endpoint is asked for at most.
	maxPages = 5
	// around is the time before and after the events of a conversation in which its rows are looked for.
	around = 15 * time.Minute
)

// An Answer is what an endpoint shows of the conversation now.
type Answer struct {
	Account  string    `json:"account"`
	Endpoint string    `json:"endpoint"`
	Bot      string    `json:"bot_id,omitempty"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Requests int       `json:"requests"`
	// Rows is how many rows of the conversation were among those that came, and Dead how many rows could not be read at all.
	Rows int `json:"rows"`
	Dead int `json:"unreadable_rows"`
	// Whole is set if every row of the span was looked at, or every row of the conversation.
	Whole bool   `json:"whole"`
	Error string `json:"error,omitempty"`
}

// ask asks the API for the conversation.
func (e *explanation) ask(ctx context.Context) error {
	for i := range e.Accounts {
		a := &e.Accounts[i]
		if len(e.seen) > 0 && !e.sawAccount(a.Poll.Name) {
			continue
		}
		if err := e.askAccount(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// sawAccount reports whether something of the conversation was published for an account.
func (e *explanation) sawAccount(name string) bool {
	for k := range e.seen {
		if k.account == name {
			return true
		}
	}
	return false
}

// sawBot reports whether something of the conversation was published for a bot, or for none.
func (e *explanation) sawBot(id string) bool {
	any := false
	for k := range e.seen {
		any = any || k.bot != ""
		if k.bot == id {
			return true
		}
	}
	return !any
}

func (e *explanation) askAccount(ctx context.Context, a *Account) error {
	a.API.Timeouts = map[events.Endpoint]time.Duration{}
	for _, endpoint := range events.Endpoints() {
		a.API.Timeouts[endpoint] = requestTimeout
	}
	client, err := e.client(a)
	if err != nil {
		return err
	}
	defer client.Close()
	u := &upstream{explanation: e, account: a, client: client, store: memory{}}
	for _, endpoint := range events.Endpoints() {
		if _, on := a.Poll.Endpoints[endpoint]; !on {
			continue
		}
		if endpoint.PerAccount() {
			u.askEndpoint(ctx, endpoint, poll.Bot{})
			continue
		}
		for _, bot := range a.Poll.Bots {
			if e.sawBot(bot.ID) {
				u.askEndpoint(ctx, endpoint, bot)
			}
		}
	}
	return ctx.Err()
}

// client returns a client of the API of an account. The caller closes it.
func (e *explanation) client(a *Account) (*kore.Client, error) {
	var options []kore.Option
	if e.Transport != nil {
		options = append(options, kore.WithTransport(e.Transport))
	}
	client, err := kore.New(a.API, options...)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Poll.Name, err)
	}
	return client, nil
}

// upstream is what is asked of one account.
type upstream struct {
	*explanation
	account *Account
	client  *kore.Client
	store   memory
	sent    int
}

// askEndpoint asks one endpoint, and adds what it shows to the report.
func (u *upstream) askEndpoint(ctx context.Context, endpoint events.Endpoint, bot poll.Bot) {
	a := Answer{Account: u.account.Poll.Name, Endpoint: string(endpoint), Bot: bot.ID}
	a.From, a.To = u.span(endpoint)
	rows, err := u.rows(ctx, endpoint, bot, &a)
	if err != nil {
		a.Error = err.Error()
	}
	a.Rows = len(rows)
	u.report.Answers = append(u.report.Answers, a)
	u.decide(endpoint, bot, rows)
}

// span returns the time in which the rows of the conversation are looked for at an endpoint.
func (u *upstream) span(endpoint events.Endpoint) (from, to time.Time) {
	now := u.client.Now()
	from, to = u.Since, now
	if !u.from.IsZero() {
		from, to = u.from.Add(-around), timeline.Earlier(u.to.Add(around), now)
	}
	from = timeline.Later(from, to.Add(-endpoint.Spec().Takes.Range+timeline.Day))
	return from.Truncate(time.Second).UTC(), to.Truncate(time.Second).UTC()
}

// rows returns the rows of the conversation. It asks by id where the endpoint takes ids, and by time otherwise.
func (u *upstream) rows(ctx context.Context, endpoint events.Endpoint, bot poll.Bot, a *Answer) ([]extract.Row, error) {
	takes := endpoint.Spec().Takes
	base := kore.Query{Endpoint: endpoint, BotID: bot.ID, From: a.From, To: a.To, Offset: takes.FirstOffset, Limit: takes.Limit}
	if endpoint.PerAccount() {
		base.IID = u.account.Poll.IIDOf(endpoint, "")
	}
	var forms []kore.Query
	if takes.IDs {
		byID := base
		byID.ConversationIDs = []string{cmp.Or(u.report.Conversation, u.ID)}
		forms = append(forms, byID)
		byID.IDsAsString = true
		forms = append(forms, byID)
	}
	forms = append(forms, base)
	var failed error
	for _, q := range forms {
		rows, err := u.pages(ctx, q, a)
		if err != nil {
			failed = err
			if k, ok := errors.AsType[*kore.Error](err); ok && k.Reason == kore.ReasonRejected && len(q.ConversationIDs) > 0 {
				continue
			}
			return nil, err
		}
		if failed = nil; len(rows) > 0 {
			a.Whole = a.Whole || len(q.ConversationIDs) > 0
			return rows, nil
		}
	}
	return nil, failed
}

// pages asks for the pages of a query, and returns the rows of the conversation that are on them.
func (u *upstream) pages(ctx context.Context, q kore.Query, a *Answer) (rows []extract.Row, err error) {
	for range maxPages {
		page, err := u.page(ctx, q, a)
		if err != nil {
			return rows, err
		}
		a.Dead += len(page.Dead)
		for _, r := range page.Rows {
			if u.mine(&r) {
				rows = append(rows, r)
			}
		}
		if a.Whole = len(page.Rows)+len(page.Dead) < q.Limit; a.Whole || len(q.ConversationIDs) > 0 || q.Endpoint.PerAccount() {
			return rows, nil // installations differ in what an offset counts there: one page has to do
		}
		if q.Endpoint.Spec().Takes.FirstOffset == 1 {
			q.Offset++
		} else {
			q.Offset += q.Limit
		}
	}
	return rows, nil
}

// page sends a request, and once more if the token was dated wrongly, or something was asked for that the API refuses: the next one is
// dated rightly, and leaves that out.
func (u *upstream) page(ctx context.Context, q kore.Query, a *Answer) (*extract.Page, error) {
	var resp *kore.Response
	var err error
	for range 2 {
		if u.sent == maxRequests {
			return nil, fmt.Errorf("%d requests were sent, and the rest of the budget is the poller's", u.sent)
		}
		u.sent++
		a.Requests++
		resp, err = u.client.Fetch(ctx, q)
		if k, ok := errors.AsType[*kore.Error](err); !ok || k.Reason != kore.ReasonClock && k.Reason != kore.ReasonOption {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return extract.Decode(u.account.Poll.Scope(q.BotID, q.Endpoint), resp.Body)
}

// mine reports whether a row is of the conversation, and learns its ids from it.
func (u *upstream) mine(r *extract.Row) bool {
	ids := []string{u.ID, u.report.Conversation, u.report.Session}
	is := func(id *string) bool { return id != nil && *id != "" && slices.Contains(ids, *id) }
	mine := is(&r.ConversationID) || is(&r.ID)
	var session *string
	for _, o := range r.Observations {
		h := o.Event.Head()
		mine = mine || is(h.SessionID) || is(h.SegmentID) || h.EntityID == u.ID
		if h.SessionID != nil {
			session = h.SessionID
		}
	}
	if mine {
		u.report.Conversation = cmp.Or(r.ConversationID, u.report.Conversation)
		if session != nil {
			u.report.Session = cmp.Or(*session, u.report.Session)
		}
	}
	return mine
}

// decide makes events of rows as the poller would that reads them for the first time, and adds them to the report.
func (u *upstream) decide(endpoint events.Endpoint, bot poll.Bot, rows []extract.Row) {
	var observations []events.Observation
	for _, r := range rows {
		observations = append(observations, r.Observations...)
	}
	now := u.client.Now()
	decided, err := revise.Decide(revise.Input{
		Source: u.account.Poll.Name, Observations: observations, ShownAt: now, Received: now, KeepObservations: true,
		Privacy:  u.account.Poll.Privacy,
		LastRead: func(*events.Observation) time.Time { return time.Time{} },
	}, u.store)
	if err != nil { // a memory does not fail
		u.Log.Error("compare", "err", err)
		return
	}
	u.store.put(decided.Puts)
	times := map[string]time.Time{}
	for _, o := range observations {
		times[o.Event.Head().EntityID] = o.Row
	}
	for _, out := range decided.Events {
		h := out.Event.Head()
		entity := u.entity(h.EntityID, out.Event.EventType())
		if len(entity.Revisions) == 0 {
			entity.Time = h.EventTime
		}
		entity.shown, entity.by, entity.row = out.Event, endpoint, times[h.EntityID]
		entity.content = out.Event.AppendContent(nil, events.Recipe())
		entity.unit = unitKey{u.account.Poll.Name, endpoint, bot.ID}
	}
}

// memory is a revise.Store that knows what this run has decided.
type memory map[checkpoint.Hash]checkpoint.Entry

func (m memory) put(entries []checkpoint.Entry) {
	for _, e := range entries {
		m[e.Key.Hash] = e
	}
}

// Lookup implements revise.Store.
func (m memory) Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error {
	for i, p := range probes {
		e, known := m[p.Key.Hash]
		out[i] = checkpoint.Found{Known: known, Key: e.Key, Value: e.Value}
	}
	return nil
}
