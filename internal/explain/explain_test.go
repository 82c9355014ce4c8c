package explain

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/secret"
)

// world is a contact centre with a day of conversations, and a broker with nothing on it.
type world struct {
	sim     *koresim.Server
	names   kafka.Names
	client  *kgo.Client
	options Options
}

func newWorld(t *testing.T) *world {
	t.Helper()
	sim, err := koresim.New(koresim.Config{Start: time.Now().Add(-24 * time.Hour), End: time.Now().Add(-time.Hour), Bots: 1, SegmentsPerDay: 300, EmailOpen: 2 * time.Hour})
	require.NoError(t, err)
	names := kafka.NewNames("agentassist")
	topics := []string{names.Watermark(), names.DeadLetter()}
	for _, kind := range events.Types() {
		if kind != events.TypeMessage { // which is off, below
			topics = append(topics, names.Event(kind))
		}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	account := sim.Accounts()[0]
	o := poll.Options{
		Name: account.Name, AccountID: account.ID,
		Endpoints: map[events.Endpoint]poll.EndpointOptions{events.Interactions: {}, events.Conversations: {}},
		Bots:      []poll.Bot{{Name: account.Bots[0].Name, ID: account.Bots[0].ID}},
		Policy:    plan.DefaultPolicy(), Off: []events.Type{events.TypeMessage},
	}
	w := &world{sim: sim, names: names, client: client, options: Options{
		Accounts: []Account{{Poll: o, API: kore.Config{
			BaseURL: "https://kore.example", AccountID: account.ID, ClientID: account.ClientID, ClientSecret: secret.New(account.ClientSecret),
		}}},
		Kafka: kafka.DefaultConfig(), Log: slog.New(slog.DiscardHandler), Since: time.Now().Add(-25 * time.Hour), Transport: sim.Transport(),
	}}
	w.options.Kafka.Brokers = cluster.ListenAddrs()
	most := map[string]int{}
	for e := range sim.Ledger(time.Now()) {
		if most[e.ConversationID]++; e.ConversationID != "" && most[e.ConversationID] > most[w.options.ID] {
			w.options.ID = e.ConversationID
		}
	}
	return w
}

// publish writes a record.
func (w *world) publish(t *testing.T, topic string, value []byte) {
	t.Helper()
	require.NoError(t, w.client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: value}).FirstErr())
}

func (w *world) publishEvent(t *testing.T, e events.Event) {
	t.Helper()
	print := events.Fingerprint(e.EventType())
	value, err := events.AppendAvro(append([]byte{0xC3, 0x01}, print[:]...), e)
	require.NoError(t, err)
	w.publish(t, w.names.Event(e.EventType()), value)
}

// publishRecord writes what has a schema of its own.
func (w *world) publishRecord(t *testing.T, kind events.Type, r interface {
	AppendAvro(dst []byte) ([]byte, error)
}) {
	t.Helper()
	print := events.Fingerprint(kind)
	value, err := r.AppendAvro(append([]byte{0xC3, 0x01}, print[:]...))
	require.NoError(t, err)
	w.publish(t, w.names.Event(kind), value)
}

// explain runs, and makes sure that no secret shows and that the page for people says the verdict.
func (w *world) explain(t *testing.T) *Report {
	t.Helper()
	r, err := Run(t.Context(), w.options)
	require.NoError(t, err)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.NotContains(t, string(text), w.sim.Accounts()[0].ClientSecret)
	var page bytes.Buffer
	require.NoError(t, Print(&page, r))
	require.Contains(t, page.String(), r.Verdict())
	return r
}

func (r *Report) entityOf(t *testing.T, id string) *Entity {
	t.Helper()
	for _, e := range r.Entities {
		if e.ID == id {
			return e
		}
	}
	require.FailNow(t, "no such entity", id)
	return nil
}

// Every way in which the topics can differ from what the API shows has its state, and a reason that says what to do.
func TestStates(t *testing.T) {
	w := newWorld(t)
	r := w.explain(t)
	require.Zero(t, r.Count(Same))
	var shown []*Entity
	for _, e := range r.Entities {
		if e.Type == events.TypeMessage {
			require.Equal(t, Off, e.State)
			continue
		}
		require.Equal(t, Missing, e.State)
		require.Contains(t, e.Why, "has not been read yet")
		shown = append(shown, e)
	}
	require.GreaterOrEqual(t, len(shown), 4)

	missing, dead, different := shown[0], shown[1], shown[2]
	for _, e := range shown[2:] {
		if e == different {
			e.shown.Head().EventID = "of other content"
		}
		w.publishEvent(t, e.shown)
	}
	gone := shown[3].shown.Head()
	conversation := *gone.ConversationID
	w.publishEvent(t, &events.Summary{Header: events.Header{
		EventID: "1", EntityID: "gone", Revision: 1, EventTime: gone.EventTime, ObservedTime: gone.EventTime, ChangedBefore: gone.EventTime,
		Source: gone.Source, BotID: gone.BotID, Endpoint: string(events.Interactions), ConversationID: &conversation,
	}})
	w.publishRecord(t, events.TypeDeadLetter, &events.DeadLetter{
		Stage: "encode", Reason: "too large\x1b[2J", EntityID: &dead.ID, ConversationID: &conversation, ObservedTime: gone.EventTime,
	})
	from, through := missing.row.Add(-time.Hour), missing.row.Add(time.Hour)
	mark := events.Watermark{
		Source: gone.Source, BotID: gone.BotID, CompleteFrom: &from, CompleteUpTo: &from, ReadThrough: &through, PublishedTime: through,
	}
	for name, tt := range map[string]struct {
		change func(*events.Watermark)
		want   string
	}{
		"read before":   {func(*events.Watermark) {}, "it is read again"},
		"not read yet":  {func(m *events.Watermark) { m.ReadThrough = &from }, "has been read through"},
		"before it all": {func(m *events.Watermark) { m.CompleteFrom = &through }, "is read from " + clock(through) + " on: poller backfill --account"},
		"gap": {func(m *events.Watermark) {
			m.Gaps = []events.WatermarkGap{{From: from, To: through, Reason: "accepted"}}
		}, "(accepted): poller backfill --account"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, endpoint := range []events.Endpoint{events.Interactions, events.Conversations} {
				m := mark
				m.Endpoint = string(endpoint)
				tt.change(&m)
				w.publishRecord(t, events.TypeWatermark, &m)
			}
			r := w.explain(t)
			require.Equal(t, Missing, r.entityOf(t, missing.ID).State)
			require.Contains(t, r.entityOf(t, missing.ID).Why, tt.want)
			require.Equal(t, Missing, r.entityOf(t, dead.ID).State)
			require.Contains(t, r.entityOf(t, dead.ID).Why, "it is a dead letter: too large")
			require.Equal(t, Different, r.entityOf(t, different.ID).State)
			require.Equal(t, NotShown, r.entityOf(t, "gone").State)
			require.Equal(t, len(shown)-3, r.Count(Same))
			require.Len(t, r.DeadLetters, 1)
			var page bytes.Buffer
			require.NoError(t, Print(&page, r))
			require.NotContains(t, page.String(), "\x1b")
		})
	}
	for _, id := range []string{"gone", shown[3].shown.Head().EventID} {
		w.options.ID = id
		require.Equal(t, conversation, w.explain(t).Conversation)
	}
}

// An API that does not answer takes nothing away from what the topics say.
func TestAPIDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	e := w.explain(t).Entities[0]
	w.publishEvent(t, e.shown)
	w.options.Accounts[0].API.ClientSecret = secret.New(strings.Repeat("wrong", 10))
	r := w.explain(t)
	require.Len(t, r.Entities, 1)
	require.Equal(t, Unchecked, r.Entities[0].State)
	for _, a := range r.Answers {
		require.Contains(t, a.Error, "auth.client_secret")
	}
	require.Contains(t, r.Verdict(), "2 of 2 endpoints did not answer")
}
