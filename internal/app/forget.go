package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/explain"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/owner"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/revise"
)

// ForgetOptions are the flags of poller forget.
type ForgetOptions struct {
	IDs     []string // of conversations, sessions, segments, entities or events
	Persons []string // ids, e-mail addresses and telephone numbers of persons, whose conversations are meant
	DryRun  bool
	JSON    bool
}

// forgotten is what is done about the conversation of an id or the conversations of a person, and what stays of it.
type forgotten struct {
	ID            string       `json:"id,omitempty"`
	Person        string       `json:"person,omitempty"`
	Conversations []string     `json:"conversation_ids"`
	Sessions      []string     `json:"session_ids"`
	Accounts      []string     `json:"accounts"`
	Things        []thing      `json:"things"`
	Tombstones    []tombstoned `json:"tombstones"`
	// Contents are the things whose texts the checkpoint held.
	Contents int    `json:"checkpoint_contents"`
	Stays    []stay `json:"stays"`
	// HashesFor is how long the checkpoint keeps a hash of each thing after its row was last read.
	HashesFor string `json:"checkpoint_hashes_for"`
	DryRun    bool   `json:"dry_run"`
}

// thing is an entity, for those who have to delete what they keep of it.
type thing struct {
	Type events.Type `json:"type"`
	ID   string      `json:"entity_id"`
}

type tombstoned struct {
	Topic   string `json:"topic"`
	Records int    `json:"records"`
}

// stay is what a topic holds until Kafka deletes it.
type stay struct {
	Topic   string `json:"topic"`
	Records int    `json:"records"`
	// From is the earliest time at which Kafka deletes the last of the records; nil if it never does.
	From *time.Time `json:"deleted_from"`
}

// Forget deletes of conversations what can be deleted: their last revisions on the topics of latest revisions, and their texts in the
// checkpoint. It prints that, and what stays until its retention ends. It returns an error if nothing is known of one of the ids.
func Forget(ctx context.Context, c *Config, out Output, o ForgetOptions) error {
	persons, err := c.Privacy.Policy()
	if err != nil {
		return fmt.Errorf("read privacy.key_file: %w", err)
	}
	f, err := newForgetter(ctx, c, out, o)
	if err != nil {
		return err
	}
	defer f.close()
	var wishes []wish
	for _, id := range o.IDs {
		wishes = append(wishes, wish{id: id, of: func(_ events.Type, fields map[string]any) bool { return explain.HasID(fields, id) }})
	}
	for _, person := range o.Persons {
		wishes = append(wishes, wish{person: person, of: func(t events.Type, fields map[string]any) bool {
			return t != "" && persons.Mentions(t, fields, person)
		}})
	}
	all := []*forgotten{}
	var unknown []string
	for _, w := range wishes {
		done, failed := f.forget(ctx, w)
		if failed != nil {
			err = fmt.Errorf("forget %s: %w", w, failed)
			break
		}
		if done == nil {
			unknown = append(unknown, w.String())
			continue
		}
		all = append(all, done)
	}
	if err == nil && len(unknown) > 0 {
		err = fmt.Errorf("forget %s: no topic below the prefix %q has anything of it", strings.Join(unknown, ", "), c.Kafka.TopicPrefix)
	}
	if o.JSON {
		return errors.Join(printJSON(out.Out, all), err)
	}
	for _, done := range all {
		err = errors.Join(done.print(out.Out), err)
	}
	return err
}

// A wish is to forget the conversation of an id, or those of a person.
type wish struct {
	id, person string // one of them
	of         func(events.Type, map[string]any) bool
}

func (w wish) String() string { return cmp.Or(w.id, w.person) }

// A forgetter has what the command works on: the checkpoint topic under exactly-once, else the checkpoint file.
type forgetter struct {
	cfg       *Config
	o         ForgetOptions
	publisher *kafka.Publisher
	bench     *bench      // nil: at-least-once
	file      *owner.File // nil: exactly-once
	close     func()
}

func newForgetter(ctx context.Context, c *Config, out Output, o ForgetOptions) (*forgetter, error) {
	f := &forgetter{cfg: c, o: o}
	if c.Kafka.Delivery == kafka.ExactlyOnce {
		b, err := newBench(ctx, c, out, "forget")
		if err != nil {
			return nil, err
		}
		f.bench, f.publisher, f.close = b, b.publisher, b.close
		return f, nil
	}
	file, err := owner.OpenFile(c.Checkpoint.Path, c.Kafka.Delivery, out.Log)
	if err != nil {
		return nil, fmt.Errorf("%w; with kafka.delivery %s the poller must be stopped meanwhile", err, c.Kafka.Delivery)
	}
	publisher, err := openFor(ctx, c, out, "forget")
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f.file, f.publisher = file, publisher
	f.close = func() {
		_ = publisher.Close(context.WithoutCancel(ctx))
		_ = file.Close()
	}
	return f, nil
}

// forget does what is wished. It returns nil if no topic has anything of it.
func (f *forgetter) forget(ctx context.Context, w wish) (*forgotten, error) {
	held, err := explain.Find(ctx, explain.Options{Kafka: f.cfg.Kafka, Registry: f.cfg.SchemaRegistry, Log: slog.New(slog.DiscardHandler)}, w.of)
	if err != nil || len(held.Things)+len(held.Records) == 0 {
		return nil, err
	}
	done := &forgotten{
		ID: w.id, Person: w.person, Conversations: append([]string{}, held.Conversations...),
		Sessions: append([]string{}, held.Sessions...), Accounts: []string{}, Things: []thing{},
		Tombstones: []tombstoned{}, Stays: f.stays(held), HashesFor: conf.FormatDuration(f.cfg.Retention), DryRun: f.o.DryRun,
	}
	things := map[string][]*explain.Holding{} // by account
	tombstones := map[string]int{}
	for _, h := range held.Things {
		done.Things = append(done.Things, thing{h.Type, h.ID})
		things[h.AccountID] = append(things[h.AccountID], h)
		if h.Latest != "" {
			tombstones[h.Latest]++
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(tombstones)) {
		done.Tombstones = append(done.Tombstones, tombstoned{topic, tombstones[topic]})
	}
	for _, account := range slices.Sorted(maps.Keys(things)) {
		i := slices.IndexFunc(f.cfg.Accounts, func(a Account) bool { return a.AccountID == account })
		if i < 0 {
			return nil, fmt.Errorf("account %q published it, and is not in the configuration: run the command with one that has it", account)
		}
		contents := 0
		forget := func() error {
			n, err := f.forgetThings(ctx, &f.cfg.Accounts[i], things[account])
			contents = max(contents, n) // an attempt that failed in the end may have removed them
			return err
		}
		if err := undisturbed(ctx, forget); err != nil {
			return nil, fmt.Errorf("account %s: %w", f.cfg.Accounts[i].Name, err)
		}
		done.Accounts, done.Contents = append(done.Accounts, f.cfg.Accounts[i].Name), done.Contents+contents
	}
	return done, nil
}

// stays returns what topics hold until its retention ends.
func (f *forgetter) stays(held *explain.Holdings) []stay {
	last := map[string]*stay{}
	for _, r := range held.Records {
		s := last[r.Topic]
		if s == nil {
			s = &stay{Topic: r.Topic}
			last[r.Topic] = s
		}
		s.Records++
		if keeps := f.publisher.Topics.Topic(r.Topic).Retention; keeps >= 0 {
			if from := r.Timestamp.Add(keeps); s.From == nil || from.After(*s.From) {
				s.From = &from
			}
		}
	}
	stays := make([]stay, 0, len(last))
	for _, topic := range slices.Sorted(maps.Keys(last)) {
		stays = append(stays, *last[topic])
	}
	return stays
}

// forgetThings publishes the tombstones of things of an account, and takes their texts out of the checkpoint. It returns how many had any.
func (f *forgetter) forgetThings(ctx context.Context, a *Account, things []*explain.Holding) (contents int, err error) {
	if f.bench == nil {
		return f.forgetInFile(ctx, a, things)
	}
	partition := kafka.CheckpointPartition(a.AccountID)
	h, err := f.bench.look(ctx, partition, a.AccountID)
	if err != nil {
		return 0, err
	}
	if h.whole != nil {
		return 0, fmt.Errorf("its checkpoint is not whole: %w; run: poller checkpoint recover", h.whole)
	}
	if f.o.DryRun {
		_, contents, err = textsOf(f.bench.store, a.AccountID, things)
		return contents, err
	}
	err = f.bench.own(ctx, partition, func(shard *kafka.Shard) error {
		if err := f.bench.catchUp(ctx, shard, a.AccountID, h); err != nil {
			return err
		}
		var puts []checkpoint.Entry
		if puts, contents, err = textsOf(f.bench.store, a.AccountID, things); err != nil {
			return err
		}
		return f.rewrite(ctx, shard, a, tombstonesOf(things), puts)
	})
	return contents, err
}

// forgetInFile is forgetThings where the checkpoint is the file.
func (f *forgetter) forgetInFile(ctx context.Context, a *Account, things []*explain.Holding) (contents int, err error) {
	store := f.file.Store()
	if unfinished, err := poll.Unfinished(store, a.AccountID); err != nil || unfinished {
		return 0, cmp.Or(err, errors.New("a batch was cut off, and would be published again as it was: let the poller start and stop once before"))
	}
	puts, contents, err := textsOf(store, a.AccountID, things)
	if err != nil || f.o.DryRun {
		return contents, err
	}
	if err := f.publisher.AtLeastOnce.Deliver(ctx, &kafka.Batch{Account: a.Name, Tombstones: tombstonesOf(things)}); err != nil {
		return 0, err
	}
	return contents, store.Commit(checkpoint.Changes{Account: a.AccountID, Puts: puts})
}

func tombstonesOf(things []*explain.Holding) (all []kafka.Tombstone) {
	for _, h := range things {
		if h.Latest != "" {
			all = append(all, kafka.Tombstone{Topic: h.Latest, Key: h.ID})
		}
	}
	return all
}

// rewrite publishes the tombstones and what the checkpoint is to hold, and then has the checkpoint topic written again, so that no record of
// it from before stays.
func (f *forgetter) rewrite(ctx context.Context, shard *kafka.Shard, a *Account, tombstones []kafka.Tombstone, puts []checkpoint.Entry) error {
	j, err := journal.New(f.bench.store, a.AccountID)
	if err != nil {
		return err
	}
	if was, is := j.Cluster(), f.publisher.Topics.Cluster; was != is {
		return fmt.Errorf("it was written for cluster %q, and this is %q; run: poller checkpoint adopt", was, is)
	}
	journaled := owner.NewJournal(f.bench.store, j, a.AccountID, shard.Partition)
	deliver := func(tombstones []kafka.Tombstone, puts []checkpoint.Entry) error {
		// As of no time: the day of an entity is forgotten no later for it.
		changes := checkpoint.Changes{Account: a.AccountID, Puts: puts}
		return shard.Deliver(ctx, &kafka.Batch{Account: a.Name, Tombstones: tombstones, Recording: owner.NewRecording(
			func(most int) ([]kafka.Record, error) { return journaled.Append(&changes, most) },
			func(next int64) error { return journaled.Commit(changes, next) },
		)})
	}
	if err := deliver(tombstones, puts); err != nil {
		return err
	}
	for j.Rewrite(); !j.Rewritten(); {
		if err := deliver(nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// textsOf returns what to store in place of things of which the store holds texts, and how many those are.
func textsOf(store *checkpoint.Store, account string, things []*explain.Holding) (puts []checkpoint.Entry, contents int, err error) {
	wanted := map[checkpoint.Hash]events.Type{}
	for _, g := range things {
		hash, err := revise.HashOf(g.ID)
		if err != nil {
			return nil, 0, err
		}
		wanted[hash] = g.Type
	}
	days, err := store.Days(account)
	if err != nil {
		return nil, 0, err
	}
	var found []checkpoint.Entry
	for _, d := range days {
		for slot := range checkpoint.SlotDead {
			err := store.Scan(account, d.Day, slot, func(minute uint16, hash checkpoint.Hash, value []byte) error {
				if wanted[hash] != "" {
					key := checkpoint.Key{Day: d.Day, Minute: minute, Shared: slot >= checkpoint.SlotShared, Hash: hash}
					found = append(found, checkpoint.Entry{Key: key, Value: slices.Clone(value)})
				}
				return nil
			})
			if err != nil {
				return nil, 0, err
			}
		}
	}
	for _, e := range found {
		instead, err := revise.Forget(revise.OfAccount(store, account), wanted[e.Key.Hash], e.Key, e.Value)
		if err != nil {
			return nil, 0, err
		}
		if instead != nil {
			puts, contents = append(puts, instead...), contents+1
		}
	}
	return puts, contents, nil
}

// print says for people what was done and what stays.
func (d *forgotten) print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	deleted, removed := "deleted from", "removed from"
	if d.DryRun {
		deleted, removed = "would be deleted from", "would be removed from"
	}
	who := fmt.Sprintf("conversation %s, session %s", cmp.Or(strings.Join(d.Conversations, ", "), "not known"),
		cmp.Or(strings.Join(d.Sessions, ", "), "not known"))
	if d.Person != "" {
		who = fmt.Sprintf("%s: %s in %s", d.Person, plural(len(d.Conversations), "conversation"), plural(len(d.Sessions), "session"))
	}
	fmt.Fprintf(out, "%s, of %s: %s\n", who, cmp.Or(strings.Join(d.Accounts, ", "), "no account"), plural(len(d.Things), "thing"))
	for _, t := range d.Tombstones {
		fmt.Fprintf(out, "  %s %s %s; the records go when Kafka compacts the topic\n", plural(t.Records, "last revision"), deleted, t.Topic)
	}
	fmt.Fprintf(out, "  texts of %s %s the checkpoint; a hash of each thing stays for %s after its row was last read\n", plural(d.Contents, "thing"), removed, d.HashesFor)
	for _, s := range d.Stays {
		until := "for ever: the topic has no retention"
		if s.From != nil {
			until = "until Kafka deletes them, from " + s.From.UTC().Format(time.DateOnly) + " on"
		}
		fmt.Fprintf(out, "  stay\t%s\t%s\t%s\n", plural(s.Records, "record"), s.Topic, until)
	}
	fmt.Fprintln(out, "What Kore.ai still shows is published again if it changes there.")
	return out.Flush()
}
