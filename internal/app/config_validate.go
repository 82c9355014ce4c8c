package app

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/traces"
)

const day = 24 * time.Hour

// checkFiles looks whether the files that are named can be read.
func (c *Config) checkFiles(doc *conf.Doc, skip bool) {
	for i := range c.Accounts {
		a := &c.Accounts[i]
		at := fmt.Sprintf("accounts[%d]", i)
		a.Auth.check(doc, at+".auth", skip)
		for j, b := range a.Bots {
			if b.Auth != nil {
				b.Auth.check(doc, fmt.Sprintf("%s.bots[%d].auth", at, j), skip)
			}
		}
	}
	checkSecret(doc, "server.admin.token", c.Server.Admin.Token, c.Server.Admin.TokenFile, skip)
	checkSecret(doc, "privacy.key", c.Privacy.Key, c.Privacy.KeyFile, skip)
	for path, file := range conf.Strings(c) {
		if skip || file == "" || !strings.HasSuffix(path, "_file") || strings.HasSuffix(path, ".auth.client_secret_file") || path == "server.admin.token_file" || path == "privacy.key_file" {
			continue
		}
		if f, err := os.Open(file); err != nil {
			doc.Add(path, "%v", err)
		} else {
			f.Close()
		}
	}
}

func (c *Credentials) check(doc *conf.Doc, at string, skip bool) {
	checkSecret(doc, at+".client_secret", c.ClientSecret, c.ClientSecretFile, skip)
}

// checkSecret looks whether the file of a secret holds one; it is read again for every request.
func checkSecret(doc *conf.Doc, at string, text secret.Secret, file string, skip bool) {
	if file == "" {
		return
	}
	if name := at[strings.LastIndexByte(at, '.')+1:]; !text.IsZero() {
		doc.Add(at, "is given twice; want either %s or %s_file", name, name)
	}
	if skip {
		return
	}
	if _, err := secret.FromFile(file); err != nil {
		doc.Add(at+"_file", "%v", err)
	}
}

// validate reports every problem of the values that could be decoded. It does no I/O.
func (c *Config) validate(doc *conf.Doc) {
	if len(c.Accounts) == 0 {
		doc.Add("accounts", "is empty; want at least one account with name, account_id, auth and bots")
	}
	for i := range c.Accounts {
		c.validateAccount(doc, i)
	}
	for _, p := range c.Kafka.Validate() {
		doc.Add("kafka."+p.Path, "%s", p.Text)
	}
	if c.Kafka.Delivery == kafka.AtLeastOnce && c.Kafka.Group != "" && doc.Has("kafka.group") {
		doc.Warn("kafka.group", "has no effect with delivery %s: run one instance of each account", kafka.AtLeastOnce)
	}
	for _, p := range c.SchemaRegistry.Validate() {
		doc.Add("schema_registry."+p.Path, "%s", p.Text)
	}
	if c.Checkpoint.Path == "" {
		doc.Add("checkpoint.path", "is empty; want the path of a file on a volume that outlives the process")
	}
	for _, p := range c.Privacy.Validate() {
		doc.Add("privacy."+p.Path, "%s", p.Text)
	}
	within(doc, "retention", c.Retention, day, 400*day)
	within(doc, "shutdown.drain", c.Shutdown.Drain, 0, 10*time.Minute)
	c.Events.CSAT.validate(doc, "events.csat")
	c.Events.NPS.validate(doc, "events.nps")
	validateLink(doc, "events.link", c.Events.Link)
	if from := events.TypeMessage.Endpoints(); c.Events.Message.Enabled && !slices.ContainsFunc(c.Accounts, func(a Account) bool { return a.reads(from) }) {
		doc.Warn("events.message.enabled", "has no effect: messages come from the endpoint %s, which no account reads", listed(from, "or"))
	}
	if c.Server.Listen != "" {
		if _, port, err := net.SplitHostPort(c.Server.Listen); err != nil || !isPort(port) {
			doc.Add("server.listen", `%q; want host:port or :port, or "" for no server`, c.Server.Listen)
		}
	}
	c.Server.Admin.validate(doc)
	limits := c.Log.Limits()
	oneOf(doc, "log.level", c.Log.Level, limits["level"].OneOf)
	oneOf(doc, "log.format", c.Log.Format, limits["format"].OneOf)
	c.Traces.validate(doc)
	if c.Kafka.Traceparent && c.Traces.Endpoint == "" {
		doc.Add("kafka.traceparent", "there are no trace spans to name; want traces.endpoint, or false")
	}
}

// headerName is what HTTP takes as the name of a header.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// ownHeaders are those that a request to a collector has in any case.
var ownHeaders = []string{"Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Host", "User-Agent"}

func (c *Traces) validate(doc *conf.Doc) {
	if c.Endpoint != "" {
		c.validateEndpoint(doc, "traces.endpoint")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value, at := c.Headers[name].Reveal(), "traces.headers."+name
		switch {
		case !headerName.MatchString(name):
			doc.Add(at, "is no name of a header; want one such as authorization")
		case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
			doc.Add(at, "is set by the poller itself; want it left out")
		case value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			doc.Add(at, "is empty or has line breaks or other control characters; want the value of a header")
		}
	}
	if text := c.TLS.CertFileProblem("tls"); text != "" {
		doc.Add("traces.tls.cert_file", "%s", text)
	}
	if !(c.SampleRatio >= 0 && c.SampleRatio <= 1) {
		doc.Add("traces.sample_ratio", "%v; want the part of the traces that is sent, from 0 to 1", c.SampleRatio)
	}
	if c.ServiceName == "" {
		doc.Add("traces.service_name", "is empty; want the name under which the traces are found, such as agentassist-poller")
	}
}

func (c *Traces) validateEndpoint(doc *conf.Doc, at string) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		doc.Add(at, "want the address of a collector that takes OTLP over HTTP, such as http://localhost:4318")
	case u.User != nil:
		doc.Add(at, "holds a user; want it in traces.headers, as authorization")
	case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), traces.Path):
		doc.Add(at, "%q; want it without %s, which the poller adds", c.Endpoint, traces.Path)
	case u.Scheme == "http" && c.TLS.On():
		doc.Add(at, "%q is not encrypted, and traces.tls is on; want https", c.Endpoint)
	case u.Scheme == "http" && len(c.Headers) > 0 && !isLoopback(u.Hostname()):
		doc.Warn(at, "is not encrypted: what traces.headers hold travels in the clear")
	}
}

// Limits says what settings may be where their types allow more.
func (c *Traces) Limits() conf.Limits { return conf.Limits{"sample_ratio": {Least: 0, Most: 1}} }

func (c *Admin) validate(doc *conf.Doc) {
	const at = "server.admin.listen"
	if c.Listen == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil || !isPort(port):
		doc.Add(at, `%q; want host:port, or "" for no server`, c.Listen)
	case isLoopback(host):
	case !c.hasToken():
		doc.Add(at, "%q can be reached from other machines, and whoever reaches it may stop the reading; want server.admin.token_file, or an address "+
			"that only this machine reaches, such as 127.0.0.1:%s", c.Listen, port)
	default:
		doc.Warn(at, "%q can be reached from other machines and is not encrypted: the token travels in the clear", c.Listen)
	}
}

func (t Thresholds) validate(doc *conf.Doc, at string) {
	if t.NegativeUpTo >= t.PositiveFrom {
		doc.Add(at, "negative_up_to is %v and positive_from %v; want the first to be smaller", t.NegativeUpTo, t.PositiveFrom)
	}
}

func validateLink(doc *conf.Doc, at, template string) {
	if _, err := events.ParseLink(template); err != nil {
		doc.Add(at, "%q: %v", template, err)
	}
}

// accountName becomes the source of events and a part of keys, between slashes.
var accountName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (c *Config) validateAccount(doc *conf.Doc, i int) {
	a := &c.Accounts[i]
	at := fmt.Sprintf("accounts[%d]", i)
	switch {
	case a.Name == "":
		doc.Add(at+".name", "is missing; want a short name such as retail-us, which events carry as their source")
	case !accountName.MatchString(a.Name):
		doc.Add(at+".name", "%q; want at most 100 letters, digits, '.', '_' and '-'", a.Name)
	}
	validateLink(doc, at+".link", a.Link)
	for j, other := range c.Accounts[:i] {
		if a.Name != "" && a.Name == other.Name {
			doc.Add(at+".name", "%q is the name of accounts[%d] too; want names that differ", a.Name, j)
		}
		if a.AccountID != "" && a.AccountID == other.AccountID && a.BaseURL == other.BaseURL {
			doc.Add(at+".account_id", "is the account of accounts[%d] too, and they would share one request budget; list all bots there", j)
		}
	}
	for _, p := range a.Kore().Validate() {
		if strings.HasPrefix(p.Path, "bots[") && strings.HasSuffix(p.Path, ".bot_id") {
			continue // all bots are looked at below
		}
		doc.Add(at+"."+a.indexed(p.Path), "%s", p.Text)
	}
	if u, err := url.Parse(a.BaseURL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		doc.Warn(at+".base_url", "is not encrypted: tokens and transcripts travel in the clear")
	}
	if a.RequestsPerMinute < 1 || a.RequestsPerMinute > maxRequestsPerMinute {
		doc.Add(at+".requests_per_minute", "%d; want between 1 and %d", a.RequestsPerMinute, maxRequestsPerMinute)
	}
	a.validateBots(doc, at)
	oneOf(doc, at+".other_bots", a.OtherBots, a.Limits()["other_bots"].OneOf)
	a.validateEndpoints(doc, at)
	c.validateTimes(doc, a, at)
}

// indexed turns the bot's id in a path of the API client into its place in the list.
func (a *Account) indexed(path string) string {
	rest, ok := strings.CutPrefix(path, "bots[")
	if !ok {
		return path
	}
	id, rest, _ := strings.Cut(rest, "]")
	i := slices.IndexFunc(a.Bots, func(b Bot) bool { return b.BotID == id })
	return fmt.Sprintf("bots[%d]%s", i, rest)
}

func (a *Account) validateBots(doc *conf.Doc, at string) {
	if perBot := endpoints(false); len(a.Bots) == 0 && a.reads(perBot) {
		doc.Add(at+".bots", "is empty; %s are read per bot: list them, or switch these endpoints off", listed(perBot, "and"))
	}
	for i, b := range a.Bots {
		at := fmt.Sprintf("%s.bots[%d]", at, i)
		switch {
		case b.BotID == "":
			doc.Add(at+".bot_id", "is missing; want the id of the bot, such as st-...")
		case len(b.BotID) > bound.ConfiguredID:
			doc.Add(at+".bot_id", "has %d characters; want the id of the bot, at most %d", len(b.BotID), bound.ConfiguredID)
		case strings.ContainsFunc(b.BotID, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '[' || r == ']' }):
			doc.Add(at+".bot_id", "%q; want the id of the bot as the platform shows it, such as st-...", b.BotID)
		case !strings.HasPrefix(b.BotID, "st-"):
			doc.Warn(at+".bot_id", "%q does not begin with st- as ids of bots do", b.BotID)
		}
		if len(b.Name) > bound.ConfiguredID {
			doc.Add(at+".name", "has %d characters; want at most %d", len(b.Name), bound.ConfiguredID)
		}
		for j, other := range a.Bots[:i] {
			if b.BotID != "" && b.BotID == other.BotID {
				doc.Add(at+".bot_id", "is bots[%d] too; list each bot once", j)
			}
			if b.Name != "" && b.Name == other.Name {
				doc.Add(at+".name", "%q is the name of bots[%d] too; want names that differ", b.Name, j)
			}
		}
	}
}

const (
	// maxConcurrency is far more than the usual budget can make use of.
	maxConcurrency       = 32
	maxRequestsPerMinute = 10_000
)

// Limits says what settings may be where their types allow more.
func (a *Account) Limits() conf.Limits {
	limits := conf.Limits{
		"name":                {Match: accountName},
		"requests_per_minute": {Least: 1, Most: maxRequestsPerMinute},
		"other_bots":          {OneOf: []string{otherBotsDrop, otherBotsKeep}},
	}
	for _, name := range events.Endpoints() {
		at := "endpoints." + string(name) + "."
		limits[at+"concurrency"] = conf.Limit{Least: 1, Most: maxConcurrency}
		limits[at+"selected_fields"] = conf.Limit{OneOf: knownFields}
		for _, key := range notTaken(name) {
			limits[at+key] = conf.Limit{Empty: true}
		}
	}
	return limits
}

// notTaken returns the settings that have no meaning for an endpoint, and must be empty.
func notTaken(name events.Endpoint) []string {
	var keys []string
	if !name.PerAccount() {
		keys = append(keys, "iid", "selected_fields")
	}
	if name == events.Conversations {
		keys = append(keys, "queues", "agents")
	}
	return keys
}

// Limits says what settings may be where their types allow more.
func (l *Log) Limits() conf.Limits {
	return conf.Limits{
		"level":  {OneOf: logLevels},
		"format": {OneOf: []string{formatAuto, formatJSON, formatText}},
	}
}

func (a *Account) validateEndpoints(doc *conf.Doc, at string) {
	at += ".endpoints"
	enabled := 0
	for _, name := range events.Endpoints() {
		e, at := a.Endpoints.Of(name), fmt.Sprintf("%s.%s", at, name)
		within(doc, at+".poll_interval", e.PollInterval, time.Second, day)
		if e.Concurrency < 1 || e.Concurrency > maxConcurrency {
			doc.Add(at+".concurrency", "%d; want how many requests may be in flight at the same time, from 1 to %d", e.Concurrency, maxConcurrency)
		}
		if e.IID != "" && slices.Contains(notTaken(name), "iid") {
			doc.Add(at+".iid", "this endpoint names its bot in the URL; only %s take an iid", listed(endpoints(true), "and"))
		}
		e.validateFilter(doc, name, at)
		e.validateFields(doc, name, at)
		if !e.Enabled {
			continue
		}
		enabled++
		if name.PerAccount() && e.IID == "" && len(a.Bots) != 1 {
			doc.Warn(at+".iid", "is not set, and the API may refuse to answer without; want the id of a bot of this account")
		}
	}
	if enabled == 0 {
		doc.Add(at, "all are switched off; want at least one of %s", listed(events.Endpoints(), "and"))
	}
}

// maxFilter is how many names a filter may have: it is a part of each watermark.
const maxFilter = 100

func (e *Endpoint) validateFilter(doc *conf.Doc, name events.Endpoint, at string) {
	for _, f := range []struct {
		key    string
		values []string
	}{{"queues", e.Queues}, {"channels", e.Channels}, {"agents", e.Agents}} {
		at := at + "." + f.key
		if len(f.values) > maxFilter {
			doc.Add(at, "has %d names; want at most %d", len(f.values), maxFilter)
		}
		if len(f.values) > 0 && slices.Contains(notTaken(name), f.key) {
			doc.Add(at, "its rows name no %s; leave it empty, and switch the endpoint off if what it shows of others must not be published", f.key)
		}
		for i, value := range f.values {
			switch {
			case strings.TrimSpace(value) == "" || len(value) > bound.ConfiguredID:
				doc.Add(fmt.Sprintf("%s[%d]", at, i), "%q; want what events of the endpoint show, of at most %d characters", value, bound.ConfiguredID)
			case slices.Contains(f.values[:i], value):
				doc.Add(fmt.Sprintf("%s[%d]", at, i), "%q is in the list already", value)
			}
		}
	}
}

func (e *Endpoint) validateFields(doc *conf.Doc, name events.Endpoint, at string) {
	at += ".selected_fields"
	if len(e.SelectedFields) > 0 && slices.Contains(notTaken(name), "selected_fields") {
		doc.Add(at, "this endpoint always shows all fields; only %s select some", listed(endpoints(true), "and"))
		return
	}
	for i, field := range e.SelectedFields {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case !slices.Contains(knownFields, field):
			doc.Add(at, "%q; want some of %s", field, strings.Join(knownFields, ", "))
		case slices.Contains(e.SelectedFields[:i], field):
			doc.Add(at, "%q is in the list already", field)
		}
	}
}

// knownFields are what the API's pages name.
var knownFields = append(kore.DefaultFields(), "campaigninfo", "snoozeinfo")

// reads reports whether any of the endpoints is switched on.
func (a *Account) reads(endpoints []events.Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e events.Endpoint) bool { return a.Endpoints.Of(e).Enabled })
}

// endpoints returns those that are read once for the account, or those that are read for each bot.
func endpoints(perAccount bool) []events.Endpoint {
	return slices.DeleteFunc(events.Endpoints(), func(e events.Endpoint) bool { return e.PerAccount() != perAccount })
}

// listed names endpoints in a sentence.
func listed(endpoints []events.Endpoint, last string) string {
	var b strings.Builder
	for i, e := range endpoints {
		switch {
		case i > 0 && i == len(endpoints)-1:
			b.WriteString(" " + last + " ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(e))
	}
	return b.String()
}

// IID is the bot that a request to an endpoint of the whole account names: the configured one, or the only one.
func (a *Account) IID(e events.Endpoint) string {
	if iid := a.Endpoints.Of(e).IID; iid != "" || len(a.Bots) != 1 {
		return iid
	}
	return a.Bots[0].BotID
}

func (c *Config) validateTimes(doc *conf.Doc, a *Account, at string) {
	now := time.Now()
	start := a.Start.At(now)
	if start.After(now.Add(day)) {
		doc.Add(at+".start", "lies in the future; want now or a time that has passed")
	}
	if retention := c.Kafka.Topics.Retention; c.Kafka.Timestamp == kafka.TimestampEvent && start.Before(now.Add(-retention)) {
		doc.Warn(at+".start", "lies before kafka.topics.retention (%s): Kafka drops such events as soon as they arrive, unless kafka.timestamp is %s",
			conf.FormatDuration(retention), kafka.TimestampObserved)
	}
	if len(a.Sweeps) == 0 {
		doc.Warn(at+".sweeps", "is empty: late edits, feedback among them, are not seen once a conversation is over")
	}
	for i, s := range a.Sweeps {
		at := fmt.Sprintf("%s.sweeps[%d]", at, i)
		within(doc, at+".within", s.Within, time.Minute, c.Retention)
		within(doc, at+".every", s.Every, time.Second, 30*day)
		if slices.ContainsFunc(a.Sweeps[:i], func(o Sweep) bool { return o.Within == s.Within }) {
			doc.Add(at+".within", "%s has an entry already; want one for each reach", conf.FormatDuration(s.Within))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.EditWeights)) {
		at := at + ".edit_weights." + name
		if !slices.Contains(events.Types(), events.Type(name)) {
			doc.Add(at, "is no event type; want one of docs/events.md")
		}
		if w := a.EditWeights[name]; !(w >= 0 && w <= 100) { // NaN is not
			doc.Add(at, "%g; want a number from 0 to 100", w)
		}
	}
	if l := a.AllowedLateness; !l.Auto && l.Max > c.Retention {
		doc.Add(at+".allowed_lateness", "%s is longer than the retention (%s)", conf.FormatDuration(l.Max), conf.FormatDuration(c.Retention))
	}
}

// within checks a duration against its bounds.
func within(doc *conf.Doc, path string, d, least, most time.Duration) {
	if d < least || d > most {
		doc.Add(path, "%s; want between %s and %s", conf.FormatDuration(d), conf.FormatDuration(least), conf.FormatDuration(most))
	}
}

func oneOf(doc *conf.Doc, path, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		doc.Add(path, "%q; want one of %s", value, strings.Join(allowed, ", "))
	}
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n < 1<<16
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
