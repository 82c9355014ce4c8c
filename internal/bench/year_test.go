package bench_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka/kafkatest"
	"agentassist-poller/internal/status"
)

var (
	year     = flag.Duration("year", 0, "read so much simulated history and print the peak of memory: 8760h for a year")
	perDay   = flag.Int("segments-per-day", 1000, "volume of that history")
	yearFor  = flag.Duration("year-timeout", 30*time.Minute, "give up after this long")
	yearKeep = flag.String("year-heap", "", "write the heap profile of the largest moment to this file")
)

// maxAnon is what a poller may take beside the pages of its checkpoint file, however long the history.
const maxAnon = 64 << 20

// TestYear runs poller run over a long history at an API without a budget. Simulator and Kafka are processes of their own.
//
//	go test ./internal/bench -run TestYear -v -timeout 1h -args -year 8760h
func TestYear(t *testing.T) {
	if *year == 0 {
		t.Skip("takes many minutes: ask for it with -args -year 8760h")
	}
	dir := t.TempDir()
	poller := filepath.Join(dir, "poller")
	build := exec.Command("go", "build", "-o", poller, "agentassist-poller/cmd/poller")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	broker := kafkatest.Kafka(t, kafkatest.KafkaOptions{})
	accounts := simulate(t, poller)
	listen := freeAddress(t)
	config := filepath.Join(dir, "poller.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `%skafka:
  brokers: [%q]
  delivery: at-least-once
  timestamp: observed
  topics: {partitions: 3, replication_factor: 1}
checkpoint: {path: %q}
server: {listen: %q, pprof: true}
log: {format: text}
`, accounts, broker.Addr, filepath.Join(dir, "poller.db"), listen), 0o600))

	run := exec.Command(poller, "run", "--config", config)
	run.Stderr = os.Stderr
	require.NoError(t, run.Start())
	t.Cleanup(func() { _ = run.Process.Kill() })
	began := time.Now()
	peak, published := watch(t, run.Process.Pid, "http://"+listen)
	took := time.Since(began)
	require.NoError(t, run.Process.Signal(syscall.SIGTERM))
	require.NoError(t, run.Wait())
	cpu := run.ProcessState.UserTime() + run.ProcessState.SystemTime()
	file, err := os.Stat(filepath.Join(dir, "poller.db"))
	require.NoError(t, err)
	t.Logf("peak of RssAnon %.1f MiB; %d events in %v and %v of CPU time, %.0f per CPU second; checkpoint of %d MiB", float64(peak)/(1<<20),
		published, took.Round(time.Second), cpu.Round(time.Second), float64(published)/cpu.Seconds(), file.Size()>>20)
	require.Less(t, peak, maxAnon)
}

// simulate starts the simulator and returns the accounts of the configuration that it prints.
func simulate(t *testing.T, poller string) string {
	t.Helper()
	sim := exec.Command(poller, "simulate", "--listen", freeAddress(t), "--history", year.String(),
		"--segments-per-day", strconv.Itoa(*perDay), "--requests-per-minute", "6000")
	sim.Stderr = os.Stderr
	stdout, err := sim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, sim.Start())
	t.Cleanup(func() {
		_ = sim.Process.Signal(syscall.SIGTERM)
		_ = sim.Wait()
	})
	var accounts strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "kafka:"):
			return accounts.String()
		case strings.TrimSpace(line) == "bots:":
			fmt.Fprintf(&accounts, "    start: %s\n%s\n", time.Now().Add(-*year).UTC().Format(time.RFC3339), line)
		default:
			fmt.Fprintln(&accounts, line)
		}
	}
	t.Fatal("the simulator printed no configuration")
	return ""
}

// watch waits until everything is read. It returns the peak of the process's anonymous memory, and how many events it published.
func watch(t *testing.T, pid int, url string) (peak int, published int64) {
	t.Helper()
	const quiet = 100 // events in ten seconds: those of now, and late edits
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		<-tick.C
		if now := rssAnon(t, pid); now > peak {
			if *yearKeep != "" && now > peak+peak/20 {
				keepHeap(t, url)
			}
			peak = max(peak, now)
		}
		if n%100 != 0 {
			continue
		}
		s := readStatus(t, url)
		line, even := progress(s)
		done := even && n > 100 && s.Delivery.Published-published < quiet
		published = s.Delivery.Published
		t.Logf("%4.0fs  RssAnon %3d MiB, peak %3d MiB; checkpoint %d entities, %d MiB; %d events published%s",
			time.Since(began).Seconds(), rssAnon(t, pid)>>20, peak>>20, s.Checkpoint.Entities, s.Checkpoint.Bytes>>20, s.Delivery.Published, line)
		if done {
			return peak, published
		}
		if time.Since(began) > *yearFor {
			t.Errorf("not done after %v", *yearFor)
			return peak, published
		}
	}
}

// progress says how far every endpoint is, and whether none of them knows of time that is still to be read. Status does not
// speak of history before what is remembered.
func progress(s *status.Status) (line string, done bool) {
	done = len(s.Accounts) > 0
	for _, a := range s.Accounts {
		for _, e := range a.Endpoints {
			read := "-"
			if e.ReadThrough != nil {
				read = e.ReadThrough.Format(time.DateOnly)
			}
			line += fmt.Sprintf("; %s %s to %s, %d gaps, %d rows", e.Endpoint, e.BotName, read, len(e.Gaps), e.Rows)
			done = done && len(e.Gaps) == 0 && e.Lag != nil && time.Duration(*e.Lag) < 5*time.Minute
		}
	}
	return line, done
}

func readStatus(t *testing.T, url string) *status.Status {
	t.Helper()
	response, err := http.Get(url + "/status")
	require.NoError(t, err)
	defer response.Body.Close()
	s := new(status.Status)
	require.NoError(t, json.NewDecoder(response.Body).Decode(s))
	return s
}

func keepHeap(t *testing.T, url string) {
	t.Helper()
	response, err := http.Get(url + "/debug/pprof/heap")
	if err != nil {
		return // not up yet
	}
	defer response.Body.Close()
	var heap bytes.Buffer
	_, err = heap.ReadFrom(response.Body)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(*yearKeep, heap.Bytes(), 0o600))
}

// rssAnon is the memory of a process that no file stands behind, in bytes.
func rssAnon(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return kib << 10
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
