package kafka_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/secret"
)

var quiet = slog.New(slog.DiscardHandler)

func TestClientOptions(t *testing.T) {
	c := validConfig()
	c.Compression = "zstd"
	client, err := kgo.NewClient(kafka.BuildOpts(c)...)
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
	err = kafka.Reach(t.Context(), c, quiet, 500*time.Millisecond)
	unreachable := &kafka.UnreachableError{}
	require.ErrorAs(t, err, &unreachable)
	require.True(t, unreachable.Retryable())
	require.ErrorContains(t, err, "reach Kafka at "+addr)
	require.ErrorContains(t, err, "check kafka.brokers")
}

// A server that never answers keeps nobody longer than was said, and no longer than the caller waits.
func TestBrokerNeverAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the system takes the connections, and nobody reads them
	require.NoError(t, err)
	defer l.Close()
	c := validConfig()
	c.Brokers = []string{l.Addr().String()}
	unreachable := &kafka.UnreachableError{}
	require.ErrorAs(t, kafka.ReachAfter(t.Context(), c, quiet, 20*time.Millisecond, time.Minute), &unreachable)
	require.ErrorContains(t, unreachable, "no answer within 20ms")
	require.ErrorAs(t, kafka.ReachAfter(t.Context(), c, quiet, 20*time.Millisecond, time.Millisecond), &unreachable)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	require.ErrorIs(t, kafka.ReachAfter(ctx, c, quiet, time.Minute, time.Millisecond), context.Canceled)
}

// What is named as a broker and is an HTTP server is said to be one, soon: it would wait for the rest of what it takes for a request.
func TestBrokerIsAnHTTPServer(t *testing.T) {
	for name, silence := range map[string]time.Duration{"it waits": time.Millisecond, "it refuses": time.Minute, "it closes": time.Minute} {
		t.Run(name, func(t *testing.T) {
			c := validConfig()
			c.Brokers = []string{serveHTTP(t, name)}
			var log bytes.Buffer
			err := kafka.ReachAfter(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil)), time.Minute, silence)
			unreachable := &kafka.UnreachableError{}
			require.ErrorAs(t, err, &unreachable)
			require.ErrorContains(t, err, "reach Kafka at "+c.Brokers[0]+": "+c.Brokers[0]+" is an HTTP server, not a Kafka broker; name the port of Kafka itself in kafka.brokers")
			require.True(t, unreachable.Retryable())
			require.Empty(t, log.String())
		})
	}
}

// serveHTTP answers HTTP requests until the test ends, and returns its address. What it does with a request that is not HTTP says refuse.
func serveHTTP(t *testing.T, refuse string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var connections sync.WaitGroup
	serve := func(conn net.Conn) {
		defer conn.Close()
		defer context.AfterFunc(t.Context(), func() { conn.Close() })()
		begin := make([]byte, len("HEAD"))
		switch _, err := io.ReadFull(conn, begin); {
		case err != nil:
		case string(begin) == "HEAD":
			_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		case refuse == "it refuses":
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		case refuse == "it waits":
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
	})
	return listener.Addr().String()
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
			err := kafka.Reach(t.Context(), c, quiet, time.Minute)
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

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	server := newPair(t, dir, "server")
	cluster := newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server.pair}}))
	client := newPair(t, dir, "client")
	authorities := x509.NewCertPool()
	authorities.AddCert(client.pair.Leaf)
	mutual := newCluster(t, kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{server.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
	}))
	plain, err := net.Listen("tcp", "127.0.0.1:0") // ends what does not begin like a request, as Kafka does
	require.NoError(t, err)
	defer plain.Close()
	go func() {
		for {
			conn, err := plain.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for name, tt := range map[string]struct {
		cluster   *kfake.Cluster
		tls       kafka.TLSConfig
		want      string
		retryable bool
	}{
		"trusted":      {cluster, kafka.TLSConfig{CAFile: server.cert}, "", false},
		"unverified":   {cluster, kafka.TLSConfig{InsecureSkipVerify: true}, "", false},
		"unknown":      {cluster, kafka.TLSConfig{Enabled: true}, "give the certificate of the server's authority in kafka.tls.ca_file", false},
		"another name": {cluster, kafka.TLSConfig{CAFile: server.cert, ServerName: "elsewhere"}, "set kafka.tls.server_name", false},
		"none":         {cluster, kafka.TLSConfig{}, "check kafka.tls", true},
		"not there":    {nil, kafka.TLSConfig{Enabled: true}, "check that the ports in kafka.brokers are those of a listener with TLS", true},
		"client":       {mutual, kafka.TLSConfig{CAFile: server.cert, CertFile: client.cert, KeyFile: client.key}, "", false},
		"no client":    {mutual, kafka.TLSConfig{CAFile: server.cert}, "check that kafka.tls.cert_file and kafka.tls.key_file", false},
		"other client": {
			mutual, kafka.TLSConfig{CAFile: server.cert, CertFile: server.cert, KeyFile: server.key},
			"check that kafka.tls.cert_file and kafka.tls.key_file", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := validConfig()
			c.Brokers = []string{plain.Addr().String()}
			if tt.cluster != nil {
				c.Brokers = tt.cluster.ListenAddrs()
			}
			c.TLS = tt.tls
			err := kafka.Reach(t.Context(), c, quiet, time.Minute)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "that the brokers run")
			may, known := kafka.Retryable(err)
			require.True(t, known)
			require.Equal(t, tt.retryable, may)
		})
	}
	c := validConfig()
	c.TLS.CAFile = filepath.Join(dir, "missing.pem")
	_, err = kafka.NewClient(c, quiet, nil)
	require.ErrorContains(t, err, "kafka.tls.ca_file: open "+c.TLS.CAFile)
}

// Every handshake is made with what the files hold then: authorities and client certificates are replaced while the process runs.
func TestCertificatesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	old, renewed := newPair(t, dir, "old"), newPair(t, dir, "renewed")
	var replaced atomic.Bool
	accepted := x509.NewCertPool()
	accepted.AddCert(renewed.pair.Leaf)
	cluster := newCluster(t, kfake.TLS(&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if replaced.Load() {
			return &tls.Config{Certificates: []tls.Certificate{renewed.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: accepted}, nil
		}
		return &tls.Config{Certificates: []tls.Certificate{old.pair}}, nil
	}}))
	c := configFor(cluster)
	c.TLS = kafka.TLSConfig{CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	use := func(p pair) {
		for to, from := range map[string]string{c.TLS.CAFile: p.cert, c.TLS.CertFile: p.cert, c.TLS.KeyFile: p.key} {
			content, err := os.ReadFile(from)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, content, 0o600))
		}
	}
	use(old)
	client, err := kafka.NewClient(c, quiet, nil, kgo.RequestRetries(0))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Ping(t.Context()))

	replaced.Store(true)
	connect := func() error { // another kind of request has a connection of its own
		_, err := client.Broker(0).Request(t.Context(), kmsg.NewPtrFetchRequest())
		return err
	}
	require.ErrorContains(t, connect(), "certificate signed by unknown authority")
	use(renewed)
	require.NoError(t, connect())
}

// pair is a certificate that is its own authority.
type pair struct {
	pair      tls.Certificate
	cert, key string // files
}

func newPair(t *testing.T, dir, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	p := pair{cert: filepath.Join(dir, name+".crt"), key: filepath.Join(dir, name+".key")}
	require.NoError(t, os.WriteFile(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	p.pair, err = tls.LoadX509KeyPair(p.cert, p.key)
	require.NoError(t, err)
	return p
}
