package app_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/status"

	"github.com/stretchr/testify/require"
)

// tooWide are the parts of a page that are wider than what is shown of them.
const tooWide = `[...document.querySelectorAll("html, section, table")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.tagName + " " + e.scrollWidth + " > " + e.clientWidth)`

// In a browser the page loads without a complaint, and shows by itself what changes: a fault that begins, and its end. Nothing is cut off,
// and nobody has to scroll sideways, on a phone and on a large screen, however long names are.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)

	well := exampleStatus()
	well.State, well.Problems = status.OK, nil
	well.Accounts[0].Endpoints = well.Accounts[0].Endpoints[:1]
	ill := exampleStatus()
	long := exampleStatus()
	long.Problems[0].Text = strings.Repeat("topic-with-a-long-name.", 50)
	long.Delivery.Brokers = []string{strings.Repeat("broker", 40) + ":9092"}
	long.Checkpoint.Path = "/" + strings.Repeat("directory/", 40)
	a := &long.Accounts[0]
	a.Name, a.AccountID = strings.Repeat("account", 20), strings.Repeat("6798834e4e94062f75aaaaaa", 10)
	for i := range a.Endpoints {
		a.Endpoints[i].BotName = strings.Repeat("bot", 40)
	}

	var now atomic.Pointer[status.Status]
	now.Store(&well)
	p := b.open(serve(t, app.HTTPOptions{Status: func() status.Status { return *now.Load() }, Refresh: time.Second}) + "/")
	headline := func() (text string) {
		p.eval(`document.querySelector("h1").textContent`, &text)
		return text
	}
	require.Equal(t, "Nothing fails: 1 endpoint", headline())
	for _, change := range []struct {
		to       status.Status
		headline string
	}{{ill, "3 problems"}, {long, "3 problems"}, {status.Status{}, "All well: 0 endpoints"}, {well, "Nothing fails: 1 endpoint"}} {
		now.Store(&change.to)
		for p.loaded(); headline() != change.headline; { // it may have been on its way with what was before
			p.loaded()
		}
		for _, width := range []int{400, 800, 1200, 1600} {
			p.width(width)
			var found []string
			p.eval(tooWide, &found)
			require.Empty(t, found, "%s, at %d", change.headline, width)
		}
		var cards []string
		p.eval(`[...document.querySelectorAll("section.bad")].map(e => e.innerText)`, &cards)
		require.Len(t, cards, strings.Count(fmt.Sprint(cards), "What to do:"))
	}
	require.Empty(t, p.complaints())
}
