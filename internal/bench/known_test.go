package bench_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
)

var (
	accountIDs = regexp.MustCompile(`account_id: (\S+)`)
	baseURLs   = regexp.MustCompile(`base_url: (\S+)`)
)

// known reads the history again where many other things are known already: as many a day over the last five weeks, with the
// values that things of that history have. On the way it sees how long it takes to start with them, and to make the file again.
func (b *costBench) known(t *testing.T) {
	model := b.setup(t, kafka.AtLeastOnce, b.full)
	p := model.start(t)
	p.read()
	p.stop()

	once := b.setup(t, kafka.AtLeastOnce, b.full)
	twice := b.setup(t, kafka.ExactlyOnce, b.full)
	account := accountIDs.FindStringSubmatch(b.full)[1]
	began := time.Now()
	fill(t, once.file(), account, entitiesOf(t, model.file(), account))
	t.Logf("made a file of %d entities in %v", *costKnown, time.Since(began).Round(time.Second))
	began = time.Now()
	publish(t, once.file(), account, twice)
	t.Logf("wrote them to the checkpoint topic in %v", time.Since(began).Round(time.Second))

	_ = started(t, once) // the first start after another program wrote the file
	b.note(t, "start with %d known, %s: %v to the first request", *costKnown, once.delivery, started(t, once))
	b.note(t, "file lost with %d known, %s: %v to the first request", *costKnown, twice.delivery, started(t, twice))
	b.note(t, "start with %d known, %s: %v to the first request", *costKnown, twice.delivery, started(t, twice))
	file, err := os.Stat(once.file())
	require.NoError(t, err)
	b.note(t, "file of %d known: %d MiB", *costKnown, file.Size()>>20)
	for _, s := range []*setup{once, twice} {
		b.measure(t, "with much known", s, "")
	}
}

// started starts a poller and stops it at its first request, and returns how long that took to come.
func started(t *testing.T, s *setup) time.Duration {
	t.Helper()
	asked := make(chan time.Time, 1)
	var first sync.Once
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		first.Do(func() { asked <- time.Now() })
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer api.Close()
	elsewhere := *s
	elsewhere.accounts = baseURLs.ReplaceAllString(s.accounts, "base_url: "+api.URL)
	p := elsewhere.start(t)
	defer p.stop()
	select {
	case at := <-asked:
		return at.Sub(p.began).Round(time.Millisecond)
	case <-time.After(5 * time.Minute):
		t.Fatal("the poller asks for nothing")
		return 0
	}
}

// entitiesOf returns what a file holds of the account, in the order of its keys.
func entitiesOf(t *testing.T, file, account string) (entities []checkpoint.Entry) {
	t.Helper()
	store, err := checkpoint.Open(file, checkpoint.Options{})
	require.NoError(t, err)
	defer store.Close()
	days, err := store.Days(account)
	require.NoError(t, err)
	for slot := range checkpoint.SlotDead {
		for _, d := range days {
			err := store.Scan(account, d.Day, slot, func(minute uint16, h checkpoint.Hash, value []byte) error {
				key := checkpoint.Key{Day: d.Day, Minute: minute, Shared: slot >= checkpoint.SlotShared, Hash: h}
				entities = append(entities, checkpoint.Entry{Key: key, Value: append([]byte(nil), value...)})
				return nil
			})
			require.NoError(t, err)
		}
	}
	require.NotEmpty(t, entities)
	return entities
}

// fill makes a file with many things like the model's, as many on each of the last days.
func fill(t *testing.T, file, account string, model []checkpoint.Entry) {
	t.Helper()
	const days, batch = 34, 100_000
	store, err := checkpoint.Open(file, checkpoint.Options{NoSync: true})
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 1))
	now := time.Now()
	today := checkpoint.KeyAt(now, false, checkpoint.Hash{}).Day
	c := checkpoint.Changes{Account: account, ReadAt: now, Puts: make([]checkpoint.Entry, 0, batch)}
	for ago := range uint32(days) {
		perDay := *costKnown / days
		if ago == 0 {
			perDay += *costKnown % days
		}
		for n := range perDay {
			e := model[n*len(model)/perDay]
			e.Key.Day = today - ago
			binary.BigEndian.PutUint64(e.Key.Hash[:], random.Uint64())
			if c.Puts = append(c.Puts, e); len(c.Puts) == batch || n == perDay-1 {
				require.NoError(t, store.Commit(c))
				c.Puts = c.Puts[:0]
			}
		}
	}
	require.NoError(t, store.Close())
}

// publish writes what a file holds to the checkpoint topic of another setup, as a poller does that goes on in transactions.
func publish(t *testing.T, file, account string, to *setup) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	bytes, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, bytes, 0o600))
	store, err := checkpoint.Open(copied, checkpoint.Options{NoSync: true})
	require.NoError(t, err)
	defer store.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(to.broker), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer client.Close()
	topic, compact := kafka.NewNames(to.topicPrefix()).Checkpoint(), "compact"
	_, err = kadm.NewClient(client).CreateTopic(ctx, 64, 1, map[string]*string{"cleanup.policy": &compact}, topic)
	require.NoError(t, err)

	j, err := journal.New(store, account)
	require.NoError(t, err)
	for {
		c := checkpoint.Changes{Account: account, ReadAt: time.Now()}
		records, err := j.Append(&c, bound.Record)
		require.NoError(t, err)
		for _, r := range records {
			client.Produce(ctx, &kgo.Record{Topic: topic, Partition: kafka.CheckpointPartition(account), Key: r.Key, Value: r.Value}, nil)
		}
		require.NoError(t, store.Commit(c))
		j.Committed()
		if len(records) == 1 { // nothing but the manifest: all is written
			break
		}
	}
	require.NoError(t, client.Flush(ctx))
}
