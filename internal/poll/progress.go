package poll

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/timeline"
)

// progress is the record of one unit (an endpoint of one bot, or of the account), written whole whenever a pass over it ends. It
// says what has been read, how far that was declared complete, and what was learned about the server.
type progress struct {
	Version int `json:"version"`
	// Start is where reading began. It is resolved once, when the unit is first seen, and kept: `now` does not move.
	Start time.Time `json:"start"`
	// Began is when reading began: time before it is read for the first time, and is no gap while that lasts. Zero if it is not known.
	Began time.Time `json:"began,omitzero"`
	// Read is the time read so far, Lateness and Density what was observed about it, each in its own binary form.
	Read     []byte `json:"read"`
	Lateness []byte `json:"lateness,omitempty"`
	Density  []byte `json:"density,omitempty"`
	// Edits is when rows were edited. It is empty if no edit was seen, and in records of builds that did not count them.
	Edits []byte `json:"edits,omitempty"`

	// Past is what was read before Start. StoreLost is when the checkpoint was lost, if it ever was.
	Past      []byte     `json:"past,omitempty"`
	StoreLost time.Time  `json:"memory_from,omitzero"`
	Jobs      []*unitJob `json:"jobs,omitempty"`

	CompleteUpTo time.Time       `json:"complete_up_to"`
	PassesStable int64           `json:"passes_stable"`
	Capped       []timeline.Span `json:"capped,omitempty"`
	Offsets      kafka.Offsets   `json:"offsets,omitempty"`
	Open         []openParent    `json:"open,omitempty"`

	Analytics     *pass.AnalyticsFacts    `json:"analytics,omitempty"`
	Conversations *pass.ConversationFacts `json:"conversations,omitempty"`
	Bounds        *pass.Bounds            `json:"bounds,omitempty"`
	// FiltersOnEnd is set once a row came for a window that it ended in but did not start in.
	FiltersOnEnd bool `json:"filters_on_end,omitempty"`
	// Scoped is what is known of whether the server shows only rows of the bot named in iId.
	Scoped pass.Scope `json:"scoped,omitempty"`
	// Bots are those whose rows of an account-wide endpoint are published; nil for all.
	Bots []string `json:"bots,omitempty"`
	// Filter takes the rows that are published.
	Filter Filter `json:"filter,omitzero"`
}

// openParent is a row that had not ended when it was last read. Its content will change, so nothing after its start is complete beyond
// its last read.
type openParent struct {
	ID    string    `json:"id"`
	Start time.Time `json:"start"`
}

// progressVersion is written; older ones are read as long as they are listed in decodeProgress.
const progressVersion = 1

func decodeProgress(b []byte) (*progress, error) {
	p := &progress{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("read progress record: %w", err)
	}
	if p.Version != progressVersion {
		return nil, fmt.Errorf("read progress record: its version is %d, this program reads %d; it was written by another release",
			p.Version, progressVersion)
	}
	return p, nil
}

// raise moves the offsets up to those of another.
func (p *progress) raise(other kafka.Offsets) {
	if p.Offsets == nil {
		p.Offsets = kafka.Offsets{}
	}
	for topic, offsets := range other {
		for partition, next := range offsets {
			p.Offsets.Raise(topic, int32(partition), next)
		}
	}
}

func (p *progress) encode() ([]byte, error) {
	p.Version = progressVersion
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write progress record: %w", err)
	}
	return b, nil
}

// progressName is the key of a unit's record. Account-wide endpoints have no bot.
func progressName(e events.Endpoint, bot string) string { return string(e) + "/" + bot }

// parseProgressName returns the unit that a record of the account is about. It returns false if the record is about no unit, such
// as the budget spent, or if it is not this package's: a store may hold other records beside those of progress.
func parseProgressName(record string) (e events.Endpoint, bot string, ok bool) {
	name, bot, ok := strings.Cut(record, "/")
	e = events.Endpoint(name)
	return e, bot, ok && e.Known()
}

// watermarkKey returns the key of the watermark of the unit that a record is about. It returns false if the record is not about a unit.
func (a *Account) watermarkKey(record string) (string, bool) {
	e, bot, ok := parseProgressName(record)
	if !ok {
		return "", false
	}
	w := events.Watermark{Source: a.cfg.Name, Endpoint: string(e)}
	if bot != "" {
		w.BotID = &bot
	}
	return kafka.WatermarkKey(&w), true
}

// basisOf returns what the server compares with the bounds of a window, as far as is known, and of which rows the unit is complete.
func (p *progress) basisOf(e events.Endpoint) string {
	basis := e.Spec().Row + " start"
	if p.FiltersOnEnd {
		basis = e.Spec().Row + " end"
	}
	if !p.Filter.IsZero() {
		basis += "; " + p.Filter.String()
	}
	return basis
}
