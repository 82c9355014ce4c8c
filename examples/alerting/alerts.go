package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// feedback is what an alert needs of a feedback event. docs/events.md has all fields.
type feedback struct {
	EntityID       string   `json:"entity_id"`
	Revision       int64    `json:"revision"`
	SupersededBy   string   `json:"superseded_by"`
	ConversationID string   `json:"conversation_id"`
	Sentiment      string   `json:"sentiment"`
	GivenBy        string   `json:"given_by"`
	ReasonCodes    []string `json:"reason_codes"`
	CommentText    string   `json:"comment_text"`
	TargetType     string   `json:"target_type"`
	TargetText     string   `json:"target_text"`
	TargetQuery    string   `json:"target_query"`
	Link           string   `json:"link"`
	Agent          struct {
		Name string `json:"name"`
	} `json:"agent"`
}

// alerts remembers which entities are alerted on. Its file is written after each message and before the offset is committed, so that a
// kill between message and file repeats that one message, and loses none.
type alerts struct {
	path string
	send func(context.Context, string) error
	last map[string]alert // by entity; bounded only by how much feedback was ever negative
}

type alert struct {
	Revision int64 `json:"revision"` // the last one that was handled
	Open     bool  `json:"open"`     // there was no all-clear yet
}

// open reads the file at path, which need not exist.
func open(path string, send func(context.Context, string) error) (*alerts, error) {
	a := &alerts{path: path, send: send, last: map[string]alert{}}
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
	if f.Revision <= before.Revision {
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
	a.last[f.EntityID] = alert{Revision: f.Revision, Open: open}
	return a.save()
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
	who := "A customer"
	if f.GivenBy == "AGENT" {
		who = "An agent"
		if f.Agent.Name != "" {
			who = f.Agent.Name
		}
	}
	lines := []string{fmt.Sprintf(":thumbsdown: %s is not satisfied with %s in conversation %s", escape(who), escape(f.TargetType), escape(f.ConversationID))}
	for _, part := range []struct{ name, text string }{
		{"Asked", f.TargetQuery}, {"Shown", f.TargetText}, {"Reasons", strings.Join(f.ReasonCodes, ", ")}, {"Comment", f.CommentText},
		{"Look", f.Link}, {"Feedback", f.EntityID},
	} {
		if part.text != "" {
			lines = append(lines, part.name+": "+escape(part.text))
		}
	}
	return strings.Join(lines, "\n")
}

func allClear(f feedback) string {
	why := "is now " + strings.ToLower(f.Sentiment)
	switch {
	case f.SupersededBy != "":
		why = "goes on as " + f.SupersededBy
	case f.Sentiment == "WITHDRAWN":
		why = "was taken back"
	}
	return fmt.Sprintf(":white_check_mark: All clear: negative feedback in conversation %s %s\nFeedback: %s", escape(f.ConversationID), escape(why), f.EntityID)
}

// escape keeps what people wrote from being read as Slack's markup for mentions and links.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
