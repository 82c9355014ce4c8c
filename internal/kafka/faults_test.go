package kafka_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"agentassist-poller/internal/kafka"
)

// Whatever a broker answers to a step of a transaction, the batch is there once in the end, whole: events, watermark and
// checkpoint. The table says what it takes: nothing, taking the partition over again, or a person who is told what to do.
func TestEveryTransactionError(t *testing.T) {
	requests := []struct {
		name string
		kfake.Fault
		client []kgo.Opt
	}{
		{"InitProducerID", kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}}, nil},
		{"Produce", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic}, nil},
		{"Produce checkpoint", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "agentassist.checkpoint"}, nil},
		{"EndTxn", kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}}, nil},
		// Brokers before 4.0 are told of partitions before they get records.
		{"AddPartitionsToTxn", kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}}, []kgo.Opt{kgo.MaxVersions(kversion.V3_8_0())}},
		{"EndTxn before 4.0", kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}}, []kgo.Opt{kgo.MaxVersions(kversion.V3_8_0())}},
	}
	tables := make([]string, len(requests))
	t.Run("", func(t *testing.T) {
		for i, r := range requests {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := openVirtual(t, transactional, r.client...)
					defer closeVirtual(t, f)
					tables[i] = "# " + r.name + "\n" + f.suffer(t, r.Fault)
				})
			})
		}
	})
	golden := filepath.Join("testdata", "transactions.golden")
	got := strings.Join(tables, "\n")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// suffer delivers a batch through every code, once and several times, and returns the table of what came of it.
func (f *fixture) suffer(t *testing.T, fault kfake.Fault) string {
	var table strings.Builder
	delivered := map[string]bool{}
	for code := int16(-1); code < 140; code++ {
		err, ok := errors.AsType[*kerr.Error](kerr.ErrorForCode(code))
		if !ok || code == 0 || err == kerr.UnknownServerError && code != -1 {
			continue
		}
		if err == kerr.DuplicateSequenceNumber && fault.Topic != "" {
			continue // it says that the records are there: a broker that lies about that cannot be helped
		}
		fault.Err = err
		var said []string
		for _, fault.Count = range []int{1, 4} {
			name := fmt.Sprintf("%d.%d", code, fault.Count)
			delivered[name] = true
			said = append(said, f.deliverThrough(t, name, int32(code+1)%64, fault))
		}
		fmt.Fprintf(&table, "%s: %s\n", err.Message, strings.Join(slices.Compact(said), "; several times: "))
	}
	f.checkOnce(t, delivered)
	return table.String()
}

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
		err := shard.Deliver(t.Context(), f.batchFor(name))
		_ = shard.Close(t.Context())
		if err == nil {
			if said == "" {
				said = "nothing"
			}
			return said
		}
		_, ok := errors.AsType[*kafka.LostError](err)
		require.True(t, ok, "%v", err)
		say(err)
		shard = nil
	}
	require.Fail(t, "never delivered", "%s: %s", name, said)
	return said
}

const eventsOfBatch = 5

func (f *fixture) batchFor(name string) *kafka.Batch {
	feed := newFeed()
	feed.Watermark.Source = name
	batch := journaled(feed, name, searches(feed, eventsOfBatch))
	for i, o := range batch.Events {
		o.Event.Head().Source, o.Event.Head().EventID = name, fmt.Sprintf("%s/%d", name, i)
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
	marks := map[string]int{}
	for _, r := range f.read(t, f.Topics.Watermark()) {
		marks[r.Field("source")]++
	}
	records := map[string]int{}
	for partition := range int32(64) {
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
		require.Equal(t, []int{eventsOfBatch, 1, 1}, []int{perBatch[name], marks[name], records[name]}, "%s: events, watermarks, records of the checkpoint", name)
	}
	require.Len(t, perBatch, len(batches))
	require.Len(t, marks, len(batches))
	require.Len(t, records, len(batches))
}
