package e2e_test

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"agentassist-poller/internal/faultpoint"
	"agentassist-poller/internal/koresim"
)

// kills is how often the poller is killed in all; leastKills is the number in CI.
var kills = flag.Int("kills", 0, "how many kills the proof of exactly-once delivery takes at least")

const leastKills = 72

// Points at which the poller is killed, besides those of package faultpoint.
const (
	anyInstant = "any-instant"
	allInTurn  = "all-in-turn" // any of the others, so that a kill meets what the one before has left
)

// A point is where the poller is killed: when it reaches the point for the nth time, n random and at most most.
type point struct {
	name string
	most int
}

var points = []point{
	{faultpoint.TakeoverFenced, 1}, {faultpoint.TakeoverSigned, 1}, {faultpoint.TakeoverReplay, 8}, {faultpoint.TakeoverApply, 2},
	{faultpoint.BeforeBegin, 3}, {faultpoint.Snapshot, 2}, {faultpoint.AfterProduce, 3}, {faultpoint.BeforeEnd, 3},
	{faultpoint.DuringEnd, 3}, {faultpoint.BeforeDisk, 3}, {faultpoint.DuringDisk, 3},
	{anyInstant, 0},
}

// testKillsAtEveryPoint kills the poller at every point, each point with its own contact centre, topics and disk, and reports what readers
// of committed records saw.
func testKillsAtEveryPoint(t *testing.T, p *platform, kills int) {
	var rows []*killLoop
	each := (kills + len(points)) / (len(points) + 1)
	began := time.Now()
	t.Cleanup(func() {
		total := &killLoop{point: point{name: "all"}, disks: map[string]int{}}
		for _, row := range rows {
			total.add(row)
		}
		var table strings.Builder
		w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "killed\tkills\telsewhere\tlost\trepeated\twrong\tevents\tdisks wiped\tstale\tdamaged\tset aside\trequests a minute")
		for _, row := range append(rows, total) {
			row.print(w)
		}
		_ = w.Flush()
		for _, row := range rows {
			if row.fault != "" {
				fmt.Fprintf(&table, "%s: %s\n", row.name, row.fault)
			}
		}
		t.Logf("%v\n%s", time.Since(began).Round(time.Second), table.String())
		require.True(t, t.Failed() || total.kills >= kills, "%d kills of %d", total.kills, kills)
	})
	for _, point := range append(slices.Clone(points), point{name: allInTurn}) {
		rows = append(rows, &killLoop{point: point})
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.run(t, p, each, uint64(i))
		})
	}
}

// A killLoop is one poller that is killed again and again, with its results.
type killLoop struct {
	point
	kills, missed                         int // missed: of these, how often the point was not reached in time, so that it was killed where it was
	events, lost, repeated, wrong, minute int
	disks                                 map[string]int // what was done to the disk, how often
	setAside                              int            // files that were found damaged
	fault                                 string         // what readers did not see as it happened; "": nothing

	rnd    *rand.Rand
	setup  *setup
	centre *centre
	binary string
	copies []string // of the disk, from earlier
}

func (l *killLoop) add(o *killLoop) {
	l.kills += o.kills
	l.missed += o.missed
	l.events += o.events
	l.lost, l.repeated, l.wrong = l.lost+o.lost, l.repeated+o.repeated, l.wrong+o.wrong
	l.setAside += o.setAside
	l.minute = max(l.minute, o.minute)
	for what, n := range o.disks {
		l.disks[what] += n
	}
}

func (l *killLoop) print(w io.Writer) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", l.name, l.kills, l.missed, l.lost, l.repeated, l.wrong, l.events,
		l.disks[wiped], l.disks[stale], l.disks[damaged], l.setAside, l.minute)
}

// uptime is about how long the poller runs before it is killed. The traffic of the contact centre lasts as long as all of it.
const uptime = 1500 * time.Millisecond

// enough is how often the loop waits for a point however long it takes. It does not wait so for points of a takeover: a start that has
// nothing to replay never reaches them.
const enough = 2

// requests is the budget, in requests a minute, that the starts of the loop need, since each kill loses some, and that reads rows again
// soon enough to see their last edits: a page with a row that is too large costs several.
const requests = 600

func (l *killLoop) run(t *testing.T, p *platform, kills int, seed uint64) {
	now := time.Now().UTC().Truncate(time.Second)
	l.centre = serve(t, l.name, koresim.Config{
		Seed: 51 + seed, Start: now.Add(-3 * time.Minute), End: now.Add(time.Duration(kills) * uptime), SegmentsPerDay: 100_000,
		Pace: koresim.Burst, RequestsPerMinute: requests, TooLarge: 0.02,
	})
	l.setup = newSetup(t, p, l.centre.yaml(smallAnswers+quickSettings("1h")))
	l.binary = build(t, "-tags", "faultpoints")
	l.rnd = rand.New(rand.NewPCG(seed, uint64(now.Unix())))
	l.disks = map[string]int{}
	consumer := l.setup.follow(t)
	for n := range kills {
		if n%3 == 2 || l.name == faultpoint.TakeoverReplay {
			l.damageDisk(t)
		}
		l.runUntilKilled(t)
		l.copyDisk(t)
		if n == 0 {
			l.compactEagerly(t, consumer)
		}
	}
	last := l.setup.startProcess(t, binary(t, "")) // as it is released
	report, settled := consumer.await(t, l.centre)
	l.events, l.lost, l.repeated, l.wrong = report.Events, len(report.Lost), len(report.Repeated), len(report.Wrong)
	l.minute = l.centre.Stats().MaxPerMinute
	if !settled {
		l.fault = report.String()
	}
	require.Empty(t, l.fault)
	checkRecords(t, consumer)
	last.stop(t)
	l.centre.checkRequests(t)
	require.Positive(t, l.kills-l.missed, "the point was never reached")
}

// runUntilKilled starts the poller and waits until it has been killed.
func (l *killLoop) runUntilKilled(t *testing.T) {
	t.Helper()
	point := l.point
	if l.name == allInTurn {
		point = points[l.rnd.IntN(len(points))]
	}
	var run *process
	limit := time.NewTimer(uptime * 10)
	defer limit.Stop()
	if l.kills-l.missed < enough && !strings.HasPrefix(point.name, "takeover-") { // the machine may be slow
		limit.Reset(waitLimit)
	}
	if point.name == anyInstant {
		run = l.setup.startProcess(t, l.binary)
		limit.Reset(time.Duration(l.rnd.Int64N(int64(2 * uptime))))
	} else {
		run = l.setup.startProcess(t, l.binary, fmt.Sprintf("POLLER_FAULTPOINT=%s:%d", point.name, 1+l.rnd.IntN(point.most)))
	}
	select {
	case <-run.done:
	case <-limit.C:
		if point.name != anyInstant {
			l.missed++
		}
		run.kill(t)
	}
	status, ok := run.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "it ended by itself:\n%s", run.tail(30))
	l.kills++
	l.setAside += strings.Count(run.tail(1000), "has been set aside")
}

// What the test does to the disk between a kill and the next start.
const (
	wiped   = "wiped"
	stale   = "stale"
	damaged = "damaged"
)

func (l *killLoop) path() string { return filepath.Join(l.setup.dir, "poller.db") }

// copyDisk sometimes keeps a copy of the checkpoint file, to restore later.
func (l *killLoop) copyDisk(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(l.path())
	if os.IsNotExist(err) || l.rnd.IntN(2) == 0 {
		return
	}
	require.NoError(t, err)
	name := filepath.Join(l.setup.dir, fmt.Sprintf("copy-%d", l.kills))
	require.NoError(t, os.WriteFile(name, content, 0o600))
	l.copies = append(l.copies, name)
}

// damageDisk removes the checkpoint file, replaces it by an older copy, or damages it.
func (l *killLoop) damageDisk(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(l.path())
	if os.IsNotExist(err) {
		return
	}
	require.NoError(t, err)
	what := []string{wiped, stale, damaged}[l.rnd.IntN(3)]
	if what == stale && len(l.copies) == 0 || what == damaged && len(content) == 0 {
		what = wiped
	}
	l.disks[what]++
	switch what {
	case wiped:
		require.NoError(t, os.Remove(l.path()))
	case stale:
		old, err := os.ReadFile(l.copies[l.rnd.IntN(len(l.copies))])
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(l.path(), old, 0o600))
	case damaged:
		for range 1 + l.rnd.IntN(40) {
			content[l.rnd.IntN(len(content))] ^= byte(1 + l.rnd.IntN(255))
		}
		require.NoError(t, os.WriteFile(l.path(), content, 0o600))
	}
}

// compactEagerly makes the broker compact the checkpoint topic within seconds.
func (l *killLoop) compactEagerly(t *testing.T, c *consumer) {
	t.Helper()
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	_, err := kadm.NewClient(c.client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		set("segment.ms", "1000"), set("min.cleanable.dirty.ratio", "0.01"), set("delete.retention.ms", "1000"),
	}, c.names.Checkpoint())
	require.NoError(t, err)
}
