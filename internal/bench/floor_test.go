package bench_test

import (
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/secret"
)

var (
	clientIDs = regexp.MustCompile(`client_id: ([^,\s]+)`)
	secrets   = regexp.MustCompile(`client_secret: ([^,}\s]+)`)
	botIDs    = regexp.MustCompile(`bot_id: ([^,}\s]+)`)
	starts    = regexp.MustCompile(`start: (\S+)`)
)

// measureFloor reads the history of the busy account with a program that only reads and writes, in this process: pages of 100 of
// `interactions`, our decoder, our encoder, and one transaction a page. It remembers nothing, plans nothing and checks nothing, so that
// what the product takes beyond it is the price of what the product promises.
func (b *costBench) measureFloor(t *testing.T) {
	const heapGrowth = 400 // as poller run has it
	defer debug.SetGCPercent(debug.SetGCPercent(heapGrowth))
	b.floors++
	topic := fmt.Sprintf("floor%d", b.floors)
	config := kafka.DefaultConfig()
	config.Brokers = []string{b.base.broker}
	client, err := kafka.NewClient(config, slog.New(slog.DiscardHandler), nil, kgo.TransactionalID(topic))
	require.NoError(t, err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(t.Context(), 3, 1, nil, topic)
	require.NoError(t, err)

	one := func(of *regexp.Regexp) string { return of.FindStringSubmatch(b.full)[1] }
	account := one(accountIDs)
	api, err := kore.New(kore.Config{
		BaseURL: one(baseURLs), AccountID: account, ClientID: one(clientIDs), ClientSecret: secret.New(one(secrets)),
	})
	require.NoError(t, err)
	defer api.Close()
	from, err := time.Parse(time.RFC3339, one(starts))
	require.NoError(t, err)

	began, before := time.Now(), cpuTime(t)
	var r reading
	for _, bot := range botIDs.FindAllStringSubmatch(b.full, -1) {
		scope := extract.Scope{Source: "floor", AccountID: account, BotID: bot[1], Endpoint: events.Interactions}
		query := kore.Query{Endpoint: events.Interactions, BotID: bot[1], From: from, To: began, Limit: 100}
		for more := true; more; query.Offset += query.Limit {
			answer, err := api.Fetch(t.Context(), query)
			require.NoError(t, err)
			page, err := extract.Decode(scope, answer.Body)
			require.NoError(t, err)
			n, bytes := writePage(t, client, topic, page)
			r.events += float64(n)
			r.bytes += float64(bytes)
			r.requests++
			r.batches++
			more = len(page.Rows) == query.Limit
		}
	}
	r.took, r.cpu = time.Since(began), cpuTime(t)-before
	b.keep(t, floorRun, kafka.ExactlyOnce, r)
}

// writePage writes what a page shows in one transaction.
func writePage(t *testing.T, client *kgo.Client, topic string, page *extract.Page) (n, bytes int) {
	require.NoError(t, client.BeginTransaction())
	var failed kgo.FirstErrPromise
	var buffer []byte
	for i := range page.Rows {
		for _, o := range page.Rows[i].Observations {
			start := len(buffer)
			var err error
			buffer, err = events.AppendAvro(buffer, o.Event)
			require.NoError(t, err)
			value := buffer[start:len(buffer):len(buffer)]
			client.Produce(t.Context(), &kgo.Record{Topic: topic, Key: []byte(o.Event.Head().EntityID), Value: value}, failed.Promise())
			n, bytes = n+1, bytes+len(value)
		}
	}
	require.NoError(t, client.Flush(t.Context()))
	require.NoError(t, failed.Err())
	require.NoError(t, client.EndTransaction(t.Context(), kgo.TryCommit))
	return n, bytes
}
