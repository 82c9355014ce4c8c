package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/secret"
)

// A password that Kafka refuses is sent again after a second, then ever more seldom, up to once a minute: directories lock accounts
// that fail often. A new password in the file is sent at once.
func TestRefusedPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		network := new(virtualNetwork)
		cluster, err := kfake.NewCluster(kfake.Ports(9092, 9093, 9094), kfake.ListenFn(network.Listen), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "new"))
		require.NoError(t, err)
		defer cluster.Close()
		var sent []time.Time
		cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			sent = append(sent, time.Now())
			if bytes.HasSuffix(r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes, []byte("new")) {
				return nil, nil, false
			}
			answer := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
			return answer, nil, true
		})
		c := configFor(cluster)
		c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "u", PasswordFile: file}
		client, err := kafka.NewClient(c, quiet, nil, kgo.Dialer(network.dial))
		require.NoError(t, err)
		defer client.Close()

		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			err = client.Ping(t.Context())
			require.ErrorIs(t, err, kerr.SaslAuthenticationFailed)
			time.Sleep(100 * time.Millisecond)
		}
		refused := &kafka.LoginError{}
		require.ErrorAs(t, err, &refused)
		require.Equal(t, len(sent), refused.Count)
		require.Contains(t, refused.Hint, "check the content of "+file+" (kafka.sasl.password_file), which has not changed since")
		require.InDelta(t, 16, len(sent), 4, "in ten minutes")
		require.Less(t, sent[1].Sub(sent[0]), 2*time.Second)
		for i, at := range sent[1:] {
			require.Less(t, at.Sub(sent[i]), 80*time.Second)
		}

		require.NoError(t, os.WriteFile(file, []byte("new"), 0o600))
		require.NoError(t, client.Ping(t.Context()), "at once")
	})
}

// While Kafka refuses the password of a poller that runs, the check says so, and what to do.
func TestCheckFindsRefusedPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("p"), 0o600))
	cluster := newCluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "p"))
	var mu sync.Mutex
	var conns []net.Conn
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
		return conn, err
	}
	f := open(t, cluster, []kgo.Opt{kgo.Dialer(dial), kgo.RetryTimeout(time.Second)}, func(c *kafka.Config) {
		c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "u", PasswordFile: file}
	})
	require.Empty(t, f.Check(t.Context()))
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		answer := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return answer, nil, true
	})
	mu.Lock()
	for _, conn := range conns {
		conn.Close()
	}
	mu.Unlock()
	problems := f.Check(t.Context())
	require.Len(t, problems, 1)
	require.ErrorContains(t, problems[0], "log in to Kafka: SASL_AUTHENTICATION_FAILED")
	require.ErrorContains(t, problems[0], "check the content of "+file+" (kafka.sasl.password_file), which has not changed since")
	may, known := kafka.Retryable(problems[0])
	require.True(t, known)
	require.False(t, may)
}

// The embedded broker has no OAUTHBEARER: what is checked is that a token is fetched, kept, and asked for rightly, with the secret
// that the file holds now.
func TestOAuthToken(t *testing.T) {
	var asked atomic.Int32
	life := 300
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		user, pass, _ := r.BasicAuth()
		if user != "id" || pass != "s%2Fecret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client"})
			return
		}
		answer := map[string]any{"access_token": "token"}
		if life > 0 {
			answer["expires_in"] = life
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "secret")
	config := kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenURL: server.URL, ClientID: "id", ClientSecretFile: file, Scope: "kafka"}
	c := validConfig()
	c.SASL = config
	require.Empty(t, c.Validate())
	for _, life = range []int{300, 0} {
		require.NoError(t, os.WriteFile(file, []byte("hunter2"), 0o600))
		mechanism, err := kafka.Login(&config)
		require.NoError(t, err)
		asked.Store(0)
		for range 3 {
			_, _, err = mechanism.Authenticate(t.Context(), "")
			require.ErrorContains(t, err, "fetch token from "+server.URL+": status 401 invalid_client")
			require.NotContains(t, err.Error(), "hunter2")
		}
		refused := &kafka.LoginError{}
		require.ErrorAs(t, err, &refused)
		require.Contains(t, refused.Hint, "check kafka.sasl: mechanism, client_id, scope and token_url; check the content of "+file+" (kafka.sasl.client_secret_file)")
		require.EqualValues(t, 1, asked.Load(), "what was refused is not sent again at once")

		require.NoError(t, os.WriteFile(file, []byte("s/ecret\n"), 0o600))
		for range 3 {
			session, first, err := mechanism.Authenticate(t.Context(), "")
			require.NoError(t, err)
			require.Contains(t, string(first), "auth=Bearer token")
			done, _, err := session.Challenge(nil)
			require.NoError(t, err)
			require.True(t, done)
			mechanism.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, nil)
		}
		require.EqualValues(t, 2, asked.Load(), "a token is kept")
		session, _, err := mechanism.Authenticate(t.Context(), "")
		require.NoError(t, err)
		_, _, err = session.Challenge([]byte(`{"status":"invalid_token"}`))
		require.ErrorAs(t, err, &refused)
		require.ErrorIs(t, err, kerr.SaslAuthenticationFailed)
	}
	config.ClientSecretFile, config.ClientSecret = "", secret.New("s/ecret")
	config.TokenURL = "http://127.0.0.1:1/token"
	mechanism, err := kafka.Login(&config)
	require.NoError(t, err)
	_, _, err = mechanism.Authenticate(t.Context(), "")
	require.ErrorContains(t, err, "fetch token from http://127.0.0.1:1/token")
	require.NotErrorAs(t, err, new(*kafka.LoginError))
}
