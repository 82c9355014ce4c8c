package check

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

var colors = map[State]string{OK: "\x1b[32m", Warning: "\x1b[33m", Failed: "\x1b[31m", Skipped: "\x1b[2m"}

const plain = "\x1b[0m"

// Print writes a line for each result, and below it what to do. What several results in a row have in common is said once, after the
// last of them.
func Print(w io.Writer, all []Result, color bool) error {
	names := 0
	for _, r := range all {
		names = max(names, utf8.RuneCountInString(r.Name))
	}
	for i, r := range all {
		mark := fmt.Sprintf("%-7s", r.State)
		if color {
			mark = colors[r.State] + mark + plain
		}
		fmt.Fprintf(w, "%s  %s%s  %s\n", mark, r.Name, strings.Repeat(" ", names-utf8.RuneCountInString(r.Name)), r.Found)
		if again := i+1 < len(all) && all[i+1].State == r.State && all[i+1].Hint == r.Hint; r.Hint != "" && !again {
			fmt.Fprintf(w, "         └ to do: %s\n", r.Hint)
		}
	}
	count := map[State]int{}
	for _, r := range all {
		count[r.State]++
	}
	_, err := fmt.Fprintf(w, "\nok: %d, warning: %d, failed: %d, skipped: %d\n", count[OK], count[Warning], count[Failed], count[Skipped])
	return err
}
