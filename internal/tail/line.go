package tail

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"agentassist-poller/internal/events"
)

// A part is one field of a value in a line. A format of a bool is what it says if it is true. Fields that are null, empty or false are
// left out, and so are counts of 0.
type part struct{ field, format string }

const (
	plain  = "%v"
	quoted = "%q"
)

// parts are what a line says of a record, by topic without the prefix.
var parts = map[string][]part{
	string(events.TypeSearch): {{"search_phrase", quoted}, {"via", "via %v"}, {"suggestion_used", "%v suggested phrases taken"}},
	string(events.TypeSuggestionShown): {
		{"kind", plain}, {"count_total", "%v in all"}, {"count_answers", "%v answers"}, {"count_faqs", "%v FAQs"}, {"count_files", "%v files"},
		{"count_web_pages", "%v web pages"}, {"count_dialog_tasks", "%v dialog tasks"}, {"utterance", quoted},
	},
	string(events.TypeSuggestionUsed): {
		{"target_type", plain}, {"usage", plain},
		{"title", quoted}, {"dialog_name", quoted}, {"url", plain},
	},
	string(events.TypeFeedback): {
		{"sentiment", plain}, {"given_by", "by %v"}, {"target_type", "on %v"}, {"feedback_type", plain}, {"scale", plain}, {"csat_score", plain}, {"nps_score", plain},
		{"reason_codes", plain}, {"comment_text", quoted},
	},
	string(events.TypeCoachingTriggered): {{"rule_name", quoted}, {"action_type", plain}, {"is_adhered", "adhered"}, {"message_title", quoted}},
	string(events.TypePlaybookStep): {
		{"level", plain}, {"stage_name", quoted}, {"step_name", quoted}, {"step_status", plain}, {"is_adhered", "adhered"}, {"adherence_rate", "adherence %v"},
	},
	string(events.TypeAgenticRequest): {{"kind", plain}, {"query", quoted}, {"res_status", plain}},
	string(events.TypeSegment):        {{"segment_end_time", "ended %v"}, {"tags", plain}},
	string(events.TypeSummary):        {{"summary_type", plain}, {"is_edited", "edited"}, {"is_error", "failed"}, {"summary", quoted}},
	string(events.TypeConversation): {
		{"bot_only", "bot only"}, {"direction", plain}, {"final_status", plain}, {"csat_score", "CSAT %v"}, {"nps_score", "NPS %v"}, {"reason", quoted},
	},
	string(events.TypeAgentEngagement): {
		{"status", plain}, {"destination_type", plain}, {"interaction_duration", "%v s"}, {"after_call_work_duration", "%v s after-call work"},
	},
	string(events.TypeMessage): {{"author_type", plain}, {"message_type", plain}, {"components", plain}},
	string(events.TypeWatermark): {
		{"endpoint", plain}, {"bot_id", plain}, {"complete_up_to", "complete up to %v"}, {"read_through", "read through %v"},
	},
	string(events.TypeDeadLetter): {{"stage", plain}, {"endpoint", plain}, {"event_type", plain}, {"reason", quoted}, {"raw_hash", plain}},
}

// Line returns what a person wants to know first of a record: when it happened, what it is, what it says, and whom it concerns. Topic is
// without the prefix. The line has no line breaks and nothing that steers a terminal.
func Line(topic string, value map[string]any) string {
	return clock{}.line(fmt.Sprintf("%-18s", topic), topic, value)
}

// aligned is the least width of a terminal on which the topics of lines take a column.
const aligned = 80

// ShortLine returns a Line for a terminal of that many characters a line: times of today, which now is in, are without their day, so that
// more of the content fits.
func ShortLine(topic string, value map[string]any, now time.Time, width int) string {
	column := topic
	if width >= aligned {
		column = fmt.Sprintf("%-18s", topic)
	}
	return clock{now.UTC()}.line(column, topic, value)
}

// clock writes values as a person reads them. The zero value writes every time with its day, another one leaves out the day that it has.
type clock struct{ now time.Time }

func (c clock) line(column, topic string, value map[string]any) string {
	at := value["event_time"]
	for _, other := range []string{"published_time", "observed_time"} {
		if at == nil {
			at = value[other]
		}
	}
	words := []string{c.word(at) + " " + column}
	if n, ok := value["revision"].(int64); ok && n > 1 {
		words = append(words, fmt.Sprintf("revision %d", n))
	}
	for _, p := range parts[strings.TrimSuffix(topic, "-negative")] {
		if w := c.say(p, value[p.field]); w != "" {
			words = append(words, w)
		}
	}
	if value["superseded_by"] != nil {
		words = append(words, "superseded")
	}
	if agent, ok := value["agent"].(map[string]any); ok {
		words = append(words, c.first(agent["name"], agent["agent_id"]))
	}
	if queue, ok := value["queue"].(map[string]any); ok {
		words = append(words, c.first(queue["queue_name"], queue["queue_id"]))
	}
	words = append(words, c.first(value["conversation_id"], value["session_id"], value["segment_id"]))
	return strings.TrimRight(strings.Join(words, " "), " ")
}

func (c clock) say(p part, v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return p.format
		}
		return ""
	case int64:
		if v == 0 {
			return ""
		}
	}
	w := c.word(v)
	if w == "" {
		return ""
	}
	return fmt.Sprintf(p.format, w)
}

// word returns a value as a person reads it, on one line and without what would steer a terminal.
func (c clock) word(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		v = v.UTC()
		if c.now.Format(time.DateOnly) == v.Format(time.DateOnly) {
			return v.Format("15:04:05Z")
		}
		return v.Format(time.RFC3339)
	case []any:
		var words []string
		for _, e := range v {
			if w := c.word(e); w != "" {
				words = append(words, w)
			}
		}
		return strings.Join(words, ", ")
	case map[string]any:
		return c.first(v["text"], v["name"], v["title"])
	}
	return Plain(fmt.Sprint(v))
}

// Plain returns a text without line breaks and without anything that steers a terminal.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf) {
			return ' '
		}
		return r
	}, text)
}

// first returns the first of the values that is not empty.
func (c clock) first(values ...any) string {
	for _, v := range values {
		if w := c.word(v); w != "" {
			return w
		}
	}
	return ""
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
