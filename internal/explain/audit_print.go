package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/tail"
)

// maxPrinted is how many differences are printed for a person.
const maxPrinted = 50

// PrintAudit writes a report for a person: a table of types and states, the differences, and what to do.
func PrintAudit(w io.Writer, r *AuditReport) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "%s to %s, the API against the topics:\n\n", clock(r.From), clock(r.To))
	states := []State{Same, Missing, Extra, Different, Changing, Unchecked}
	row := func(name string, count func(State) int) {
		fmt.Fprintf(out, "  %s", name)
		for _, s := range states {
			fmt.Fprintf(out, "\t%6d", count(s))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprint(out, "  EVENTS\tSAME\tMISSING\tEXTRA\tDIFFERENT\tCHANGING\tUNCHECKED\n")
	for _, t := range events.Types() {
		if r.Counts[t] != nil {
			row(string(t), func(s State) int { return r.Counts[t][s] })
		}
	}
	row("all", r.Count)
	for i, d := range r.Differences {
		if i == 0 {
			fmt.Fprintln(out)
		}
		if i == maxPrinted {
			fmt.Fprintf(out, "... and %d more; --json has all\n", len(r.Differences)-i)
			break
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n  └ %s\n", d.State, clock(d.Time), d.Type, d.Entity, or(d.Conversation, "-"), tail.Plain(d.Why))
	}
	for _, a := range r.Answers {
		if !a.Whole {
			fmt.Fprintf(out, "\nnot read: %s %s %s: %s\n", a.Account, a.Endpoint, or(a.Bot, "-"), tail.Plain(a.Error))
		}
	}
	for i, command := range r.Backfills {
		if i == 0 {
			fmt.Fprint(out, "\nTo have it read again:\n")
		}
		fmt.Fprintf(out, "  %s\n", command)
	}
	fmt.Fprintf(out, "\n%s\n", r.Verdict())
	return out.Flush()
}

// Verdict returns a sentence that says whether the topics hold what the API shows.
func (r *AuditReport) Verdict() string {
	text := fmt.Sprintf("%d events are published as the API shows them", r.Count(Same))
	for _, s := range []State{Missing, Extra, Different, Changing} {
		if n := r.Count(s); n > 0 {
			text += fmt.Sprintf(", %d are %s", n, s)
		}
	}
	text += fmt.Sprintf(" (%d requests).", r.Requests())
	if n := r.Unread(); n > 0 {
		text += fmt.Sprintf(" %d of %d endpoints could not be read whole, and nothing is said of the rest of them.", n, len(r.Answers))
	}
	return text
}

// PrintAuditJSON writes a line for each difference, and a last one with the rest of the report.
func PrintAuditJSON(w io.Writer, r *AuditReport) error {
	lines := json.NewEncoder(w)
	for _, d := range r.Differences {
		if err := lines.Encode(d); err != nil {
			return err
		}
	}
	return lines.Encode(map[string]any{"summary": map[string]any{
		"from": r.From, "to": r.To, "api": r.Answers, "counts": r.Counts, "backfills": r.Backfills,
	}})
}
