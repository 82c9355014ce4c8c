package e2e_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

// kpiPage is the page whose queries are run.
const kpiPage = "../../docs/kpis.md"

// figures are the sections of the page with a query, and what each of them must say of a day: computed from the ledger of the contact
// centre, which knows nothing of events.
var figures = map[string]func(day) rows{
	"Adoption of suggestions by queue": func(d day) rows {
		used := d.lists()
		return share(d.of(events.TypeSuggestionShown), byQueue, func(e *koresim.Entry) bool { return used[e] })
	},
	"Search success": func(d day) rows {
		used := map[*koresim.Entry]bool{}
		for _, e := range d.accepted() {
			used[e.Searched] = true
		}
		return share(d.of(events.TypeSearch), field("via"), func(e *koresim.Entry) bool { return used[e] })
	},
	"Time from display to use": func(d day) rows {
		seconds := map[string][]float64{}
		for _, e := range d.accepted() {
			used, ok := final(e)["used_time"].(time.Time)
			if !ok {
				used, ok = final(e)["dialog_start_time"].(time.Time)
			}
			if e.Shown == nil || !ok {
				continue
			}
			if display, ok := final(e.Shown)["display_time"].(time.Time); ok {
				seconds[field("via")(e)] = append(seconds[field("via")(e)], used.Sub(display).Seconds())
			}
		}
		var out rows
		for via, list := range seconds {
			out.add(via, len(list), median(list))
		}
		return out
	},
	"Adherence by playbook, stage and step": func(d day) rows {
		var steps []*koresim.Entry
		for _, e := range d.of(events.TypePlaybookStep) {
			if final(e)["level"] == "STEP" && final(e)["is_adhered"] != nil {
				steps = append(steps, e)
			}
		}
		stages := map[string]string{} // the ledger names a stage in its own entry
		for _, e := range d.of(events.TypePlaybookStep) {
			if f := final(e); f["level"] == "STAGE" {
				stages[f["stage_id"].(string)] = f["stage_name"].(string)
			}
		}
		var out rows
		for depth := range 3 {
			out = append(out, share(steps, func(e *koresim.Entry) string {
				f := final(e)
				path := []string{f["playbook_id"].(string), "-", "-"}
				for i, name := range []string{stages[f["stage_id"].(string)], f["step_name"].(string)}[:depth] {
					path[i+1] = name
				}
				return strings.Join(path, "\t")
			}, func(e *koresim.Entry) bool { return final(e)["is_adhered"] == true })...)
		}
		return out
	},
	"Coaching adherence": func(d day) rows {
		fired, measured, adhered := map[string]int{}, map[string]int{}, map[string]int{}
		for _, e := range d.of(events.TypeCoachingTriggered) {
			rule := field("rule_name")(e)
			fired[rule]++
			switch final(e)["is_adhered"] {
			case true:
				adhered[rule]++
				measured[rule]++
			case false:
				measured[rule]++
			}
		}
		var out rows
		for rule := range fired {
			out.add(rule, fired[rule], measured[rule], adhered[rule])
		}
		return out
	},
	"Negative share by agent and queue": func(d day) rows {
		var thumbs []*koresim.Entry
		for _, e := range d.of(events.TypeFeedback) {
			if f := final(e); f["given_by"] == "AGENT" && (f["sentiment"] == "NEGATIVE" || f["sentiment"] == "POSITIVE") {
				thumbs = append(thumbs, e)
			}
		}
		return share(thumbs, func(e *koresim.Entry) string { return byQueue(e) + "\t" + orDash(e.AgentID) },
			func(e *koresim.Entry) bool { return final(e)["sentiment"] == "NEGATIVE" })
	},
	"Handle time and after-call work": func(d day) rows {
		handled, after := map[string][]float64{}, map[string][]float64{}
		for _, e := range d.of(events.TypeAgentEngagement) {
			f, q := final(e), byQueue(e)
			interaction, ok := f["interaction_duration"].(int64)
			if !ok {
				continue
			}
			work, ok := f["after_call_work_duration"].(int64)
			handled[q] = append(handled[q], float64(interaction+work))
			if ok {
				after[q] = append(after[q], float64(work))
			}
		}
		var out rows
		for q := range handled {
			out.add(q, len(handled[q]), mean(handled[q]), mean(after[q]))
		}
		return out
	},
	"Agentic share": func(d day) rows {
		return share(d.accepted(), byQueue, func(e *koresim.Entry) bool { return final(e)["via"] == "AGENTIC" })
	},
	"CSAT and NPS by queue": func(d day) rows {
		last := map[string]*koresim.Entry{}
		accepted := func(e *koresim.Entry) time.Time {
			at, _ := final(e)["accepted_time"].(time.Time)
			return at
		}
		for _, e := range d.of(events.TypeAgentEngagement) {
			if before := last[e.ConversationID]; final(e)["responding"] == true && (before == nil || accepted(e).After(accepted(before))) {
				last[e.ConversationID] = e
			}
		}
		csat, nps := map[string][]float64{}, map[string][]float64{}
		queues := map[string]bool{}
		for _, e := range d.of(events.TypeFeedback) {
			f := final(e)
			conversation := last[e.ConversationID]
			if f["given_by"] != "CUSTOMER" || conversation == nil {
				continue
			}
			q := byQueue(conversation)
			if score, ok := f["csat_score"].(float64); ok {
				queues[q] = true
				csat[q] = append(csat[q], score)
			}
			if _, ok := f["nps_score"].(int64); ok {
				queues[q] = true
				nps[q] = append(nps[q], map[any]float64{"POSITIVE": 100, "NEGATIVE": -100}[f["sentiment"]])
			}
		}
		var out rows
		for q := range queues {
			out.add(q, len(csat[q]), mean(csat[q]), len(nps[q]), mean(nps[q]))
		}
		return out
	},
	"Conversations with any assistance": func(d day) rows {
		assisted := map[string]bool{}
		for _, t := range []events.Type{
			events.TypeSuggestionShown, events.TypeSearch, events.TypeAgenticRequest, events.TypeCoachingTriggered, events.TypePlaybookStep,
		} {
			for _, e := range d.of(t) {
				assisted[e.ConversationID] = true
			}
		}
		var conversations []*koresim.Entry
		known := map[string]bool{}
		for _, e := range d.of(events.TypeSegment) {
			if !known[e.ConversationID] {
				known[e.ConversationID] = true
				conversations = append(conversations, e)
			}
		}
		return share(conversations, func(e *koresim.Entry) string { return e.Channel },
			func(e *koresim.Entry) bool { return assisted[e.ConversationID] })
	},
	"Scores with and without the assistant": func(d day) rows {
		with := map[string]bool{}
		for _, e := range d.accepted() {
			with[e.ConversationID] = true
		}
		helped := map[string]int{}
		for _, e := range d.of(events.TypeSegment) {
			if session, ok := final(e)["session_id"].(string); ok {
				if helped[session] += 0; with[e.ConversationID] {
					helped[session] = 1
				}
			}
		}
		sessions := map[string]string{} // of conversations
		for _, e := range d.of(events.TypeConversation) {
			sessions[e.ConversationID] = final(e)["session_id"].(string)
		}
		scores := map[int][]float64{}
		for _, e := range d.of(events.TypeFeedback) {
			score, ok := final(e)["csat_score"].(float64)
			if h, known := helped[sessions[e.ConversationID]]; ok && known {
				scores[h] = append(scores[h], score)
			}
		}
		var out rows
		for h := range scores {
			out.add(h, len(scores[h]), mean(scores[h]))
		}
		return out
	},
}

// rows are the result of a query: cells with tabs between them.
type rows []string

func (r *rows) add(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
	}
	*r = append(*r, strings.Join(text, "\t"))
}

// requireRows compares results regardless of their order, numbers up to what arithmetic of other languages rounds differently.
func requireRows(t *testing.T, want, got rows) {
	t.Helper()
	want, got = want.rounded(), got.rounded()
	require.NotEmpty(t, want, "a day in which nothing happened shows nothing")
	require.Equal(t, want, got)
}

var decimal = regexp.MustCompile(`^-?\d+(\.\d+)?([eE][-+]?\d+)?$`)

func (r rows) rounded() (out rows) {
	for _, row := range r {
		cells := strings.Split(row, "\t")
		for i, c := range cells {
			if n, err := strconv.ParseFloat(c, 64); err == nil && decimal.MatchString(c) {
				cells[i] = strconv.FormatFloat(n, 'f', 6, 64)
			} else if c == "None" || c == "NaN" {
				cells[i] = "null"
			}
		}
		out = append(out, strings.Join(cells, "\t"))
	}
	slices.Sort(out)
	return out
}

// day is what happened: all things of the ledger that were not superseded.
type day []*koresim.Entry

func (d day) of(t events.Type) (out []*koresim.Entry) {
	for _, e := range d {
		if e.Type == t && e.Superseded == 0 {
			out = append(out, e)
		}
	}
	return out
}

func (d day) accepted() []*koresim.Entry {
	return slices.DeleteFunc(d.of(events.TypeSuggestionUsed), func(e *koresim.Entry) bool {
		return !slices.Contains([]any{"SENT", "COPIED", "RUN"}, final(e)["usage"])
	})
}

// lists are those of which something was accepted.
func (d day) lists() map[*koresim.Entry]bool {
	used := map[*koresim.Entry]bool{}
	for _, e := range d.accepted() {
		used[e.Shown] = true
	}
	return used
}

// final is how a thing was in the end, as the endpoint shows it that has the last word.
func final(e *koresim.Entry) koresim.Fields {
	last := e.Views[len(e.Views)-1]
	for _, v := range e.Views {
		if v.Endpoint == events.Interactions || v.Endpoint == events.InteractionDetails {
			last = v
		}
	}
	return last.Versions[len(last.Versions)-1].Fields
}

func field(name string) func(*koresim.Entry) string {
	return func(e *koresim.Entry) string { return fmt.Sprint(final(e)[name]) }
}

func byQueue(e *koresim.Entry) string { return orDash(e.QueueName) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// share counts, for each group of things, all of them and those that are of interest.
func share(list []*koresim.Entry, group func(*koresim.Entry) string, of func(*koresim.Entry) bool) (out rows) {
	all, some := map[string]int{}, map[string]int{}
	for _, e := range list {
		g := group(e)
		if all[g]++; of(e) {
			some[g]++
		}
	}
	for g := range all {
		out.add(g, all[g], some[g], float64(some[g])/float64(all[g]))
	}
	return out
}

func mean(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	return sum / float64(len(list))
}

func median(list []float64) float64 {
	slices.Sort(list)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}

// queries are the blocks of a language on the page, by section; that of the section Setup comes before each of the others.
func queries(t *testing.T, language string) map[string]string {
	t.Helper()
	page, err := os.ReadFile(kpiPage)
	require.NoError(t, err)
	fence := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$")
	found := map[string]string{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		blocks := fence.FindAllStringSubmatch(text, -1)
		require.LessOrEqual(t, len(blocks), 1, "%s: more than one block in %s", title, language)
		if len(blocks) == 1 {
			found[title] = blocks[0][1]
		}
	}
	return found
}

const setupSection = "Setup"

// Each figure of the page is there in both languages, and is compared with the ledger.
func TestKPIPage(t *testing.T) {
	want := append(slices.Collect(maps.Keys(figures)), setupSection)
	for _, language := range []string{"sql", "python"} {
		require.ElementsMatch(t, want, slices.Collect(maps.Keys(queries(t, language))), language)
	}
}
