package events

import "time"

// A rank orders the rows of one endpoint that show the same entity: its upper bits are the row's start in milliseconds, its lowest rankBits the
// seconds that it lasted. The row that began later ranks higher, and of those that began together, as they do after a redial, the one that
// ended later, or has not.

const (
	rankBits = 20
	open     = 1<<rankBits - 1 // no end; rows that lasted longer, twelve days, have the same
)

// Rank returns the rank of a row; end is nil while it has none.
func Rank(start time.Time, end *time.Time) int64 {
	lasted := int64(open)
	if end != nil {
		lasted = min(max(int64(end.Sub(start)/time.Second), 0), open-1)
	}
	return start.UnixMilli()<<rankBits | lasted
}

// JoinRank returns the rank of a row that was observed with two ranks: at two times, or in two copies. The later start counts, and the later
// end once there is one. So the rank of a row does not go back and forth, and does not depend on which is observed first. 0 is no rank.
func JoinRank(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	start, lasted := max(a>>rankBits, b>>rankBits), max(a&open, b&open)
	if lasted == open {
		lasted = min(a&open, b&open)
	}
	return start<<rankBits | lasted
}

// RankStart returns the part of a rank that only rises, as rows are joined.
func RankStart(rank int64) int64 { return rank >> rankBits }
