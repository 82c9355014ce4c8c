package events

import "strings"

// The values of PlaybookStep.AdherenceBasis: members of a step upstream.
const (
	AdherenceIsAdhered = "isAdhered"
	AdherenceCompleted = "completed"
	AdherenceStatus    = "status"
)

// derives reports whether a field was made from others, which count already.
func (e *PlaybookStep) derives(string) bool {
	return e.AdherenceBasis != nil && *e.AdherenceBasis != AdherenceIsAdhered
}

// Adhered returns what the status of a step says about whether it was followed; not ok if it says nothing about that.
func Adhered(status string) (adhered, ok bool) {
	switch strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(status)) {
	case "adhered", "complete", "completed", "done":
		return true, true
	case "notadhered", "incomplete", "notcompleted", "notdone", "open", "pending", "skipped", "missed":
		return false, true
	}
	return false, false
}
