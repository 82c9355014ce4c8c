package prometheustest

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// documented returns the labels of each metric in docs/metrics.md, which a test of the poller keeps true.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/metrics.md")
	require.NoError(t, err)
	out := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(poller_\\w+)` \\| (\\w+) \\|([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		out[m[1]] = regexp.MustCompile(`\w+`).FindAllString(m[3], -1)
		if m[2] == "histogram" {
			out[m[1]+"_bucket"], out[m[1]+"_sum"], out[m[1]+"_count"] = append(out[m[1]], "le"), out[m[1]], out[m[1]]
			delete(out, m[1])
		}
	}
	require.NotEmpty(t, out)
	return out
}
