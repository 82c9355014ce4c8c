package e2e_test

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
)

// consumingPage is the page whose clients are run.
const consumingPage = "../../docs/consuming.md"

// checkConsumingPage runs the clients of the page that are installed by make clients, each as it stands there but for addresses, names of topics
// and the group.
func checkConsumingPage(t *testing.T, s *setup, records []kafkaread.Record) {
	names := kafka.NewNames(s.prefix)
	var want rows
	for i := range records {
		if r := &records[i]; r.Topic == names.Negative() {
			want = append(want, r.Field("sentiment")+" "+r.Field("conversation_id"))
		}
	}
	t.Run("Python/consuming.md", func(t *testing.T) {
		requireRows(t, want, firstLines(t, len(want), exec.Command(*python, "-c", s.client(t, "Python", "python"))))
	})
	if _, err := exec.LookPath("kcat"); err == nil {
		t.Run("kcat/consuming.md", func(t *testing.T) {
			requireRows(t, want, firstLines(t, len(want), exec.Command("sh", "-c", s.client(t, "kcat", "sh"))))
		})
	}
	if *node != "" {
		t.Run("Node/consuming.md", func(t *testing.T) {
			cmd := exec.Command("node", "-e", s.client(t, "Node", "js"))
			cmd.Env = append(os.Environ(), "NODE_PATH="+*node+"/node_modules")
			requireRows(t, want, firstLines(t, len(want), cmd))
		})
	}
	t.Run("DuckDB/consuming.md", func(t *testing.T) {
		dir := t.TempDir()
		tail := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(s.client(t, "DuckDB", "sh"), "poller tail", binary(t, "")+" tail --prefix "+s.prefix, 1))
		tail.Dir = dir
		out, err := tail.CombinedOutput()
		require.NoError(t, err, string(out))
		sql := exec.Command(*python, "-c", "import duckdb, sys\nfor row in duckdb.sql(sys.argv[1]).fetchall(): print(*row, sep='\\t')", s.client(t, "DuckDB", "sql"))
		sql.Dir = dir
		thumbs := thumbsOf(records, names.Event(events.TypeFeedback))
		requireRows(t, thumbs, firstLines(t, len(thumbs), sql))
	})
}

// client returns the block of a language in a section of the page, for the topics of the setup.
func (s *setup) client(t *testing.T, section, language string) string {
	t.Helper()
	page, err := os.ReadFile(consumingPage)
	require.NoError(t, err)
	_, text, found := strings.Cut(string(page), "\n### "+section+"\n")
	require.True(t, found, section)
	text, _, _ = strings.Cut(text, "\n### ")
	block := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$").FindStringSubmatch(text)
	require.NotNil(t, block, section)
	return strings.NewReplacer(
		"localhost:9092", s.platform.broker, "http://localhost:8081", s.platform.registry, "agentassist.", s.prefix+".", `"alerts"`, `"`+section+`"`,
	).Replace(block[1])
}

// firstLines runs a program until it has printed n lines, or until waitLimit, kills it, and returns the lines.
func firstLines(t *testing.T, n int, cmd *exec.Cmd) (lines rows) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	limit := time.AfterFunc(waitLimit, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	for text := bufio.NewScanner(out); len(lines) < n && text.Scan(); {
		lines = append(lines, text.Text())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return lines
}

// thumbsOf counts by queue what agents think in the end, and what of it is negative.
func thumbsOf(records []kafkaread.Record, topic string) (out rows) {
	last := map[string]*kafkaread.Record{}
	for i := range records {
		if r := &records[i]; r.Topic == topic {
			last[r.Field("entity_id")] = r
		}
	}
	thumbs, bad := map[string]int{}, map[string]int{}
	for _, r := range last {
		sentiment := r.Field("sentiment")
		if r.Field("superseded_by") != "" || r.Field("given_by") != "AGENT" || sentiment != "POSITIVE" && sentiment != "NEGATIVE" {
			continue
		}
		queue, _ := r.Value["queue"].(map[string]any)
		name, _ := queue["queue_name"].(string)
		if thumbs[orDash(name)]++; sentiment == "NEGATIVE" {
			bad[orDash(name)]++
		}
	}
	for name := range thumbs {
		out.add(name, thumbs[name], bad[name])
	}
	return out
}
