package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// metadataMinAge is how soon the client may ask again which broker leads a partition. It decides how fast the client recovers:
	// with the library's 5 s, two dropped connections cost 10 s until the acknowledgement; with this, half a second.
	metadataMinAge = 250 * time.Millisecond

	dialTimeout = 5 * time.Second

	// batchOverhead is more bytes than a record batch and a record add to key, value and headers.
	batchOverhead = 512

	// maxBuffered is meant never to be reached, because Produce would block then. The batches that callers hold bound the records that
	// wait in the client.
	maxBuffered = 1 << 20
)

// BuildOpts returns the options that follow from the configuration alone.
func BuildOpts(c Config) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.MetadataMinAge(metadataMinAge),

		// An acknowledgement means that every in-sync replica has the record, and the broker drops copies that a retry sends:
		// idempotence is the client's default. The client never gives a record up: to send a record again whose outcome is unknown
		// makes duplicates, and the client would judge its age by its timestamp, which is the event's. The delivery decides how
		// long a caller waits.
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.MaxBufferedRecords(maxBuffered),

		kgo.ProducerBatchCompression(codec(c.Compression)),
		kgo.ProducerLinger(c.Linger),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 { return int32(c.maxBatch(topic)) }),
	}
}

// NewClient returns a client that shares nothing with others and has not dialled anybody yet. It reads certificate and password
// files. Metrics may be nil. Extra options come last and win. The caller closes it.
func NewClient(c Config, log *slog.Logger, metrics prometheus.Registerer, extra ...kgo.Opt) (*kgo.Client, error) {
	connect, err := newConnector(c, log, extra...)
	if err != nil {
		return nil, err
	}
	return connect.client(metrics)
}

// Consumer returns the options of clients that read topics as any consumer does, and makes sure, within dialTimeout, that a broker
// answers: its error is an *UnreachableError if none does. It reads certificate and password files.
func Consumer(ctx context.Context, c Config, log *slog.Logger) ([]kgo.Opt, error) {
	connect, err := newConnector(c, log)
	if err != nil {
		return nil, err
	}
	opts := append([]kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID(c.ClientID), kgo.MetadataMinAge(metadataMinAge)}, connect.connecting()...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("build Kafka client: %w", err)
	}
	defer client.Close()
	return opts, connect.reach(ctx, client, dialTimeout)
}

// reach asks any broker for a sign of life, for at most the given time. What the client logs meanwhile goes to Debug: its error says it. The
// caller closes the client if there is one, which also ends a request that was given up.
func (c *connector) reach(ctx context.Context, client *kgo.Client, within time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c.reaching.Add(1)
	defer c.reaching.Add(-1)
	answered := make(chan error, 1)
	go func() { answered <- client.Ping(bounded) }()
	patience := time.NewTimer(c.silentFor)
	defer patience.Stop()
	var err error
	silent := false
	select {
	case err = <-answered:
	case <-bounded.Done(): // Ping does not see it while it waits for an answer
		err = bounded.Err()
	case <-patience.C:
		silent = true
	}
	if silent || likelyHTTP(err) {
		if not := c.probe(bounded); not != nil {
			err, silent = not, false
		}
	}
	if silent {
		select {
		case err = <-answered:
		case <-bounded.Done():
			err = bounded.Err()
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("reach Kafka: %w", ctx.Err())
	}
	if err = c.reason(err); errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s: %w", within, err)
	}
	return &UnreachableError{Brokers: c.config.Brokers, Err: err}
}

// likelyHTTP reports whether an error of a first request may come from an HTTP server: it has answered as such, or has closed the connection.
func likelyHTTP(err error) bool {
	if _, closed := errors.AsType[*kgo.ErrFirstReadEOF](err); closed || errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	return err != nil && strings.Contains(err.Error(), "HTTP response") // the client's words for what it cannot read
}

// An UnreachableError says that no broker answers, and why.
type UnreachableError struct {
	Brokers []string
	Err     error
}

func (e *UnreachableError) Error() string {
	return withHint(fmt.Sprintf("reach Kafka at %s: %v", strings.Join(e.Brokers, ", "), e.Err), e.Hint())
}

// Hint says what to do.
func (e *UnreachableError) Hint() string {
	if not, ok := errors.AsType[*httpError](e.Err); ok {
		return not.Hint()
	}
	if known := hintFor(e.Err); known != "" {
		return known
	}
	if _, ok := errors.AsType[*kgo.ErrFirstReadEOF](e.Err); ok {
		return "check kafka.tls and kafka.sasl"
	}
	return "check kafka.brokers and that the brokers run"
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Retryable reports whether waiting may help: a broker may come back, and a wrong password stays wrong.
func (e *UnreachableError) Retryable() bool { return classify(e.Err) == Retry }

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "none":
		return kgo.NoCompression()
	case "gzip":
		return kgo.GzipCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.SnappyCompression()
}
