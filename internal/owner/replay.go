package owner

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
)

// replayed is the result of a replay.
type replayed struct {
	records int // that were read
	// incomplete has the accounts of which the topic does not hold all, with what is missing. The file holds nothing of them.
	incomplete map[string]error
}

// replay brings the checkpoint file up to date with the topic. If what the file holds does not fit, it is made again.
func (p *partition) replay(ctx context.Context, store *checkpoint.Store, shard *kafka.Shard) (replayed, error) {
	log := p.in.o.Log
	record, err := store.Identity(nextName(p.number))
	if err != nil {
		return replayed{}, err
	}
	from, known := decodeOffset(record)
	if record, err = store.Identity(startName(p.number)); err != nil {
		return replayed{}, err
	}
	began, ok := decodeOffset(record)
	if !ok {
		began = -1
	}
	switch {
	case !known:
		if err := p.dropRecorded(ctx, store, shard); err != nil {
			return replayed{}, err
		}
		return p.rebuild(ctx, store, shard)
	case from < shard.Start || from > shard.End || began >= 0 && shard.Start > began:
		log.Warn("the checkpoint file does not fit the checkpoint topic; it is made again from it", "partition", p.number,
			"file_at", from, "topic_from", shard.Start, "topic_to", shard.End)
	default:
		summary, err := p.replayFrom(ctx, store, shard, from, nil)
		if _, incomplete := errors.AsType[*journal.IncompleteError](err); !incomplete {
			return replayed{records: summary.Records}, err
		}
		log.Warn("the checkpoint file was left behind for too long; it is made again from the checkpoint topic",
			"partition", p.number, "err", err)
	}
	if err := p.drop(store, func(string) bool { return true }); err != nil {
		return replayed{}, err
	}
	return p.rebuild(ctx, store, shard)
}

// rebuild replays the partition from its start. Accounts of which it does not hold all are left out.
func (p *partition) rebuild(ctx context.Context, store *checkpoint.Store, shard *kafka.Shard) (replayed, error) {
	incomplete := map[string]error{}
	for {
		summary, err := p.replayFrom(ctx, store, shard, shard.Start, incomplete)
		missing, ok := errors.AsType[*journal.IncompleteError](err)
		if !ok {
			return replayed{records: summary.Records, incomplete: incomplete}, err
		}
		if err := store.Drop(missing.Account); err != nil {
			return replayed{}, err
		}
		incomplete[missing.Account] = missing
	}
}

// replayFrom applies the topic from an offset on, but for the accounts that are left out.
func (p *partition) replayFrom(ctx context.Context, store *checkpoint.Store, shard *kafka.Shard, from int64, leftOut map[string]error) (journal.Summary, error) {
	r := journal.NewReplay(store, func(account string) bool {
		return kafka.CheckpointPartition(account) == p.number && leftOut[account] == nil
	})
	if err := shard.Replay(ctx, from, r.Add); err != nil {
		return journal.Summary{}, err
	}
	return r.Finish(map[string][]byte{nextName(p.number): encodeOffset(shard.End + 1), startName(p.number): encodeOffset(shard.Start)})
}

// dropRecorded deletes local state of accounts that the topic also has, and more completely: the file was written before this instance
// first took the partition over. Other accounts keep what they have, from reading without transactions.
func (p *partition) dropRecorded(ctx context.Context, store *checkpoint.Store, shard *kafka.Shard) error {
	recorded := map[string]bool{}
	err := shard.Replay(ctx, shard.Start, func(key, value []byte, _ int64) error {
		if kind, account, _ := journal.KindOf(key); kind == journal.KindManifest && value != nil {
			recorded[account] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.drop(store, func(account string) bool { return recorded[account] })
}

// drop deletes from the file the accounts of this partition that are chosen.
func (p *partition) drop(store *checkpoint.Store, chosen func(account string) bool) error {
	accounts, err := store.Accounts()
	if err != nil {
		return err
	}
	for _, account := range accounts {
		if kafka.CheckpointPartition(account) != p.number || !chosen(account) {
			continue
		}
		if err := store.Drop(account); err != nil {
			return err
		}
	}
	return nil
}

// The file's records about a partition: the offset up to which the file holds what the topic says, and the offset at which the topic
// began then. If the topic begins later now, somebody deleted records.
func nextName(partition int32) string  { return "next/" + strconv.Itoa(int(partition)) }
func startName(partition int32) string { return "start/" + strconv.Itoa(int(partition)) }

func encodeOffset(next int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(next)) }

func decodeOffset(record []byte) (int64, bool) {
	if len(record) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(record)), true
}
