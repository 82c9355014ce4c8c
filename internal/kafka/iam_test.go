package kafka_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/kafka"
)

var bySigning = kafka.SASLConfig{Mechanism: "AWS_MSK_IAM"}

// awsEnv has the AWS SDK look nowhere but in the variables given and in the files named there.
func awsEnv(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, name := range os.Environ() {
		if name, _, _ = strings.Cut(name, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // restores it at the end
			require.NoError(t, os.Unsetenv(name))
		}
	}
	nothing := filepath.Join(t.TempDir(), "nothing")
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": nothing, "AWS_SHARED_CREDENTIALS_FILE": nothing,
	} {
		t.Setenv(name, value)
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

// signed checks a login as a broker of a region does: the AWS SDK's own signer, with the secret that the broker knows of the key,
// has to come to the same signature. It returns the key, the signature, and whether that is right.
func signed(t *testing.T, login []byte, region string, secretOf map[string]string) (key, signature string, ok bool) {
	t.Helper()
	var p map[string]string
	require.NoError(t, json.Unmarshal(login, &p))
	require.Equal(t, "2020_10_22", p["version"])
	require.Equal(t, "kafka-cluster:Connect", p["action"])
	key, scope, _ := strings.Cut(p["x-amz-credential"], "/")
	at, err := time.Parse("20060102T150405Z", p["x-amz-date"])
	require.NoError(t, err)
	require.Equal(t, at.Format("20060102")+"/"+region+"/kafka-cluster/aws4_request", scope)
	signs := "https://" + p["host"] + "/?Action=kafka-cluster%3AConnect&X-Amz-Expires=300"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signs, http.NoBody)
	require.NoError(t, err)
	const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256
	credentials := awssdk.Credentials{AccessKeyID: key, SecretAccessKey: secretOf[key], SessionToken: p["x-amz-security-token"]}
	address, _, err := v4.NewSigner().PresignHTTP(t.Context(), credentials, request, nothing, "kafka-cluster", region, at)
	require.NoError(t, err)
	u, err := url.Parse(address)
	require.NoError(t, err)
	require.NotEmpty(t, p["x-amz-signature"])
	return key, p["x-amz-signature"], u.Query().Get("X-Amz-Signature") == p["x-amz-signature"]
}

// verify has a cluster take AWS_MSK_IAM alone, in the region eu-central-1, and for a minute at a time. It returns the keys and the signatures
// that come.
func verify(t *testing.T, cluster *kfake.Cluster, secretOf map[string]string) (keys, signatures *[]string) {
	t.Helper()
	keys, signatures = new([]string), new([]string)
	cluster.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		answer := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		if answer.SupportedMechanisms = []string{"AWS_MSK_IAM"}; r.(*kmsg.SASLHandshakeRequest).Mechanism != "AWS_MSK_IAM" {
			answer.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return answer, nil, true
	})
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		login := r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes
		key, signature, ok := signed(t, login, "eu-central-1", secretOf)
		*keys, *signatures = append(*keys, key), append(*signatures, signature)
		answer := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		if !ok {
			answer.ErrorCode, answer.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("[5d4f]: Access denied")
			return answer, nil, true
		}
		answer.SASLAuthBytes, answer.SessionLifetimeMillis = []byte(`{"version":"2020_10_22"}`), time.Minute.Milliseconds()
		return answer, nil, true
	})
	return keys, signatures
}

// Kafka gets a signature made with the credentials that AWS's files hold when a session begins: those that are replaced need no
// restart, neither after a refusal nor while everything works. What is refused is named, and what is secret of it is not.
func TestIAM(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(key, secret string) {
		text := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=t0ken\n", key, secret)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	write("AKIAOLD", "n0tright")
	awsEnv(t, map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_REGION": "eu-central-1"})
	secretOf := map[string]string{"AKIAOLD": "right", "AKIANEW": "r1ght", "AKIANEXT": "als0"}
	synctest.Test(t, func(t *testing.T) {
		network := new(virtualNetwork)
		cluster, err := kfake.NewCluster(kfake.Ports(9092, 9093, 9094), kfake.ListenFn(network.Listen))
		require.NoError(t, err)
		defer cluster.Close()
		keys, signatures := verify(t, cluster, secretOf)
		c := configFor(cluster)
		c.SASL = bySigning
		var log bytes.Buffer
		client, err := kafka.NewClient(c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), nil, kgo.Dialer(network.dial))
		require.NoError(t, err)
		defer client.Close()

		for range 3 {
			err = client.Ping(t.Context())
			require.ErrorIs(t, err, kerr.SaslAuthenticationFailed)
		}
		refused := &kafka.LoginError{}
		require.ErrorAs(t, err, &refused)
		require.Contains(t, refused.Hint, "check that the credentials AKIAOLD of SharedConfigCredentials: "+file+" are still valid")
		require.ErrorContains(t, err, "Access denied")
		require.Equal(t, 1, refused.Count, "what was refused is not sent again at once")

		write("AKIANEW", "r1ght")
		time.Sleep(2 * time.Second)
		require.NoError(t, client.Ping(t.Context()))
		require.Equal(t, "AKIANEW", (*keys)[len(*keys)-1])

		write("AKIANEXT", "als0")
		time.Sleep(2 * time.Minute)
		require.NoError(t, client.Ping(t.Context()), "the session has ended, the connection has not")
		require.Equal(t, "AKIANEXT", (*keys)[len(*keys)-1])

		client.Close()
		said := log.String() + refused.Error() + refused.Hint
		require.Contains(t, said, "AWS_MSK_IAM")
		for _, hidden := range append(*signatures, "n0tright", "r1ght", "als0", "t0ken") {
			require.NotContains(t, said, hidden)
		}
	})
}

// A whole publisher works with a cluster that takes nothing else, over TLS, and says how it logs in.
func TestIAMOverTLS(t *testing.T) {
	awsEnv(t, map[string]string{"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "s1", "AWS_REGION": "eu-central-1"})
	server := newPair(t, t.TempDir(), "server")
	cluster := newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server.pair}}))
	keys, _ := verify(t, cluster, map[string]string{"AKIA1": "s1"})
	f := open(t, cluster, nil, func(c *kafka.Config) {
		c.TLS.CAFile, c.SASL = server.cert, bySigning
	})
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(10)}))
	require.Contains(t, *keys, "AKIA1")
	found, _ := kafka.Inspect(t.Context(), kafka.Options{Config: f.config, Types: types, Log: quiet}, nil)
	require.Equal(t, "brokers answer at "+f.config.Brokers[0]+", over TLS, by AWS_MSK_IAM", found[0].Found)
	require.NoError(t, found[0].Err)
}

// The role of a service account gives credentials for a while. They are kept, and replaced minutes before their end with the token that
// the file holds then. The region is in the broker's name.
func TestIAMOfServiceAccount(t *testing.T) {
	var asked atomic.Int32
	var token, key string
	life, status := time.Hour, http.StatusOK
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		token = r.FormValue("WebIdentityToken")
		w.WriteHeader(status)
		if status != http.StatusOK {
			fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>`+
			`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>s1</SecretAccessKey><SessionToken>s2</SessionToken><Expiration>%s</Expiration>`+
			`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			key, time.Now().Add(life).UTC().Format(time.RFC3339))
	}))
	defer sts.Close()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("first"), 0o600))
	awsEnv(t, map[string]string{
		"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/poller", "AWS_WEB_IDENTITY_TOKEN_FILE": file,
		"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_STS": sts.URL,
	})
	login, err := kafka.Login(&bySigning)
	require.NoError(t, err)
	authenticate := func() (string, error) {
		_, first, err := login.Authenticate(t.Context(), "b-1.demo.a1.c2.kafka.eu-west-1.amazonaws.com:9098")
		if err != nil {
			return "", err
		}
		used, _, ok := signed(t, first, "eu-west-1", map[string]string{"ASIA1": "s1", "ASIA2": "s1"})
		require.True(t, ok)
		require.Contains(t, string(first), `"x-amz-security-token":"s2"`)
		return used, nil
	}
	life, key = 4*time.Minute, "ASIA1"
	used, err := authenticate()
	require.NoError(t, err)
	require.Equal(t, "ASIA1 first", used+" "+token)

	require.NoError(t, os.WriteFile(file, []byte("second"), 0o600))
	life, key = time.Hour, "ASIA2"
	for range 3 {
		used, err = authenticate()
		require.NoError(t, err)
		require.Equal(t, "ASIA2 second", used+" "+token)
	}
	require.EqualValues(t, 2, asked.Load())

	// What says that the role may not be assumed is a refusal; what does not answer may come back.
	login, err = kafka.Login(&bySigning)
	require.NoError(t, err)
	status = http.StatusForbidden
	for range 3 {
		_, err = authenticate()
		require.ErrorContains(t, err, "log in to Kafka: get AWS credentials")
		require.ErrorContains(t, err, "AccessDenied: Not authorized")
	}
	require.EqualValues(t, 3, asked.Load(), "what was refused is not sent again at once")
	refused := &kafka.LoginError{}
	require.ErrorAs(t, err, &refused)
	require.Contains(t, refused.Hint, "give the poller a role")

	login, err = kafka.Login(&bySigning)
	require.NoError(t, err)
	sts.Close()
	_, err = authenticate()
	require.ErrorContains(t, err, "get AWS credentials")
	require.NotErrorAs(t, err, new(*kafka.LoginError))
	require.Contains(t, kafka.Hint(err), "give the poller a role")
}

func TestIAMWithoutCredentials(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(config, []byte("[profile prints]\ncredential_process = printf hunter2\n"), 0o600))
	for name, tt := range map[string]struct {
		vars    map[string]string
		err     string
		hint    string
		refused bool
	}{
		"nowhere":    {nil, "get AWS credentials: ", "give the poller a role", false},
		"no profile": {map[string]string{"AWS_PROFILE": "prod"}, "failed to get shared config profile, prod", "give the poller a role", true},
		"process": {map[string]string{"AWS_PROFILE": "prints", "AWS_CONFIG_FILE": config}, "get AWS credentials: credential_process has failed",
			"give the poller a role", false},
		"no region": {map[string]string{"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "hunter2"},
			`cannot determine the region in "kafka.example.com"`, "set AWS_REGION", true},
	} {
		t.Run(name, func(t *testing.T) {
			awsEnv(t, tt.vars)
			login, err := kafka.Login(&bySigning)
			require.NoError(t, err)
			_, _, err = login.Authenticate(t.Context(), "kafka.example.com:9098")
			require.ErrorContains(t, err, tt.err)
			require.NotContains(t, err.Error(), "hunter2")
			require.Contains(t, kafka.Hint(err), tt.hint)
			refused := &kafka.LoginError{}
			require.Equal(t, tt.refused, errors.As(err, &refused))
		})
	}
}
