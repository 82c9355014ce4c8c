package kore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/secret"
)

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*kore.Config)
		want   []string
	}{
		"good":             {func(c *kore.Config) {}, nil},
		"good, everything": {everything, nil},
		"no URL": {func(c *kore.Config) { c.BaseURL = "" },
			[]string{"base_url: is missing; want the environment's URL, such as https://platform.kore.ai"}},
		"no scheme": {func(c *kore.Config) { c.BaseURL = "platform.kore.ai" },
			[]string{"base_url: is not an http or https URL; want the environment's URL, such as https://platform.kore.ai"}},
		"another scheme": {func(c *kore.Config) { c.BaseURL = "ftp://platform.kore.ai" },
			[]string{"base_url: is not an http or https URL; want the environment's URL, such as https://platform.kore.ai"}},
		"no host": {func(c *kore.Config) { c.BaseURL = "https://:443/x" },
			[]string{"base_url: is not an http or https URL; want the environment's URL, such as https://platform.kore.ai"}},
		"not a URL, with a password": {func(c *kore.Config) { c.BaseURL = "https://me:c4n4ry@h:port" },
			[]string{"base_url: is not a URL; want the environment's URL, such as https://platform.kore.ai"}},
		"password": {func(c *kore.Config) { c.BaseURL = "https://me:c4n4ry@platform.kore.ai" },
			[]string{"base_url: contains a user name or password, which this API does not take; want the environment's URL, such as https://platform.kore.ai"}},
		"query": {func(c *kore.Config) { c.BaseURL = "https://platform.kore.ai/?x=1" },
			[]string{"base_url: has a query or fragment; want the environment's URL, such as https://platform.kore.ai"}},
		"account with a space": {func(c *kore.Config) { c.AccountID = "acc 1" },
			[]string{`account_id: "acc 1" is not an id; want the id as the platform shows it, without spaces`}},
		"prefix": {func(c *kore.Config) { c.AuthPrefix = "Bearer\r\nX-Evil: 1" },
			[]string{"auth.prefix: contains characters that a header cannot; want a word such as Bearer"}},
		"small bodies": {func(c *kore.Config) { c.MaxBody = 1000 },
			[]string{"max_body: 1000 bytes; want between 1MiB and 256MiB"}},
		"timeouts": {func(c *kore.Config) {
			c.Timeouts = map[events.Endpoint]time.Duration{events.CallDetails: time.Millisecond, events.Conversations: 2 * time.Hour, "calls": time.Hour}
		}, []string{
			"endpoints.call-details.timeout: 1ms is too short; want at least 1s",
			"endpoints.calls.timeout: there is no such endpoint; want one of [interactions conversations interaction-details call-details]",
			"endpoints.conversations.timeout: 2h0m0s is too long; want at most 1h0m0s",
		}},
		"bots": {func(c *kore.Config) { c.Bots = map[string]kore.Credentials{"st-2": {ClientID: "cs-2"}, "..": {}} },
			[]string{
				`bots[..].bot_id: ".." is not an id; want the id as the platform shows it, without spaces`,
				"bots[..].auth.client_id: is missing; want the client id of the JWT app, such as cs-...",
				"bots[..].auth.client_secret: is missing; set client_secret or client_secret_file to the client secret of the JWT app",
				"bots[st-2].auth.client_secret: is missing; set client_secret or client_secret_file to the client secret of the JWT app",
			}},
		"all at once": {func(c *kore.Config) { *c = kore.Config{MaxBody: -1} }, []string{
			"base_url: is missing; want the environment's URL, such as https://platform.kore.ai",
			"account_id: is missing",
			"auth.client_id: is missing; want the client id of the JWT app, such as cs-...",
			"auth.client_secret: is missing; set client_secret or client_secret_file to the client secret of the JWT app",
			"max_body: -1 bytes; want between 1MiB and 256MiB",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			tc.change(&cfg)
			var got []string
			for _, p := range cfg.Validate() {
				got = append(got, p.String())
			}
			require.Equal(t, tc.want, got)
			_, err := kore.New(cfg)
			if tc.want == nil {
				require.NoError(t, err)
				return
			}
			for _, line := range tc.want {
				require.ErrorContains(t, err, line)
			}
		})
	}
}

func everything(c *kore.Config) {
	c.BaseURL = "http://127.0.0.1:8080/prefix/"
	c.AuthPrefix = "Bearer "
	c.Bots = map[string]kore.Credentials{"st-2": {ClientID: "cs-2", ClientSecret: secret.New("two")}}
	c.Timeouts = map[events.Endpoint]time.Duration{events.Interactions: time.Second}
	c.MaxBody = 1 << 20
}
