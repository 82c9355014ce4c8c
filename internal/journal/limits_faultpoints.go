//go:build faultpoints

package journal

// A program that tests kill during compactions and replays has many of both, each in several pieces.
func init() {
	defaultLimits = limits{value: 1 << 10, compact: 2 << 10, deltas: 16, snapshots: 8 << 10, tombstones: 4}
	replayEntities = 100
}
