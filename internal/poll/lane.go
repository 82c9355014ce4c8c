package poll

// Lane is a kind of work for which a share of the request budget is set aside. The order is that of urgency.
type Lane uint8

// The lanes.
const (
	LaneTail     Lane = iota // rows that are new
	LaneHot                  // conversations that are open or ended a short while ago
	LaneSweep                // older time read again for late edits, and gaps
	LaneBackfill             // history never read
	laneCount
)

func (l Lane) String() string {
	switch l {
	case LaneTail:
		return "tail"
	case LaneHot:
		return "hot"
	case LaneSweep:
		return "sweep"
	case LaneBackfill:
		return "backfill"
	}
	return "unknown"
}
