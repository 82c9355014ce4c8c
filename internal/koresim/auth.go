package koresim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// Scopes of the API.
const (
	ScopeAgentAssist = "AgentAssist Analytics"
	ScopeSmartAssist = "SmartAssist Analytics"
)

const maxTokenAge = time.Hour

func unauthorized(msg string) *refusal { return refuse(http.StatusUnauthorized, "jwt", "%s", msg) }

// authorize verifies the token in the way of the platform: HS256 only, the app's secret, its appId, and with a jti an
// expiry at most an hour away and never the same jti twice.
func (s *Server) authorize(r *http.Request, c *call) *refusal {
	const failed = "error verifying the jwt: "
	token := r.Header.Get("auth")
	if token == "" {
		return unauthorized("auth header is missing")
	}
	token, ok := strings.CutPrefix(token, s.cfg.AuthPrefix)
	if !ok {
		return unauthorized(failed + "jwt malformed")
	}
	claims, msg := verify(token, c.account.ClientSecret)
	if msg != "" {
		return unauthorized(failed + msg)
	}
	if claims.AppID != c.account.ClientID {
		return &refusal{http.StatusUnauthorized, "jwt", "Invalid SDK credentials", 4002}
	}
	now := s.clock()
	var expiry time.Time
	if claims.Exp != nil {
		expiry = time.Unix(0, int64(*claims.Exp*float64(time.Second)))
		if !expiry.After(now) {
			return unauthorized(failed + "jwt expired")
		}
	}
	if claims.Iat != nil && time.Unix(0, int64(*claims.Iat*float64(time.Second))).After(now.Add(2*time.Minute)) {
		return unauthorized(failed + "jwt issued in the future")
	}
	if claims.JTI == "" {
		if !s.cfg.OptionalJTI {
			return unauthorized(failed + `"jti" claim is required`)
		}
	} else {
		if expiry.IsZero() || expiry.Sub(now) > maxTokenAge {
			return unauthorized(failed + `if "jti" claim "exp" must be <= 1 hour(s)`)
		}
		if !s.spend(c.account.ID+"/"+claims.JTI, expiry, now) {
			s.count(func(st *Stats) { st.Replays++ })
			return unauthorized(failed + "possibly a replay")
		}
	}
	scope := events.ForEach(ScopeAgentAssist, ScopeAgentAssist, ScopeSmartAssist, ScopeSmartAssist)[c.endpoint.Index()]
	if slices.Contains(s.cfg.Unscoped, scope) {
		return refuse(http.StatusForbidden, "scope", "The app does not have the scope %s", scope)
	}
	return nil
}

// spend uses up a jti and reports whether it was new. Expired ones are forgotten: their tokens are refused anyway.
func (s *Server) spend(jti string, expiry, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.tokens[jti]; used {
		return false
	}
	if len(s.tokens) > 10_000 {
		for k, e := range s.tokens {
			if e.Before(now) {
				delete(s.tokens, k)
			}
		}
	}
	s.tokens[jti] = expiry
	return true
}

type claims struct {
	AppID    string `json:"appId"`
	JTI      string `json:"jti"`
	Exp, Iat *float64
}

// verify checks form, algorithm and signature of a token. msg is what is wrong, empty if nothing is.
func verify(token, secret string) (c claims, msg string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, "jwt malformed"
	}
	var header struct{ Alg string }
	if !decodePart(parts[0], &header) {
		return c, "jwt malformed"
	}
	if header.Alg != "HS256" {
		return c, "invalid algorithm"
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	sum, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(sum, mac.Sum(nil)) {
		return c, "invalid signature"
	}
	if !decodePart(parts[1], &c) {
		return c, "jwt malformed"
	}
	return c, ""
}

func decodePart(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}

// Token signs claims with a secret as HS256: for tests and for people with curl.
func Token(secret string, claims map[string]any) string {
	encode := base64.RawURLEncoding.EncodeToString
	body, _ := json.Marshal(claims)
	head := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(body)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(head))
	return head + "." + encode(mac.Sum(nil))
}
