package app_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A browser is Chromium without a window, told what to do over the pipe of its DevTools protocol. What it reports beside its answers is kept
// until somebody waits for it. It is for one goroutine.
type browser struct {
	*testing.T
	to     *os.File
	from   *os.File
	read   *bufio.Reader
	calls  int
	events []message
}

// A message is one of the protocol: a call, its answer, or an event of a session.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// newBrowser starts Chromium until the test ends. It skips the test where there is none.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("Chromium is not installed")
	}
	// Its processes may write there for a moment after its end, so that nothing depends on removing it.
	dir, err := os.MkdirTemp("", "poller-browser-")
	require.NoError(t, err)
	theirsIn, to, err := os.Pipe()
	require.NoError(t, err)
	from, theirsOut, err := os.Pipe()
	require.NoError(t, err)
	c := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+dir, "--remote-debugging-pipe", "about:blank")
	c.ExtraFiles = []*os.File{theirsIn, theirsOut} // it reads from 3 and writes to 4
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
		for _, f := range []*os.File{to, from, theirsIn, theirsOut} {
			_ = f.Close()
		}
		_ = os.RemoveAll(dir)
	})
	require.NoError(t, from.SetReadDeadline(time.Now().Add(5*time.Minute)))
	return &browser{T: t, to: to, from: from, read: bufio.NewReader(from)}
}

// receive returns the next message.
func (b *browser) receive() (m message) {
	b.Helper()
	text, err := b.read.ReadBytes(0)
	require.NoError(b, err)
	require.NoError(b, json.Unmarshal(text[:len(text)-1], &m))
	return m
}

// call has the browser do something, and returns why it could not; empty if it could.
func (b *browser) call(session, method string, params any, result any) (failure string) {
	b.Helper()
	b.calls++
	text, err := json.Marshal(message{ID: b.calls, Session: session, Method: method, Params: params})
	require.NoError(b, err)
	_, err = b.to.Write(append(text, 0))
	require.NoError(b, err)
	for {
		m := b.receive()
		if m.ID != b.calls {
			b.events = append(b.events, m)
			continue
		}
		if m.Error != nil {
			return method + ": " + m.Error.Message
		}
		if result != nil {
			require.NoError(b, json.Unmarshal(m.Result, result))
		}
		return ""
	}
}

// A tab shows one address.
type tab struct {
	*browser
	session string
}

type params map[string]any

// open shows an address in a new tab.
func (b *browser) open(address string) *tab {
	b.Helper()
	var target struct{ TargetID, SessionID string }
	require.Empty(b, b.call("", "Target.createTarget", params{"url": "about:blank"}, &target))
	require.Empty(b, b.call("", "Target.attachToTarget", params{"targetId": target.TargetID, "flatten": true}, &target))
	p := &tab{b, target.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		p.do(domain+".enable", nil)
	}
	p.do("Page.navigate", params{"url": address})
	p.loaded()
	return p
}

func (p *tab) do(method string, with params) {
	p.Helper()
	require.Empty(p, p.call(p.session, method, with, nil))
}

// loaded waits until the tab has loaded a document that nobody has waited for.
func (p *tab) loaded() {
	p.Helper()
	for {
		for i, m := range p.events {
			if m.Session == p.session && m.Method == "Page.loadEventFired" {
				p.events = append(p.events[:i], p.events[i+1:]...)
				return
			}
		}
		p.events = append(p.events, p.receive())
	}
}

// eval returns the value of an expression in the page. A page that is about to load another is asked again.
func (p *tab) eval(expression string, value any) {
	p.Helper()
	for tries := 1; ; tries++ {
		var out struct {
			Result           struct{ Value json.RawMessage }
			ExceptionDetails json.RawMessage
		}
		failure := p.call(p.session, "Runtime.evaluate", params{"expression": expression, "returnByValue": true}, &out)
		if failure += string(out.ExceptionDetails); failure == "" {
			require.NoError(p, json.Unmarshal(out.Result.Value, value))
			return
		}
		require.Less(p, tries, 4, failure)
		p.loaded()
	}
}

// width has the tab be so wide.
func (p *tab) width(pixels int) {
	p.Helper()
	p.do("Emulation.setDeviceMetricsOverride", params{"width": pixels, "height": 1000, "deviceScaleFactor": 1, "mobile": false})
}

// complaints are what the console of the tab has shown.
func (p *tab) complaints() (found []message) {
	for _, m := range p.events {
		switch m.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			found = append(found, m)
		}
	}
	return found
}
