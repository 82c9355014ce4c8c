package revise_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/privacy"
	"agentassist-poller/internal/secret"
)

func policy(t *testing.T, c privacy.Config) *privacy.Policy {
	t.Helper()
	if c.Preset == "" {
		c.Preset = privacy.PresetNone
	}
	c.Key = secret.New("0123456789abcdef")
	require.Empty(t, c.Validate())
	p, err := c.Policy()
	require.NoError(t, err)
	return p
}

func comment(id, text string) events.Observation {
	o := thumb(id, "NEGATIVE")
	o.Event.(*events.Feedback).CommentText = str(text)
	return o
}

// stores reports whether the store holds a text.
func (d *harness) stores(text string) bool {
	for _, value := range d.store {
		if bytes.Contains(value, []byte(text)) {
			return true
		}
	}
	return false
}

// A text that is dropped is no part of the event, and makes a revision when it changes.
func TestDroppedTextMakesRevisions(t *testing.T) {
	d := newHarness(t)
	d.in.Privacy = policy(t, privacy.Config{Preset: privacy.PresetStrict})
	first := d.one(comment("a", "slow"))
	require.Nil(t, first.Event.(*events.Feedback).CommentText)
	require.True(t, first.Negative)
	d.quiet(comment("a", "slow"))
	second := d.one(comment("a", "slow and rude"))
	require.EqualValues(t, 2, second.Event.Head().Revision)
	require.NotEqual(t, first.Event.Head().EventID, second.Event.Head().EventID)
	require.Equal(t, first.Event.Head().EntityID, second.Event.Head().EntityID)
}

// A switch from one policy to another publishes nothing, whatever it hides more or hides no more, whether one row shows a thing or two endpoints
// do. What was stored of it before anything was concealed is replaced when it is read again.
func TestSwitchOfPrivacyPublishesNothing(t *testing.T) {
	page := func() []events.Observation {
		segment := &events.Segment{Header: header(events.TypeSegment, "seg"), AgentFirstName: str("Ada"), ExtraJSON: str(`{"phone":"+4930123456"}`)}
		customer := session(events.InteractionDetails, "c", "CLOSED")
		customer.Event.(*events.Conversation).CustomerFirstName = str("Grace")
		customer.Event.(*events.Conversation).CustomerPhone = str("+4930123456")
		return []events.Observation{
			comment("a", "slow"), summary(events.Interactions, "s", str("says all"), nil), summary(events.Conversations, "s", str("says all"), str("corrected")),
			{Event: segment, Endpoint: events.Interactions, Anchor: noon}, customer,
		}
	}
	policies := []*privacy.Policy{
		policy(t, privacy.Config{Text: "drop"}), policy(t, privacy.Config{Text: "drop", Contact: "hash"}), policy(t, privacy.Config{Preset: privacy.PresetStrict}),
		policy(t, privacy.Config{Text: "mask"}), policy(t, privacy.Config{Text: "mask", Fields: map[string]string{"conversation.customer_phone": "drop"}}),
	}
	d := newHarness(t)
	d.in.KeepObservations = true
	require.Len(t, d.read(page()...).Events, 4)
	require.True(t, d.stores("says all"))
	for _, p := range policies {
		d.in.Privacy = p
		d.quiet(page()...)
		d.quiet(page()...)
		require.False(t, d.stores("says all"))
		require.False(t, d.stores("corrected"))
	}
	require.Equal(t, "***", *d.one(summary(events.Conversations, "s", str("says all"), str("corrected again"))).Event.(*events.Summary).Summary)

	// Without any policy, and so without the key, things are shown as they never were.
	d.in.Privacy = nil
	for _, o := range d.read(page()...).Events {
		switch e := o.Event.(type) {
		case *events.Summary:
			require.Equal(t, "says all", *e.Summary)
			require.Equal(t, "corrected", *e.EditedSummary)
		case *events.Feedback:
			require.Equal(t, "slow", *e.CommentText)
		case *events.Conversation:
			require.Equal(t, "+4930123456", *e.CustomerPhone)
		}
	}
}

// A text that is kept is published and stored as it is, beside others that are not.
func TestKeptTexts(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	d.in.Privacy = policy(t, privacy.Config{Name: "drop"})
	d.read(summary(events.Interactions, "s", str("says all"), nil))
	got := d.one(summary(events.Conversations, "s", nil, str("corrected"))).Event.(*events.Summary)
	require.Equal(t, "says all", *got.Summary)
	require.Equal(t, "corrected", *got.EditedSummary)
	require.True(t, d.stores("says all"))

	d.in.TooLarge = tooLarge
	d.refusedOnce(comment("a", *text("x", 1<<20)))
}

// Of what was stored before anything was concealed, nothing is published afterwards.
func TestStoredTextsAreConcealed(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	d.read(summary(events.Interactions, "s", str("says all"), nil))
	d.in.Privacy = policy(t, privacy.Config{Text: "mask"})
	got := d.one(summary(events.Conversations, "s", nil, str("corrected"))).Event.(*events.Summary)
	require.Equal(t, "***", *got.Summary)
	require.Equal(t, "***", *got.EditedSummary)
}

// An event that is too large to be published may be small once its texts are dropped.
func TestDroppedTextIsNotTooLarge(t *testing.T) {
	d := newHarness(t)
	d.in.TooLarge = tooLarge
	d.refusedOnce(comment("a", *text("x", 1<<20)))
	d.in.Privacy = policy(t, privacy.Config{Text: "drop"})
	d.one(comment("a", *text("x", 1<<20)))
}

// What agents say of one thing is told apart by their ids, and feedback finds its queue by them, however they are published.
func TestHashedAgents(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	d.in.Privacy = policy(t, privacy.Config{ID: "hash"})
	d.read(served("1", "ada", "q-1", 0))
	got := d.one(opinion("ada", "NEGATIVE", 5)).Event
	require.Equal(t, "q-1", queueOf(got))
	require.Regexp(t, "^[0-9a-f]{32}$", *got.Head().Agent.AgentID)
}
