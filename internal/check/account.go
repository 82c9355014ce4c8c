package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/payload"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
)

const (
	// requestTimeout bounds one request, which asks for one row.
	requestTimeout = 20 * time.Second
	// maxRequests is how many requests one account gets at most, beyond one for each endpoint: a poller that runs shares its budget.
	maxRequests = 20
	// clockTolerance is how wrong a clock may be. The poller allows for more, but nobody should have to.
	clockTolerance = 5 * time.Second
	// expiresSoon is how long before its end a certificate is worth a warning.
	expiresSoon = 14 * 24 * time.Hour
	// assumedPerDay is the volume of an account that does not tell.
	assumedPerDay = 10_000
)

// An accountCheck asks the API of one account, one request after the other.
type accountCheck struct {
	Account
	client *kore.Client
	sent   int

	unreachable *Result  // what is in the way, where no answer of the API can be had
	waiting     bool     // the API wants to be left alone
	answered    bool     // the API has answered something
	tokens      []*token // by whom they are signed
	volume      float64  // conversations a day of the bots that told
	told        int      // bots that did

	mu   sync.Mutex
	seen connection // guarded by mu: a trace may outlive its request
}

// A token is what the API says of the tokens of one JWT app: OK once it has taken one, Failed once it has refused one.
type token struct {
	client string // id
	result Result
}

// connection is what was seen of the way to the API.
type connection struct {
	addr string
	tls  *tls.ConnectionState
	made bool
}

// A target is what one request asks: an endpoint of one bot, or of the account.
type target struct {
	endpoint events.Endpoint
	bot      poll.Bot // the zero value for the account
}

// checkAccount checks the way to the API of an account, its token, its clock, its endpoints and its budget.
func checkAccount(ctx context.Context, a Account, transport http.RoundTripper) []Result {
	c := &accountCheck{Account: a}
	a.API.Timeouts = map[events.Endpoint]time.Duration{}
	for _, e := range events.Endpoints() {
		a.API.Timeouts[e] = requestTimeout
	}
	var options []kore.Option
	if transport != nil {
		options = append(options, kore.WithTransport(transport))
	}
	options = append(options, kore.WithObserver(func(kore.Attempt) { c.sent++ }))
	client, err := kore.New(a.API, options...)
	if err != nil {
		return []Result{because(c.name("connection"), Failed, err)}
	}
	defer client.Close()
	c.client = client

	targets, left := c.targets()
	var asked []Result
	for _, t := range targets {
		asked = append(asked, c.check(ctx, t))
	}
	if left > 0 {
		asked = append(asked, Result{Name: c.name("other bots"), State: Skipped, Found: fmt.Sprintf("%d more requests would be needed; the budget is the poller's", left)})
	}
	out := []Result{c.connection()}
	for _, t := range c.tokens {
		out = append(out, t.result)
	}
	return append(append(append(out, c.clock()), asked...), c.budget())
}

// check asks one endpoint, unless it is known by now that this leads to nothing.
func (c *accountCheck) check(ctx context.Context, t target) Result {
	r := Result{Name: c.name(t.String()), State: Skipped}
	token := c.tokenFor(t)
	switch {
	case c.unreachable != nil:
		r.Found = unreachable
	case c.waiting:
		r.Found = "the API asks to wait"
	case token.result.State == Failed:
		r.Found = refused
	default:
		found, err := c.ask(ctx, t)
		if err != nil {
			return c.judge(r.Name, token, err)
		}
		c.answered = true
		token.result.State, token.result.Found = OK, "the API takes the tokens of "+token.client
		r.State, r.Found = OK, found
	}
	return r
}

// Why an endpoint is not asked.
const (
	unreachable = "the API cannot be reached"
	refused     = "the token is refused"
)

func (c *accountCheck) name(what string) string { return "account " + c.Poll.Name + ": " + what }

func (t target) String() string {
	if t.bot.Name == "" {
		return string(t.endpoint)
	}
	return string(t.endpoint) + " of " + t.bot.Name
}

// targets returns what to ask, all endpoints of a bot before those of the next, and how much is left out.
func (c *accountCheck) targets() (ask []target, left int) {
	for i, bot := range c.Poll.Bots {
		for _, e := range events.Endpoints() {
			if _, on := c.Poll.Endpoints[e]; !on || e.PerAccount() && i > 0 {
				continue
			}
			t := target{endpoint: e}
			if !e.PerAccount() {
				t.bot = bot
			}
			ask = append(ask, t)
		}
	}
	most := max(len(c.Poll.Endpoints), min(maxRequests, c.Poll.RequestsPerMinute/3))
	if len(ask) > most {
		ask, left = ask[:most], len(ask)-most
	}
	return ask, left
}

// query asks for one row of the last hour, or of yesterday where days are asked for: the answer then says how many rows there were.
func (c *accountCheck) query(t target) kore.Query {
	now := c.client.Now()
	takes := t.endpoint.Spec().Takes
	q := kore.Query{Endpoint: t.endpoint, BotID: t.bot.ID, From: now.Add(-time.Hour), To: now, Offset: takes.FirstOffset, Limit: 1, Bare: true}
	if takes.Days {
		q.From = now.AddDate(0, 0, -1)
		q.To = q.From
	}
	if t.endpoint.PerAccount() {
		q.IID = c.Poll.Endpoints[t.endpoint].IID
		if q.IID == "" && len(c.Poll.Bots) > 0 {
			q.IID = c.Poll.Bots[0].ID
		}
	}
	return q
}

// tokenFor returns what is known of the tokens that a target is asked with.
func (c *accountCheck) tokenFor(t target) *token {
	q := c.query(t)
	client := c.API.ClientID
	for _, bot := range []string{q.BotID, q.IID} {
		if own, ok := c.API.Bots[bot]; ok && bot != "" {
			client = own.ClientID
		}
	}
	for _, known := range c.tokens {
		if known.client == client {
			return known
		}
	}
	name := "token"
	if client != c.API.ClientID {
		name += " of " + client
	}
	c.tokens = append(c.tokens, &token{client, Result{Name: c.name(name), State: Skipped, Found: "no endpoint has answered"}})
	return c.tokens[len(c.tokens)-1]
}

// ask sends a request, and once more if the token was dated wrongly: the next one is not.
func (c *accountCheck) ask(ctx context.Context, t target) (found string, err error) {
	ctx = c.traced(ctx)
	resp, err := c.client.Fetch(ctx, c.query(t))
	if e, ok := errors.AsType[*kore.Error](err); ok && e.Reason == kore.ReasonClock {
		resp, err = c.client.Fetch(ctx, c.query(t))
	}
	if err != nil {
		return "", err
	}
	page, err := extract.Decode(c.Poll.Scope(t.bot.ID, t.endpoint), resp.Body)
	if e, ok := errors.AsType[*extract.PageError](err); ok && e.Fault == payload.Refused {
		return "", resp.Refused(e.Code, e.Detail)
	}
	if err != nil {
		return "", err
	}
	if spec := t.endpoint.Spec(); spec.Takes.Days && page.Total >= 0 {
		c.volume += float64(page.Total)
		c.told++
		return fmt.Sprintf("answers; %d %ss yesterday", page.Total, spec.Row), nil
	}
	return "answers", nil
}

// judge says what a failure is a failure of: of the way, of the token, or of the endpoint.
func (c *accountCheck) judge(name string, token *token, err error) Result {
	e, ok := errors.AsType[*kore.Error](err)
	switch {
	case !ok:
		return because(name, Failed, err)
	case !c.answered && c.onTheWay(e):
		way := fromAPI(c.name("connection"), Failed, e)
		c.unreachable = &way
		return Result{Name: name, State: Skipped, Found: unreachable}
	case e.Class == status.ClassWait:
		c.answered, c.waiting = true, true
		r := fromAPI(name, Warning, e)
		r.Hint = "the budget of the account is used up for now, by a poller that runs or by another program: ask again later"
		return r
	case e.Reason == kore.ReasonTimeout:
		r := fromAPI(name, Failed, e)
		r.Hint = fmt.Sprintf("the API has not answered a request for one row within %v: ask again, and look at the network if it stays so", requestTimeout)
		return r
	}
	c.answered = true
	switch {
	case e.Reason == kore.ReasonCredentials && token.result.State != OK:
		token.result = fromAPI(token.result.Name, Failed, e)
		return Result{Name: name, State: Skipped, Found: refused}
	case e.Reason == kore.ReasonScope && token.result.State == Skipped: // the API knows who asks
		token.result.State, token.result.Found = OK, "not refused"
	}
	return fromAPI(name, Failed, e)
}

// onTheWay reports whether a failure says that the API itself was never asked.
func (c *accountCheck) onTheWay(e *kore.Error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Reason {
	case kore.ReasonDNS, kore.ReasonTLS, kore.ReasonRedirect:
		return true
	}
	return e.Hint == payload.HTML.Hint() || e.Status == 0 && !c.seen.made
}

// fromAPI returns the result of a check that ended with an error of the API's client, with its hint.
func fromAPI(name string, state State, e *kore.Error) Result {
	return Result{Name: name, State: state, Found: strings.TrimSuffix(e.Error(), "; "+e.Hint), Hint: e.Hint}
}

// traced returns a context whose requests tell how they are connected.
func (c *accountCheck) traced(ctx context.Context) context.Context {
	note := func(change func(*connection)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		change(&c.seen)
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			note(func(s *connection) { s.made, s.addr = true, i.Conn.RemoteAddr().String() })
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			if err == nil {
				note(func(s *connection) { s.tls = &state })
			}
		},
	})
}

// connection says how the API is reached.
func (c *accountCheck) connection() Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Result{Name: c.name("connection"), State: OK, Found: c.API.BaseURL + " answers"}
	switch {
	case c.unreachable != nil:
		return *c.unreachable
	case !c.answered && !c.seen.made:
		r.State, r.Found = Skipped, "no endpoint has answered"
		return r
	case !c.answered:
		r.Found = c.API.BaseURL + " can be connected to"
	}
	if c.seen.addr != "" {
		r.Found += " at " + c.seen.addr
	}
	if u, err := url.Parse(c.API.BaseURL); err == nil && u.Scheme == "http" {
		r.Found += ", not encrypted"
	}
	if c.seen.tls == nil || len(c.seen.tls.PeerCertificates) == 0 {
		return r
	}
	until := c.seen.tls.PeerCertificates[0].NotAfter
	r.Found += fmt.Sprintf(", %s, certificate until %s", tls.VersionName(c.seen.tls.Version), until.Format(time.DateOnly))
	if time.Until(until) < expiresSoon {
		r.State, r.Hint = Warning, "have the certificate of base_url renewed"
	}
	return r
}

// clock compares the clocks.
func (c *accountCheck) clock() Result {
	r := Result{Name: c.name("clock"), State: OK}
	skew, known := c.client.Skew()
	switch {
	case !known && skew == 0:
		r.State, r.Found = Skipped, "no answer of the API had a date"
	case skew.Abs() < clockTolerance:
		r.Found = fmt.Sprintf("this machine's is within %v of the API's", clockTolerance)
	default:
		way := "behind"
		if skew < 0 {
			way = "ahead of"
		}
		r.State, r.Found = Warning, fmt.Sprintf("this machine's clock is %v %s the API's", skew.Abs().Round(time.Second), way)
		r.Hint = "set this machine's clock, and keep it set (NTP); the poller goes by the API's clock meanwhile"
	}
	return r
}

// budget says whether the budget allows the configured poll intervals at the volume that was seen.
func (c *accountCheck) budget() Result {
	perDay, text := float64(assumedPerDay), fmt.Sprintf("at %d segments a day, which is assumed", assumedPerDay)
	if c.told > 0 {
		perDay = c.volume * float64(len(c.Poll.Bots)) / float64(c.told)
		text = fmt.Sprintf("at %.0f conversations a day, as yesterday", perDay)
	}
	f := poll.NewForecast(c.Poll, perDay)
	need := 0.0
	for _, perMinute := range f.Spent {
		need += perMinute
	}
	r := Result{Name: c.name("budget"), State: OK}
	r.Found = fmt.Sprintf("%d requests a minute, of which reading takes %.0f %s; this check has sent %d", f.Budget, need, text, c.sent)
	var late []string
	for _, e := range f.Endpoints {
		if e.PollActual > e.Poll*5/4 {
			late = append(late, fmt.Sprintf("%s every %v in place of %v", e.Endpoint, time.Duration(e.PollActual).Round(time.Second), time.Duration(e.Poll)))
		}
	}
	if len(late) > 0 {
		r.State = Warning
		r.Found += "; too few for the poll intervals: it polls " + strings.Join(late, ", ")
		r.Hint = "raise poll_interval, or have the limit raised and then requests_per_minute; poller plan shows what each attains"
	}
	return r
}
