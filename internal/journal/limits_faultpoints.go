//go:build faultpoints

package journal

// A program that is to be killed in the midst of rounds and replays has many of them, each in several pieces.
func init() {
	defaultLimits = limits{value: 1 << 10, round: 2 << 10, deltas: 16, snapshots: 8 << 10, tombstones: 4}
	replayEntities = 100
}
