package poll

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
)

// A row needs one name of every list that is not empty.
func TestFilter(t *testing.T) {
	row := &extract.Row{Channel: "chat", Queues: []string{"qu-1", "qu-2"}, Agents: []string{"a-1"}}
	for _, c := range []struct {
		filter Filter
		takes  bool
		text   string
	}{
		{Filter{}, true, ""},
		{Filter{Queues: []string{"qu-2", "qu-3"}}, true, "queues qu-2, qu-3"},
		{Filter{Queues: []string{"qu-3"}}, false, "queues qu-3"},
		{Filter{Channels: []string{"chat"}, Agents: []string{"a-1"}}, true, "channels chat; agents a-1"},
		{Filter{Channels: []string{"voice"}, Agents: []string{"a-1"}}, false, "channels voice; agents a-1"},
	} {
		f := c.filter
		require.Equal(t, c.takes, f.Takes(row), c.text)
		require.Equal(t, c.text, f.String())
		require.Equal(t, c.text == "", f.IsZero())
	}
	require.False(t, (&Filter{Queues: []string{"qu-1"}}).Takes(&extract.Row{}), "a row without a queue is of none")
}

// A filter includes what takes no row that it does not take.
func TestFilterIncludes(t *testing.T) {
	all, some, fewer := &Filter{}, &Filter{Channels: []string{"chat", "voice"}}, &Filter{Channels: []string{"voice"}, Queues: []string{"qu-1"}}
	require.True(t, all.includes(all) && all.includes(some) && some.includes(some) && some.includes(fewer))
	require.False(t, some.includes(all) || fewer.includes(some))
	require.False(t, some.includes(&Filter{Channels: []string{"chat", "email"}}))
}

// The API is asked to filter only where it does so by what rows show.
func TestFilterAsks(t *testing.T) {
	f := &Filter{Queues: []string{"qu-1"}, Channels: []string{"chat"}, Agents: []string{"a-1"}}
	for _, e := range events.Endpoints() {
		q := kore.Query{Endpoint: e}
		f.ask(&q)
		want := kore.Query{Endpoint: e}
		if e == events.Interactions {
			want.Channels, want.Agents = f.Channels, f.Agents
		}
		require.Equal(t, want, q)
	}
}
