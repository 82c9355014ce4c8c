package extract

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"agentassist-poller/internal/events"
)

// feedback reads what an agent thinks of a suggestion on interactions; nil where nothing was said.
func (d *decoder) feedback() *events.Feedback {
	var f events.Feedback
	before := d.wrong
	d.object("feedback", func(name string) {
		switch name {
		case "response":
			f.Response = d.text()
		case "reasonCode":
			f.ReasonCodes = d.strings()
		case "comment":
			f.CommentText = d.text()
		}
	})
	return said(f, d.wrong > before)
}

// feedbackInfo reads what an agent thinks of something on conversations; nil where nothing was said.
func (d *decoder) feedbackInfo(at string) *events.Feedback {
	var f events.Feedback
	before := d.wrong
	d.object(at, func(name string) {
		switch name {
		case "agentDetails":
			f.Agent = d.participant(name, nil, nil, nil)
		case "feedback":
			f.Response = d.text()
		case "feedbackDetails":
			f.ReasonCodes = d.strings()
		case "comment":
			f.CommentText = d.text()
		case "type":
			f.FeedbackType = d.text()
		}
	})
	return said(f, d.wrong > before)
}

// unread stands for feedback of which nothing could be read: whether anything was said is not known.
var unread = new(events.Feedback)

func said(f events.Feedback, wrong bool) *events.Feedback {
	if f.Response == nil && f.CommentText == nil && len(f.ReasonCodes) == 0 {
		if wrong {
			return unread
		}
		return nil
	}
	f.GivenBy = "AGENT"
	f.Sentiment = sentiment(or(f.Response))
	return &f
}

// given reports whether something was said.
func given(f *events.Feedback) bool { return f != nil && f != unread }

// saysOrNot returns what an agent said of a thing that the row shows, or that the agent says nothing, which takes back whatever was said
// before; nil if that is not known.
func saysOrNot(f *events.Feedback) *events.Feedback {
	switch f {
	case nil:
		return &events.Feedback{GivenBy: "AGENT", Sentiment: events.SentimentWithdrawn}
	case unread:
		return nil
	}
	return f
}

func sentiment(response string) string {
	switch strings.ToLower(strings.TrimSpace(response)) {
	case "up", "like":
		return events.SentimentPositive
	case "down", "dislike":
		return events.SentimentNegative
	case "neutral":
		return events.SentimentNeutral
	}
	return events.SentimentUnknown
}

// The scales on which customers score. A channel has one of them, so that a row usually has one score.
const (
	scaleCSAT = "CSAT"
	scaleNPS  = "NPS"
	scaleLike = "LIKE"
)

// Thresholds say what a score means: up to the first it is negative, from the second on positive, between them neutral.
type Thresholds struct{ NegativeUpTo, PositiveFrom float64 }

// Scores say what customers' scores mean. The zero value of each scale stands for its default.
type Scores struct{ CSAT, NPS Thresholds }

// The defaults of both scales.
var (
	DefaultCSAT = Thresholds{NegativeUpTo: 2, PositiveFrom: 4}
	DefaultNPS  = Thresholds{NegativeUpTo: 6, PositiveFrom: 9}
)

func (t Thresholds) sentiment(score float64) string {
	switch {
	case score <= t.NegativeUpTo:
		return events.SentimentNegative
	case score >= t.PositiveFrom:
		return events.SentimentPositive
	}
	return events.SentimentNeutral
}

// settleScores takes out what is no score. Upstream writes a CSAT of 0 where none was given. An NPS of 0 is the worst score, but nothing
// beside a CSAT, be it the 0 that stands for none: a conversation has one kind.
func (s *session) settleScores() {
	e := s.event
	if e.NPSScore != nil && (*e.NPSScore < 0 || *e.NPSScore == 0 && e.CSATScore != nil) {
		e.NPSScore = nil
	}
	if e.CSATScore != nil && *e.CSATScore < 1 {
		e.CSATScore = nil
	}
}

// scores returns what the customer said about a conversation on each scale, or that the customer says nothing on it. Words belong to the score that comes
// with them, and are a feedback of the scale CSAT where none does.
func (d *decoder) scores(s *session) (said []*events.Feedback) {
	e := s.event
	add := func(scale, sentiment string, response *string) *events.Feedback {
		f := &events.Feedback{GivenBy: "CUSTOMER", TargetType: "Conversation", Scale: d.texts.put(scale), Sentiment: sentiment, Response: response}
		said = append(said, f)
		return f
	}
	if score := e.CSATScore; score != nil {
		meaning := cmp.Or(d.scope.Scores.CSAT, DefaultCSAT).sentiment(*score)
		add(scaleCSAT, meaning, d.texts.put(strconv.FormatFloat(*score, 'f', -1, 64))).CSATScore = score
	}
	if score := e.NPSScore; score != nil {
		meaning := cmp.Or(d.scope.Scores.NPS, DefaultNPS).sentiment(float64(*score))
		add(scaleNPS, meaning, d.texts.put(strconv.FormatInt(*score, 10))).NPSScore = score
	}
	if verdict := e.LikeDislikeScore; verdict != nil {
		add(scaleLike, sentiment(*verdict), verdict)
	}
	if words := e.CSATFeedback; words != nil {
		if len(said) == 0 {
			add(scaleCSAT, events.SentimentUnknown, nil)
		}
		said[0].CommentText, said[0].CSATFeedback = words, words
	}
	for _, scale := range []string{scaleCSAT, scaleNPS, scaleLike} {
		if !slices.ContainsFunc(said, func(f *events.Feedback) bool { return *f.Scale == scale }) {
			add(scale, events.SentimentWithdrawn, nil)
		}
	}
	return said
}

// scoreID returns the id of a customer's score of the conversation with an id. A CSAT is what a customer's feedback is unless it says
// otherwise.
func (d *decoder) scoreID(conversation string, f *events.Feedback) string {
	parts := []string{conversation, f.GivenBy}
	if *f.Scale != scaleCSAT {
		parts = append(parts, *f.Scale)
	}
	return d.id(events.TypeFeedback, parts...)
}

// maxTarget is how many characters an event quotes of what was rated, and of what was asked.
const maxTarget = 2000

// about says what was rated, and what had been asked.
func about(f *events.Feedback, text, query *string) {
	f.TargetText, f.TargetTextTruncated = quote(text)
	f.TargetQuery, _ = quote(query)
}

// quote returns at most maxTarget characters of a text, and whether that is not all.
func quote(text *string) (quoted *string, cut bool) {
	if len(or(text)) <= maxTarget {
		return text, false
	}
	n := 0
	for at := range *text {
		if n++; n > maxTarget {
			beginning := (*text)[:at]
			return &beginning, true
		}
	}
	return text, false
}

// joined returns the texts that there are, as lines of one; nil if there are none.
func joined(n int, text func(i int) *string) *string {
	var only *string
	var lines []string
	for i := range n {
		if t := text(i); t != nil {
			only, lines = t, append(lines, *t)
		}
	}
	if len(lines) < 2 {
		return only
	}
	all := strings.Join(lines, "\n")
	return &all
}

// observeFeedback adds what was said about the thing with the id of target. It has no time of its own.
func (d *decoder) observeFeedback(f *events.Feedback, target string, at moment) *events.Observation {
	f.TargetEntityID = d.texts.put(target)
	return d.observe(f, d.id(events.TypeFeedback, target, f.GivenBy), at)
}

// named says whose feedback on the thing with the id of target it is, where several agents may rate the thing: the first has the id that
// observeFeedback gives, others have one with the agent in it. Names tell nobody apart, because they change.
func (d *decoder) named(seen *events.Observation, target string) {
	if a := seen.Event.Head().Agent; a != nil && a.AgentID != nil {
		seen.Named = d.id(events.TypeFeedback, target, seen.Event.(*events.Feedback).GivenBy, *a.AgentID)
	}
}
