package privacy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/privacy"
	"agentassist-poller/internal/secret"
)

var key = secret.New("0123456789abcdef")

func policy(t *testing.T, c privacy.Config) *privacy.Policy {
	t.Helper()
	if c.Preset == "" {
		c.Preset = privacy.PresetNone
	}
	c.Key = key
	require.Empty(t, c.Validate())
	p, err := c.Policy()
	require.NoError(t, err)
	return p
}

func publish(p *privacy.Policy, e events.Event) events.Event {
	page := p.Page()
	return page.Publish(page.Conceal(e))
}

func str(s string) *string { return &s }

func conversation() *events.Conversation {
	return &events.Conversation{
		Header:            events.Header{EntityID: "e1", Agent: &events.Agent{AgentID: str("a-1"), Name: str("Ada"), Email: str("ada@example.com")}},
		UserID:            str("u-1"),
		CustomerFirstName: str("Grace"), CustomerPhone: str("+4930123456"), CustomerEmail: str(""),
		Dispositions:       []string{"sold"},
		DispositionRemarks: []string{"calls back", "likes tea"},
		UserLevelTags:      []events.ConversationTag{{Name: str("city"), Value: str("Paris")}, {Name: str("vip")}},
		MetaInfo:           &events.ConversationMeta{Email: str("grace@example.com"), Category: str("i18n")},
		MetaInfoJSON:       str(`{"email":"grace@example.com"}`),
	}
}

// Each mode does what it says, wherever a field stands, and leaves everything else.
func TestModes(t *testing.T) {
	p := policy(t, privacy.Config{Name: "hash", Contact: "mask", Text: "drop", Raw: "hash", Fields: map[string]string{"agent.name": "keep"}})
	got := publish(p, conversation()).(*events.Conversation)

	require.Equal(t, &events.Agent{AgentID: str("a-1"), Name: str("Ada"), Email: str("***")}, got.Agent)
	require.Equal(t, "u-1", *got.UserID)
	require.Regexp(t, "^[0-9a-f]{32}$", *got.CustomerFirstName)
	require.Equal(t, "***", *got.CustomerPhone)
	require.Empty(t, *got.CustomerEmail, "no text is no secret")
	require.Equal(t, []string{"sold"}, got.Dispositions)
	require.Empty(t, got.DispositionRemarks)
	require.Equal(t, []events.ConversationTag{{Name: str("city")}, {Name: str("vip")}}, got.UserLevelTags)
	require.Equal(t, &events.ConversationMeta{Email: str("***"), Category: str("i18n")}, got.MetaInfo)
	require.Regexp(t, `^"[0-9a-f]{32}"$`, *got.MetaInfoJSON, "JSON remains JSON")
}

// A hash is the same wherever a text stands, and another under another key.
func TestHashes(t *testing.T) {
	hashed := func(k string, c *events.Conversation) *events.Conversation {
		p, err := (&privacy.Config{Preset: privacy.PresetNone, Name: "hash", Key: secret.New(k)}).Policy()
		require.NoError(t, err)
		return publish(p, c).(*events.Conversation)
	}
	c := conversation()
	c.CustomerLastName = str("Ada")
	a, b := hashed("0123456789abcdef", c), hashed("fedcba9876543210", c)
	require.Equal(t, *a.Agent.Name, *a.CustomerLastName)
	require.NotEqual(t, *a.Agent.Name, *a.CustomerFirstName)
	require.NotEqual(t, *a.Agent.Name, *b.Agent.Name)
}

// Events of a page share what they point to: to conceal one must not change another.
func TestConcealChangesNothing(t *testing.T) {
	page := policy(t, privacy.Config{Preset: privacy.PresetStrict}).Page()
	c := conversation()
	concealed := page.Conceal(c)
	require.Equal(t, conversation(), c)
	again := page.Conceal(c)
	page.Publish(concealed)
	page.Store(concealed)
	require.Equal(t, again, concealed)
}

// Text of upstream that looks like a token is text.
func TestTextsLikeTokens(t *testing.T) {
	p := policy(t, privacy.Config{Name: "hash"})
	c := conversation()
	first := publish(p, c).(*events.Conversation).CustomerFirstName
	c.CustomerFirstName = str("\x00" + *first)
	require.NotEqual(t, *first, *publish(p, c).(*events.Conversation).CustomerFirstName)
}

// Under the strict preset no text of a field that holds personal data is published, of any type, whatever the schema gains.
func TestStrictKeepsNothing(t *testing.T) {
	p := policy(t, privacy.Config{Preset: privacy.PresetStrict})
	for _, typ := range events.Types() {
		e := events.New(typ)
		fill(reflect.ValueOf(e).Elem(), "")
		out := publish(p, e)
		texts(reflect.ValueOf(out).Elem(), "", func(personal, text string) {
			require.NotContains(t, text, "personal", "%s: a field of the class %s", typ, personal)
			require.NotContains(t, text, "\x00", "%s: a token", typ)
		})
		texts(reflect.ValueOf(e).Elem(), "", func(personal, text string) {
			require.Equal(t, personal != "", strings.HasPrefix(text, "personal"), typ)
		})
	}
	require.False(t, p.KeepsRaw())
}

// fill gives every text a value, which says whether it is personal data.
func fill(v reflect.Value, personal string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("public")
		if personal != "" {
			v.SetString("personal")
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), personal)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), personal)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), v.Type().Field(i).Tag.Get("personal"))
			}
		}
	}
}

// texts calls f with every text in v, and the class of its field.
func texts(v reflect.Value, personal string, f func(personal, text string)) {
	switch v.Kind() {
	case reflect.String:
		f(personal, v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			texts(v.Elem(), personal, f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts(v.Index(i), personal, f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				texts(v.Field(i), v.Type().Field(i).Tag.Get("personal"), f)
			}
		}
	}
}

// What was stored under one policy is read under another: nothing that is to be concealed is published or stored again, and no token is taken
// for a text.
func TestRecall(t *testing.T) {
	strict := policy(t, privacy.Config{Preset: privacy.PresetStrict})
	names := policy(t, privacy.Config{Name: "mask", Raw: "keep"})
	store := func(p *privacy.Policy) *events.Conversation {
		page := p.Page()
		return page.Store(page.Conceal(conversation())).(*events.Conversation)
	}
	recalled := func(p *privacy.Policy, stored events.Event) (concealed events.Event, published *events.Conversation) {
		page := p.Page()
		concealed = page.Recall(stored)
		return concealed, page.Publish(concealed).(*events.Conversation)
	}
	concealed := strict.Page().Conceal(conversation())
	for name, stored := range map[string]*events.Conversation{"before": conversation(), "strict": store(strict), "names": store(names)} {
		got, published := recalled(strict, stored)
		require.Equal(t, concealed, got, "%s: whatever was stored, it is the same thing", name)
		require.Equal(t, publish(strict, conversation()), published, name)
	}
	require.Nil(t, publish(strict, conversation()).(*events.Conversation).CustomerPhone)
	require.Equal(t, "+4930123456", *store(names).CustomerPhone)

	_, published := recalled(names, store(strict))
	require.Equal(t, "***", *published.CustomerFirstName)
	require.Nil(t, published.CustomerPhone, "kept now, and not known")
	require.Nil(t, published.MetaInfoJSON)

	var none *privacy.Policy
	_, published = recalled(none, store(strict))
	require.Nil(t, published.CustomerFirstName)
	_, published = recalled(none, conversation())
	require.Equal(t, conversation(), published)
	require.Same(t, concealed, none.Page().Conceal(concealed))
	require.True(t, none.KeepsRaw())
}

// What was forgotten is published in no mode, and there is nothing more to forget of it.
func TestForget(t *testing.T) {
	gone := privacy.Forget(conversation())
	require.Equal(t, gone, privacy.Forget(gone))
	for _, mode := range []string{"keep", "drop", "hash", "mask"} {
		page := policy(t, privacy.Config{Name: mode, Contact: "drop"}).Page()
		require.Nil(t, page.Publish(page.Recall(gone)).(*events.Conversation).CustomerFirstName, mode)
	}
}

// A person is found by ids and addresses, wherever an event has them, and where they are hashed.
func TestMentions(t *testing.T) {
	mentions := func(p *privacy.Policy, e events.Event, person string) bool {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(text, &fields))
		return p.Mentions(e.EventType(), fields, person)
	}
	c := conversation()
	c.Destinations = []events.ConversationDestination{{NonRespondingAgentIDs: []string{"a-2", "a-3"}}}
	hashing := policy(t, privacy.Config{ID: "hash", Contact: "hash"})
	for _, person := range []string{"a-1", "u-1", "a-3", "Ada@Example.com", "+4930123456", "grace@example.com"} {
		require.True(t, mentions(nil, c, person), person)
		require.True(t, mentions(hashing, c, person), "%s, from before", person)
		if person != "Ada@Example.com" {
			require.True(t, mentions(hashing, publish(hashing, c), person), "%s, hashed", person)
		}
		require.False(t, mentions(nil, publish(hashing, c), person), "%s, without the key", person)
	}
	for _, other := range []string{"Ada", "Grace", "Paris", "calls back", "", "a-", "e1"} {
		require.False(t, mentions(hashing, c, other), other)
	}
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		c    privacy.Config
		want string // the first problem; empty for none
	}{
		"nothing":            {privacy.Config{}, ""},
		"strict":             {privacy.Config{Preset: "strict", Key: key}, ""},
		"a key without use":  {privacy.Config{Key: key}, ""},
		"unknown preset":     {privacy.Config{Preset: "lax"}, `preset: "lax"; want none or strict`},
		"unknown mode":       {privacy.Config{Text: "hide"}, `text: "hide"; want one of keep, drop, hash, mask`},
		"unknown field":      {privacy.Config{Fields: map[string]string{"agent.nmae": "drop"}}, "fields.agent.nmae: no field of that name holds personal data; did you mean agent.name?"},
		"no personal data":   {privacy.Config{Fields: map[string]string{"conversation.direction": "drop"}}, "fields.conversation.direction: no field of that name holds personal data; docs/events.md names them all"},
		"mode of a field":    {privacy.Config{Fields: map[string]string{"agent.name": ""}}, `fields.agent.name: ""; want one of`},
		"masked bytes":       {privacy.Config{Fields: map[string]string{"dead-letter.raw_bytes": "mask"}}, "want keep or drop"},
		"no key":             {privacy.Config{Text: "drop"}, "key_file: is missing"},
		"no key for a field": {privacy.Config{Fields: map[string]string{"conversation.agent.name": "drop"}}, "key_file: is missing"},
		"short key":          {privacy.Config{Text: "drop", Key: secret.New("short")}, "key: has 5 bytes; want at least 16"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.c.Preset == "" {
				tt.c.Preset = privacy.PresetNone
			}
			var got []string
			for _, p := range tt.c.Validate() {
				got = append(got, p.Path+": "+p.Text)
			}
			if tt.want == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Contains(t, got[0], tt.want)
		})
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	c := privacy.Config{Preset: privacy.PresetStrict, KeyFile: path}
	_, err := c.Policy()
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(path, []byte("short\n"), 0o600))
	_, err = c.Policy()
	require.ErrorContains(t, err, "the key has 5 bytes; want at least 16")

	require.NoError(t, os.WriteFile(path, []byte(key.Reveal()+"\n"), 0o600))
	p, err := c.Policy()
	require.NoError(t, err)
	want := policy(t, privacy.Config{Preset: privacy.PresetStrict})
	require.Equal(t, publish(want, conversation()), publish(p, conversation()))
}

// Raw JSON may hold names and addresses: it is not kept where these are not, unless somebody says so.
func TestRawFollows(t *testing.T) {
	for name, tt := range map[string]struct {
		c    privacy.Config
		kept bool
	}{
		"nothing hidden": {privacy.Config{Text: "keep"}, true},
		"a class":        {privacy.Config{Contact: "hash"}, false},
		"a field":        {privacy.Config{Fields: map[string]string{"conversation.customer_phone": "drop"}}, false},
		"chosen":         {privacy.Config{Contact: "hash", Raw: "keep"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy(t, tt.c)
			got := publish(p, conversation()).(*events.Conversation)
			require.Equal(t, tt.kept, got.MetaInfoJSON != nil)
			require.Equal(t, tt.kept, p.KeepsRaw())
		})
	}
}

func BenchmarkConceal(b *testing.B) {
	c := privacy.Config{Preset: privacy.PresetStrict, Key: key}
	p, err := c.Policy()
	require.NoError(b, err)
	e := conversation()
	b.ReportAllocs()
	for b.Loop() {
		publish(p, e)
	}
}
