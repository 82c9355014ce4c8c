package kore

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/secret"
)

// Config is what the client of one account must know.
type Config struct {
	// BaseURL is the environment: https://platform.kore.ai or a regional host. A path before /agentassist is kept.
	BaseURL   string
	AccountID string

	// ClientID, ClientSecret and ClientSecretFile are the Credentials of the JWT app that the account's API scopes are given to.
	ClientID         string
	ClientSecret     secret.Secret
	ClientSecretFile string
	// Bots overrides them for requests that name one of these bots, in the path or as iId.
	Bots map[string]Credentials

	// AuthPrefix comes before the token in the header auth, for installations that want "Bearer". Empty sends it bare,
	// as every documented sample does.
	AuthPrefix string

	// Timeouts bound one attempt, body included. An endpoint that is not here has its default.
	Timeouts map[events.Endpoint]time.Duration

	// Fields are what is selected of rows of the account-wide endpoints. An endpoint that is not here has DefaultFields.
	Fields map[events.Endpoint][]string

	// MaxBody bounds the size of an answer after decompression. 0 means DefaultMaxBody.
	MaxBody int64

	// UserAgent tells the operators of the API which program asks. Empty means agentassist-poller.
	UserAgent string
}

// Credentials identify a JWT app.
type Credentials struct {
	ClientID     string
	ClientSecret secret.Secret
	// ClientSecretFile holds the secret, if it is set. It is read for every token, so that a new content needs no restart.
	ClientSecretFile string
}

func (c *Credentials) secret() secret.Source {
	return secret.Source{Text: c.ClientSecret, File: c.ClientSecretFile}
}

// maxTimeout is the longest that one attempt may be given: the account counts as stuck if one takes longer by far.
const maxTimeout = time.Hour

// What max_body may be: room for a page, and no more than a process can do with.
const (
	leastBody = 1 << 20
	mostBody  = 256 << 20
)

// DefaultMaxBody is how many bytes of an answer are read.
const DefaultMaxBody = bound.Body

// A Problem is one setting to correct. Path is below the account in the terms of the configuration file
// (auth.client_id), Text what would be right; it never contains a secret.
type Problem struct {
	Path, Text string
}

func (p Problem) String() string { return p.Path + ": " + p.Text }

// Validate returns all problems, in a fixed order. It does no I/O.
func (c Config) Validate() []Problem {
	var problems []Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, Problem{path, fmt.Sprintf(format, args...)})
	}
	if text := checkBaseURL(c.BaseURL); text != "" {
		add("base_url", "%s", text)
	}
	if text := checkID(c.AccountID); text != "" {
		add("account_id", "%s", text)
	}
	checkCredentials := func(path string, creds Credentials) {
		if creds.ClientID == "" {
			add(path+".client_id", "is missing; want the client id of the JWT app, such as cs-...")
		}
		if creds.ClientSecret.IsZero() && creds.ClientSecretFile == "" {
			add(path+".client_secret", "is missing; set client_secret or client_secret_file to the client secret of the JWT app")
		}
	}
	checkCredentials("auth", c.own())
	if strings.ContainsFunc(c.AuthPrefix, func(r rune) bool { return r < ' ' || r > '~' }) {
		add("auth.prefix", "contains characters that a header cannot; want a word such as Bearer")
	}
	for _, bot := range slices.Sorted(maps.Keys(c.Bots)) {
		path := fmt.Sprintf("bots[%s]", bot)
		if text := checkID(bot); text != "" {
			add(path+".bot_id", "%s", text)
		}
		checkCredentials(path+".auth", c.Bots[bot])
	}
	for _, e := range slices.Sorted(maps.Keys(c.Timeouts)) {
		path := fmt.Sprintf("endpoints.%s.timeout", e)
		switch {
		case !e.Known():
			add(path, "there is no such endpoint; want one of %v", events.Endpoints())
		case c.Timeouts[e] < time.Second:
			add(path, "%v is too short; want at least 1s", c.Timeouts[e])
		case c.Timeouts[e] > maxTimeout:
			add(path, "%v is too long; want at most %v", c.Timeouts[e], maxTimeout)
		}
	}
	if c.MaxBody != 0 && (c.MaxBody < leastBody || c.MaxBody > mostBody) {
		add("max_body", "%d bytes; want between 1MiB and 256MiB", c.MaxBody)
	}
	return problems
}

func checkBaseURL(s string) string {
	const want = "want the environment's URL, such as https://platform.kore.ai"
	if s == "" {
		return "is missing; " + want
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is not a URL; " + want // the parser's words repeat the text, which may hold a password
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.Opaque != "":
		return "is not an http or https URL; " + want
	case u.User != nil:
		return "contains a user name or password, which this API does not take; " + want
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "has a query or fragment; " + want
	}
	return ""
}

// checkID refuses what cannot be a path segment or header. The ids themselves are opaque.
func checkID(id string) string {
	switch {
	case id == "":
		return "is missing"
	case len(id) > bound.ConfiguredID:
		return fmt.Sprintf("has %d characters; want the id as the platform shows it, at most %d", len(id), bound.ConfiguredID)
	case id == "." || id == "..", strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Sprintf("%q is not an id; want the id as the platform shows it, without spaces", id)
	}
	return ""
}

// withDefaults returns a copy that the caller's maps cannot change any more.
func (c Config) withDefaults() Config {
	timeouts := make(map[events.Endpoint]time.Duration)
	for _, e := range events.Endpoints() {
		timeouts[e] = e.Spec().Timeout
	}
	maps.Copy(timeouts, c.Timeouts)
	c.Timeouts = timeouts
	c.Bots = maps.Clone(c.Bots)
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.UserAgent == "" {
		c.UserAgent = "agentassist-poller"
	}
	return c
}

// credentials are those of the bot that a request names, else the account's.
func (c *Config) credentials(q Query) Credentials {
	for _, bot := range []string{q.BotID, q.IID} {
		if creds, ok := c.Bots[bot]; ok && bot != "" {
			return creds
		}
	}
	return c.own()
}

func (c *Config) own() Credentials {
	return Credentials{c.ClientID, c.ClientSecret, c.ClientSecretFile}
}
