package explain

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"agentassist-poller/internal/tail"
)

// Print writes a report for a person: what the API shows, what is published of it, and a verdict.
func Print(w io.Writer, r *Report) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "conversation %s, session %s\n\nThe API shows now:\n", or(r.Conversation, "not known"), or(r.Session, "not known"))
	for _, a := range r.Answers {
		fmt.Fprintf(out, "  %s\t%s\t%s\t%s\n", a.Account, a.Endpoint, or(a.Bot, "-"), a.found())
	}
	fmt.Fprint(out, "\nRead so far:\n")
	for _, a := range r.Answers {
		fmt.Fprintf(out, "  %s\t%s\t%s\t%s\n", a.Account, a.Endpoint, or(a.Bot, "-"), r.read(a))
	}
	fmt.Fprint(out, "\nEvents:\n")
	for i, row := range r.table() {
		fmt.Fprintln(out, row)
		if i > 0 && r.Entities[i-1].Why != "" && r.Entities[i-1].State != Unchecked {
			fmt.Fprintf(out, "    └ %s\n", tail.Plain(r.Entities[i-1].Why))
		}
	}
	if len(r.Entities) == 0 {
		fmt.Fprint(out, "  none\n")
	}
	for i, d := range r.DeadLetters {
		if i == 0 {
			fmt.Fprint(out, "\nDead letters:\n")
		}
		fmt.Fprintf(out, "  %s\t%s\t%s\t%s\n", clock(d.Published), d.Endpoint, d.Stage, tail.Plain(d.Reason))
	}
	fmt.Fprintf(out, "\n%s\n", r.Verdict())
	return out.Flush()
}

// table returns a line of column names, and one for each entity. It is empty if there are none.
func (r *Report) table() []string {
	if len(r.Entities) == 0 {
		return nil
	}
	var text strings.Builder
	columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(columns, "  EVENT TIME\tTYPE\tENTITY\tREVISIONS\tPUBLISHED\tAT\tSTATE")
	for _, e := range r.Entities {
		published, at := "-", "-"
		if last := e.last(); last != nil {
			published, at = clock(last.Published), fmt.Sprintf("%s/%d@%d", last.Topic, last.Partition, last.Offset)
		}
		fmt.Fprintf(columns, "\n  %s\t%s\t%s\t%d\t%s\t%s\t%s", clock(e.Time), e.Type, e.ID, len(e.Revisions), published, at, e.State)
	}
	_ = columns.Flush() // a strings.Builder takes everything
	return strings.Split(text.String(), "\n")
}

// Verdict returns a sentence that says whether the topics hold what the API shows.
func (r *Report) Verdict() string {
	missing, different, failed := r.Count(Missing), r.Count(Different), 0
	for _, a := range r.Answers {
		if a.Error != "" {
			failed++
		}
	}
	var text string
	switch {
	case !r.Found() && failed > 0:
		return fmt.Sprintf("Nothing is known of %s, and %d of %d endpoints did not answer.", r.ID, failed, len(r.Answers))
	case !r.Found():
		return fmt.Sprintf("Nothing is known of %s: it is neither on the topics nor in what the API shows. Look further back with --since.", r.ID)
	case missing+different == 0 && r.Count(Same) > 0:
		text = fmt.Sprintf("All %d events that the API shows are published.", r.Count(Same))
	case missing+different == 0:
		text = fmt.Sprintf("%d entities are published, and the API was not found to show any of them.", len(r.Entities))
	default:
		text = fmt.Sprintf("The API shows %d events: %d are published as it shows them, %d are missing and %d differ.", r.Count(Same)+missing+different, r.Count(Same), missing, different)
	}
	if failed > 0 {
		text += fmt.Sprintf(" %d of %d endpoints did not answer.", failed, len(r.Answers))
	}
	return text
}

// found says what an endpoint shows.
func (a *Answer) found() string {
	if a.Error != "" {
		return "no answer: " + tail.Plain(a.Error)
	}
	text := fmt.Sprintf("rows: %d", a.Rows)
	if !a.Whole {
		text += ", with more rows in the time than were looked at"
	}
	if a.Dead > 0 {
		text += fmt.Sprintf(", unreadable: %d", a.Dead)
	}
	return text + fmt.Sprintf(" (%s to %s)", clock(a.From), clock(a.To))
}

// read says how far the unit of an answer has been read.
func (r *Report) read(a Answer) string {
	for _, u := range r.Units {
		if u.Account == a.Account && u.Endpoint == a.Endpoint && u.Bot == a.Bot && u.ReadThrough != nil {
			text := "read through " + clock(*u.ReadThrough)
			if u.CompleteFrom != nil {
				text = "from " + clock(*u.CompleteFrom) + ", " + text
			}
			if u.CompleteUpTo != nil {
				text += ", complete up to " + clock(*u.CompleteUpTo)
			}
			if len(u.Gaps) > 0 {
				text += fmt.Sprintf(", %d gaps", len(u.Gaps))
			}
			return text
		}
	}
	return "nothing yet"
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return tail.Plain(text)
}
