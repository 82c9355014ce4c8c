package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/tlsconf"
)

// RegistryConfig is the section schema_registry of the configuration. Without a URL there is no registry, and values are in Avro's
// single-object encoding.
type RegistryConfig struct {
	URL string `yaml:"url"`
	// Register allows to register at start what is missing. Otherwise schemas are only looked up.
	Register bool `yaml:"register"`
	// Compatibility of each subject. It is set with Register, where it is another one; keep leaves it as it is.
	Compatibility string        `yaml:"compatibility"`
	Username      string        `yaml:"username"`
	Password      secret.Secret `yaml:"password" secret:"true"`
	PasswordFile  string        `yaml:"password_file"`
	BearerToken   secret.Secret `yaml:"bearer_token" secret:"true"`
	TokenFile     string        `yaml:"bearer_token_file"`
	TLS           TLSConfig     `yaml:"tls"`
	// Timeout bounds one request, RetryFor all attempts at one schema.
	Timeout  time.Duration `yaml:"timeout"`
	RetryFor time.Duration `yaml:"retry_for"`
}

// keepCompatibility leaves a subject's compatibility as it is.
const keepCompatibility = "keep"

// SetDefaults sets the values that hold where the configuration has none.
func (c *RegistryConfig) SetDefaults() {
	*c = RegistryConfig{
		Register: true, Compatibility: "FULL_TRANSITIVE",
		Timeout: 10 * time.Second, RetryFor: 30 * time.Second,
	}
}

// DefaultRegistryConfig returns a configuration that has every default.
func DefaultRegistryConfig() RegistryConfig {
	var c RegistryConfig
	c.SetDefaults()
	return c
}

// Limits says what settings may be where their types allow more.
func (c *RegistryConfig) Limits() conf.Limits {
	return conf.Limits{"compatibility": {OneOf: []string{
		"FULL_TRANSITIVE", "FULL", "BACKWARD_TRANSITIVE", "BACKWARD", "FORWARD_TRANSITIVE", "FORWARD", "NONE", keepCompatibility,
	}}}
}

// Validate returns everything that is wrong. It does no I/O.
func (c *RegistryConfig) Validate() []Problem {
	var p problems
	p.oneOf("compatibility", c.Compatibility, c.Limits()["compatibility"].OneOf...)
	if c.URL == "" {
		return p
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		p.add("url", "want the address of the registry's API, such as http://localhost:8081")
	case u.User != nil:
		p.add("url", "holds a user; want it in username and password")
	}
	oneSecret(&p, "password", c.Password, c.PasswordFile, c.Username != "")
	oneSecret(&p, "bearer_token", c.BearerToken, c.TokenFile, false)
	if c.Username != "" && (!c.BearerToken.IsZero() || c.TokenFile != "") {
		p.add("bearer_token", "is given beside username; want one of the two")
	}
	p.tls(&c.TLS)
	if c.Timeout < 100*time.Millisecond || c.Timeout > 5*time.Minute {
		p.add("timeout", "%s; want between 100ms and 5m", c.Timeout)
	}
	if c.RetryFor < 0 || c.RetryFor > time.Hour {
		p.add("retry_for", "%s; want between 0 and 1h", c.RetryFor)
	}
	return p
}

// A Registry knows the ids of our schemas. What it answered at start holds for good, so that events go on when the registry is
// gone. It is safe for concurrent use.
type Registry struct {
	config RegistryConfig
	client *sr.Client
	log    *slog.Logger
	// waiting is told of every attempt that failed and is made again; nil for nobody.
	waiting func(error)
}

// NewRegistry returns a registry that has not been asked yet. It reads certificate and password files, so that one that cannot be
// used is known at once; they are read again for every request.
func NewRegistry(c RegistryConfig, log *slog.Logger) (*Registry, error) {
	r := &Registry{config: c, log: log}
	if _, err := c.TLS.Current(""); err != nil {
		return nil, fmt.Errorf("schema_registry.%w", err)
	}
	if err := r.authorize(&http.Request{Header: http.Header{}}); err != nil {
		return nil, err
	}
	client, err := sr.NewClient(
		sr.URLs(c.URL),
		sr.UserAgent("agentassist-poller"),
		sr.HTTPClient(&http.Client{Timeout: c.Timeout, Transport: tlsconf.NewTransport(c.TLS)}),
		sr.DefaultParams(sr.Normalize),
		sr.PreReq(r.authorize),
	)
	if err != nil {
		return nil, fmt.Errorf("build schema registry client: %w", err)
	}
	r.client = client
	return r, nil
}

// Client returns the client with which the registry is asked. It is for readers of topics, who need schemas by id.
func (r *Registry) Client() *sr.Client { return r.client }

// authorize adds the credentials to a request.
func (r *Registry) authorize(req *http.Request) error {
	credentials, err := r.secret().Read()
	switch {
	case err != nil:
		return fmt.Errorf("schema_registry.%s_file: %w", r.secretSetting(), err)
	case r.config.Username != "":
		req.SetBasicAuth(r.config.Username, credentials.Reveal())
	case !credentials.IsZero():
		req.Header.Set("Authorization", "Bearer "+credentials.Reveal())
	}
	return nil
}

// secret returns where the password or token is.
func (r *Registry) secret() secret.Source {
	if r.config.Username != "" {
		return secret.Source{Text: r.config.Password, File: r.config.PasswordFile}
	}
	return secret.Source{Text: r.config.BearerToken, File: r.config.TokenFile}
}

// secretSetting names the setting of the password or token.
func (r *Registry) secretSetting() string {
	if r.config.Username != "" {
		return "password"
	}
	return "bearer_token"
}

// Subject returns the name under which the values of a topic are registered.
func Subject(topic string) string { return topic + "-value" }

// Resolve returns the id of a schema for the values of a topic. What is registered already needs no write: the schema and the
// compatibility of its subject are looked up first, and only what is missing is written, where schema_registry.register allows it.
// It repeats itself for as long as configured while the registry is out of order, and returns a *RegistryError.
func (r *Registry) Resolve(ctx context.Context, topic, schema string) (int, error) {
	subject := Subject(topic)
	var id int
	err := r.persist(ctx, subject, func(ctx context.Context) (err error) {
		id, err = r.resolve(ctx, subject, sr.Schema{Schema: schema})
		return err
	})
	if err != nil {
		return 0, r.explain(subject, err)
	}
	return id, nil
}

func (r *Registry) resolve(ctx context.Context, subject string, schema sr.Schema) (int, error) {
	id, missing, err := r.lookup(ctx, subject, schema)
	switch {
	case !r.config.Register || err != nil:
		return id, err
	case missing:
		return r.register(ctx, subject, schema)
	}
	return id, r.ensureCompatibility(ctx, subject)
}

// lookup returns the id of a schema. It is no error that the schema is missing where it may be registered.
func (r *Registry) lookup(ctx context.Context, subject string, schema sr.Schema) (id int, missing bool, err error) {
	found, err := r.client.LookupSchema(ctx, subject, schema)
	if r.config.Register && isStatus(err, http.StatusNotFound) {
		return 0, true, nil
	}
	return found.ID, false, err
}

// register sets the compatibility before a subject gets another version, so that it is checked by ours. A registry may
// know no settings for a subject that is not there yet: then its first version comes first.
func (r *Registry) register(ctx context.Context, subject string, schema sr.Schema) (int, error) {
	err := r.ensureCompatibility(ctx, subject)
	later := isStatus(err, http.StatusNotFound)
	if err != nil && !later {
		return 0, err
	}
	id, err := r.client.RegisterSchema(ctx, subject, schema, -1, -1)
	if isStatus(err, http.StatusConflict) { // another instance may have been faster
		if found, lookupErr := r.client.LookupSchema(ctx, subject, schema); lookupErr == nil {
			id, err = found.ID, nil
		}
	}
	if err != nil {
		return 0, &registerError{err}
	}
	if later {
		err = r.ensureCompatibility(ctx, subject)
	}
	return id, err
}

// ensureCompatibility sets the compatibility of a subject, unless it is as configured already. Where it may not be set, the
// registry's default counts too.
func (r *Registry) ensureCompatibility(ctx context.Context, subject string) error {
	if r.config.Compatibility == keepCompatibility {
		return nil
	}
	want, err := r.compatibility()
	if err != nil {
		return err
	}
	if own := r.client.Compatibility(ctx, subject)[0]; own.Err == nil && own.Level == want {
		return nil
	}
	err = r.client.SetCompatibility(ctx, sr.SetCompatibility{Level: want}, subject)[0].Err
	if err == nil {
		return nil
	}
	refused := &compatibilityError{err: err}
	if isStatus(err, http.StatusNotFound) || passing(err) {
		return refused
	}
	// Another instance that starts at the same time may have been faster, which some registries answer as a conflict.
	has := r.compatibilityOf(ctx, subject)
	if has.Err == nil && has.Level == want {
		return nil
	}
	if has.Err == nil {
		refused.has = has.Level.String()
	}
	return refused
}

// compatibility returns the configured one.
func (r *Registry) compatibility() (want sr.CompatibilityLevel, err error) {
	err = want.UnmarshalText([]byte(r.config.Compatibility))
	return want, err
}

// compatibilityOf returns what a subject's compatibility is, by itself or by the registry's default.
func (r *Registry) compatibilityOf(ctx context.Context, subject string) sr.CompatibilityResult {
	has := r.client.Compatibility(ctx, subject)[0]
	if isStatus(has.Err, http.StatusNotFound) {
		has = r.client.Compatibility(ctx)[0]
	}
	return has
}

// Check looks a schema up as Resolve found it. It returns a *RegistryError if the registry has lost it, or gives it another id by now,
// and any other error if it does not say: what was resolved holds for good.
func (r *Registry) Check(ctx context.Context, topic, schema string, id int) error {
	subject := Subject(topic)
	found, err := r.client.LookupSchema(ctx, subject, sr.Schema{Schema: schema})
	e := &RegistryError{URL: r.config.URL, Subject: subject, hint: "restore the registry: without the schema nobody can read the topic's " +
		"events. A restart of the poller registers it anew, under an id of its own, and leaves unreadable what was published before"}
	switch {
	case isStatus(err, http.StatusNotFound):
		e.Err = fmt.Errorf("the schema that events are written with, id %d, is gone", id)
	case err == nil && found.ID != id:
		e.Err = fmt.Errorf("the schema that events are written with, id %d, has id %d now", id, found.ID)
	default:
		return err
	}
	return e
}

// registerError tells a refused registration from a refused lookup.
type registerError struct{ err error }

func (e *registerError) Error() string { return "register the schema: " + e.err.Error() }
func (e *registerError) Unwrap() error { return e.err }

// compatibilityError says that a subject has another compatibility than the configured one, and that it could not be set.
type compatibilityError struct {
	has string // empty if that could not be read
	err error
}

func (e *compatibilityError) Error() string {
	if e.has == "" {
		return "set compatibility: " + e.err.Error()
	}
	return fmt.Sprintf("set compatibility, which is %s: %v", e.has, e.err)
}

func (e *compatibilityError) Unwrap() error { return e.err }

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// persist calls do until it succeeds, fails permanently, or has failed for RetryFor: the client makes only one attempt.
func (r *Registry) persist(ctx context.Context, subject string, do func(context.Context) error) error {
	deadline := time.Now().Add(r.config.RetryFor)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(ctx)
		if err == nil || !passing(err) || ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return err
		}
		if r.waiting != nil {
			r.waiting(r.explain(subject, err))
		}
		level := slog.LevelWarn
		if firstPause < pause && pause < time.Second { // was said a moment ago
			level = slog.LevelDebug
		}
		r.log.Log(ctx, level, "schema registry does not answer, trying again", "subject", subject, "retry_in", pause, "err", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// passing reports whether an error may pass by itself: the registry is overloaded, starting, or away.
func passing(err error) bool {
	resp, ok := errors.AsType[*sr.ResponseError](err)
	if !ok { // no answer at all
		return tlsconf.Hint("schema_registry.tls", err) == ""
	}
	return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
}

func isStatus(err error, status int) bool {
	resp, ok := errors.AsType[*sr.ResponseError](err)
	return ok && resp.StatusCode == status
}

// A RegistryError says why a schema has no id, or not the one that it had.
type RegistryError struct {
	URL     string
	Subject string // empty if it is about the registry itself
	Err     error
	hint    string
	passing bool
}

func (e *RegistryError) Error() string {
	about := "schema registry " + e.URL
	if e.Subject != "" {
		about += ", subject " + e.Subject
	}
	return withHint(fmt.Sprintf("%s: %v", about, e.Err), e.hint)
}

// Hint says what to do, empty if that is not known.
func (e *RegistryError) Hint() string { return e.hint }

func (e *RegistryError) Unwrap() error { return e.Err }

// Retryable reports whether waiting may help.
func (e *RegistryError) Retryable() bool { return e.passing }

// explain says what to change: the right or the setting by its name.
func (r *Registry) explain(subject string, err error) error {
	e := &RegistryError{URL: r.config.URL, Subject: subject, Err: err, passing: passing(err)}
	status, code := 0, 0
	if resp, ok := errors.AsType[*sr.ResponseError](err); ok {
		status, code = resp.StatusCode, resp.ErrorCode
	}
	_, compatibility := errors.AsType[*compatibilityError](err)
	_, registering := errors.AsType[*registerError](err)
	const byHand = "register it by other means (poller schemas --write DIR writes the files) and set schema_registry.register: false"
	switch {
	case e.passing:
		e.hint = "check schema_registry.url and that the registry runs"
	case status == 0:
		e.hint = tlsconf.Hint("schema_registry.tls", err)
	case status == http.StatusUnauthorized:
		e.hint = "check schema_registry.username and password, or bearer_token; " + r.secret().Advice("schema_registry."+r.secretSetting())
	case compatibility:
		e.hint = fmt.Sprintf("let the poller's user write the compatibility of the subject, or set it to %s by other means; "+
			"schema_registry.compatibility: keep leaves it as it is", r.config.Compatibility)
	case registering && code == codeReadOnly:
		e.hint = "the schema of this version is not registered, and the registry or the subject is in read-only mode: set the mode to READWRITE, or " + byHand
	case registering && status == http.StatusForbidden:
		e.hint = "the schema of this version is not registered: let the poller's user write to the subject, or " + byHand
	case status == http.StatusForbidden:
		e.hint = "let the poller's user read the subject"
	case status == http.StatusConflict:
		e.hint = "the subject holds a schema that this version's is not compatible with: use another kafka.topic_prefix, or delete the subject if nobody reads the topic"
	case status == http.StatusNotFound && !r.config.Register:
		e.hint = "register the schema of this version, or set schema_registry.register: true"
	case status == http.StatusNotFound:
		e.hint = wrongPath
	default:
		e.hint = "the registry refuses the schema; check that it supports Avro"
	}
	return e
}

const wrongPath = "check the path in schema_registry.url; Apicurio's is /apis/ccompat/v7"

// codeReadOnly is the registry's error code for a write while it is in read-only mode (Confluent's "operation not permitted").
const codeReadOnly = 42205
