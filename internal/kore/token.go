package kore

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"agentassist-poller/internal/secret"
)

const (
	// tokenLife is long enough for a slow network; the server refuses tokens with a jti that live for more than an hour.
	tokenLife = 5 * time.Minute
	// tokenBackdate keeps a verifier from seeing a token of the future while the clocks are known to a second only.
	tokenBackdate = 10 * time.Second
)

type claims struct {
	jwt.RegisteredClaims
	AppID string `json:"appId"`
}

// sign makes a token for one attempt. now is by the server's clock. The jti is never used again.
func sign(clientID string, key secret.Secret, now time.Time) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		AppID: clientID,
		RegisteredClaims: jwt.RegisteredClaims{
			ID:        rand.Text(),
			IssuedAt:  jwt.NewNumericDate(now.Add(-tokenBackdate)),
			ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
		},
	})
	signed, err := token.SignedString([]byte(key.Reveal()))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}
