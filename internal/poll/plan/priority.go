package plan

// Priority is a class of work for which a share of the request budget is guaranteed. The order is that of urgency.
type Priority uint8

// The priority classes.
const (
	PriorityTail     Priority = iota // rows that are new
	PriorityHot                      // conversations that are open or ended a short while ago
	PrioritySweep                    // older time read again for late edits, and gaps
	PriorityBackfill                 // history never read
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

// Share returns the part of the budget that the class is guaranteed, as far as it has a use for it.
func (p Priority) Share() float64 { return priorities[p].share }
