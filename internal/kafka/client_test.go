package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/secret"
)

var quiet = slog.New(slog.DiscardHandler)

func TestClientOptions(t *testing.T) {
	c := validConfig()
	c.Compression = "zstd"
	client, err := kgo.NewClient(kafka.BuildOpts(c, &tls.Config{}, nil)...)
	require.NoError(t, err)
	defer client.Close()
	for _, tt := range []struct {
		opt, want any
	}{
		{kgo.SeedBrokers, c.Brokers},
		{kgo.ClientID, "agentassist-poller"},
		{kgo.RequiredAcks, kgo.AllISRAcks()},
		{kgo.DisableIdempotentWrite, false},
		{kgo.MetadataMinAge, 250 * time.Millisecond},
		{kgo.RecordDeliveryTimeout, time.Duration(0)},
		{kgo.ProducerLinger, 5 * time.Millisecond},
		{kgo.ProducerBatchCompression, []kgo.CompressionCodec{kgo.ZstdCompression()}},
		{kgo.AllowAutoTopicCreation, false},
	} {
		require.Equal(t, tt.want, client.OptValue(tt.opt))
	}
}

func TestEveryCompressionMakesAClient(t *testing.T) {
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		c := validConfig()
		c.Compression = name
		require.Empty(t, c.Validate())
		client, err := kafka.NewClient(c, quiet, nil)
		require.NoError(t, err)
		client.Close()
	}
}

// The vectors are those of Kafka's own test of its hash.
func TestPartitionsAsJavaDoes(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		const many = 1 << 30 // so that the partition shows the hash
		require.Equal(t, int(uint32(hash)&0x7fffffff)%many, kafka.PartitionOf(key, many), key)
		require.Equal(t, int(uint32(hash)&0x7fffffff)%12, kafka.PartitionOf(key, 12), key)
	}
}

func TestRecordsLandWhereTheirKeySays(t *testing.T) {
	f := open(t, newCluster(t), nil)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(100)}))
	records := f.read(t, f.Topics.Event("search"))
	require.Len(t, records, 100)
	for _, r := range records {
		require.EqualValues(t, kafka.PartitionOf(r.Key, 3), r.Partition)
	}
}

func TestUnreachableBrokers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	l.Close()
	c := validConfig()
	c.Brokers = []string{addr}
	client, err := kafka.NewClient(c, quiet, nil)
	require.NoError(t, err)
	defer client.Close()
	err = kafka.Reach(t.Context(), client, 500*time.Millisecond)
	unreachable := &kafka.UnreachableError{}
	require.ErrorAs(t, err, &unreachable)
	require.True(t, unreachable.Retryable())
	require.ErrorContains(t, err, "reach Kafka at "+addr)
	require.ErrorContains(t, err, "check kafka.brokers")
}

func TestSASL(t *testing.T) {
	passwordFile := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(passwordFile, []byte("right\n"), 0o600))
	for name, tt := range map[string]struct {
		sasl kafka.SASLConfig
		ok   bool
	}{
		"plain":         {kafka.SASLConfig{Mechanism: "PLAIN", Username: "u", Password: secret.New("right")}, true},
		"scram 256":     {kafka.SASLConfig{Mechanism: "SCRAM-SHA-256", Username: "u", Password: secret.New("right")}, true},
		"scram 512":     {kafka.SASLConfig{Mechanism: "SCRAM-SHA-512", Username: "u", PasswordFile: passwordFile}, true},
		"wrong":         {kafka.SASLConfig{Mechanism: "PLAIN", Username: "u", Password: secret.New("wrong-password")}, false},
		"none, needed":  {kafka.SASLConfig{}, false},
		"other, needed": {kafka.SASLConfig{Mechanism: "SCRAM-SHA-512", Username: "other", Password: secret.New("right")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "right"),
				kfake.Superuser("SCRAM-SHA-256", "u", "right"), kfake.Superuser("SCRAM-SHA-512", "u", "right"))
			c := configFor(cluster)
			c.SASL = tt.sasl
			require.Empty(t, c.Validate())
			client, err := kafka.NewClient(c, quiet, nil)
			require.NoError(t, err)
			defer client.Close()
			err = kafka.Reach(t.Context(), client, 2*time.Second)
			if tt.ok {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.NotContains(t, err.Error(), "wrong-password")
		})
	}
}

func TestMissingPasswordFile(t *testing.T) {
	c := validConfig()
	c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "u", PasswordFile: "/does/not/exist"}
	_, err := kafka.NewClient(c, quiet, nil)
	require.ErrorContains(t, err, "kafka.sasl.password_file: read secret")
}

// The embedded broker has no OAUTHBEARER: what is checked is that a token is fetched, kept, and asked for rightly.
func TestOAuthToken(t *testing.T) {
	var asked int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, pass, _ := r.BasicAuth()
		if user != "id" || pass != "s%2Fecret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client"})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token", "expires_in": 300})
	}))
	defer server.Close()
	c := validConfig()
	c.SASL = kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenURL: server.URL, ClientID: "id", ClientSecret: secret.New("s/ecret"), Scope: "kafka"}
	require.Empty(t, c.Validate())
	for range 2 {
		mechanism, err := kafka.Mechanism(&c.SASL)
		require.NoError(t, err)
		asked = 0
		for range 3 {
			_, first, err := mechanism.Authenticate(t.Context(), "")
			require.NoError(t, err)
			require.Contains(t, string(first), "auth=Bearer token")
		}
		require.Equal(t, 1, asked)
	}
	c.SASL.ClientSecret = secret.New("hunter2")
	mechanism, err := kafka.Mechanism(&c.SASL)
	require.NoError(t, err)
	_, _, err = mechanism.Authenticate(t.Context(), "")
	require.ErrorContains(t, err, "status 401 invalid_client; check sasl.client_id")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pair, certFile := selfSigned(t, dir)
	cluster := newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	for name, tt := range map[string]struct {
		tls  kafka.TLSConfig
		want string
	}{
		"trusted":      {kafka.TLSConfig{CAFile: certFile}, ""},
		"unverified":   {kafka.TLSConfig{InsecureSkipVerify: true}, ""},
		"unknown":      {kafka.TLSConfig{Enabled: true}, "certificate"},
		"another name": {kafka.TLSConfig{CAFile: certFile, ServerName: "elsewhere"}, "elsewhere"},
		"none":         {kafka.TLSConfig{}, "check kafka.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			c := configFor(cluster)
			c.TLS = tt.tls
			client, err := kafka.NewClient(c, quiet, nil)
			require.NoError(t, err)
			defer client.Close()
			err = kafka.Reach(t.Context(), client, 20*time.Second)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
	c := validConfig()
	c.TLS.CAFile = filepath.Join(dir, "missing.pem")
	_, err := kafka.NewClient(c, quiet, nil)
	require.ErrorContains(t, err, "read tls.ca_file")
}

func selfSigned(t *testing.T, dir string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
