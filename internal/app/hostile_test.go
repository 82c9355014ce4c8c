package app

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// hostileServer answers every request with the next of its answers.
type hostileServer struct {
	answers []hostileAnswer
	next    atomic.Int64
}

// A hostileAnswer is the body of an answer, and what its header says of the body.
type hostileAnswer struct {
	length   int64 // -1: the header does not say
	encoding string
	body     func(context.Context) io.Reader
}

func (s *hostileServer) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Second)
	a := s.answers[s.next.Add(1)%int64(len(s.answers))]
	header := http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}
	if a.encoding != "" {
		header.Set("Content-Encoding", a.encoding)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, ContentLength: a.length, Body: io.NopCloser(a.body(r.Context())), Request: r}, nil
}

// text is a body of text that is repeated between a beginning and an end. It takes no memory.
func text(beginning, repeated string, size int, end string) hostileAnswer {
	const piece = 64 << 10
	repeated = strings.Repeat(repeated, piece/len(repeated))
	return hostileAnswer{-1, "", func(context.Context) io.Reader {
		body := []io.Reader{strings.NewReader(beginning)}
		for left := size; left >= len(repeated); left -= len(repeated) {
			body = append(body, strings.NewReader(repeated))
		}
		return io.MultiReader(append(body, strings.NewReader(end))...)
	}}
}

// silence announces a body and sends none of it.
func silence(length int64) hostileAnswer {
	return hostileAnswer{length, "", func(ctx context.Context) io.Reader { return silent{ctx} }}
}

type silent struct{ ctx context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// deflated sends what another answer sends compressed.
func deflated(t *testing.T, answer hostileAnswer) hostileAnswer {
	var compressed bytes.Buffer
	w := zlib.NewWriter(&compressed)
	_, err := io.Copy(w, answer.body(t.Context()))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return hostileAnswer{int64(compressed.Len()), "deflate", func(context.Context) io.Reader { return bytes.NewReader(compressed.Bytes()) }}
}

// What the answers of all accounts take together is bounded, whatever they hold. Six accounts are answered as badly as can be, in a
// container of 512 MiB, which is what the chart gives.
func TestHostileAnswers(t *testing.T) {
	testsize.Slow(t)
	const (
		mib      = 1 << 20
		row      = `{"numResults":1,"hasMore":false,"data":[{"id":"i-1","conversationID":"c-1","new":`
		accounts = 6
	)
	server := &hostileServer{answers: []hostileAnswer{
		text(row, "[", 10_000_000, ""),
		text(row+`"`, "long ", 31*mib, `"}]}`),
		silence(32 * mib),
		text("", " ", 31*mib, ""),
		text(row+`[`, `{"a":1},`, 31*mib, `1]}]}`),
		text(`{"data":[`, `{"id":"i-1"},`, 31*mib, `1]}`),
		deflated(t, text(row+`"`, "long ", 1<<30, `"}]}`)),
		deflated(t, text("", " ", 1<<30, "")),
	}}
	const (
		container = 512 * mib
		limit     = container / 10 * 9
		// What lives is bounded by what all answers may take together, by what one of them may take beyond that, and by all else: the
		// accounts and the client, and here the broker.
		oneAnswer = 5 * bound.Body
		allElse   = 64 * mib
	)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))

	var taken, live atomic.Int64 // at the most
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/live:bytes"}}
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				metrics.Read(sample)
				taken.Store(max(taken.Load(), int64(sample[0].Value.Uint64()-sample[1].Value.Uint64())))
				live.Store(max(live.Load(), int64(sample[2].Value.Uint64())))
			}
		}
	}()
	inBubble(t, koresim.Config{}, func(s *stage) {
		var config strings.Builder
		config.WriteString("accounts:\n")
		for i := range accounts {
			fmt.Fprintf(&config, `  - name: a%d
    base_url: http://kore.test
    account_id: a%d
    auth: {client_id: cs-1, client_secret: s3cret}
    start: 1d ago
    bots: [{name: care, bot_id: st-%d}]
    endpoints: {call-details: {enabled: true}}
`, i, i, i)
		}
		fmt.Fprintf(&config, `
kafka: {brokers: [%q], group: "", topics: {partitions: 1, replication_factor: 1}}
checkpoint: {path: %q}
server: {listen: ""}
`, s.cluster.ListenAddrs()[0], filepath.Join(s.TempDir(), "poller.db"))
		cfg, _, err := Parse(LoadOptions{Path: "test.yaml"}, []byte(config.String()))
		require.NoError(s, err)
		app, err := New(cfg, Options{
			Log: slog.New(slog.DiscardHandler), Transport: server, KafkaClient: []kgo.Opt{kgo.Dialer(s.network.DialContext)},
		})
		require.NoError(s, err)
		ctx, cancel := context.WithCancel(s.Context())
		done := make(chan error)
		go func() { done <- app.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		cancel()
		require.NoError(s, <-done)
	})
	close(stop)
	<-stopped
	t.Logf("%d answers; the process took at most %d MiB, of which %d MiB lived", server.next.Load(), taken.Load()/mib, live.Load()/mib)
	require.Greater(t, server.next.Load(), int64(25*accounts))
	require.Less(t, taken.Load(), int64(container))
	require.Less(t, live.Load(), answerBytes(limit)+oneAnswer+allElse)
}
