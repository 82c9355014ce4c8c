package extract

import "strings"

// drift counts what the API's documentation does not promise: unknown members by their path, and values that could not be
// used by "bad:" and their path.
type drift map[string]int64

// Members may be named by upstream's customers, so both the number of paths and their length are bounded.
const (
	maxDriftPaths = 100
	maxDriftPath  = 200
	otherDrift    = "(other)"
)

func (d drift) add(prefix string, path []string, name string) {
	full := prefix + strings.Join(append(path, name), ".")
	if len(full) > maxDriftPath {
		full = strings.ToValidUTF8(full[:maxDriftPath], "")
	}
	if _, known := d[full]; !known && len(d) >= maxDriftPaths {
		full = otherDrift
	}
	d[full]++
}
