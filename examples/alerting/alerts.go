package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"
)

// feedback is what an alert needs of a feedback event. docs/events.md has all fields.
type feedback struct {
	EntityID       string    `json:"entity_id"`
	Revision       int64     `json:"revision"`
	ObservedTime   time.Time `json:"observed_time"`
	SupersededBy   string    `json:"superseded_by"`
	ConversationID string    `json:"conversation_id"`
	Sentiment      string    `json:"sentiment"`
	GivenBy        string    `json:"given_by"`
	Scale          string    `json:"scale"`      // of a customer's score
	CSATScore      *float64  `json:"csat_score"` // where the scale is CSAT
	NPSScore       *int64    `json:"nps_score"`  // where the scale is NPS
	ReasonCodes    []string  `json:"reason_codes"`
	CommentText    string    `json:"comment_text"`
	TargetType     string    `json:"target_type"`
	TargetText     string    `json:"target_text"`
	TargetQuery    string    `json:"target_query"`
	Link           string    `json:"link"`
	Agent          struct {
		AgentID string `json:"agent_id"`
		Name    string `json:"name"`
	} `json:"agent"`
	Queue struct {
		QueueID   string `json:"queue_id"`
		QueueName string `json:"queue_name"`
	} `json:"queue"`
}

// alerts remembers which entities are alerted on. Its file is written after each message and before the offset is committed, so that a
// kill between message and file repeats that one message, and loses none.
type alerts struct {
	path string
	send func(context.Context, string) error
	last map[string]alert // by entity; of the time that is remembered
	// remember is how long a feedback is remembered after its last revision: longer than the topic keeps records, so that an event that
	// is read again finds its feedback here.
	remember time.Duration
}

type alert struct {
	Revision int64     `json:"revision"` // the last one that was handled
	Open     bool      `json:"open"`     // there was no all-clear yet
	Observed time.Time `json:"observed"` // when that revision was read from the API
}

// open reads the file at path, which need not exist.
func open(path string, remember time.Duration, send func(context.Context, string) error) (*alerts, error) {
	a := &alerts{path: path, send: send, last: map[string]alert{}, remember: remember}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &a.last)
	}
	if err != nil {
		return nil, fmt.Errorf("read the alerts of an earlier run: %w", err)
	}
	return a, nil
}

// handle sends what a revision means for the people who are alerted, if anything.
func (a *alerts) handle(ctx context.Context, f feedback) error {
	before := a.last[f.EntityID]
	if f.Revision <= before.Revision || f.ObservedTime.Before(a.oldest()) {
		return nil // it came before
	}
	open := f.Sentiment == "NEGATIVE" && f.SupersededBy == ""
	if open != before.Open {
		text := allClear(f)
		if open {
			text = negative(f)
		}
		if err := a.send(ctx, text); err != nil {
			return err
		}
	}
	a.last[f.EntityID] = alert{Revision: f.Revision, Open: open, Observed: f.ObservedTime}
	oldest := a.oldest()
	maps.DeleteFunc(a.last, func(_ string, known alert) bool { return known.Observed.Before(oldest) })
	return a.save()
}

// oldest is the beginning of the time that is remembered. It goes by events, not by the clock: nothing is forgotten while none come.
func (a *alerts) oldest() time.Time {
	var newest time.Time
	for _, known := range a.last {
		if known.Observed.After(newest) {
			newest = known.Observed
		}
	}
	return newest.Add(-a.remember)
}

// save replaces the file as a whole.
func (a *alerts) save() error {
	text, err := json.Marshal(a.last)
	if err == nil {
		err = os.WriteFile(a.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(a.path+".new", a.path)
	}
	if err != nil {
		return fmt.Errorf("write which alerts were sent: %w", err)
	}
	return nil
}

func negative(f feedback) string {
	agent := cmp.Or(f.Agent.Name, f.Agent.AgentID)
	who := "A customer"
	if f.GivenBy == "AGENT" {
		who = cmp.Or(agent, "An agent")
	}
	lines := []string{fmt.Sprintf("👎 %s gives %s to %s in conversation %s", escape(who), verdict(f), escape(f.TargetType), escape(f.ConversationID))}
	for _, part := range []struct{ name, text string }{
		{"Agent", agent}, {"Queue", cmp.Or(f.Queue.QueueName, f.Queue.QueueID)},
		{"Asked", f.TargetQuery}, {"Shown", f.TargetText}, {"Reasons", strings.Join(f.ReasonCodes, ", ")}, {"Comment", f.CommentText},
		{"Look", f.Link}, {"Feedback", f.EntityID},
	} {
		if part.text != "" {
			lines = append(lines, part.name+": "+escape(part.text))
		}
	}
	return strings.Join(lines, "\n")
}

// verdict returns what was given, with its scale.
func verdict(f feedback) string {
	switch {
	case f.Scale == "CSAT" && f.CSATScore != nil:
		return "CSAT " + strconv.FormatFloat(*f.CSATScore, 'f', -1, 64) + " of 5"
	case f.Scale == "NPS" && f.NPSScore != nil:
		return "NPS " + strconv.FormatInt(*f.NPSScore, 10) + " of 10"
	}
	return "thumbs down"
}

func allClear(f feedback) string {
	why := "is now " + strings.ToLower(f.Sentiment)
	switch {
	case f.SupersededBy != "":
		why = "goes on as " + f.SupersededBy
	case f.Sentiment == "WITHDRAWN":
		why = "was taken back"
	}
	return fmt.Sprintf("✅ All clear: negative feedback in conversation %s %s\nFeedback: %s", escape(f.ConversationID), escape(why), f.EntityID)
}

// escape keeps what people wrote from being read as Slack's markup for mentions and links, and from taking a line of its own. Formatting is
// switched off with the message.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.Join(strings.Fields(s), " "))
}
