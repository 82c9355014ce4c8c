package extract_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
)

const fieldsFile = "testdata/fields.txt"

// TestFields proves what becomes of every field that occurs in the tables and samples of the API's documentation: a value is
// put into an otherwise bare record in the place of each, and must turn up in exactly the fields of events that fields.txt
// says. A field that turns up nowhere needs a reason there, after a dash.
func TestFields(t *testing.T) {
	content, err := os.ReadFile(fieldsFile)
	require.NoError(t, err)
	var out strings.Builder
	listed := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			fmt.Fprintln(&out, line)
			continue
		}
		field, becomes, _ := strings.Cut(line, " ->")
		becomes = strings.TrimSpace(becomes)
		endpoint, path, _ := strings.Cut(field, " ")
		require.False(t, listed[field], "%s is listed twice", field)
		listed[field] = true
		found := strings.Join(trace(t, events.Endpoint(endpoint), path), ", ")
		switch {
		case found == "" && strings.HasPrefix(becomes, "- ") && len(becomes) > 5:
			found = becomes
		case found == "":
			t.Errorf("%s turns up nowhere, and no reason is given", field)
		case !*update && found != becomes:
			t.Errorf("%s turns up in %s, not in %s", field, found, becomes)
		}
		fmt.Fprintf(&out, "%s -> %s\n", field, found)
	}
	if *update {
		require.NoError(t, os.WriteFile(fieldsFile, []byte(out.String()), 0o644))
	}
	for name, endpoint := range pages {
		var page map[string]any
		require.NoError(t, json.Unmarshal([]byte(readPage(t, name)), &page))
		for envelope := range page {
			leaves(page[envelope], "", func(path string) {
				members := func(field string) bool { return strings.HasPrefix(field, string(endpoint)+" "+path+".") }
				if !strings.HasSuffix(path, "[]") || !slices.ContainsFunc(slices.Collect(maps.Keys(listed)), members) {
					require.True(t, listed[string(endpoint)+" "+path], "%s of %s is not in %s", path, name, fieldsFile)
				}
			})
		}
	}
}

// TestSchemaUpstream proves what the schemas claim: a value in the place that a field's upstream attribute names turns up in
// that field.
func TestSchemaUpstream(t *testing.T) {
	for _, kind := range events.Types() {
		for name, upstream := range upstreams(t, kind) {
			for place := range strings.SplitSeq(upstream, "; ") {
				field := string(kind) + "." + name
				if isHeader(name) {
					field = "header." + name
				}
				if notCopied[field] != "" || notCopied[place] != "" || notCopied[field+" "+place] != "" {
					continue
				}
				found := slices.ContainsFunc(events.Endpoints(), func(e events.Endpoint) bool {
					return slices.ContainsFunc(places(place), func(path string) bool {
						return slices.Contains(trace(t, e, path), field)
					})
				})
				assert.True(t, found, "%s does not come from %s", field, place)
			}
		}
	}
}

// notCopied are fields that upstream's values decide but do not become, and places that only repeat others.
var notCopied = map[string]string{
	"search.via": "named by the kind of search",
	"search.request_id agenticActivities[].requestId": "only with the prefix ua-: TestAgenticSearches",
	"suggestion-used.via":                             "named by where it was offered",
	"suggestion-shown.kind":                           "named by where it was displayed",
	"suggestion-shown.suggestions":                    "its members are listed",
	"suggestion-shown.suggestions.list":               "the name of the list",
	"suggestion-shown.suggestions.sources":            "its members are listed",
	"suggestion-shown.suggestions.suggestion_json":    "only for new lists: TestNewNames",
	"suggestion-used.links_clicked":                   "its members are listed",
	"suggestion-used.target_json":                     "only for new types: TestTargets",
	"suggestion-used.title":                           "tells targets apart: TestTargets",
	"agentic-request.message_type":                    "AGENTIC, or the entry would be a message: TestPages",
	"agentic-request.kind":                            "from the prefix or the list",
	"agentic-request.responses":                       "its members are listed",
	"agentic-request.components":                      "its members are listed",
	"agentic-request.components.data_json":            "only where there is more than text: TestComponents",
	"agentic-request.session_info_json":               "only where there is more than the known members: TestComponents",
	"message.components":                              "its members are listed",
	"message.components.data_json":                    "only where there is more than text: TestComponents",
	"segment.links_clicked":                           "its members are listed",
	"segment.tags":                                    "its members are listed",
	"segment.phrases_suggested":                       "counted: TestPhrases",
	"segment.phrases_entered":                         "counted: TestPhrases",
	"coaching-triggered.adherence_json":               "only where there is more than criteria: TestComponents",
	"playbook-step.total_stages":                      "a map: TestPlaybooks",
	"playbook-step.total_stages_json":                 "only where there are no numbers: TestPlaybooks",
	"playbook-step.stage_ordinal":                     "counted: TestPlaybooks",
	"playbook-step.step_ordinal":                      "counted: TestPlaybooks",
	"playbook-step.run_json":                          "unknown members: TestUnknownMembersAreKept",
	"segment.extra_json":                              "unknown members: TestUnknownMembersAreKept",
	"conversation.extra_json":                         "unknown members: TestUnknownMembersAreKept",
	"playbook-step.is_adhered playbookRuntimeData[].stages[].steps[].status": "only some words: TestAdherence",
	"playbook-step.stage_json":           "the whole stage: TestPlaybooks",
	"playbook-step.step_json":            "the whole step: TestPlaybooks",
	"feedback.target_name":               "the name, title, address or path of the target",
	"conversation.bot_only":              "whether there is a conversationId",
	"conversation.skills":                "its members are listed",
	"conversation.user_level_tags":       "its members are listed",
	"conversation.session_level_tags":    "its members are listed",
	"conversation.destinations":          "its members are listed",
	"conversation.meta_info":             "its members are listed",
	"conversation.meta_info_json":        "the whole of metaInfo: TestSessionOddities",
	"conversation.customer_info_json":    "only where there is more than the known members: TestSessionOddities",
	"conversation.meta_info.identities":  "its members are listed",
	"conversation.meta_info.dialog_tone": "its members are listed",
	"conversation.user_level_tags.name":  "one record for both lists of tags",
	"conversation.user_level_tags.value": "one record for both lists of tags",
	"agent-engagement.responding":        "whether it stands among those who answered",
}

func isHeader(field string) bool {
	root, _, _ := strings.Cut(field, ".")
	return slices.Contains([]string{"account_id", "bot_id", "conversation_id", "session_id", "segment_id", "channel", "agent", "queue"}, root)
}

// places turns the upstream attribute of a schema into paths of records.
func places(upstream string) []string {
	upstream = strings.ReplaceAll(upstream, "<type>", "answer")
	upstream = strings.ReplaceAll(upstream, "suggestions.<list>", "suggestions.answers")
	if strings.HasPrefix(upstream, "suggestions.") {
		return []string{"agentActions[].action." + upstream}
	}
	if strings.HasPrefix(upstream, "used[]") {
		return []string{"agentActions[]." + upstream, "proActiveSuggestions[]." + upstream}
	}
	if strings.HasPrefix(upstream, "feedbackInfo.") {
		return []string{"summaries[]." + upstream, "messages[]." + upstream, "searchHistory[]." + upstream}
	}
	return []string{upstream}
}

// upstreams returns the upstream attribute of each field of a type's schema, those of nested records by their path.
func upstreams(t *testing.T, kind events.Type) map[string]string {
	t.Helper()
	type schemaField struct {
		Name, Upstream string
		Type           any
	}
	m := map[string]string{}
	var walk func(prefix string, fields []schemaField)
	var nested func(prefix string, typ any)
	nested = func(prefix string, typ any) {
		switch typ := typ.(type) {
		case []any:
			for _, branch := range typ {
				nested(prefix, branch)
			}
		case map[string]any:
			nested(prefix, typ["items"])
			nested(prefix, typ["type"])
			if typ["fields"] != nil {
				b, err := json.Marshal(typ["fields"])
				require.NoError(t, err)
				var fields []schemaField
				require.NoError(t, json.Unmarshal(b, &fields))
				walk(prefix+".", fields)
			}
		}
	}
	walk = func(prefix string, fields []schemaField) {
		for _, f := range fields {
			if f.Upstream != "" {
				m[prefix+f.Name] = f.Upstream
			}
			nested(prefix+f.Name, f.Type)
		}
	}
	var schema struct{ Fields []schemaField }
	require.NoError(t, json.Unmarshal([]byte(events.Schema(kind)), &schema))
	walk("", schema.Fields)
	require.NotEmpty(t, m)
	return m
}

// leaves calls visit with the path of every value and empty list below v, "" being a record.
func leaves(v any, path string, visit func(string)) {
	switch v := v.(type) {
	case []any:
		if path != "" {
			path += "[]"
		}
		if len(v) == 0 && path != "" {
			visit(path)
		}
		for _, element := range v {
			leaves(element, path, visit)
		}
	case map[string]any:
		for name, value := range v {
			leaves(value, strings.TrimPrefix(path+"."+name, "."), visit)
		}
	default:
		if path != "" {
			visit(path)
		}
	}
}

// records are the barest records, and surroundings what a thing needs around it to be one.
var (
	records = map[events.Endpoint]map[string]any{
		events.Interactions:       {"segmentID": "ac-0", "segmentStartTime": "2026-02-25T09:00:00Z"},
		events.Conversations:      {"convId": "c-0", "startTime": "2026-02-25T09:00:00Z"},
		events.InteractionDetails: {"sessionId": "s-0", "sessionStartTime": "2026-02-25T09:00:00"},
		events.CallDetails:        {"sessionId": "s-0", "sessionStartTime": "2026-02-25T09:00:00"},
	}
	surroundings = []map[string]any{
		{},
		{"messages[].type": "AGENTIC"},
		{
			"summary.summaryId": "smr-0", "summaries[].summaryId": "smr-0",
			"agentActions[].actionType": "SearchBarEntry", "agentActions[].used[].targetType": "Answer",
			"proActiveSuggestions[].used[].targetType": "Answer",
			"messages[]._id": "ms-0", "searchHistory[]._id": "sh-0", "searchHistory[].isSent": true,
			"destinations[].respondingAgent.agentId": "u-0", "destinations[].nonRespondingAgents[].agentId": "u-0", "destinations[].agentId": "u-0",
			"widgetFeedbacks[].feedback": "like", "agenticActivities[].usageDetails.usedType": "send", "agenticActivities[].feedback.response": "up",
			"messages[].feedbackInfo.feedback": "like", "searchHistory[].feedbackInfo.feedback": "like", "summaries[].feedbackInfo.feedback": "like",
			"summary.feedback.response": "up", "csatScore": 5,
			"agentActions[].used[].feedback.response": "up", "proActiveSuggestions[].used[].feedback.response": "up",
		},
		{"messages[].type": "AGENTIC", "messages[].isSent": true, "messages[].feedbackInfo.feedback": "like"},
		{"playbookRuntimeData[].stages[].steps[].name": "Greet", "agentActions[].action.suggestions.dialogs[].name": "Refund"},
		{"messages[].author.type": "AGENT"},
		{"proActiveSuggestions[].countDisplayedAnswers.countFaqs": 1, "agentActions[].action.countDisplayedAnswers.countFaqs": 1, "agenticActivities[].requestId": "ua-0"},
	}
	markers = []any{"mark7f3", "2026-02-25T09:59:59.123Z", 70013, true}
)

var traced = map[string][]string{}

// trace returns the fields of events in which a value at the path of a record turns up.
func trace(t *testing.T, endpoint events.Endpoint, path string) []string {
	t.Helper()
	key := string(endpoint) + " " + path
	if found, done := traced[key]; done {
		return found
	}
	found := map[string]bool{}
	seen := map[string]bool{}
	for _, around := range surroundings {
		base := record(endpoint, path, around)
		shape := text(t, base)
		if seen[shape] {
			continue
		}
		seen[shape] = true
		before := flatten(t, endpoint, base)
		for _, marker := range markers {
			base := record(endpoint, path, around)
			set(base, path, marker)
			for field, values := range flatten(t, endpoint, base) {
				if slices.ContainsFunc(values, func(v any) bool { return carries(v, marker) && !slices.Contains(before[field], v) }) {
					found[field] = true
				}
			}
		}
	}
	traced[key] = slices.Sorted(maps.Keys(found))
	return traced[key]
}

func carries(v, marker any) bool {
	if text, ok := v.(string); ok {
		return strings.Contains(text, fmt.Sprint(marker)) && marker != true
	}
	return fmt.Sprint(v) == fmt.Sprint(marker)
}

// record is a bare record with those surroundings that the path has to do with. What is of a conversation as a whole is
// carried by its messages.
func record(endpoint events.Endpoint, path string, around map[string]any) map[string]any {
	r := maps.Clone(records[endpoint])
	root, _, _ := strings.Cut(path, ".")
	for place, value := range around {
		other, _, _ := strings.Cut(place, ".")
		carried := endpoint == events.Conversations && !strings.Contains(path, ".") && other == "messages[]"
		if other == root || carried || place == "csatScore" && endpoint.PerAccount() {
			set(r, place, value)
		}
	}
	return r
}

func set(m map[string]any, path string, value any) {
	name, rest, more := strings.Cut(path, ".")
	name, list := strings.CutSuffix(name, "[]")
	if !more {
		if m[name] = value; list {
			m[name] = []any{value}
		}
		return
	}
	inner, ok := m[name].(map[string]any)
	if elements, isList := m[name].([]any); isList {
		inner, ok = elements[0].(map[string]any)
	}
	if !ok {
		inner = map[string]any{}
		if m[name] = inner; list {
			m[name] = []any{inner}
		}
	}
	set(inner, rest, value)
}

// flatten returns the values of all fields of all events of a record, those of headers without the type.
func flatten(t *testing.T, endpoint events.Endpoint, record map[string]any) map[string][]any {
	t.Helper()
	body, err := json.Marshal(map[string]any{"data": []any{record}})
	require.NoError(t, err)
	page, err := extract.Decode(scope(endpoint), body)
	require.NoError(t, err)
	flat := map[string][]any{}
	for _, row := range page.Rows {
		for _, s := range row.Observations {
			var fields map[string]any
			require.NoError(t, json.Unmarshal([]byte(text(t, s.Event)), &fields))
			for _, derived := range []string{"entity_id", "event_time", "event_time_basis", "parent_entity_id", "target_entity_id", "search_entity_id", "shown_entity_id", "usage", "count_total", "extra_json", "run_json"} {
				delete(fields, derived)
			}
			var walk func(path string, v any)
			walk = func(path string, v any) {
				switch v := v.(type) {
				case map[string]any:
					for name, value := range v {
						walk(path+"."+name, value)
					}
				case []any:
					for _, element := range v {
						walk(path, element)
					}
				default:
					flat[path] = append(flat[path], v)
				}
			}
			for name, v := range fields {
				if isHeader(name) {
					walk("header."+name, v)
				} else {
					walk(string(s.Event.EventType())+"."+name, v)
				}
			}
		}
	}
	return flat
}
