package check

import (
	"fmt"
	"os"
	"path/filepath"

	"agentassist-poller/internal/checkpoint"
)

// scarce is how little free room is worth a warning, in bytes: as much as an account of 1,000 segments a day takes in a month.
const scarce = 100 << 20

// checkFile says whether the checkpoint file can be written, and how much room is left.
func checkFile(path string) Result {
	name := "checkpoint file"
	free, err := checkpoint.Writable(path)
	if err != nil {
		return Result{Name: name, State: Failed, Found: err.Error(), Hint: "check checkpoint.path"}
	}
	r := Result{Name: name, State: OK, Found: path + " does not exist; a start makes it"}
	if info, err := os.Stat(path); err == nil {
		r.Found = fmt.Sprintf("%s can be written, %s", path, size(uint64(info.Size())))
	}
	r.Found += fmt.Sprintf("; %s free", size(free))
	if free < scarce {
		r.State, r.Hint = Warning, fmt.Sprintf("make room on the disk of %s, or name a checkpoint.path on another one", filepath.Dir(path))
	}
	return r
}

func size(bytes uint64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
