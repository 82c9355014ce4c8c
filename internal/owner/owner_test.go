package owner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// A fixture is a Kafka in memory, in simulated time, and instances that share it.
type fixture struct {
	*testing.T
	cluster *kfake.Cluster
	network kfake.VirtualNetwork
	away    atomic.Bool // nobody answers who is called from now on
	config  kafka.Config
}

// inBubble runs a test in simulated time.
func inBubble(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{T: t, config: kafka.DefaultConfig()}
		cluster, err := kfake.NewCluster(kfake.Ports(9092), kfake.ListenFn(f.network.Listen))
		require.NoError(f, err)
		t.Cleanup(cluster.Close)
		f.cluster = cluster
		f.config.Brokers, f.config.Topics.Partitions, f.config.Group = cluster.ListenAddrs(), 1, ""
		test(f)
	})
}

// publisher opens a publisher, which is closed at the end of the test. command is empty for a poller.
func (f *fixture) publisher(name, command string) *kafka.Publisher {
	f.Helper()
	p, err := kafka.Open(f.Context(), kafka.Options{
		Config: f.config, Types: []events.Type{events.TypeSearch}, Log: slog.New(slog.DiscardHandler), Instance: name, Command: command,
		Client: []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
			if f.away.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return f.network.DialContext(ctx, network, host)
		})},
	})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, p.Close(context.Background())) })
	return p
}

// An instance is one that is run, and a record of what it did with its accounts. Each is read until it is told what to fail with.
type instance struct {
	*fixture
	*Instance
	o    Options
	dir  string // of the checkpoint file
	done chan struct{}
	stop func() error // and wait; returns what Run has returned

	mu       sync.Mutex
	attached map[string]int // how often, by account
	with     map[string]AccountDeps
	fail     map[string]chan error
	wrong    map[string][]string // problems, by who found them
}

func (i *instance) noteProblems(source string, found []error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.wrong, source)
	for _, err := range found {
		i.wrong[source] = append(i.wrong[source], err.Error())
	}
}

// problems returns what a source has found.
func (i *instance) problems(source string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.wrong[source])
}

// newInstance makes an instance that is not run yet.
func (f *fixture) newInstance(name string, accounts ...Account) *instance {
	f.Helper()
	i := &instance{fixture: f, dir: f.TempDir(), attached: map[string]int{}, with: map[string]AccountDeps{}, fail: map[string]chan error{}, wrong: map[string][]string{}}
	file, err := OpenFile(filepath.Join(i.dir, "poller.db"), kafka.ExactlyOnce, slog.New(slog.DiscardHandler))
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, file.Close()) })
	for _, a := range accounts {
		i.fail[a.Name] = make(chan error)
	}
	i.o = Options{
		Publisher: f.publisher(name, ""), File: file, Group: f.config.Group != "", Accounts: accounts, GroupTrouble: func(error) {}, Problems: i.noteProblems,
		Config: "my pollers/eu.yaml", Instance: name, Log: slog.New(slog.DiscardHandler),
		Attach: func(a Account, with AccountDeps) (func(context.Context) error, error) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.attached[a.Name]++
			i.with[a.Name] = with
			return func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return nil
				case err := <-i.fail[a.Name]:
					return err
				}
			}, nil
		},
		Detach: func(a Account) {
			i.mu.Lock()
			defer i.mu.Unlock()
			delete(i.with, a.Name)
		},
	}
	i.Instance = New(i.o)
	return i
}

// start runs an instance.
func (f *fixture) start(name string, accounts ...Account) *instance {
	f.Helper()
	i := f.newInstance(name, accounts...)
	i.run()
	return i
}

func (i *instance) run() {
	ctx, cancel := context.WithCancel(i.Context())
	i.done = make(chan struct{})
	var err error
	go func() {
		defer close(i.done)
		err = i.Run(ctx)
	}()
	i.stop = func() error {
		cancel()
		<-i.done
		return err
	}
	i.Cleanup(func() { _ = i.stop() })
}

// deps returns what an account is read with, nil if it is not.
func (i *instance) deps(account string) *AccountDeps {
	i.mu.Lock()
	defer i.mu.Unlock()
	if with, ok := i.with[account]; ok {
		return &with
	}
	return nil
}

// step is how far the account of a name has come.
func (i *instance) step(account string) string { return i.Status(account).Step }

// until waits until every account has come to a state.
func (i *instance) until(want State, accounts ...string) {
	i.Helper()
	for _, account := range accounts {
		for deadline := time.Now().Add(5 * time.Minute); i.step(account) != want.String(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				require.FailNow(i, "not in time", "%s is not %v: %+v", account, want, i.Status(account))
			}
		}
	}
}

// on returns an account that belongs to a partition.
func on(partition int32, name string) Account {
	for n := 0; ; n++ {
		if a := (Account{Name: name, ID: name + "-" + strconv.Itoa(n)}); kafka.CheckpointPartition(a.ID) == partition {
			return a
		}
	}
}

// Every account is attached, with what it is to be read with, and detached when the instance is stopped. The next instance goes on.
func TestAttachesAndDetaches(t *testing.T) {
	inBubble(t, func(f *fixture) {
		a, b, c := on(3, "a"), on(3, "b"), on(5, "c")
		for n := range 2 {
			i := f.newInstance("one", a, b, c)
			require.Equal(f, Unassigned.String(), i.step("a"))
			i.run()
			i.until(Reading, "a", "b", "c")
			for name, number := range map[string]int32{"a": 3, "b": 3, "c": 5} {
				require.Equal(f, &status.Owner{State: status.OK, Step: "reading", Partition: number, Instance: "one", Mine: true}, i.Status(name))
				with := i.deps(name)
				require.NotNil(f, with.Journal)
				require.Equal(f, number, with.Delivery.(*kafka.Shard).Partition)
				require.True(f, with.Lease.MayAsk() && with.Lease.Confirmed())
				require.Same(f, i.o.File.Store(), with.Store)
				if n == 0 {
					i.record(name, 1)
				}
				recorded, err := with.Store.AllProgress(i.id(name))
				require.NoError(f, err)
				require.Equal(f, []byte{1}, recorded["p"], "the file of the second is another, made from the topic")
			}
			require.Nil(f, i.Status("nobody"))
			require.NoError(f, i.stop())
			for _, name := range []string{"a", "b", "c"} {
				require.Nil(f, i.deps(name))
				require.Equal(f, 1, i.attached[name])
				require.Equal(f, &status.Owner{State: status.Waiting, Step: "not assigned", Partition: i.Status(name).Partition}, i.Status(name))
			}
		}
	})
}

func (i *instance) id(name string) string {
	for _, a := range i.o.Accounts {
		if a.Name == name {
			return a.ID
		}
	}
	return ""
}

// record delivers a batch of an account that records progress, and nothing else.
func (i *instance) record(name string, progress byte) {
	i.Helper()
	with := i.deps(name)
	require.NoError(i, with.Delivery.Deliver(i.Context(), progressBatch(name, i.id(name), with.Journal, progress)))
}

func progressBatch(name, id string, j *Journal, progress byte) *kafka.Batch {
	changes := checkpoint.Changes{Account: id, ReadAt: time.Now(), Progress: map[string][]byte{"p": {progress}}}
	return &kafka.Batch{Account: name, Recording: NewRecording(
		func(most int) ([]kafka.Record, error) { return j.Append(&changes, most) }, func(next int64) error { return j.Commit(changes, next) },
	)}
}

// A partition is not taken over before the group counts on this instance, nor again after a failure while it does not.
func TestWaitsForTheGroup(t *testing.T) {
	inBubble(t, func(f *fixture) {
		i := f.newInstance("one", on(3, "a"))
		var counted atomic.Bool
		p := i.newPartition(3, i.assignments)
		p.counted = counted.Load
		ctx, cancel := context.WithCancel(f.Context())
		done := make(chan error)
		go func() { done <- p.run(ctx) }()
		for range 2 {
			i.until(Waiting, "a")
			time.Sleep(time.Minute)
			require.Equal(f, Waiting.String(), i.step("a"))
			require.Nil(f, i.deps("a"))
			counted.Store(true)
			i.until(Reading, "a")
			lease := i.deps("a").Lease
			require.True(f, lease.MayAsk())
			counted.Store(false)
			require.False(f, lease.MayAsk())
			i.fail["a"] <- errors.New("the outcome of a batch is unknown")
		}
		i.until(Waiting, "a")
		cancel()
		require.NoError(f, <-done)
		require.Equal(f, 2, i.attached["a"])
	})
}

// A failure detaches the accounts of its partition, and no others. The partition is taken over again; what fails again and again is
// red.
func TestTakesOverAgain(t *testing.T) {
	inBubble(t, func(f *fixture) {
		i := f.start("one", on(3, "a"), on(3, "b"), on(5, "c"))
		i.until(Reading, "a", "b", "c")
		i.fail["b"] <- &kafka.LostError{Partition: 3, Err: errors.New("end transaction: timeout")}
		i.until(Failed, "a", "b")
		s := i.Status("a")
		require.Equal(f, status.Waiting, s.State)
		require.True(f, s.Mine)
		require.Contains(f, s.LastError.Text, "partition 3 of the checkpoint must be taken over again: end transaction: timeout")
		require.Nil(f, i.deps("a"))
		i.until(Reading, "a", "b")
		require.Nil(f, i.Status("a").LastError)
		require.Equal(f, map[string]int{"a": 2, "b": 2, "c": 1}, i.attached)

		f.away.Store(true)
		i.fail["a"] <- errors.New("?")
		for i.Status("b").State != status.Failing {
			time.Sleep(time.Second)
		}
		require.Equal(f, 2, i.Status("b").LastError.Count)
		require.Equal(f, status.OK, i.Status("c").State)
		f.away.Store(false)
		i.until(Reading, "a", "b")
	})
}

// What ends the reading again and again is one failure that is red, with its count and since when, also while the account is read for
// a moment in between, and until it has been read for longer than it was.
func TestCountSurvivesTakeovers(t *testing.T) {
	inBubble(t, func(f *fixture) {
		i := f.start("one", on(3, "a"))
		i.until(Reading, "a")
		began := time.Now()
		for n := range 5 {
			time.Sleep(70 * time.Second) // longer than what is a good term: it is a slow loop
			i.fail["a"] <- &kafka.LostError{Partition: 3, Err: errors.New("deliver: timeout")}
			i.until(Failed, "a")
			i.until(Reading, "a")
			s := i.Status("a")
			if n == 0 {
				require.Equal(f, status.OK, s.State)
				require.Nil(f, s.LastError)
				continue
			}
			require.Equal(f, status.Failing, s.State)
			require.Equal(f, n+1, s.LastError.Count)
			require.InDelta(f, 70, s.LastError.Since.Sub(began).Seconds(), 5)
		}
		time.Sleep(3 * time.Minute)
		require.Equal(f, status.OK, i.Status("a").State)
		require.Nil(f, i.Status("a").LastError)
	})
}

// A store that is found to be damaged is set aside, and made again from the topic.
func TestReplacesADamagedFile(t *testing.T) {
	inBubble(t, func(f *fixture) {
		i := f.start("one", on(3, "a"))
		i.until(Reading, "a")
		i.record("a", 7)
		before := i.o.File.Store()
		i.fail["a"] <- fmt.Errorf("record on disk what is in Kafka: %w", checkpoint.ErrDamaged)
		i.until(Failed, "a")
		i.until(Reading, "a")
		after := i.deps("a").Store
		require.NotSame(f, before, after)
		recorded, err := after.AllProgress(i.id("a"))
		require.NoError(f, err)
		require.Equal(f, []byte{7}, recorded["p"])
	})
}

// A checkpoint that is not what it must be is refused, with the command that helps, and stops no other account of the partition. After
// the command reading goes on by itself.
func TestRefusesAndGoesOnAfterTheCommand(t *testing.T) {
	for name, test := range map[string]struct {
		damage  func(f *fixture, p *kafka.Publisher, a Account)
		said    string
		command string
		other   bool // the other account of the partition is read
	}{
		"lost": {func(f *fixture, p *kafka.Publisher, a Account) {
			f.write(p, 3, &kafka.Batch{Account: a.Name, Feeds: []kafka.Feed{{
				Types: []events.Type{events.TypeSearch}, Watermark: &events.Watermark{Source: a.Name, AccountID: a.ID, Endpoint: "interactions"},
			}}})
		}, "its checkpoint is lost: partition 3 of agentassist.checkpoint has no manifest of it", "recover", true},
		"not whole": {func(f *fixture, p *kafka.Publisher, a Account) {
			f.commit(p, a, p.Topics.Cluster, func(r kafka.Record) bool {
				kind, _, _ := journal.KindOf(r.Key)
				return kind == journal.KindManifest
			})
		}, "it is incomplete", "recover", true},
		"of another cluster": {func(f *fixture, p *kafka.Publisher, a Account) {
			f.commit(p, a, "elsewhere", nil)
		}, "its checkpoint was written for Kafka cluster elsewhere, and this is cluster ", "adopt --rewind 24h", true},
		"cut off": {func(f *fixture, p *kafka.Publisher, _ Account) {
			require.NoError(f, p.Witness().Note(f.Context(), 3, 1000))
		}, "and had come to 1000: records of it are lost", "recover", false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				bad, good := on(3, "bad"), on(3, "good one")
				damaging := f.publisher("before", "")
				test.damage(f, damaging, bad)
				i := f.start("one", bad, good)
				i.until(Refused, "bad")
				s := i.Status("bad")
				require.Equal(f, status.Failing, s.State)
				require.Equal(f, status.ClassPermanent, s.LastError.Class)
				command := "poller checkpoint " + test.command + " --config 'my pollers/eu.yaml' --account bad"
				require.Equal(f, "run: "+command, s.LastError.Hint)
				require.Contains(f, s.LastError.Text, "account bad is not read: ")
				require.Contains(f, s.LastError.Text, test.said)
				require.Contains(f, s.LastError.Text, "; run: "+command)
				if test.other {
					i.until(Reading, "good one")
				} else {
					i.until(Refused, "good one")
					require.Contains(f, i.Status("good one").LastError.Hint, "--account 'good one'")
				}
				time.Sleep(time.Minute)
				require.Nil(f, i.deps("bad"))
				require.Equal(f, status.Failing, i.Status("bad").State, "on and on")

				f.commit(f.publisher("person", "checkpoint"), bad, damaging.Topics.Cluster, nil)
				require.NoError(f, damaging.Witness().Note(f.Context(), 3, 1))
				if test.other { // its next batch finds out
					i.fail["good one"] <- &kafka.LostError{Partition: 3, Fenced: true, Err: errors.New("producer fenced")}
				}
				i.until(Reading, "bad", "good one")
				recorded, err := i.deps("bad").Store.AllProgress(bad.ID)
				require.NoError(f, err)
				require.Equal(f, []byte{1}, recorded["p"])
			})
		})
	}
}

// write takes a partition over for one batch.
func (f *fixture) write(p *kafka.Publisher, partition int32, batches ...*kafka.Batch) {
	f.Helper()
	shard, err := p.TakeOver(f.Context(), partition)
	require.NoError(f, err)
	for _, batch := range batches {
		require.NoError(f, shard.Deliver(f.Context(), batch))
	}
	require.NoError(f, shard.Close(f.Context()))
}

// commit writes a checkpoint of an account that has just begun, all of it or the records that are wanted.
func (f *fixture) commit(p *kafka.Publisher, a Account, cluster string, wanted func(kafka.Record) bool) {
	f.Helper()
	store, err := checkpoint.Open(filepath.Join(f.TempDir(), "scratch.db"), checkpoint.Options{})
	require.NoError(f, err)
	defer store.Close()
	j, err := journal.New(store, a.ID)
	require.NoError(f, err)
	j.SetCluster(cluster)
	partition := kafka.CheckpointPartition(a.ID)
	batch := progressBatch(a.Name, a.ID, NewJournal(store, j, a.ID, partition), 1)
	all := batch.Recording
	batch.Recording = NewRecording(func(most int) (chosen []kafka.Record, err error) {
		records, err := all.Records(most)
		for _, r := range records {
			if wanted == nil || wanted(r) {
				chosen = append(chosen, r)
			}
		}
		return chosen, err
	}, all.Commit)
	f.write(p, partition, batch)
}

// Without a group, an instance that another one has replaced on the lowest partition ends; one that has only lost another partition
// takes it back.
func TestEndsWhenReplaced(t *testing.T) {
	inBubble(t, func(f *fixture) {
		i := f.start("one", on(3, "low"), on(5, "high"))
		i.until(Reading, "low", "high")
		other := f.publisher("two", "")
		lost := func(partition int32) error {
			f.write(other, partition)
			return &kafka.LostError{Partition: partition, Fenced: true, Err: errors.New("producer fenced")}
		}
		i.fail["high"] <- lost(5)
		i.until(Failed, "high")
		i.until(Reading, "low", "high")
		i.fail["low"] <- lost(3)
		<-i.done
		require.ErrorIs(f, i.stop(), ErrFenced)
		require.Equal(f, Replaced.String(), i.step("low"))
		require.Nil(f, i.deps("low"))
		require.Nil(f, i.deps("high"))
	})
}

// Asked to stop, an instance stops at once, even if Kafka does not answer.
func TestStopsWithinItsBound(t *testing.T) {
	inBubble(t, func(f *fixture) {
		for _, silentFrom := range []State{TakingOver, Reading} {
			i := f.newInstance("one", on(3, "a"), on(5, "b"))
			if silentFrom == TakingOver {
				f.away.Store(true)
			}
			i.run()
			i.until(silentFrom, "a", "b")
			f.away.Store(true)
			asked := time.Now()
			require.NoError(f, i.stop())
			require.LessOrEqual(f, time.Since(asked), 2*closeTimeout)
			f.away.Store(false)
		}
	})
}

// Instances of a group share the accounts. Each knows which are its own before it says so, even if they are none; what one gives back,
// another is assigned.
func TestShares(t *testing.T) {
	inBubble(t, func(f *fixture) {
		f.config.Group = "pollers"
		accounts := []Account{on(3, "a"), on(5, "b")}
		settled := func(i *instance) (mine []string) {
			for !i.Settled() {
				time.Sleep(10 * time.Millisecond)
			}
			for _, a := range accounts {
				if i.Status(a.Name).Mine {
					mine = append(mine, a.Name)
				}
			}
			return mine
		}
		one := f.newInstance("one", accounts...)
		require.False(f, one.Settled())
		one.run()
		require.Equal(f, []string{"a", "b"}, settled(one))
		one.until(Reading, "a", "b")
		two := f.start("two", accounts...)
		mine := settled(two)
		require.Len(f, mine, 1, "not none, which the group says at first")
		two.until(Reading, mine...)
		one.until(Unassigned, mine...)
		three := f.start("three", accounts...)
		require.Empty(f, settled(three))
		for name, reader := range map[string]string{mine[0]: "two", map[string]string{"a": "b", "b": "a"}[mine[0]]: "one"} {
			s := three.Status(name)
			require.Equal(f, reader, s.Instance)
			require.Equal(f, status.OK, s.State)
		}
		require.NoError(f, two.stop())
		require.NoError(f, three.stop())
		one.until(Reading, "a", "b")
	})
}

// In the middle of a roll-out, instances have different accounts. Each account is read by one that has it; one whose partition is read by an
// instance that does not have it is red in every instance, within seconds, and no longer once all have the same.
func TestInstancesWithDifferentAccounts(t *testing.T) {
	inBubble(t, func(f *fixture) {
		f.config.Group = "pollers"
		a, b, c := on(3, "a"), on(5, "b"), on(5, "c")
		one := f.start("one", a, b)
		one.until(Reading, "a", "b")
		two := f.start("two", a, c)
		time.Sleep(time.Minute)
		var with, without *instance // partition 5
		read, unread := "b", "c"
		if with, without = one, two; two.step("c") == Reading.String() {
			with, without, read, unread = two, one, "c", "b"
		}
		with.until(Reading, read)
		text := "account " + unread + " is read by nobody: group pollers has assigned its partition 5 to " + with.o.Instance +
			", which does not have the account in its configuration; " + without.o.Instance + " does; give all instances of the group the same accounts"
		for _, i := range []*instance{one, two} {
			require.Equal(f, []string{text}, i.problems("group"))
		}
		s := without.Status(unread)
		require.Equal(f, status.Failing, s.State)
		require.Equal(f, text, s.LastError.Text)
		require.Equal(f, status.ClassPermanent, s.LastError.Class)

		require.NoError(f, one.stop())
		require.NoError(f, two.stop())
		one, two = f.start("one", a, b, c), f.start("two", a, b, c)
		time.Sleep(time.Minute)
		for _, i := range []*instance{one, two} {
			require.Empty(f, i.problems("group"))
			for _, name := range []string{"a", "b", "c"} {
				require.Equal(f, status.OK, i.Status(name).State)
			}
		}
	})
}

// An installation that shares its group with another is told so, whichever of the two is assigned something.
func TestInstallationsThatShareAGroup(t *testing.T) {
	inBubble(t, func(f *fixture) {
		f.config.Group = "pollers"
		one := f.start("one", on(3, "a"))
		one.until(Reading, "a")
		f.config.TopicPrefix = "other"
		two := f.start("two", on(3, "b"))
		time.Sleep(time.Minute)
		require.Len(f, one.problems("group"), 1)
		require.Contains(f, one.problems("group")[0], "two reads topic other.checkpoint, and this one agentassist.checkpoint")
		require.Len(f, two.problems("group"), 1)
		require.Contains(f, two.problems("group")[0], "give each a kafka.group of its own")
		require.NoError(f, one.stop())
		two.until(Reading, "b")
		time.Sleep(time.Minute)
		require.Empty(f, two.problems("group"))
	})
}

// While the witness cannot be told how far a partition has come, nobody would notice that it is lost: that is a problem.
func TestWitnessThatCannotBeTold(t *testing.T) {
	inBubble(t, func(f *fixture) {
		denied := f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1})
		one := f.start("one", on(3, "a"))
		one.until(Reading, "a")
		require.Equal(f, []string{"a loss of partition 3 of the checkpoint would not be noticed: group agentassist.checkpoint may not be used: " +
			"Read is not allowed (GROUP_AUTHORIZATION_FAILED: Not authorized to access group: Group authorization failed.); grant the poller's user Read on it"},
			one.problems("witness of partition 3"))
		denied.Remove()
		time.Sleep(2 * witnessEvery)
		require.Empty(f, one.problems("witness of partition 3"))
	})
}

// A process that is killed leaves a file without what it had staged, which says so: the next one replays that from the topic, and reads on
// as if it had been written.
func TestReplaysWhatWasStaged(t *testing.T) {
	inBubble(t, func(f *fixture) {
		accounts := []Account{on(3, "a"), on(3, "b"), on(5, "c")}
		one := f.start("one", accounts...)
		one.until(Reading, "a", "b", "c")
		store := one.o.File.Store()
		for n := range byte(12) {
			for _, a := range accounts {
				one.record(a.Name, n+1)
			}
			if n == 5 {
				require.NoError(f, store.Flush())
			}
		}
		nextOf := func(s *checkpoint.Store, partition int32) int64 {
			record, err := s.Identity(nextName(partition))
			require.NoError(f, err)
			next, ok := decodeOffset(record)
			require.True(f, ok)
			return next
		}
		left := filepath.Join(f.TempDir(), "left.db")
		content, err := os.ReadFile(filepath.Join(one.dir, "poller.db"))
		require.NoError(f, err)
		require.NoError(f, os.WriteFile(left, content, 0o600))

		two := f.newInstance("two", accounts...)
		two.o.File, err = OpenFile(left, kafka.ExactlyOnce, slog.New(slog.DiscardHandler))
		require.NoError(f, err)
		f.Cleanup(func() { require.NoError(f, two.o.File.Close()) })
		for _, a := range accounts {
			recorded, err := two.o.File.Store().AllProgress(a.ID)
			require.NoError(f, err)
			require.Equal(f, []byte{6}, recorded["p"], "what was staged is lost")
			require.Less(f, nextOf(two.o.File.Store(), kafka.CheckpointPartition(a.ID)), nextOf(store, kafka.CheckpointPartition(a.ID)))
		}
		two.Instance = New(two.o)
		two.run()
		two.until(Reading, "a", "b", "c")
		for n, a := range accounts {
			recorded, err := two.deps(a.Name).Store.AllProgress(a.ID)
			require.NoError(f, err)
			require.Equal(f, []byte{12}, recorded["p"])
			two.record(a.Name, byte(20+n))
			recorded, err = two.deps(a.Name).Store.AllProgress(a.ID)
			require.NoError(f, err)
			require.Equal(f, []byte{byte(20 + n)}, recorded["p"])
		}
		require.NoError(f, two.stop())
		one.fail["a"] <- &kafka.LostError{Partition: 3, Fenced: true, Err: errors.New("producer fenced")}
		<-one.done
		require.ErrorIs(f, one.stop(), ErrFenced)
	})
}

// A partition that this process takes over again goes on from what it has staged.
func TestTakesOverWithWhatIsStaged(t *testing.T) {
	inBubble(t, func(f *fixture) {
		i := f.start("one", on(3, "a"), on(5, "b"))
		i.until(Reading, "a", "b")
		for n := range byte(5) {
			i.record("a", n+1)
			i.record("b", n+1)
			i.fail["a"] <- &kafka.LostError{Partition: 3, Err: errors.New("end transaction: timeout")}
			i.until(Failed, "a")
			i.until(Reading, "a")
			for _, name := range []string{"a", "b"} {
				recorded, err := i.deps(name).Store.AllProgress(i.id(name))
				require.NoError(f, err)
				require.Equal(f, []byte{n + 1}, recorded["p"])
			}
		}
	})
}
