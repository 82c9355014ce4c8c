package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
	"github.com/twmb/franz-go/plugin/kslog"
)

// A connector makes the Kafka clients of a process. It has what they share: how they log in, where they place keys, what went wrong
// with the last connection, and what was logged a moment ago. It is safe for concurrent use.
type connector struct {
	config Config
	log    *slog.Logger
	login  *login                 // nil without SASL
	topics atomic.Pointer[Topics] // as they were found at start; nil before
	limits *limits
	extra  []kgo.Opt
	// reaching is how many are waiting for a first answer, whose error says what the client would log.
	reaching  atomic.Int32
	silentFor time.Duration // is the constant of that name, but for tests

	mu      sync.Mutex
	failed  error                // of the last attempt to connect; nil if it succeeded
	waiting func(error)          // is told of every attempt that fails; nil for nobody
	logged  map[string]time.Time // when a message of the client was logged last
}

// newConnector returns a connector that has not dialled anybody yet. It reads certificate and password files, so that one that
// cannot be used is known at once. The options in extra come last and win.
func newConnector(c Config, log *slog.Logger, extra ...kgo.Opt) (*connector, error) {
	out := &connector{config: c, log: log, extra: extra, limits: newLimits(c), silentFor: silentFor, logged: map[string]time.Time{}}
	if _, err := out.config.TLS.Current(""); err != nil {
		return nil, fmt.Errorf("kafka.%w", err)
	}
	var err error
	if out.login, err = newLogin(&out.config.SASL); err != nil {
		return nil, fmt.Errorf("kafka.%w", err)
	}
	return out, nil
}

// connecting returns the options that say where Kafka is, how to log in, and where to log.
func (c *connector) connecting() []kgo.Opt {
	opts := []kgo.Opt{kgo.Dialer(c.dial), kgo.WithLogger(clientLog{kslog.New(c.log), c}), kgo.WithHooks(c)}
	if c.login != nil {
		opts = append(opts, kgo.SASL(c.login), kgo.WithHooks(c.login))
	}
	return opts
}

// client returns a client that has not dialled anybody yet. Metrics may be nil. More options win over those of the connector. The
// caller closes the client.
func (c *connector) client(metrics prometheus.Registerer, more ...kgo.Opt) (*kgo.Client, error) {
	opts := append(BuildOpts(c.config), kgo.RecordPartitioner(c.partitioner()), kgo.ProducerBatchMaxBytesFn(c.limits.batchBytes))
	opts = append(opts, c.connecting()...)
	if metrics != nil {
		opts = append(opts, kgo.WithHooks(kprom.NewMetrics("poller", kprom.Subsystem("kafka_client"), kprom.Registerer(clientRegisterer{metrics}))))
		opts = append(opts, kgo.WithHooks(&buffered{registerer: metrics}))
	}
	opts = append(append(opts, c.extra...), more...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("build Kafka client: %w", err)
	}
	return client, nil
}

// partitioner places keys where Java's default partitioner and librdkafka's murmur2_random do, so that our topics join with topics that
// others write. It goes by the number of partitions that was found at start: a topic that gets more meanwhile keeps its keys where they
// are, because the revisions of an entity must stay in order. Records of the checkpoint say themselves where they belong.
func (c *connector) partitioner() kgo.Partitioner {
	checkpoint := NewNames(c.config.TopicPrefix).Checkpoint()
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		if topic == checkpoint {
			return func(r *kgo.Record, _ int) int { return int(r.Partition) }
		}
		return func(r *kgo.Record, n int) int {
			if topics := c.topics.Load(); topics != nil && topics.Partitions(topic) > 0 {
				n = topics.Partitions(topic)
			}
			return partitionOf(r.Key, n)
		}
	})
}

// dial connects to a broker with the certificates that the files hold now. While a login is held back it does not connect at all.
func (c *connector) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.login != nil {
		if err := c.login.held(time.Now()); err != nil {
			return nil, err
		}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	config, err := c.config.TLS.Current(host)
	if err != nil {
		return nil, fmt.Errorf("kafka.%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil || config == nil {
		return conn, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &handshakeError{err}
	}
	return secure, nil
}

// handshakeError is a TLS handshake that failed, for whatever reason.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// report has waiting told of every attempt to connect that fails; nil ends that.
func (c *connector) report(waiting func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = waiting
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (c *connector) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.mu.Lock()
	c.failed = err
	waiting := c.waiting
	c.mu.Unlock()
	if err != nil && waiting != nil {
		waiting(&UnreachableError{Brokers: c.config.Brokers, Err: c.reason(err)})
	}
}

// reason returns why a request failed: the refusal of the login or the failure of the last connection, if there was one, says more
// than err, which may only say that time has passed.
func (c *connector) reason(err error) error {
	if c.login != nil {
		if refused := c.login.refusal(); refused != nil {
			return refused
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil && errors.Is(err, context.DeadlineExceeded) {
		return c.failed
	}
	return err
}

// clientLog passes on what a client says, one step quieter, as its Info tells of every metadata update. While brokers are away it
// says the same several times a second: what was said within logEvery goes to Debug, and so does what the error of reach says.
type clientLog struct {
	*kslog.Logger
	shared *connector
}

const logEvery = time.Minute

// Level implements kgo.Logger.
func (l clientLog) Level() kgo.LogLevel {
	if level := l.Logger.Level(); level != kgo.LogLevelInfo {
		return level
	}
	return kgo.LogLevelWarn
}

// Log implements kgo.Logger.
func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if level == kgo.LogLevelInfo || level < kgo.LogLevelInfo && (l.shared.reaching.Load() > 0 || !l.shared.news(msg, time.Now())) {
		level = kgo.LogLevelDebug
	}
	l.Logger.Log(level, msg, keyvals...)
}

// news reports whether a message was not logged within logEvery, and notes that it is logged now.
func (c *connector) news(msg string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.logged[msg]) < logEvery {
		return false
	}
	c.logged[msg] = now
	return true
}
