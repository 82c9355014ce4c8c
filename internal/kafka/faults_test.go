package kafka_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/testsize"
)

// Whatever a broker answers to a step of a transaction, the batch is there once in the end, whole: events, the
// compacted copies, watermark and checkpoint. The table says what that takes: nothing, delivering the batch that was held once more, taking
// the partition over again, or a person who is told what to do.
func TestEveryTransactionError(t *testing.T) {
	testsize.Slow(t)
	before4 := []kgo.Opt{kgo.MaxVersions(kversion.V3_8_0())} // brokers that are told of partitions before they get records
	requests := []struct {
		name    string
		key     kmsg.Key
		topic   string
		answers []*kerr.Error
		client  []kgo.Opt
	}{
		{"InitProducerID", kmsg.InitProducerID, "", slices.Concat(coordinator, []*kerr.Error{kerr.InvalidTransactionTimeout}), nil},
		{"Produce", kmsg.Produce, topic, slices.Concat(leader, coordinator), nil},
		{"Produce to the checkpoint", kmsg.Produce, "agentassist.checkpoint", slices.Concat(leader, coordinator), nil},
		{"EndTxn", kmsg.EndTxn, "", coordinator, nil},
		{"AddPartitionsToTxn before 4.0", kmsg.AddPartitionsToTxn, "", slices.Concat(coordinator, leader), before4},
		{"EndTxn before 4.0", kmsg.EndTxn, "", coordinator, before4},
	}
	tables := make([]string, len(requests))
	t.Run("", func(t *testing.T) {
		for i, r := range requests {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := openVirtual(t, withLatest, r.client...)
					defer closeVirtual(t, f)
					tables[i] = "# " + r.name + "\n" + f.suffer(t, kfake.Fault{Keys: []kmsg.Key{r.key}, Topic: r.topic}, r.answers)
				})
			})
		}
	})
	if t.Failed() {
		return
	}
	golden := filepath.Join("testdata", "transactions.golden")
	got := strings.Join(tables, "\n")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// What a coordinator of transactions may answer, and a leader of a partition. DUPLICATE_SEQUENCE_NUMBER is not among it: it says
// that the records are there, and a broker that lies about that cannot be helped.
var (
	coordinator = []*kerr.Error{
		kerr.UnknownServerError, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator,
		kerr.ConcurrentTransactions, kerr.RequestTimedOut, kerr.NetworkException, kerr.InvalidRequest, kerr.UnsupportedVersion,
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping, kerr.InvalidTxnState, kerr.TransactionAbortable,
		kerr.TransactionCoordinatorFenced, kerr.TransactionalIDNotFound, kerr.TransactionalIDAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.OperationNotAttempted, kerr.ThrottlingQuotaExceeded,
	}
	leader = []*kerr.Error{
		kerr.CorruptMessage, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID, kerr.LeaderNotAvailable,
		kerr.NotLeaderForPartition, kerr.ReplicaNotAvailable, kerr.BrokerNotAvailable, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
		kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.InvalidRequiredAcks, kerr.KafkaStorageError,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.UnsupportedForMessageFormat,
		kerr.UnsupportedCompressionType, kerr.PolicyViolation, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed,
		kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID,
	}
)

// suffer delivers a batch through every code, once and several times, and returns the table of what came of it. At full size it
// goes through all codes that Kafka has.
func (f *fixture) suffer(t *testing.T, fault kfake.Fault, answers []*kerr.Error) string {
	var table strings.Builder
	delivered := map[string]bool{}
	deliver := func(err *kerr.Error, times int) string {
		fault.Err, fault.Count = err, times
		name := fmt.Sprintf("%d.%d", err.Code, times)
		delivered[name] = true
		return f.deliverThrough(t, name, int32(err.Code+1)%usedPartitions, fault)
	}
	for _, err := range answers {
		once, often := deliver(err, 1), deliver(err, 4)
		if once != often {
			once += "; several times: " + often
		}
		fmt.Fprintf(&table, "%s: %s\n", err.Message, once)
	}
	for code := int16(1); code < 140 && !testing.Short(); code++ {
		err, ok := errors.AsType[*kerr.Error](kerr.ErrorForCode(code))
		if ok && err != kerr.UnknownServerError && err != kerr.DuplicateSequenceNumber && !slices.Contains(answers, err) {
			deliver(err, 1)
		}
	}
	f.checkOnce(t, delivered)
	return table.String()
}

// usedPartitions of the checkpoint are enough.
const usedPartitions = 8

// deliverThrough delivers a batch through a fault, and takes the partition over as often as is needed. It returns what came first.
func (f *fixture) deliverThrough(t *testing.T, name string, partition int32, fault kfake.Fault) (said string) {
	t.Helper()
	say := func(err error) {
		if said != "" {
			return
		}
		lost, _ := errors.AsType[*kafka.LostError](err)
		switch retry, hint, _ := strings.Cut(err.Error(), "; "); {
		case lost != nil && lost.Fenced:
			said = "fenced"
		case hint != "":
			said = "person: " + hint
		default:
			said = "taken over again"
			require.NotEmpty(t, retry)
		}
	}
	var shard *kafka.Shard
	var batch *kafka.Batch
	for range 10 {
		if shard == nil {
			var err error
			init := slices.Contains(fault.Keys, kmsg.InitProducerID)
			if init && fault.Err != nil {
				defer f.cluster.Fault(fault).Remove()
				fault.Err = nil
			}
			if shard, err = f.TakeOver(t.Context(), partition); err != nil {
				shard = nil
				say(err)
				continue
			}
			keys, _ := replayed(t, shard, shard.Start)
			if slices.Contains(keys, "d/"+name) {
				require.NoError(t, shard.Close(t.Context()))
				return said + ", and it was there"
			}
			if !init && fault.Err != nil {
				defer f.cluster.Fault(fault).Remove()
				fault.Err = nil
			}
		}
		if batch == nil {
			batch = f.batchFor(name)
		}
		err := shard.Deliver(t.Context(), batch)
		if _, ok := errors.AsType[*kafka.RefusedError](err); ok { // the owner stays one, and delivers the same batch again
			said = cmp.Or(said, "held")
			continue
		}
		_ = shard.Close(t.Context())
		if err == nil {
			if said == "" {
				said = "nothing"
			}
			return said
		}
		batch = nil
		_, ok := errors.AsType[*kafka.LostError](err)
		require.True(t, ok, "%v", err)
		say(err)
		shard = nil
	}
	require.Fail(t, "never delivered", "%s: %s", name, said)
	return said
}

const eventsOfBatch = 5

func withLatest(c *kafka.Config) { c.Delivery, c.Latest = kafka.ExactlyOnce, []string{"search"} }

func (f *fixture) batchFor(name string) *kafka.Batch {
	feed := newFeed()
	feed.Watermark.Source = name
	batch := journaled(feed, name, searches(eventsOfBatch))
	for i, o := range batch.Events {
		h := o.Event.Head()
		h.Source, h.EventID, h.EntityID = name, fmt.Sprintf("%s/%d", name, i), fmt.Sprintf("%s/%d", name, i)
		if i == 0 {
			h.SupersededBy = ptr("another")
		}
	}
	return batch
}

// checkOnce checks that all of the batches named are there once, and nothing else.
func (f *fixture) checkOnce(t *testing.T, batches map[string]bool) {
	t.Helper()
	perBatch := map[string]int{}
	for id, n := range eventIDs(f.read(t, topic)) {
		require.Equal(t, 1, n, id)
		name, _, _ := strings.Cut(id, "/")
		perBatch[name]++
	}
	for _, r := range f.read(t, f.Topics.DeadLetter()) { // of records that were refused again when sent alone
		perBatch[r.Field("source")]++
	}
	latest, ended := map[string]int{}, map[string]int{}
	for _, r := range f.read(t, topic+"-latest") {
		name, n, _ := strings.Cut(r.Key, "/")
		latest[name]++
		if r.Value == nil {
			require.Equal(t, "0", n)
			ended[name]++
		}
	}
	marks := map[string]int{}
	for _, r := range f.read(t, f.Topics.Watermark()) {
		marks[r.Field("source")]++
	}
	records := map[string]int{}
	for partition := range int32(usedPartitions) {
		shard, err := f.TakeOver(t.Context(), partition)
		require.NoError(t, err)
		keys, _ := replayed(t, shard, shard.Start)
		require.NoError(t, shard.Close(t.Context()))
		for _, key := range keys {
			if name, ok := strings.CutPrefix(key, "d/"); ok {
				records[name]++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(batches)) {
		require.Equal(t, []int{eventsOfBatch, eventsOfBatch, 1, 1, 1}, []int{perBatch[name], latest[name], ended[name], marks[name], records[name]},
			"%s: events, latest ones, tombstones, watermarks, records of the checkpoint", name)
	}
	require.Len(t, perBatch, len(batches))
	require.Len(t, marks, len(batches))
	require.Len(t, records, len(batches))
}

// What goes on for minutes, or moves, in the midst of transactions: the owner takes the partition over until it is there, once.
func TestTransactionsThroughTrouble(t *testing.T) {
	const minutes = 7 * time.Minute
	for name, test := range map[string]struct {
		// trouble begins in the midst of a transaction; what it returns ends it.
		trouble func(f *fixture) func()
		hold    time.Duration // of the transaction by ourselves
		lost    bool          // the first attempt
		least   time.Duration // until it is there
	}{
		"timed out by the broker": {hold: 11 * time.Second, lost: true, least: 11 * time.Second},
		"too few replicas in sync": {trouble: func(f *fixture) func() {
			return f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1}).Remove
		}, lost: true, least: minutes},
		"written, answered as lost": {trouble: func(f *fixture) func() {
			return f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: -1}).Remove
		}, lost: true, least: minutes},
		"no coordinator": {trouble: func(f *fixture) func() {
			return f.cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.InitProducerID, kmsg.EndTxn, kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: -1,
			}).Remove
		}, lost: true, least: minutes},
		"nobody answers": {trouble: func(f *fixture) func() {
			f.network.away.Store(true)
			return func() { f.network.away.Store(false) }
		}, lost: true, least: minutes},
		"leaders moved": {trouble: func(f *fixture) func() {
			for i := range int32(9) {
				f.cluster.ShufflePartitionLeaders()
				require.NoError(f.t, f.cluster.MoveTopicPartition(f.Topics.Checkpoint(), shardPartition, i%3))
			}
			return nil
		}},
		"coordinator moved": {trouble: func(f *fixture) func() {
			f.cluster.RehashCoordinators()
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := openVirtual(t, withLatest)
				defer closeVirtual(t, f)
				shard, err := f.TakeOver(t.Context(), shardPartition)
				require.NoError(t, err)
				require.NoError(t, shard.Deliver(t.Context(), f.batchFor("before")))

				batch := f.batchFor("through")
				written := recordingOf(batch).records
				recordingOf(batch).records = func() ([]kafka.Record, error) { // the events are on their way
					time.Sleep(test.hold)
					if test.trouble != nil {
						if end := test.trouble(f); end != nil {
							time.AfterFunc(minutes, end)
						}
					}
					return written()
				}
				began := time.Now()
				err = shard.Deliver(t.Context(), batch)
				require.Equal(t, test.lost, err != nil, "%v", err)
				if lost, ok := errors.AsType[*kafka.LostError](err); ok {
					require.False(t, lost.Fenced, "nobody else is there: %v", err)
				}
				for attempt := 0; err != nil; attempt++ {
					require.Less(t, attempt, 100, "%v", err)
					time.Sleep(min(100*time.Millisecond<<attempt, 30*time.Second)) // as an owner does
					closing, cancel := context.WithTimeout(t.Context(), time.Second)
					_ = shard.Close(closing)
					cancel()
					var again *kafka.Shard
					if again, err = f.TakeOver(t.Context(), shardPartition); err != nil {
						retry, ok := errors.AsType[interface {
							error
							Retryable() bool
						}](err)
						require.True(t, ok && retry.Retryable(), "%v", err)
						continue
					}
					shard = again
					if keys, _ := replayed(t, shard, shard.Start); !slices.Contains(keys, "d/through") {
						err = shard.Deliver(t.Context(), f.batchFor("through"))
					}
				}
				took := time.Since(began)
				require.GreaterOrEqual(t, took, test.least)
				require.Less(t, took, test.least+time.Minute)
				require.NoError(t, shard.Close(t.Context()))
				f.checkOnce(t, map[string]bool{"before": true, "through": true})
			})
		})
	}
}
