package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"agentassist-poller/internal/secret"
)

// build returns nil where no mechanism is configured. Passwords in files are read again for every session, so that a
// rotated password needs no restart.
func (c *SASLConfig) build() (sasl.Mechanism, error) {
	password := func() (string, error) {
		s, err := reveal(c.Password, c.PasswordFile)
		return s.Reveal(), err
	}
	switch c.Mechanism {
	case "":
		return nil, nil
	case saslPlain:
		if _, err := password(); err != nil {
			return nil, fmt.Errorf("sasl.password_file: %w", err)
		}
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := password()
			return plain.Auth{User: c.Username, Pass: pass}, err
		}), nil
	case saslScram256, saslScram512:
		if _, err := password(); err != nil {
			return nil, fmt.Errorf("sasl.password_file: %w", err)
		}
		auth := func(context.Context) (scram.Auth, error) {
			pass, err := password()
			return scram.Auth{User: c.Username, Pass: pass}, err
		}
		if c.Mechanism == saslScram256 {
			return scram.Sha256(auth), nil
		}
		return scram.Sha512(auth), nil
	case saslOAuthBearer:
		if _, err := reveal(c.ClientSecret, c.ClientSecretFile); err != nil {
			return nil, fmt.Errorf("sasl.client_secret_file: %w", err)
		}
		source := &tokenSource{config: c, client: &http.Client{Timeout: 10 * time.Second}}
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := source.token(ctx)
			return oauth.Auth{Token: token.Reveal(), Extensions: c.Extensions}, err
		}), nil
	}
	return nil, fmt.Errorf("sasl.mechanism %q is not known", c.Mechanism)
}

// tokenSource fetches OAuth tokens by the client-credentials grant and keeps each for four fifths of its life.
type tokenSource struct {
	config *SASLConfig
	client *http.Client

	mu      sync.Mutex
	current secret.Secret
	until   time.Time
}

func (s *tokenSource) token(ctx context.Context) (secret.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.current.IsZero() && time.Now().Before(s.until) {
		return s.current, nil
	}
	token, life, err := s.fetch(ctx)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("fetch token from %s: %w", s.config.TokenURL, err)
	}
	s.current, s.until = token, time.Now().Add(life*4/5)
	return token, nil
}

func (s *tokenSource) fetch(ctx context.Context) (secret.Secret, time.Duration, error) {
	clientSecret, err := reveal(s.config.ClientSecret, s.config.ClientSecretFile)
	if err != nil {
		return secret.Secret{}, 0, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if s.config.Scope != "" {
		form.Set("scope", s.config.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return secret.Secret{}, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749, 2.3.1: both parts are form-encoded before they become user and password.
	req.SetBasicAuth(url.QueryEscape(s.config.ClientID), url.QueryEscape(clientSecret.Reveal()))

	resp, err := s.client.Do(req)
	if err != nil {
		return secret.Secret{}, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return secret.Secret{}, 0, err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		Error       string `json:"error"`
	}
	// What was answered is not repeated: a token may be in it.
	if err := json.Unmarshal(body, &answer); err != nil && resp.StatusCode == http.StatusOK {
		return secret.Secret{}, 0, fmt.Errorf("the answer is not JSON; check sasl.token_url")
	}
	if resp.StatusCode != http.StatusOK {
		return secret.Secret{}, 0, fmt.Errorf("status %d %s; check sasl.client_id, sasl.client_secret and sasl.scope", resp.StatusCode, answer.Error)
	}
	if answer.AccessToken == "" {
		return secret.Secret{}, 0, fmt.Errorf("the answer has no access_token; check sasl.token_url")
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	if life <= 0 {
		life = time.Minute
	}
	return secret.New(answer.AccessToken), life, nil
}
