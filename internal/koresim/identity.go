package koresim

import (
	"fmt"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// KeyOf returns what identifies a thing of a type by upstream identifiers, from the fields of an event or of an entry.
// It is the ledger's own notion of identity: entity_id, which is the poller's, plays no part.
func KeyOf(t events.Type, f Fields) string {
	part := func(paths ...string) string {
		for _, p := range paths {
			if s := text(f.get(p)); s != "" {
				return s
			}
		}
		return ""
	}
	var parts []string
	switch t {
	case events.TypeSearch:
		if parts = []string{part("request_id")}; part("via") != "AGENTIC" {
			parts = []string{part("segment_id"), part("execution_start_time")}
		}
	case events.TypeSuggestionShown:
		parts = []string{part("segment_id"), part("kind"), part("display_time", "utterance")}
	case events.TypeSuggestionUsed:
		if parts = []string{part("request_id")}; part("via") != "AGENTIC" {
			parts = []string{part("segment_id"), part("via"), part("target_type"), part("position_id", "title", "url", "path", "uri")}
		}
	case events.TypeFeedback:
		parts = []string{part("given_by"), part("target_type")}
		switch parts[1] {
		case "Conversation":
			parts = append(parts, part("session_id"), part("conversation_id"), part("scale"))
		case "Widget":
			parts = append(parts, part("conversation_id"), part("agent.agent_id"))
		default:
			if id := part("request_id", "summary_id"); id != "" {
				parts = append(parts, id, part("agent.agent_id")) // each agent has an opinion of his own
			} else {
				parts = append(parts, part("segment_id"), part("position_id", "target_name"))
			}
		}
	case events.TypeCoachingTriggered:
		parts = []string{part("coaching_id")}
	case events.TypePlaybookStep:
		parts = []string{part("run_id"), part("level"), part("stage_id"), part("step_id")}
	case events.TypeAgenticRequest:
		parts = []string{part("request_id")}
	case events.TypeSegment:
		parts = []string{part("segment_id")}
	case events.TypeSummary:
		parts = []string{part("summary_id")}
	case events.TypeConversation:
		parts = []string{part("session_id"), part("conversation_id", "channel")}
	case events.TypeAgentEngagement:
		parts = []string{
			part("session_id"), part("conversation_id"), part("queue.queue_id"), part("agent.agent_id"), part("assigned_at", "accepted_time"),
		}
	case events.TypeMessage:
		parts = []string{part("message_id")}
	}
	return strings.Join(parts, "|")
}

// get returns the value at a path of record fields.
func (f Fields) get(path string) any {
	name, rest, deeper := strings.Cut(path, ".")
	v := unwrap(f[name])
	if !deeper {
		return v
	}
	switch r := v.(type) {
	case Fields:
		return r.get(rest)
	case map[string]any:
		return Fields(r).get(rest)
	}
	return nil
}

// unwrap takes the value out of a union as some decoders return it: a map with the branch as its only key.
func unwrap(v any) any {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return v
	}
	for k, inner := range m {
		branch := strings.HasPrefix(k, "agentassist.v1.") || strings.HasPrefix(k, "long.")
		switch k {
		case "string", "long", "double", "boolean", "array", "map":
			branch = true
		}
		if branch {
			return inner
		}
	}
	return v
}

// timeOf reads a time as decoders return it.
func timeOf(v any) (time.Time, bool) {
	switch v := unwrap(v).(type) {
	case time.Time:
		return v, true
	case int64:
		return time.UnixMilli(v), true
	}
	return time.Time{}, false
}

// text is a value as a part of a key.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return fmt.Sprint(v.UnixMilli())
	}
	return fmt.Sprint(v)
}

// same reports whether an observed value is what the ledger says. Empty and absent are the same; records are compared in
// the fields that the ledger knows.
func same(want, got any) bool {
	want, got = unwrap(want), unwrap(got)
	if empty(want) || empty(got) {
		return empty(want) && empty(got)
	}
	switch w := want.(type) {
	case Fields:
		g, ok := got.(map[string]any)
		if !ok {
			g, ok = got.(Fields)
		}
		if !ok {
			return false
		}
		for k := range w {
			if !same(w[k], g[k]) {
				return false
			}
		}
		return true
	case map[string]any:
		return same(Fields(w), got)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !same(w[i], g[i]) {
				return false
			}
		}
		return true
	case time.Time:
		if g, ok := got.(time.Time); ok {
			return g.Equal(w)
		}
		return number64(got) == float64(w.UnixMilli())
	case string, bool:
		return want == got
	}
	return number64(want) == number64(got)
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case Fields:
		return len(v) == 0
	}
	return false
}

func number64(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int32:
		return float64(v)
	case int64:
		return float64(v)
	case float32:
		return float64(v)
	case float64:
		return v
	case time.Time:
		return float64(v.UnixMilli())
	}
	return -1e300
}
