package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"agentassist-poller/internal/secret"
)

// secret returns where the password, or the secret of the OAuth client, is, and the name of its setting.
func (c *SASLConfig) secret() (source secret.Source, setting string) {
	if c.Mechanism == saslOAuthBearer {
		return secret.Source{Text: c.ClientSecret, File: c.ClientSecretFile}, "sasl.client_secret"
	}
	return secret.Source{Text: c.Password, File: c.PasswordFile}, "sasl.password"
}

// build returns nil where no mechanism is configured. A secret in a file is read again for every session, so that a rotated one
// needs no restart.
func (c *SASLConfig) build() (sasl.Mechanism, error) {
	switch c.Mechanism {
	case "":
		return nil, nil
	case saslIAM:
		return newIAM(), nil
	}
	source, setting := c.secret()
	if _, err := source.Read(); err != nil {
		return nil, fmt.Errorf("%s_file: %w", setting, err)
	}
	auth := func(context.Context) (scram.Auth, error) {
		password, err := source.Read()
		return scram.Auth{User: c.Username, Pass: password.Reveal()}, err
	}
	switch c.Mechanism {
	case saslPlain:
		return plain.Plain(func(ctx context.Context) (plain.Auth, error) {
			a, err := auth(ctx)
			return plain.Auth{User: a.User, Pass: a.Pass}, err
		}), nil
	case saslScram256:
		return scram.Sha256(auth), nil
	case saslScram512:
		return scram.Sha512(auth), nil
	case saslOAuthBearer:
		tokens := oauth2.ReuseTokenSource(nil, &tokenSource{c, &http.Client{Timeout: 10 * time.Second}})
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := tokens.Token()
			if err != nil {
				return oauth.Auth{}, err
			}
			return oauth.Auth{Token: token.AccessToken, Extensions: c.Extensions}, nil
		}), nil
	}
	return nil, fmt.Errorf("sasl.mechanism %q is not known", c.Mechanism)
}

// tokenSource fetches OAuth tokens by the client-credentials grant.
type tokenSource struct {
	config *SASLConfig
	client *http.Client
}

// defaultTokenLife is how long a token is used that comes without expires_in.
const defaultTokenLife = time.Minute

// Token implements oauth2.TokenSource. The answer of the server is not part of an error: a token may be in it.
func (s *tokenSource) Token() (*oauth2.Token, error) {
	source, _ := s.config.secret()
	password, err := source.Read()
	if err != nil {
		return nil, err
	}
	request := clientcredentials.Config{
		ClientID: s.config.ClientID, ClientSecret: password.Reveal(), TokenURL: s.config.TokenURL, AuthStyle: oauth2.AuthStyleInHeader,
	}
	if s.config.Scope != "" {
		request.Scopes = []string{s.config.Scope}
	}
	token, err := request.Token(context.WithValue(context.Background(), oauth2.HTTPClient, s.client))
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := answer.Response.StatusCode
		return nil, s.failed(fmt.Errorf("status %d %s", status, answer.ErrorCode), status/100 == 4)
	}
	if err != nil {
		return nil, s.failed(err, false)
	}
	if token.Expiry.IsZero() {
		token.Expiry = time.Now().Add(defaultTokenLife)
	}
	return token, nil
}

func (s *tokenSource) failed(err error, refused bool) error {
	return &sourceError{what: "fetch token from " + s.config.TokenURL, err: err, refused: refused,
		hint: "check kafka.sasl.token_url, and that it can be reached from here"}
}

// sourceError says why there is nothing to log in with.
type sourceError struct {
	what    string // was attempted
	err     error
	refused bool   // because of what we are or sent; else the source cannot be reached, or is out of order
	hint    string // what to do where it is not refused
}

func (e *sourceError) Error() string { return e.what + ": " + e.err.Error() }

func (e *sourceError) Unwrap() error { return e.err }

const (
	// A refused login is tried again after firstLoginPause, then after twice as long each time up to maxLoginPause: directories lock
	// accounts that fail often.
	firstLoginPause = time.Second
	maxLoginPause   = time.Minute
	// loginTimeout is when an attempt counts as failed whose outcome nobody has told.
	loginTimeout = 10 * time.Second
)

// A login is a sasl.Mechanism that does not send again what Kafka has refused before a pause has passed, unless the secret has
// changed. All clients of a process share it, and it learns as a hook of each what came of the attempts.
type login struct {
	sasl.Mechanism
	config *SASLConfig

	mu      sync.Mutex
	sent    secret.Secret // with the last attempt
	refused *LoginError   // nil while nothing was refused since the last success
	trying  bool          // an attempt after a refusal is on its way
}

// newLogin returns nil where no mechanism is configured.
func newLogin(c *SASLConfig) (*login, error) {
	mechanism, err := c.build()
	if mechanism == nil {
		return nil, err
	}
	return &login{Mechanism: mechanism, config: c}, nil
}

// Authenticate implements sasl.Mechanism.
func (l *login) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	if err := l.begin(time.Now()); err != nil {
		return nil, nil, err
	}
	session, first, err := l.Mechanism.Authenticate(ctx, host)
	if refusal, ok := errors.AsType[*sourceError](err); ok && refusal.refused {
		return nil, nil, l.refuse(err, time.Now())
	}
	return loginSession{session, l}, first, err
}

// loginSession knows that a broker which answers a token with a text refuses it (RFC 7628, 3.2.2).
type loginSession struct {
	sasl.Session
	login *login
}

// Challenge implements sasl.Session.
func (s loginSession) Challenge(answer []byte) (bool, []byte, error) {
	done, next, err := s.Session.Challenge(answer)
	if err != nil && s.login.config.Mechanism == saslOAuthBearer {
		err = s.login.refuse(fmt.Errorf("%w: the token is not accepted", kerr.SaslAuthenticationFailed), time.Now())
	}
	return done, next, err
}

// held returns the refusal while it is too early for another attempt.
func (l *login) held(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.early(now) {
		return l.refused
	}
	return nil
}

func (l *login) early(now time.Time) bool {
	if l.refused == nil || !now.Before(l.refused.Next) {
		return false
	}
	source, _ := l.config.secret()
	current, err := source.Read()
	return l.trying || err != nil || current.Reveal() == l.sent.Reveal()
}

// refusal returns the last refusal; nil if an attempt succeeded after it.
func (l *login) refusal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		return nil
	}
	return l.refused
}

// begin returns the refusal if it is too early, and otherwise lets one attempt through.
func (l *login) begin(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.early(now) {
		return l.refused
	}
	source, _ := l.config.secret()
	l.sent, _ = source.Read()
	if l.refused != nil {
		again := *l.refused
		again.Next = now.Add(loginTimeout)
		l.refused, l.trying = &again, true
	}
	return nil
}

// refuse notes that the attempt was refused, and returns the error that says so.
func (l *login) refuse(err error, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused != nil && !l.trying {
		return l.refused // by one that was on its way with the one that was refused first
	}
	refused := &LoginError{Err: err, Since: now, Hint: l.advice(err)}
	if l.refused != nil {
		refused.Since, refused.Count = l.refused.Since, l.refused.Count
	}
	pause := min(firstLoginPause<<min(refused.Count, 10), maxLoginPause)
	refused.Count++
	refused.Next = now.Add(pause*3/4 + rand.N(pause/2)) // instances that were refused together do not come back together
	l.refused, l.trying = refused, false
	return refused
}

// advice says what to do about a refusal.
func (l *login) advice(err error) string {
	if m, ok := l.Mechanism.(*iam); ok {
		if own, ok := errors.AsType[*sourceError](err); ok {
			return own.hint
		}
		return m.forget()
	}
	source, setting := l.config.secret()
	what := "mechanism, user name and password; "
	if l.config.Mechanism == saslOAuthBearer {
		what = "mechanism, client_id, scope and token_url; "
	}
	return "check kafka.sasl: " + what + source.Advice("kafka."+setting)
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (l *login) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refused, l.trying = nil, false
		return
	}
	if _, again := errors.AsType[*LoginError](err); !again && errors.Is(err, kerr.SaslAuthenticationFailed) {
		_ = l.refuse(err, time.Now())
	}
}

// LoginError is returned while Kafka, or the source of what to log in with, refuses the credentials.
type LoginError struct {
	Err   error     // the refusal
	Since time.Time // when it came first
	Count int       // how many attempts were refused in a row
	Next  time.Time // there is no other attempt before, unless the secret changes
	Hint  string
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("log in to Kafka: %v; refused since %s, tried again at least once a minute", e.Err, e.Since.UTC().Format(time.RFC3339))
}

func (e *LoginError) Unwrap() error { return e.Err }
