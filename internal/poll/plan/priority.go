package plan

// Priority is a priority class: a kind of work with a guaranteed share of the request budget. The most urgent class comes first.
type Priority uint8

// The priority classes.
const (
	PriorityTail     Priority = iota // polls: rows that are new
	PriorityHot                      // rows that are open or ended a short while ago
	PrioritySweep                    // older time read again for late edits, and gaps
	PriorityBackfill                 // older gaps, and spans that somebody asked for
	PriorityCount
)

// priorities has the name and the guaranteed share of each class.
var priorities = [PriorityCount]struct {
	name  string
	share float64
}{
	PriorityTail:     {"tail", 0.50},
	PriorityHot:      {"hot", 0.25},
	PrioritySweep:    {"sweep", 0.15},
	PriorityBackfill: {"backfill", 0.10},
}

func (p Priority) String() string { return priorities[p].name }

// Share returns the part of the budget that is guaranteed to the class as far as it demands it, from 0 to 1.
func (p Priority) Share() float64 { return priorities[p].share }
