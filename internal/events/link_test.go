package events_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

func TestLink(t *testing.T) {
	conversation, session := "a/b c?d=1&e#f+g", "s-1"
	h := events.Header{AccountID: "acc", ConversationID: &conversation, SessionID: &session}
	for template, want := range map[string]string{
		"https://desk.example/{account_id}/c/{conversation_id}?session={session_id}": "https://desk.example/acc/c/a%2Fb%20c%3Fd%3D1%26e%23f%2Bg?session=s-1",
		"https://desk.example/inbox":          "https://desk.example/inbox",
		"https://desk.example/s/{segment_id}": "", // the event has none
		"https://desk.example/{bot_id}":       "",
		"":                                    "",
	} {
		l, err := events.ParseLink(template)
		require.NoError(t, err, template)
		got := l.Of(&h)
		if want == "" {
			require.Nil(t, got, template)
			continue
		}
		require.Equal(t, want, *got)
	}
	long := strings.Repeat("x", 9000)
	l, err := events.ParseLink("https://desk.example/{conversation_id}")
	require.NoError(t, err)
	require.Nil(t, l.Of(&events.Header{ConversationID: &long}), "no client takes such an address")
}

func TestLinkRefuses(t *testing.T) {
	for template, want := range map[string]string{
		"https://desk.example/{conversationId}":          "{conversationId} is not known; want {account_id}, {bot_id}, {conversation_id}, {session_id} or {segment_id}",
		"https://desk.example/{conversation_id":          "{conversation_id has no }",
		"https://desk.example/conversation_id}":          "a } without a { before it",
		"https://desk.example/{}":                        "{} is not known",
		"desk.example/{conversation_id}":                 "no address",
		"/c/{conversation_id}":                           "no address",
		"https://d.example/" + strings.Repeat("x", 9000): "more than 2048 bytes",
	} {
		_, err := events.ParseLink(template)
		require.ErrorContains(t, err, want)
	}
}
