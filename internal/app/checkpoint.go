package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/owner"
	"agentassist-poller/internal/poll"
)

// CheckpointOptions are the flags of poller checkpoint.
type CheckpointOptions struct {
	Account string
	All     bool
	Rewind  time.Duration // of adopt
}

// bench is what a command needs to work on the checkpoints of accounts: Kafka, and a temporary store.
type bench struct {
	cfg       *Config
	publisher *kafka.Publisher
	store     *checkpoint.Store
	out       Output
	close     func()
}

func newBench(ctx context.Context, c *Config, out Output, command string) (*bench, error) {
	if c.Kafka.Delivery != kafka.ExactlyOnce {
		return nil, &UsageError{fmt.Errorf("kafka.delivery is %s: what it remembers is in the file %s only", c.Kafka.Delivery, c.Checkpoint.Path)}
	}
	publisher, err := openFor(ctx, c, out, command)
	if err != nil {
		return nil, err
	}
	b := &bench{cfg: c, publisher: publisher, out: out}
	dir, err := os.MkdirTemp("", "poller-checkpoint-")
	if err == nil {
		b.store, err = checkpoint.Open(filepath.Join(dir, "poller.db"), checkpoint.Options{NoSync: true})
	}
	b.close = func() {
		if b.store != nil {
			_ = b.store.Close()
		}
		_ = os.RemoveAll(dir)
		_ = publisher.Close(context.WithoutCancel(ctx))
	}
	if err != nil {
		b.close()
		return nil, fmt.Errorf("make room for what is read: %w", err)
	}
	return b, nil
}

// openFor connects a command to Kafka and the registry as a poller does.
func openFor(ctx context.Context, c *Config, out Output, command string) (*kafka.Publisher, error) {
	host, _ := os.Hostname()
	return kafka.Open(ctx, kafka.Options{
		Config: c.Kafka, Registry: c.SchemaRegistry, Types: c.Events.Types(), Log: out.Log, Instance: host, Command: command,
	})
}

// chosen returns the accounts that the flags name, by partition.
func (o *CheckpointOptions) chosen(c *Config) (map[int32][]*Account, error) {
	if (o.Account == "") != o.All {
		return nil, &UsageError{errors.New("name an account with --account, or all of them with --all")}
	}
	chosen := byPartition(c, func(a *Account) bool { return o.All || a.Name == o.Account })
	if len(chosen) == 0 {
		return nil, &UsageError{fmt.Errorf("--account %q: there is no such account", o.Account)}
	}
	return chosen, nil
}

// byPartition groups accounts by their partition of the checkpoint topic.
func byPartition(c *Config, wanted func(*Account) bool) map[int32][]*Account {
	out := map[int32][]*Account{}
	for i := range c.Accounts {
		if a := &c.Accounts[i]; wanted(a) {
			partition := kafka.CheckpointPartition(a.AccountID)
			out[partition] = append(out[partition], a)
		}
	}
	return out
}

// holds is what a partition has of one account.
type holds struct {
	keys   [][]byte // in the order of the topic, each once
	whole  error    // what is missing, nil for nothing
	exists bool
	info   kafka.PartitionInfo
}

// look replays an account into the store, and notes all keys that the topic has of it.
func (b *bench) look(ctx context.Context, partition int32, account string) (*holds, error) {
	h := &holds{}
	alive := map[string]bool{}
	if err := b.store.Drop(account); err != nil {
		return nil, err
	}
	replay := journal.NewReplay(b.store, func(name string) bool { return name == account })
	var err error
	h.info, err = b.publisher.Inspect(ctx, partition, 0, func(key, value []byte, next int64) error {
		if _, of, ok := journal.KindOf(key); !ok || of != account {
			return nil
		}
		alive[string(key)] = value != nil
		return replay.Add(key, value, next)
	})
	if err != nil {
		return nil, err
	}
	for key, there := range alive {
		if there {
			h.keys = append(h.keys, []byte(key))
		}
		kind, _, _ := journal.KindOf([]byte(key))
		h.exists = h.exists || there && kind == journal.KindManifest
	}
	slices.SortFunc(h.keys, func(x, y []byte) int { return strings.Compare(string(x), string(y)) })
	_, err = replay.Finish(nil)
	if _, incomplete := errors.AsType[*journal.IncompleteError](err); incomplete {
		h.whole, err = err, nil
	}
	if !h.exists && h.whole == nil {
		h.whole = errors.New("there is no manifest")
	}
	return h, err
}

// write takes a partition over, checks that no record of the account was written since it was read, and publishes batches, each in one
// transaction.
func (b *bench) write(ctx context.Context, partition int32, account string, h *holds, batches ...*kafka.Batch) error {
	return b.own(ctx, partition, func(shard *kafka.Shard) error {
		written := false
		err := shard.Replay(ctx, h.info.End, func(key, _ []byte, _ int64) error {
			_, of, ok := journal.KindOf(key)
			written = written || ok && of == account
			return nil
		})
		if err == nil && written {
			err = errors.New("the poller wrote to it meanwhile")
		}
		for _, batch := range batches {
			if err == nil {
				err = shard.Deliver(ctx, batch)
			}
		}
		return err
	})
}

// catchUp brings the store up to date with what was written of an account between look and the takeover.
func (b *bench) catchUp(ctx context.Context, shard *kafka.Shard, account string, h *holds) error {
	replay := journal.NewReplay(b.store, func(name string) bool { return name == account })
	if err := shard.Replay(ctx, h.info.End, replay.Add); err != nil {
		return err
	}
	_, err := replay.Finish(nil)
	return err
}

// own takes a partition over while do runs. A poller that reads from it takes it back afterwards.
func (b *bench) own(ctx context.Context, partition int32, do func(shard *kafka.Shard) error) error {
	shard, err := b.publisher.TakeOver(ctx, partition)
	if err != nil {
		return err
	}
	defer func() { _ = shard.Close(context.WithoutCancel(ctx)) }()
	if err := do(shard); err != nil {
		return fmt.Errorf("write to partition %d of %s: %w; what was done before holds: run the command again, with the poller stopped if it stays so",
			partition, b.publisher.Topics.Checkpoint(), err)
	}
	return b.publisher.Witness().Note(ctx, partition, shard.End+1)
}

// CheckpointRecover makes accounts whose checkpoint is lost continue from their last watermarks.
func CheckpointRecover(ctx context.Context, c *Config, out Output, o CheckpointOptions) error {
	chosen, err := o.chosen(c)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, c, out, "checkpoint recover")
	if err != nil {
		return err
	}
	defer b.close()
	last, err := b.publisher.LastWatermarks(ctx)
	if err != nil {
		return err
	}
	for partition, accounts := range chosen {
		info, err := b.publisher.Inspect(ctx, partition, 0, nil)
		if err != nil {
			return err
		}
		var lost *kafka.LostRecordsError
		if err := b.publisher.Witness().Check(ctx, partition, info.End); err != nil && !errors.As(err, &lost) {
			out.Log.Warn("the second witness cannot be asked", "err", err)
		}
		if lost != nil { // what is lost is lost for all of the partition
			accounts = byPartition(c, func(*Account) bool { return true })[partition]
		}
		for _, a := range accounts {
			err := undisturbed(ctx, func() error { return b.recover(ctx, partition, a, lost != nil, watermarksOf(last, a)) })
			if err != nil {
				return fmt.Errorf("account %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

// undisturbed retries if a running poller takes the partition back in between. That poller then pauses, because it still cannot read
// from the partition, which gives the retry its chance. Kafka's answer does not prove that the poller was the cause.
func undisturbed(ctx context.Context, do func() error) (err error) {
	const attempts, apart = 5, 3 * time.Second
	for attempt := range attempts {
		if attempt > 0 && !pause(ctx, apart) {
			break
		}
		err = do()
		_, lost := errors.AsType[*kafka.LostError](err)
		if may, _ := kafka.Retryable(err); !lost && !may {
			break
		}
	}
	return err
}

// recover writes a new checkpoint for one account.
func (b *bench) recover(ctx context.Context, partition int32, a *Account, lost bool, resume resume) error {
	h, err := b.look(ctx, partition, a.AccountID)
	if err != nil {
		return err
	}
	if h.whole == nil && !lost {
		fmt.Fprintf(b.out.Out, "%s: its checkpoint is whole; nothing is done\n", a.Name)
		return nil
	}
	if err := b.store.Drop(a.AccountID); err != nil {
		return err
	}
	account, err := b.account(a, resume)
	if err != nil {
		return err
	}
	records, restarts, err := account.Records()
	if err != nil {
		return err
	}
	j, err := journal.New(b.store, a.AccountID)
	if err != nil {
		return err
	}
	j.SetCluster(b.publisher.Topics.Cluster)
	journaled := owner.NewJournal(b.store, j, a.AccountID, partition)
	changes := checkpoint.Changes{Account: a.AccountID, ReadAt: time.Now(), Progress: records}
	batch := &kafka.Batch{Account: a.Name, Recording: owner.NewRecording(
		func(most int) ([]kafka.Record, error) {
			written, err := journaled.Append(&changes, most)
			return append(tombstones(h.keys), written...), err
		},
		func(next int64) error { return journaled.Commit(changes, next) },
	)}
	if err := b.write(ctx, partition, a.AccountID, h, batch); err != nil {
		return err
	}
	fmt.Fprintf(b.out.Out, "%s: recovered. What was published since then is published again, with the same event ids; things that have changed since "+
		"they were published come as revision 1\n", a.Name)
	for _, r := range restarts {
		fmt.Fprintf(b.out.Out, "  %s goes on from %s\n", r.Unit, r.From.Format(time.RFC3339))
	}
	return nil
}

func tombstones(keys [][]byte) (out []kafka.Record) {
	for _, key := range keys {
		out = append(out, kafka.Record{Key: key})
	}
	return out
}

// account returns an account that is not run: it computes progress.
func (b *bench) account(a *Account, resume resume) (*poll.Account, error) {
	o := accountOptions(b.cfg, a)
	o.API, o.Store, o.Resume, o.Log = offline{}, b.store, resume, slog.New(slog.DiscardHandler)
	return poll.NewAccount(o)
}

// offline is the API of an account that is not run.
type offline struct{}

var errOffline = errors.New("this command does not ask the API")

func (offline) Fetch(context.Context, kore.Query) (*kore.Response, error) { return nil, errOffline }
func (offline) Skew() (time.Duration, bool)                               { return 0, false }
func (offline) Now() time.Time                                            { return time.Now() }

// CheckpointAdopt makes accounts continue from a checkpoint that was written for another cluster: one that was mirrored, or that got a
// new id. It reads the last hours again, as their events may not have been mirrored.
func CheckpointAdopt(ctx context.Context, c *Config, out Output, o CheckpointOptions) error {
	chosen, err := o.chosen(c)
	if err != nil {
		return err
	}
	if o.Rewind <= 0 || o.Rewind > c.Retention {
		return &UsageError{fmt.Errorf("--rewind %s: want more than 0 and at most the retention of %s", o.Rewind, c.Retention)}
	}
	b, err := newBench(ctx, c, out, "checkpoint adopt")
	if err != nil {
		return err
	}
	defer b.close()
	ends, err := b.publisher.EventEnds(ctx)
	if err != nil {
		return err
	}
	for partition, accounts := range chosen {
		for _, a := range accounts {
			err := undisturbed(ctx, func() error { return b.adopt(ctx, partition, a, o.Rewind, ends) })
			if err != nil {
				return fmt.Errorf("account %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

func (b *bench) adopt(ctx context.Context, partition int32, a *Account, by time.Duration, ends kafka.Offsets) error {
	h, err := b.look(ctx, partition, a.AccountID)
	if err != nil {
		return err
	}
	if h.whole != nil {
		return fmt.Errorf("its checkpoint is not whole, so that it cannot be adopted: %w; run: poller checkpoint recover", h.whole)
	}
	j, err := journal.New(b.store, a.AccountID)
	if err != nil {
		return err
	}
	was, is := j.Cluster(), b.publisher.Topics.Cluster
	if was == is {
		fmt.Fprintf(b.out.Out, "%s: its checkpoint was written for this cluster; nothing is done\n", a.Name)
		return nil
	}
	records, err := b.store.AllProgress(a.AccountID)
	if err != nil {
		return err
	}
	progress, to, err := poll.Rewind(records, by, ends)
	if err != nil {
		return err
	}
	infos, err := b.store.Days(a.AccountID)
	if err != nil {
		return err
	}
	var days []uint32
	for _, info := range infos {
		if !to.IsZero() && int64(info.Day) >= to.Unix()/int64(day/time.Second) {
			days = append(days, info.Day)
		}
	}
	journaled := owner.NewJournal(b.store, j, a.AccountID, partition)
	// First what is remembered, then what was read, then the name of the cluster: a command that dies in between is run again.
	forget := journaled.Forget(days, time.Now())
	forget.Account = a.Name
	changes := checkpoint.Changes{Account: a.AccountID, ReadAt: time.Now(), Progress: progress}
	rewind := &kafka.Batch{Account: a.Name, Recording: owner.NewRecording(
		func(most int) ([]kafka.Record, error) {
			j.SetCluster(is)
			return journaled.Append(&changes, most)
		},
		func(next int64) error { return journaled.Commit(changes, next) },
	)}
	batches := []*kafka.Batch{forget, rewind}
	if len(days) == 0 {
		batches = batches[1:]
	}
	if err := b.write(ctx, partition, a.AccountID, h, batches...); err != nil {
		return err
	}
	fmt.Fprintf(b.out.Out, "%s: adopted from cluster %q for %q, rewound to %s. What is read again since then is published again, with the same event ids "+
		"where it has not changed\n", a.Name, was, is, to.Format(time.RFC3339))
	return nil
}

// CheckpointVerify reads what is recorded of each account as an owner would that takes it over, and prints whether a poller can go on from it.
// It returns an error if none can for one of them.
func CheckpointVerify(ctx context.Context, c *Config, out Output) error {
	if c.Kafka.Delivery != kafka.ExactlyOnce {
		return verifyFile(c, out)
	}
	b, err := newBench(ctx, c, out, "checkpoint verify")
	if err != nil {
		return err
	}
	defer b.close()
	last, err := b.publisher.LastWatermarks(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out.Out, 0, 0, 2, ' ', 0)
	bad := 0
	for i := range c.Accounts {
		a := &c.Accounts[i]
		marked := false
		for _, w := range last {
			marked = marked || w.AccountID == a.AccountID
		}
		found, ok, err := b.verify(ctx, a, marked)
		if err != nil {
			return fmt.Errorf("account %s: %w", a.Name, err)
		}
		if !ok {
			bad++
		}
		fmt.Fprintf(w, "%s\t%s\n", a.Name, found)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%s without a checkpoint to go on from", plural(bad, "account"))
	}
	return nil
}

// verify says in words how the checkpoint of an account is, and whether a poller can go on from it. marked says that the account has watermarks.
func (b *bench) verify(ctx context.Context, a *Account, marked bool) (found string, ok bool, err error) {
	partition := kafka.CheckpointPartition(a.AccountID)
	h, err := b.look(ctx, partition, a.AccountID)
	if err != nil {
		return "", false, err
	}
	var lost *kafka.LostRecordsError
	if err := b.publisher.Witness().Check(ctx, partition, h.info.End); err != nil && !errors.As(err, &lost) {
		return "", false, err
	}
	const repair = "%v; run: poller checkpoint %s --account %s"
	switch {
	case lost != nil:
		return fmt.Sprintf(repair, lost, "recover", a.Name), false, nil //nolint:nilerr // it is what was found
	case h.whole != nil && !h.exists && !marked:
		return "nothing is recorded of it yet", true, nil
	case h.whole != nil:
		return fmt.Sprintf(repair, h.whole, "recover", a.Name), false, nil //nolint:nilerr // it is what was found
	}
	j, err := journal.New(b.store, a.AccountID)
	if err != nil {
		return "", false, err
	}
	if was, is := j.Cluster(), b.publisher.Topics.Cluster; was != is {
		return fmt.Sprintf(repair, fmt.Sprintf("it was written for cluster %q, and this is %q", was, is), "adopt --rewind 24h", a.Name), false, nil
	}
	days, err := b.store.Days(a.AccountID)
	if err != nil {
		return "", false, err
	}
	entities := 0
	for _, d := range days {
		entities += d.Entities
	}
	return fmt.Sprintf("whole: %s entities of %s", count(int64(entities)), plural(len(days), "day")), true, nil
}

// verifyFile says whether the checkpoint file is sound. The poller must be stopped meanwhile.
func verifyFile(c *Config, out Output) error {
	path := c.Checkpoint.Path
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("verify checkpoint: %w", err)
	}
	store, err := checkpoint.Open(path, checkpoint.Options{})
	if err != nil {
		return fmt.Errorf("verify checkpoint: %w", err)
	}
	if err := store.Close(); err != nil {
		return err
	}
	if err := checkpoint.Verify(path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.Out, "%s is sound\n", path)
	return err
}

// CheckpointShow prints a line for every account that is configured or that the topic knows.
func CheckpointShow(ctx context.Context, c *Config, out Output) error {
	b, err := newBench(ctx, c, out, "checkpoint show")
	if err != nil {
		return err
	}
	defer b.close()
	names := map[string]string{}
	for _, a := range c.Accounts {
		names[a.AccountID] = a.Name
	}
	w := tabwriter.NewWriter(out.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACCOUNT\tID\tPARTITION\tOWNER\tSINCE\tMANIFEST\tDELTAS\tSNAPSHOTS\tBYTES")
	for partition := range int32(b.publisher.Topics.Partitions(b.publisher.Topics.Checkpoint())) {
		if err := b.show(ctx, w, partition, names); err != nil {
			return err
		}
	}
	return w.Flush()
}

// tally is what the topic holds of one account.
type tally struct {
	values  map[string]int // sizes by key
	cluster string
}

func (b *bench) show(ctx context.Context, w io.Writer, partition int32, names map[string]string) error {
	accounts := map[string]*tally{}
	for id := range names {
		if kafka.CheckpointPartition(id) == partition {
			accounts[id] = &tally{values: map[string]int{}}
		}
	}
	info, err := b.publisher.Inspect(ctx, partition, 0, func(key, value []byte, _ int64) error {
		kind, id, ok := journal.KindOf(key)
		if !ok {
			return nil
		}
		a := accounts[id]
		if a == nil {
			a = &tally{values: map[string]int{}}
			accounts[id] = a
		}
		if value == nil {
			delete(a.values, string(key))
			return nil
		}
		a.values[string(key)] = len(key) + len(value)
		if kind == journal.KindManifest {
			a.cluster, _ = journal.ClusterOf(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		kinds, bytes := map[journal.Kind]int{}, 0
		for key, size := range accounts[id].values {
			kind, _, _ := journal.KindOf([]byte(key))
			kinds[kind]++
			bytes += size
		}
		if names[id] == "" && len(accounts[id].values) == 0 {
			continue // it was moved away
		}
		manifest := "missing"
		if kinds[journal.KindManifest] > 0 {
			manifest = cmp.Or(accounts[id].cluster, "no cluster")
		}
		owner, since := "-", "-"
		if o := info.Owner; o != nil {
			owner, since = o.Instance, o.Since.Format(time.RFC3339)
			if o.Command != "" {
				owner += " (" + o.Command + ")"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%d\t%d\t%s\n", cmp.Or(names[id], "(not configured)"), id, partition, owner, since, manifest,
			kinds[journal.KindDelta], kinds[journal.KindSnapshot], bytesOf(int64(bytes)))
	}
	return nil
}
