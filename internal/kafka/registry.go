package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"agentassist-poller/internal/secret"
)

// RegistryConfig is the section schema_registry of the configuration. Without a URL there is no registry, and values
// are in Avro's single-object encoding.
type RegistryConfig struct {
	URL string `yaml:"url"`
	// Register schemas at start. Otherwise they are only looked up, and must have been registered before.
	Register bool `yaml:"register"`
	// Compatibility is set on each subject when schemas are registered. keep leaves it as it is.
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

// SetDefaults fills in what holds where the configuration says nothing.
func (c *RegistryConfig) SetDefaults() {
	*c = RegistryConfig{
		Register: true, Compatibility: "FULL_TRANSITIVE",
		Timeout: 10 * time.Second, RetryFor: 30 * time.Second,
	}
}

// DefaultRegistryConfig returns a configuration with every default filled in.
func DefaultRegistryConfig() RegistryConfig {
	var c RegistryConfig
	c.SetDefaults()
	return c
}

// Validate returns everything that is wrong, in the order of the section. It reads no file and dials nobody.
func (c *RegistryConfig) Validate() []Problem {
	var p problems
	if c.URL == "" {
		return nil
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		p.add("url", "want the address of the registry's API, such as http://localhost:8081")
	case u.User != nil:
		p.add("url", "holds a user; want it in username and password")
	}
	p.oneOf("compatibility", c.Compatibility, "FULL_TRANSITIVE", "FULL", "BACKWARD_TRANSITIVE", "BACKWARD",
		"FORWARD_TRANSITIVE", "FORWARD", "NONE", keepCompatibility)
	oneSecret(&p, "password", c.Password, c.PasswordFile, c.Username != "")
	oneSecret(&p, "bearer_token", c.BearerToken, c.TokenFile, false)
	if c.Username != "" && (!c.BearerToken.IsZero() || c.TokenFile != "") {
		p.add("bearer_token", "is given beside username; want one of the two")
	}
	c.TLS.validate(&p, "tls.")
	if c.Timeout < 100*time.Millisecond || c.Timeout > 5*time.Minute {
		p.add("timeout", "%s; want between 100ms and 5m", c.Timeout)
	}
	if c.RetryFor < 0 || c.RetryFor > time.Hour {
		p.add("retry_for", "%s; want between 0 and 1h", c.RetryFor)
	}
	return p
}

// A Registry knows the ids of our schemas. It is asked at start only: what it answered holds for good, so that events
// go on when the registry is gone.
type Registry struct {
	config RegistryConfig
	client *sr.Client
	log    *slog.Logger
}

// NewRegistry returns a registry that has not been asked yet. It reads certificate and password files.
func NewRegistry(c RegistryConfig, log *slog.Logger) (*Registry, error) {
	tlsConfig, err := c.TLS.build()
	if err != nil {
		return nil, fmt.Errorf("schema_registry.%w", err)
	}
	password, err := reveal(c.Password, c.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("schema_registry.password_file: %w", err)
	}
	token, err := reveal(c.BearerToken, c.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("schema_registry.bearer_token_file: %w", err)
	}
	opts := []sr.ClientOpt{
		sr.URLs(c.URL),
		sr.UserAgent("agentassist-poller"),
		sr.HTTPClient(&http.Client{Timeout: c.Timeout, Transport: transport(tlsConfig)}),
		sr.DefaultParams(sr.Normalize),
	}
	if c.Username != "" {
		opts = append(opts, sr.BasicAuth(c.Username, password.Reveal()))
	}
	if !token.IsZero() {
		opts = append(opts, sr.BearerToken(token.Reveal()))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("build schema registry client: %w", err)
	}
	return &Registry{config: c, client: client, log: log}, nil
}

func transport(tlsConfig *tls.Config) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = tlsConfig
	return t
}

// Subject returns the name under which the values of a topic are registered.
func Subject(topic string) string { return topic + "-value" }

// Resolve returns the id of a schema for the values of a topic, having registered it where that is configured.
// It repeats itself for as long as configured while the registry is out of order, and returns a *RegistryError.
func (r *Registry) Resolve(ctx context.Context, topic, schema string) (int, error) {
	subject := Subject(topic)
	var id int
	err := r.persist(ctx, subject, func(ctx context.Context) (err error) {
		if r.config.Register {
			id, err = r.register(ctx, subject, sr.Schema{Schema: schema})
			return err
		}
		found, err := r.client.LookupSchema(ctx, subject, sr.Schema{Schema: schema})
		id = found.ID
		return err
	})
	if err != nil {
		return 0, r.explain(subject, err)
	}
	return id, nil
}

// register sets the compatibility before a subject gets another version, so that it is checked by ours. A registry may
// know no settings for a subject that is not there yet: then its first version comes first.
func (r *Registry) register(ctx context.Context, subject string, schema sr.Schema) (int, error) {
	err := r.setCompatibility(ctx, subject)
	unknown := isStatus(err, http.StatusNotFound)
	if err != nil && !unknown {
		return 0, err
	}
	id, err := r.client.RegisterSchema(ctx, subject, schema, -1, -1)
	if isStatus(err, http.StatusConflict) { // another instance may have been faster
		if found, lookupErr := r.client.LookupSchema(ctx, subject, schema); lookupErr == nil {
			id, err = found.ID, nil
		}
	}
	if err != nil || !unknown {
		return id, err
	}
	return id, r.setCompatibility(ctx, subject)
}

func (r *Registry) setCompatibility(ctx context.Context, subject string) error {
	if r.config.Compatibility == keepCompatibility {
		return nil
	}
	var level sr.CompatibilityLevel
	if err := level.UnmarshalText([]byte(r.config.Compatibility)); err != nil {
		return err
	}
	for _, result := range r.client.SetCompatibility(ctx, sr.SetCompatibility{Level: level}, subject) {
		if isStatus(result.Err, http.StatusConflict) && r.isCompatibility(ctx, subject, level) {
			continue
		}
		if result.Err != nil {
			return &compatibilityError{result.Err}
		}
	}
	return nil
}

// isCompatibility reports whether a subject has the level already: another instance that starts at the same time may have been
// faster, which some registries answer as a conflict.
func (r *Registry) isCompatibility(ctx context.Context, subject string, level sr.CompatibilityLevel) bool {
	for _, result := range r.client.Compatibility(ctx, subject) {
		if result.Err != nil || result.Level != level {
			return false
		}
	}
	return true
}

// compatibilityError tells a refused setting from a refused schema.
type compatibilityError struct{ err error }

func (e *compatibilityError) Error() string { return "set compatibility: " + e.err.Error() }
func (e *compatibilityError) Unwrap() error { return e.err }

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// persist calls do until it succeeds, fails for good, or has failed for too long: the client makes one attempt only.
func (r *Registry) persist(ctx context.Context, subject string, do func(context.Context) error) error {
	deadline := time.Now().Add(r.config.RetryFor)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(ctx)
		if err == nil || !passing(err) || ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return err
		}
		r.log.Warn("schema registry does not answer, trying again", "subject", subject, "retry_in", pause, "err", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// passing reports whether an error may go away by itself: the registry is overloaded, starting, or not there.
func passing(err error) bool {
	resp, ok := errors.AsType[*sr.ResponseError](err)
	if !ok {
		return true // no answer at all
	}
	return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
}

func isStatus(err error, status int) bool {
	resp, ok := errors.AsType[*sr.ResponseError](err)
	return ok && resp.StatusCode == status
}

// RegistryError is returned when a schema has no id.
type RegistryError struct {
	URL     string
	Subject string
	Hint    string
	Err     error
	passing bool
}

func (e *RegistryError) Error() string {
	return fmt.Sprintf("schema registry %s, subject %s: %v; %s", e.URL, e.Subject, e.Err, e.Hint)
}

func (e *RegistryError) Unwrap() error { return e.Err }

// Retryable reports whether the registry may answer otherwise later.
func (e *RegistryError) Retryable() bool { return e.passing }

func (r *Registry) explain(subject string, err error) error {
	e := &RegistryError{URL: r.config.URL, Subject: subject, Err: err, passing: passing(err)}
	status := 0
	if resp, ok := errors.AsType[*sr.ResponseError](err); ok {
		status = resp.StatusCode
	}
	_, compatibility := errors.AsType[*compatibilityError](err)
	switch {
	case e.passing:
		e.Hint = "check schema_registry.url and that the registry runs"
	case status == http.StatusForbidden && compatibility:
		e.Hint = "let the poller's user set the subject's compatibility, or set schema_registry.compatibility: keep"
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		e.Hint = "check schema_registry.username and password, or bearer_token, and what they may do"
	case compatibility:
		e.Hint = "set schema_registry.compatibility: keep and set it on the subject by hand"
	case status == http.StatusConflict:
		e.Hint = "the subject holds a schema that this version's is not compatible with: use another kafka.topic_prefix, or delete the subject if nobody reads the topic"
	case status == http.StatusNotFound && !r.config.Register:
		e.Hint = "register the schema of this version, or set schema_registry.register: true"
	case status == http.StatusNotFound:
		e.Hint = "check the path in schema_registry.url; Apicurio's is /apis/ccompat/v7"
	default:
		e.Hint = "the registry refuses the schema; check that it supports Avro"
	}
	return e
}
