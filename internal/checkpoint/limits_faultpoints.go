//go:build faultpoints

package checkpoint

import "time"

// A program that tests kill writes what it has staged often, and never batch by batch.
func init() { stageBytes, stageFor = 16<<10, 300*time.Millisecond }
