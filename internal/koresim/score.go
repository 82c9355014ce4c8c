package koresim

import "strconv"

// score is what a customer gave on the scale of the channel. The zero value is none.
type score struct {
	scale string // CSAT, NPS or LIKE
	value float64
}

// newScore returns the score of a customer who would give 1 to 5. It rolls dice of its own.
func (c *contact) newScore(content int64) score {
	d := roll(c.world.cfg.Seed, 31, c.ref.key())
	switch d.weighed(60, 25, 15) {
	case 1:
		nps := [5][]int64{{0, 1, 2}, {4, 6}, {7, 8}, {9}, {9, 10}}
		return score{"NPS", float64(pick(d, nps[content-1]))}
	case 2:
		if content <= 2 {
			return score{"LIKE", 0}
		}
		return score{"LIKE", 1}
	}
	if content > 1 && d.chance(0.2) {
		return score{"CSAT", float64(content) - 0.5}
	}
	return score{"CSAT", float64(content)}
}

// response is what was given, as text.
func (s score) response() string {
	if s.scale == "LIKE" {
		return verdict(s.value == 1)
	}
	return strconv.FormatFloat(s.value, 'f', -1, 64)
}

func (s score) sentiment() string {
	bad, good := 2.0, 4.0
	switch s.scale {
	case "NPS":
		bad, good = 6, 9
	case "LIKE":
		bad, good = 0, 1
	}
	switch {
	case s.value <= bad:
		return "NEGATIVE"
	case s.value >= good:
		return "POSITIVE"
	}
	return "NEUTRAL"
}

// fields are those that the score has in an event, of the conversation or of feedback.
func (s score) fields(f Fields) {
	switch s.scale {
	case "CSAT":
		f["csat_score"] = s.value
	case "NPS":
		f["nps_score"] = int64(s.value)
	}
}

// renderScore writes what the customer gave by t. Where nothing was given, records have nothing, null or a CSAT of 0.
func (c *contact) renderScore(w *jsonWriter, t moment) {
	s, _ := c.outcome.score.at(t)
	switch {
	case s.scale == "NPS":
		w.num("npsScore", int64(s.value))
	case s.scale == "LIKE":
		w.str("likeDislikeScore", s.response())
	case s.scale == "CSAT" && c.shape == shape2024:
		w.str("csatScore", s.response())
	case s.scale == "CSAT":
		w.float("csatScore", s.value)
	case c.shape == shape2025:
		w.null("csatScore")
	case c.shape == shape2026:
		w.num("csatScore", 0)
	}
	if text, ok := c.outcome.scoreText.at(t); ok && s != (score{}) {
		w.str("csatFeedback", text)
	}
}
