package app_test

import (
	"context"
	"encoding/json"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/status"

	"github.com/stretchr/testify/require"
)

// chromium opens an address in a browser and returns the document as it is in the end, and what the browser logged.
func chromium(t *testing.T, address string, flags ...string) (document, log string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("Chromium is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// Its processes may write there for a moment after its end, so that nothing depends on removing it.
	dir, err := os.MkdirTemp("", "poller-browser-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	browser := exec.CommandContext(ctx, path, append(flags, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+dir, "--enable-logging=stderr", "--dump-dom", address)...)
	browser.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() error { return syscall.Kill(-browser.Process.Pid, syscall.SIGKILL) }
	browser.Cancel = kill
	// Files, because processes that outlive the browser keep pipes open.
	stdout, stderr := filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
	out, err := os.Create(stdout)
	require.NoError(t, err)
	defer out.Close()
	logged, err := os.Create(stderr)
	require.NoError(t, err)
	defer logged.Close()
	browser.Stdout, browser.Stderr = out, logged
	require.NoError(t, browser.Start())
	failed := browser.Wait()
	_ = kill() // what has outlived it
	text, err := os.ReadFile(stdout)
	require.NoError(t, err)
	complaints, err := os.ReadFile(stderr)
	require.NoError(t, err)
	require.NoError(t, failed, "%s", complaints)
	return string(text), string(complaints)
}

// In a browser the page loads without a complaint about it or about what it may do.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	document, log := chromium(t, serve(t, app.HTTPOptions{Status: exampleStatus})+"/")
	require.Contains(t, document, "3 problems")
	require.Contains(t, document, "<rect class=\"complete\"")
	require.NotContains(t, log, "CONSOLE")
}

// Nothing is cut off, and nobody has to scroll sideways, on a phone and on a small screen, however long names are.
func TestPageFitsScreens(t *testing.T) {
	t.Parallel()
	long := exampleStatus()
	long.Problems[0].Text = strings.Repeat("topic-with-a-long-name.", 50)
	long.Delivery.Brokers = []string{strings.Repeat("broker", 40) + ":9092"}
	long.Checkpoint.Path = "/" + strings.Repeat("directory/", 40)
	a := &long.Accounts[0]
	a.Name, a.AccountID = strings.Repeat("account", 20), strings.Repeat("6798834e4e94062f75aaaaaa", 10)
	for i := range a.Endpoints {
		a.Endpoints[i].BotName = strings.Repeat("bot", 40)
	}
	for name, s := range map[string]status.Status{"usual": exampleStatus(), "long": long, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, page, _ := get(t, serve(t, app.HTTPOptions{Status: func() status.Status { return s }})+"/")
			dir := t.TempDir()
			// Frames have widths of their own, and a file may look into another; the server forbids both.
			page = regexp.MustCompile(`<meta http-equiv="refresh"[^>]*>`).ReplaceAllString(page, "")
			require.NoError(t, os.WriteFile(filepath.Join(dir, "page.html"), []byte(page), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "frames.html"), []byte(`<!doctype html><body><script>
const found = [], widths = [400, 800, 1200, 1600];
for (const width of [...widths]) {
  const f = document.createElement("iframe");
  f.style = "border: 0; height: 2000px; width: " + width + "px";
  f.src = "page.html";
  f.onload = () => {
    const d = f.contentDocument;
    for (const e of d.querySelectorAll("html, section, table"))
      if (e.scrollWidth > e.clientWidth) found.push(e.tagName + " at " + width + " is " + e.scrollWidth + " wide, shown are " + e.clientWidth);
    if (d.documentElement.clientWidth !== width) found.push("the frame is " + d.documentElement.clientWidth + " wide");
    widths.pop();
    if (!widths.length) document.body.innerHTML = "<pre></pre>", document.querySelector("pre").textContent = JSON.stringify(found);
  };
  document.body.append(f);
}
</script>`), 0o600))
			document, _ := chromium(t, "file://"+filepath.Join(dir, "frames.html"), "--allow-file-access-from-files", "--hide-scrollbars")
			answer := regexp.MustCompile(`<pre>(.*)</pre>`).FindStringSubmatch(document)
			require.NotNil(t, answer, "%.1000s", document)
			var found []string
			require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(answer[1])), &found))
			require.Empty(t, found)
		})
	}
}
