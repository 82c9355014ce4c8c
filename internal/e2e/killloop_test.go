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

// kills is how often the poller is killed in all; leastKills is what CI does.
var kills = flag.Int("kills", 0, "how many kills the proof of exactly-once delivery takes at least")

const leastKills = 72

// Where the poller is killed beside the points of package faultpoint.
const (
	anyInstant = "any-instant"
	allInTurn  = "all-in-turn" // any of the others, so that a kill meets what the one before has left
)

// A point is where the poller is killed, and the how manyth time there is the last at most.
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

// killedEverywhere kills the poller at every point, each with a contact centre, topics and a disk of its own, and reports what
// readers of committed records have seen.
func killedEverywhere(t *testing.T, p *platform, kills int) {
	var rows []*siege
	each := (kills + len(points)) / (len(points) + 1)
	began := time.Now()
	t.Cleanup(func() {
		total := &siege{point: point{name: "all"}, shut: map[string]int{}}
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
		t.Logf("%v\n%s", time.Since(began).Round(time.Second), table.String())
		require.True(t, t.Failed() || total.kills >= kills, "%d kills of %d", total.kills, kills)
	})
	for _, point := range append(slices.Clone(points), point{name: allInTurn}) {
		rows = append(rows, &siege{point: point})
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.run(t, p, each, uint64(i))
		})
	}
}

// A siege is one poller that is killed again and again, and what has come of it.
type siege struct {
	point
	kills, missed                         int // missed: of these, how often the point was not reached in time, so that it was killed where it was
	events, lost, repeated, wrong, minute int
	shut                                  map[string]int // what was done to the disk, how often
	aside                                 int            // files that were found damaged

	rnd    *rand.Rand
	setup  *setup
	centre *centre
	binary string
	copies []string // of the disk, from earlier
}

func (s *siege) add(o *siege) {
	s.kills += o.kills
	s.missed += o.missed
	s.events += o.events
	s.lost, s.repeated, s.wrong = s.lost+o.lost, s.repeated+o.repeated, s.wrong+o.wrong
	s.aside += o.aside
	s.minute = max(s.minute, o.minute)
	for what, n := range o.shut {
		s.shut[what] += n
	}
}

func (s *siege) print(w io.Writer) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", s.name, s.kills, s.missed, s.lost, s.repeated, s.wrong, s.events,
		s.shut[wiped], s.shut[stale], s.shut[damaged], s.aside, s.minute)
}

// lifetime is about how long a life lasts: events must go on coming while the poller is killed.
const lifetime = 1500 * time.Millisecond

// requests is a budget that so many short lives can just live on.
const requests = 300

func (s *siege) run(t *testing.T, p *platform, kills int, seed uint64) {
	now := time.Now().UTC().Truncate(time.Second)
	s.centre = serve(t, s.name, koresim.Config{
		Seed: 51 + seed, Start: now.Add(-3 * time.Minute), End: now.Add(time.Duration(kills) * lifetime), SegmentsPerDay: 100_000,
		Pace: koresim.Burst, RequestsPerMinute: requests,
	})
	s.setup = newSetup(t, p, s.centre.yaml(quick("1h")))
	s.binary = build(t, "-tags", "faultpoints")
	s.rnd = rand.New(rand.NewPCG(seed, uint64(now.Unix())))
	s.shut = map[string]int{}
	consumer := s.setup.follow(t)
	for n := range kills {
		if n%3 == 2 || s.name == faultpoint.TakeoverReplay {
			s.shutDisk(t)
		}
		s.live(t)
		s.keepDisk(t)
		if n == 0 {
			s.compactSoon(t, consumer)
		}
	}
	last := s.setup.launch(t, binary(t, "")) // as it is released
	report, settled := consumer.await(t, s.centre)
	s.events, s.lost, s.repeated, s.wrong = report.Events, len(report.Lost), len(report.Repeated), len(report.Wrong)
	s.minute = s.centre.Stats().MaxPerMinute
	require.True(t, settled, "%v", report)
	checkRecords(t, consumer)
	last.stop(t)
	s.centre.checkManners(t)
	require.GreaterOrEqual(t, s.kills-s.missed, min(kills, 2), "the point was hardly ever reached")
}

// live starts the poller and waits until it is dead.
func (s *siege) live(t *testing.T) {
	t.Helper()
	point := s.point
	if s.name == allInTurn {
		point = points[s.rnd.IntN(len(points))]
	}
	var run *outside
	patience := time.NewTimer(lifetime * 10)
	defer patience.Stop()
	if point.name == anyInstant {
		run = s.setup.launch(t, s.binary)
		patience.Reset(time.Duration(s.rnd.Int64N(int64(2 * lifetime))))
	} else {
		run = s.setup.launch(t, s.binary, fmt.Sprintf("POLLER_FAULTPOINT=%s:%d", point.name, 1+s.rnd.IntN(point.most)))
	}
	select {
	case <-run.done:
	case <-patience.C:
		if point.name != anyInstant {
			s.missed++
		}
		run.kill(t)
	}
	status, ok := run.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "it ended by itself:\n%s", run.tail(30))
	s.kills++
	s.aside += strings.Count(run.tail(1000), "has been set aside")
}

// What happens to a disk between two lives.
const (
	wiped   = "wiped"
	stale   = "stale"
	damaged = "damaged"
)

func (s *siege) path() string { return filepath.Join(s.setup.dir, "poller.db") }

// keepDisk keeps a copy of the checkpoint file for later, sometimes.
func (s *siege) keepDisk(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(s.path())
	if os.IsNotExist(err) || s.rnd.IntN(2) == 0 {
		return
	}
	require.NoError(t, err)
	name := filepath.Join(s.setup.dir, fmt.Sprintf("copy-%d", s.kills))
	require.NoError(t, os.WriteFile(name, content, 0o600))
	s.copies = append(s.copies, name)
}

// shutDisk takes the checkpoint file away, puts an older one in its place, or damages it.
func (s *siege) shutDisk(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(s.path())
	if os.IsNotExist(err) {
		return
	}
	require.NoError(t, err)
	what := []string{wiped, stale, damaged}[s.rnd.IntN(3)]
	if what == stale && len(s.copies) == 0 || what == damaged && len(content) == 0 {
		what = wiped
	}
	s.shut[what]++
	switch what {
	case wiped:
		require.NoError(t, os.Remove(s.path()))
	case stale:
		old, err := os.ReadFile(s.copies[s.rnd.IntN(len(s.copies))])
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(s.path(), old, 0o600))
	case damaged:
		for range 1 + s.rnd.IntN(40) {
			content[s.rnd.IntN(len(content))] ^= byte(1 + s.rnd.IntN(255))
		}
		require.NoError(t, os.WriteFile(s.path(), content, 0o600))
	}
}

// compactSoon has the broker compact the checkpoint as it would in weeks.
func (s *siege) compactSoon(t *testing.T, c *consumer) {
	t.Helper()
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	_, err := kadm.NewClient(c.client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		set("segment.ms", "1000"), set("min.cleanable.dirty.ratio", "0.01"), set("delete.retention.ms", "1000"),
	}, c.names.Checkpoint())
	require.NoError(t, err)
}
