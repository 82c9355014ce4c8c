package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// own reads the accounts in transactions, as the one instance that there is.
func (a *App) own(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	owned := a.partitions()
	var lead *owner
	for _, partition := range slices.Sorted(maps.Keys(owned)) {
		o := a.newOwner(partition, owned[partition])
		if o.lead = lead; lead == nil {
			lead = o
		}
		g.Go(func() error { return o.run(ctx) })
	}
	return g.Wait()
}

// partitions are those of the checkpoint topic that some account belongs to.
func (a *App) partitions() map[int32][]*seat {
	out := map[int32][]*seat{}
	for _, s := range a.seats {
		out[s.partition] = append(out[s.partition], s)
	}
	return out
}

// An owner reads the accounts of one partition of the checkpoint topic.
type owner struct {
	*App
	partition int32
	seats     []*seat
	allowed   func() bool // nil: always
	lead      *owner      // of the lowest partition, if there is no group; nil for that one itself

	lost   error            // what the witness says is gone of the partition
	broken map[string]error // accounts of which the topic does not hold all
	taking sync.Mutex       // held while the partition is taken over
	shard  *kafka.Shard     // of the last term; nil after a takeover that failed
}

func (a *App) newOwner(partition int32, seats []*seat) *owner {
	return &owner{App: a, partition: partition, seats: seats}
}

const (
	// A term that lasted so long was a good one: the next failure is the first in a row.
	goodTerm = time.Minute
	// maxTermPause is the longest wait between two attempts at taking over.
	maxTermPause = 30 * time.Second
	// commandPause leaves a command that mends the checkpoint the time that it needs.
	commandPause = 10 * time.Second
)

// run takes the partition over and reads, again and again, until ctx ends. What is wrong with one partition does not stop
// those of others, so that it is said in the log and in the status, and tried again.
func (o *owner) run(ctx context.Context) error {
	defer o.vacate(nil)
	for failures := 0; ; failures++ {
		if !o.await(ctx) {
			return nil
		}
		began, store := time.Now(), o.memory()
		err := o.term(ctx)
		if ctx.Err() != nil {
			if _, lost := errors.AsType[*kafka.LostError](err); lost {
				err = nil // whoever is next finds out what became of it
			}
			return err
		}
		if time.Since(began) > goodTerm {
			failures = 0
		}
		wait := min(100*time.Millisecond<<min(failures, 9), maxTermPause)
		if _, refused := errors.AsType[*CheckpointError](err); refused || o.byCommand(ctx, err) {
			wait = commandPause
		} else if fenced(err) && o.allowed == nil && !o.stays(ctx) {
			return fmt.Errorf("%w: %w; two instances without kafka.group share the topics", ErrFenced, err)
		}
		if errors.Is(err, checkpoint.ErrDamaged) {
			if err := o.replaceStore(store, "it is damaged: "+err.Error()); err != nil {
				return err
			}
		}
		o.vacate(err)
		o.log.Warn("reading stopped; its part of the checkpoint is taken over again", "partition", o.partition, "accounts", o.names(),
			"err", err, "retry_in", wait)
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// await waits until the partition may be taken over: by then the group counts on this instance, or there is none.
func (o *owner) await(ctx context.Context) bool {
	if o.allowed == nil || o.allowed() {
		return true
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if o.allowed() {
				return true
			}
		}
	}
}

// term is one time of owning the partition, from taking it over until ctx ends or it is lost.
func (o *owner) term(ctx context.Context) error {
	began := time.Now()
	shard, err := o.takeOver(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = shard.Close(closing) // what was on its way belongs to a transaction that is over, or is aborted
	}()
	o.broken = map[string]error{}
	o.hear(ctx, shard)
	replayed, err := o.replay(ctx, shard)
	if err != nil {
		return err
	}
	var taken []*seat
	var refused []error
	last := o.lastWatermarks(ctx)
	for _, s := range o.seats {
		err := o.occupy(s, shard, last)
		if refusal, ok := errors.AsType[*CheckpointError](err); ok {
			o.refuse(s, refusal)
			refused = append(refused, refusal)
			continue
		}
		if err != nil {
			return err
		}
		taken = append(taken, s)
	}
	if len(taken) == 0 {
		return errors.Join(refused...)
	}
	o.log.Info("reading", "partition", o.partition, "accounts", o.names(), "replayed_records", replayed.Records,
		"took", time.Since(began).Round(time.Millisecond), "version", o.o.Version)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range taken {
		g.Go(func() error { return s.account.Run(ctx) })
	}
	telling, end := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		o.tell(telling)
	}()
	err = g.Wait()
	end()
	<-told
	return err
}

func (o *owner) takeOver(ctx context.Context) (*kafka.Shard, error) {
	o.taking.Lock()
	defer o.taking.Unlock()
	var err error
	o.shard, err = o.publisher.TakeOver(ctx, o.partition)
	return o.shard, err
}

// occupy makes the account of a seat ready to be read.
func (o *owner) occupy(s *seat, shard *kafka.Shard, last watermarkReader) error {
	store := o.memory()
	j, err := journal.New(store, s.AccountID)
	if err != nil {
		return err
	}
	if err := o.trust(s, j, last); err != nil {
		return err
	}
	with := seating{delivery: shard, journal: &journaled{store, j, s.AccountID, o.nextName()}, allowed: o.allowed}
	if err := o.seat(s, with); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.owner = &status.Owner{State: status.OK, Partition: o.partition, Instance: o.o.Instance, Mine: true}
	return nil
}

// vacate empties the seats; err says why, nil that they are not to be read here any more.
func (o *owner) vacate(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.seats {
		was := s.owner
		if _, refused := errors.AsType[*CheckpointError](err); refused && was != nil && was.LastError != nil {
			continue // it was said of each
		}
		s.account, s.owner = nil, &status.Owner{State: status.Waiting, Partition: o.partition, Mine: err != nil}
		if err == nil {
			continue
		}
		trouble := status.Error{Text: err.Error(), Class: status.ClassRetry, Since: time.Now().UTC(), Count: 1}
		if may, known := kafka.Retryable(err); known && !may {
			trouble.Class = status.ClassPermanent
		}
		if was != nil && was.LastError != nil {
			s.owner.State = status.Failing
			trouble = *trouble.After(was.LastError)
		}
		s.owner.LastError = &trouble
	}
}

func (o *owner) names() (names []string) {
	for _, s := range o.seats {
		names = append(names, s.Name)
	}
	return names
}

func (o *owner) startName() string { return identityStart + strconv.Itoa(int(o.partition)) }

func (o *owner) nextName() string { return identityNext + strconv.Itoa(int(o.partition)) }

// replay brings the checkpoint file up to date with the topic. If what the file holds does not fit, it is made again.
func (o *owner) replay(ctx context.Context, shard *kafka.Shard) (journal.Summary, error) {
	store := o.memory()
	record, err := store.Identity(o.nextName())
	if err != nil {
		return journal.Summary{}, err
	}
	from, known := decodeOffset(record)
	if record, err = store.Identity(o.startName()); err != nil {
		return journal.Summary{}, err
	}
	began, ok := decodeOffset(record)
	if !ok {
		began = -1
	}
	switch {
	case !known:
		if err := o.dropRecorded(ctx, shard); err != nil {
			return journal.Summary{}, err
		}
		return o.rebuild(ctx, shard)
	case from < shard.Start || from > shard.End || began >= 0 && shard.Start > began:
		o.log.Warn("the checkpoint file does not fit the checkpoint topic; it is made again from it", "partition", o.partition,
			"file_at", from, "topic_from", shard.Start, "topic_to", shard.End)
	default:
		summary, err := o.replayFrom(ctx, shard, from)
		if _, incomplete := errors.AsType[*journal.IncompleteError](err); !incomplete {
			return summary, err
		}
		o.log.Warn("the checkpoint file was left behind for too long; it is made again from the checkpoint topic",
			"partition", o.partition, "err", err)
	}
	if err := o.drop(store, func(string) bool { return true }); err != nil {
		return journal.Summary{}, err
	}
	return o.rebuild(ctx, shard)
}

// rebuild replays the partition from its start. Accounts of which it does not hold all are left out.
func (o *owner) rebuild(ctx context.Context, shard *kafka.Shard) (journal.Summary, error) {
	for {
		summary, err := o.replayFrom(ctx, shard, shard.Start)
		incomplete, ok := errors.AsType[*journal.IncompleteError](err)
		if !ok {
			return summary, err
		}
		if err := o.memory().Drop(incomplete.Account); err != nil {
			return summary, err
		}
		o.broken[incomplete.Account] = incomplete
	}
}

// replayFrom applies the topic from an offset on.
func (o *owner) replayFrom(ctx context.Context, shard *kafka.Shard, from int64) (journal.Summary, error) {
	r := journal.NewReplay(o.memory(), func(account string) bool {
		return kafka.CheckpointPartition(account) == o.partition && o.broken[account] == nil
	})
	if err := shard.Replay(ctx, from, r.Add); err != nil {
		return journal.Summary{}, err
	}
	return r.Finish(map[string][]byte{o.nextName(): encodeOffset(shard.End + 1), o.startName(): encodeOffset(shard.Start)})
}

// dropRecorded forgets what the file says of accounts of which the topic says something too, and more. The file was then
// written before the partition was first taken over here. Others keep what they have, from reading without transactions.
func (o *owner) dropRecorded(ctx context.Context, shard *kafka.Shard) error {
	recorded := map[string]bool{}
	err := shard.Replay(ctx, shard.Start, func(key, value []byte, _ int64) error {
		if account, ok := journal.ManifestOf(key); ok && value != nil {
			recorded[account] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return o.drop(o.memory(), func(account string) bool { return recorded[account] })
}

// drop forgets what the file says of the accounts of this partition that are chosen.
func (o *owner) drop(store *checkpoint.Store, chosen func(account string) bool) error {
	accounts, err := store.Accounts()
	if err != nil {
		return err
	}
	for _, account := range accounts {
		if kafka.CheckpointPartition(account) != o.partition || !chosen(account) {
			continue
		}
		if err := store.Drop(account); err != nil {
			return err
		}
	}
	return nil
}

func encodeOffset(next int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(next)) }

func decodeOffset(record []byte) (int64, bool) {
	if len(record) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(record)), true
}
