package extract

import (
	"strconv"
	"strings"

	"agentassist-poller/internal/events"
)

// feedback reads what an agent thinks of a suggestion on interactions; nil where nothing was said.
func (d *decoder) feedback() *events.Feedback {
	var f events.Feedback
	d.object("feedback", func(name string) {
		switch name {
		case "response":
			f.Response = d.text()
		case "reasonCode":
			f.ReasonCodes = d.strings()
		case "comment":
			f.Comment = d.text()
		}
	})
	return said(f)
}

// feedbackInfo reads what an agent thinks of something on conversations; nil where nothing was said.
func (d *decoder) feedbackInfo(at string) *events.Feedback {
	var f events.Feedback
	d.object(at, func(name string) {
		switch name {
		case "agentDetails":
			f.Agent = d.participant(name, nil, nil, nil)
		case "feedback":
			f.Response = d.text()
		case "feedbackDetails":
			f.ReasonCodes = d.strings()
		case "comment":
			f.Comment = d.text()
		case "type":
			f.FeedbackType = d.text()
		}
	})
	return said(f)
}

func said(f events.Feedback) *events.Feedback {
	if f.Response == nil && f.Comment == nil && len(f.ReasonCodes) == 0 {
		return nil
	}
	f.GivenBy = "AGENT"
	f.Sentiment = sentiment(or(f.Response))
	return &f
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

// sentiment of a customer's score. There is no score below 1: upstream writes 0 where none was given.
func (c CSAT) sentiment(score float64) string {
	if c == (CSAT{}) {
		c = CSAT{NegativeUpTo: 2, PositiveFrom: 4}
	}
	switch {
	case score < 1:
		return events.SentimentUnknown
	case score <= c.NegativeUpTo:
		return events.SentimentNegative
	case score >= c.PositiveFrom:
		return events.SentimentPositive
	}
	return events.SentimentNeutral
}

// csat returns what the customer said about a conversation; nil where nothing was said.
func (d *decoder) csat(s *session) *events.Feedback {
	score, words := s.score, s.event.CSATFeedback
	if score != nil && *score < 1 {
		score = nil
	}
	if score == nil && words == nil {
		return nil
	}
	f := &events.Feedback{
		GivenBy:      "CUSTOMER",
		TargetType:   "Conversation",
		Sentiment:    events.SentimentUnknown,
		Comment:      words,
		CSATFeedback: words,
	}
	if score != nil {
		f.Sentiment = d.scope.CSAT.sentiment(*score)
		f.Response = d.texts.put(strconv.FormatFloat(*score, 'f', -1, 64))
		f.CSATScore = s.event.CSATScore
	}
	return f
}

// observeFeedback adds what was said about the thing with the id of target. It has no time of its own.
func (d *decoder) observeFeedback(f *events.Feedback, target string, at moment) *events.Observation {
	if target != "" {
		f.TargetEntityID = d.texts.put(target)
	}
	return d.observe(f, d.entity(events.TypeFeedback, target, f.GivenBy), at)
}
