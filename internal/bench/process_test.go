package bench_test

import (
	"bufio"
	"encoding/json"
	"fmt"
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

// buildPoller builds the program as make build does and returns where it is.
func buildPoller(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "poller")
	out, err := exec.Command("go", "build", "-trimpath", "-o", binary, "agentassist-poller/cmd/poller").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// world is what a simulator shows.
type world struct {
	history  time.Duration
	perDay   int    // segments of each account
	accounts int    // 0 means 1
	seed     uint64 // 0 means 1
	// endpoints are settings of each account in YAML, in place of those that the simulator prints.
	endpoints string
}

// simulate starts a simulator without a budget and returns the accounts of the configuration that it prints, less the line
// that begins their list. They start with the history.
func simulate(t *testing.T, binary string, w world) string {
	t.Helper()
	const perMinute = "10000" // the most that a configuration may say
	sim := exec.Command(binary, "simulate", "--listen", kafkatest.FreeAddress(t), "--history", w.history.String(),
		"--segments-per-day", strconv.Itoa(w.perDay), "--requests-per-minute", perMinute,
		"--accounts", strconv.Itoa(max(w.accounts, 1)), "--seed", strconv.FormatUint(max(w.seed, 1), 10))
	sim.Stderr = os.Stderr
	stdout, err := sim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, sim.Start())
	t.Cleanup(func() {
		_ = sim.Process.Signal(syscall.SIGTERM)
		_ = sim.Wait()
	})
	start := time.Now().Add(-w.history).UTC().Format(time.RFC3339)
	var accounts strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "kafka:"):
			return accounts.String()
		case strings.HasPrefix(line, "accounts:"), strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "    endpoints:") && w.endpoints != "":
			fmt.Fprintf(&accounts, "    endpoints: %s\n", w.endpoints)
		case strings.TrimSpace(line) == "bots:":
			fmt.Fprintf(&accounts, "    start: %s\n%s\n", start, line)
		default:
			fmt.Fprintln(&accounts, line)
		}
	}
	t.Fatal("the simulator printed no configuration")
	return ""
}

// setup is how a poller runs.
type setup struct {
	binary   string
	broker   string // its address
	dir      string // of checkpoint file and configuration
	prefix   string // of topics; empty for the default
	delivery string
	accounts string // the list in YAML
}

func (s *setup) file() string { return filepath.Join(s.dir, "poller.db") }

func (s *setup) topicPrefix() string {
	if s.prefix == "" {
		return "agentassist"
	}
	return s.prefix
}

// start starts poller run in a process of its own. Stop must follow.
func (s *setup) start(t *testing.T) *poller {
	t.Helper()
	p := &poller{t: t, url: "http://" + kafkatest.FreeAddress(t)}
	config := filepath.Join(s.dir, "poller.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `accounts:
%skafka:
  brokers: [%q]
  topic_prefix: %s
  delivery: %s
  timestamp: observed
  topics: {partitions: 3, replication_factor: 1}
checkpoint: {path: %q}
server: {listen: %q, pprof: true}
log: {level: warn, format: text}
`, s.accounts, s.broker, s.topicPrefix(), s.delivery, s.file(), strings.TrimPrefix(p.url, "http://")), 0o600))
	p.cmd = exec.Command(s.binary, "run", "--config", config)
	p.cmd.Stderr = os.Stderr
	p.began = time.Now()
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// poller is a poller run under way.
type poller struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	began time.Time
	peak  int // of anonymous memory, while it is watched

	profileTo string // directory; empty for none
}

// stop ends it in order and returns all the CPU time that it took.
func (p *poller) stop() time.Duration {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(p.t, p.cmd.Wait())
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// cpu is the CPU time that it has taken so far, to the hundredth of a second.
func (p *poller) cpu() time.Duration {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	user, err := strconv.Atoi(fields[utime])
	require.NoError(p.t, err)
	system, err := strconv.Atoi(fields[stime])
	require.NoError(p.t, err)
	return time.Duration(user+system) * tick
}

// anon is the memory that no file stands behind, in bytes.
func (p *poller) anon() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	_, rest, alive := strings.Cut(string(text), "RssAnon:")
	if !alive {
		p.t.Fatalf("the poller has ended: %v", p.cmd.Wait())
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(p.t, err)
	return kib << 10
}

// status is what it says of itself; nil while it does not answer yet.
func (p *poller) status() *status.Status {
	p.t.Helper()
	response, err := http.Get(p.url + "/status")
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	s := new(status.Status)
	require.NoError(p.t, json.NewDecoder(response.Body).Decode(s))
	return s
}

// metrics returns the sum of each metric over its labels.
func (p *poller) metrics() map[string]float64 {
	p.t.Helper()
	out := map[string]float64{}
	for series, n := range p.series() {
		name, _, _ := strings.Cut(series, "{")
		out[name] += n
	}
	return out
}

// series returns all that it counts, by name and labels.
func (p *poller) series() map[string]float64 {
	p.t.Helper()
	response, err := http.Get(p.url + "/metrics")
	require.NoError(p.t, err)
	defer response.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		at := strings.LastIndexByte(lines.Text(), ' ')
		n, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		require.NoError(p.t, err, lines.Text())
		out[lines.Text()[:at]] = n
	}
	return out
}

// progress says how far every endpoint is, and whether none of them knows of time that is still to be read. Status does not
// speak of history before what is remembered.
func progress(s *status.Status) (line string, done bool) {
	if s == nil {
		return "", false
	}
	done = len(s.Accounts) > 0
	for _, a := range s.Accounts {
		done = done && a.Read
		for _, e := range a.Endpoints {
			read := "-"
			if e.ReadThrough != nil {
				read = e.ReadThrough.Format(time.DateOnly)
			}
			line += fmt.Sprintf("; %s %s to %s, %d gaps, %d rows", e.Endpoint, e.BotName, read, len(e.Gaps), e.Rows)
			done = done && len(e.Gaps) == 0 && e.FirstRead == nil && e.ReadThrough != nil && time.Duration(*e.Lag) < 5*time.Minute
		}
	}
	return line, done
}
