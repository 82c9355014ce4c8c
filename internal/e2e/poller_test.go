package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/status"
)

// stopWithin is how long a poller may take to stop: shutdown.drain and what the chart adds to it.
const stopWithin = 35 * time.Second

// quickSettings returns settings of an account with which seconds show what takes hours by default. Sweeps of older time are due at the
// given period.
func quickSettings(older string) string {
	return fmt.Sprintf(`    endpoints:
      interactions: {poll_interval: 1s}
      conversations: {poll_interval: 1s}
      interaction-details: {poll_interval: 1s}
      call-details: {enabled: true, poll_interval: 1s}
    sweeps: [{within: 15m, every: 2s}, {within: 1d, every: 3s}, {within: 15d, every: %s}]
`, older)
}

// smallAnswers makes the largest rows of a world with koresim.Config.TooLarge too large to be read.
const smallAnswers = "    max_body: 2MiB\n"

// setup is what a poller runs with: platform, topics, checkpoint and accounts.
type setup struct {
	platform *platform
	prefix   string
	dir      string
	accounts string        // the list in YAML
	delivery string        // empty: exactly-once
	group    string        // empty: one instance alone
	more     string        // further settings of the section kafka
	privacy  string        // settings of the section privacy
	drain    time.Duration // shutdown.drain
}

func newSetup(t *testing.T, p *platform, accounts ...string) *setup {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == '_' || r == '#' {
			return '.'
		}
		return r
	}, strings.ToLower(t.Name()))
	return &setup{platform: p, prefix: name, dir: t.TempDir(), accounts: strings.Join(accounts, ""), drain: 10 * time.Second}
}

func (s *setup) yaml() string {
	return fmt.Sprintf(`
accounts:
%skafka:
  brokers: [%s]
  topic_prefix: %s
  group: %q
%s%sschema_registry: {url: %q}
checkpoint: {path: %q}
privacy: {%s}
events: {message: {enabled: true}}
server: {listen: "127.0.0.1:0"}
shutdown: {drain: %s}
log: {level: info, format: json}
`, s.accounts, s.platform.seeds(), s.prefix, s.group, s.mode(), s.kafka(), s.platform.registry, filepath.Join(s.dir, "poller.db"), s.privacy, s.drain)
}

// config returns the path of the configuration of a poller that runs as a process.
func (s *setup) config() string { return filepath.Join(s.dir, "poller.yaml") }

func (s *setup) mode() string {
	if s.delivery != "" {
		return "  delivery: " + s.delivery + "\n"
	}
	return ""
}

func (s *setup) kafka() string {
	if s.more != "" {
		return s.more
	}
	return "  topics: {partitions: 3, replication_factor: 1}\n"
}

// logs keeps the log of a poller.
type logs struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	done chan struct{} // closed when the poller has ended
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// entry is one line of a log.
type entry struct {
	Level    string `json:"level"`
	Msg      string `json:"msg"`
	Err      string `json:"err"`
	Endpoint string `json:"endpoint"`
	Addr     string `json:"addr"`
	Text     string `json:"-"` // the whole line
}

func (l *logs) entries() (out []entry) {
	for line := range strings.Lines(l.text()) {
		e := entry{Text: strings.TrimSpace(line)}
		_ = json.Unmarshal([]byte(line), &e) // a panic is no JSON, and is shown as it is
		out = append(out, e)
	}
	return out
}

// warnings returns the lines of level warn and above.
func (l *logs) warnings() (out []entry) {
	for _, e := range l.entries() {
		if e.Level == "WARN" || e.Level == "ERROR" {
			out = append(out, e)
		}
	}
	return out
}

func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) contains(text string) bool { return strings.Contains(l.text(), text) }

// awaitLog waits for a line in the log of a running poller.
func (l *logs) awaitLog(t *testing.T, text string) {
	t.Helper()
	eventually(t, waitLimit, func() error {
		if l.contains(text) {
			return nil
		}
		select {
		case <-l.done:
			require.FailNow(t, "the poller has ended", l.tail(20))
		default:
		}
		return fmt.Errorf("it has not said %s yet", text)
	})
}

func (l *logs) tail(n int) string {
	var out []string
	for _, e := range l.entries() {
		if len(e.Text) > 600 {
			e.Text = e.Text[:600]
		}
		out = append(out, e.Text)
	}
	return strings.Join(out[max(0, len(out)-n):], "\n")
}

// inProcess is a poller in the test process.
type inProcess struct {
	logs
	app    *app.App
	cancel context.CancelFunc
	err    error
}

// startInProcess starts the poller as poller run does.
func (s *setup) startInProcess(t *testing.T) *inProcess {
	return s.startInProcessWith(t, app.Options{})
}

func (s *setup) startInProcessWith(t *testing.T, o app.Options) *inProcess {
	t.Helper()
	cfg, _, err := app.Parse(app.LoadOptions{Path: "e2e.yaml"}, []byte(s.yaml()))
	require.NoError(t, err)
	p := &inProcess{logs: logs{done: make(chan struct{})}}
	log := slog.New(slog.NewJSONHandler(&p.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	o.Version, o.Config, o.Log = "e2e", s.config(), log
	p.app, err = app.New(cfg, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.done)
		p.err = p.app.Run(ctx)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the poller is at\n%s\nand said:\n%s", stateAt(p.app.Addr()), p.tail(25))
		}
		cancel()
		<-p.done
	})
	return p
}

// stop asks the poller to stop, and fails the test unless it does so without an error and in time.
func (p *inProcess) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	select {
	case <-p.done:
		require.NoError(t, p.err)
	case <-time.After(stopWithin):
		var goroutines strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&goroutines, 1)
		require.FailNow(t, "the poller does not stop", goroutines.String())
	}
}

// status returns the answer of /status.
func (p *inProcess) status(t *testing.T) status.Status {
	t.Helper()
	return statusAt(t, p.app.Addr())
}

func statusAt(t *testing.T, addr string) (s status.Status) {
	t.Helper()
	text, err := readStatus(addr)
	require.NoError(t, err, "/status must answer at any time")
	require.NoError(t, json.Unmarshal(text, &s))
	return s
}

func readStatus(addr string) ([]byte, error) {
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Get("http://" + addr + "/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// stateAt returns what a poller says of itself, for the text of a failure.
func stateAt(addr string) string {
	text, err := readStatus(addr)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// process is the real binary.
type process struct {
	logs
	cmd *exec.Cmd
	err error
}

// startProcess starts the real binary with additional environment variables.
func (s *setup) startProcess(t *testing.T, binary string, environ ...string) *process {
	t.Helper()
	require.NoError(t, os.WriteFile(s.config(), []byte(s.yaml()), 0o600))
	p := &process{cmd: exec.Command(binary, "run", "--config", s.config()), logs: logs{done: make(chan struct{})}}
	p.cmd.Stderr = &p.logs
	p.cmd.Env = noSettings()
	p.cmd.Env = append(p.cmd.Env, environ...)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("poller run is at\n%s\nand said:\n%s", stateAt(p.addr()), p.tail(25))
		}
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// noSettings returns the environment without variables that are settings of the poller or of the tests' memory.
func noSettings() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, app.EnvPrefix) || name == "GOGC" || name == "GOMEMLIMIT"
	})
}

// addr returns the address on which the poller listens, empty if it does not.
func (p *process) addr() string {
	for _, e := range p.entries() {
		if e.Addr != "" {
			return e.Addr
		}
	}
	return ""
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	<-p.done
}

// stop sends SIGTERM. The poller must drain and exit 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
		require.NoError(t, p.err, "asked to stop, the exit code is 0")
	case <-time.After(stopWithin):
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGQUIT))
		<-p.done
		_, goroutines, _ := strings.Cut(p.text(), "SIGQUIT")
		require.FailNow(t, "poller run does not stop", goroutines)
	}
}

// eventually waits until the condition returns nil.
func eventually(t *testing.T, within time.Duration, what func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; {
		began := time.Now()
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.FailNow(t, "not in time", "after %v: %v", within, err)
		}
		<-time.After(max(200*time.Millisecond, 5*time.Since(began))) // the machine has other things to do
	}
}
