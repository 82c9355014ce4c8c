package extract_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
)

// fullPage is a page of 100 segments with about ten events each, made of the busiest segments of both years' samples.
func fullPage(t testing.TB) []byte {
	t.Helper()
	var samples []string
	for _, name := range []string{"raw-data-v2", "raw-data-v2-earlier"} {
		var page struct{ Data []json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(readPage(t, name)), &page))
		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, page.Data[0]))
		samples = append(samples, compact.String())
	}
	segments := make([]string, 100)
	for i := range segments {
		segments[i] = strings.Replace(samples[i%2], `"segmentID":"ac-`, fmt.Sprintf(`"segmentID":"ac-%d-`, i), 1)
	}
	return []byte(`{"numResults":100,"hasMore":true,"data":[` + strings.Join(segments, ",") + `]}`)
}

// BenchmarkBaseline only reads every token of a full page: what the JSON library alone costs, to compare the others with.
func BenchmarkBaseline(b *testing.B) {
	body := fullPage(b)
	before := cpuTime(b)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		for {
			if _, err := dec.ReadToken(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()*1e3/float64(b.N), "cpu-ms/page")
}

// BenchmarkDecode is the reading and mapping of a full page.
func BenchmarkDecode(b *testing.B) {
	body := fullPage(b)
	benchmarkPage(b, body, func(*extract.Page) {})
}

// BenchmarkPage is all that the processor does for a full page: reading, mapping, content hashes and encoding.
func BenchmarkPage(b *testing.B) {
	var buf []byte
	benchmarkPage(b, fullPage(b), func(page *extract.Page) {
		buf = buf[:0]
		for i := range page.Rows {
			for _, s := range page.Rows[i].Sightings {
				events.ContentHash(s.Event, events.Recipe())
				var err error
				if buf, err = events.AppendAvro(buf, s.Event); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// cpuTime is what the process has used so far, garbage collection included: a busy machine changes it little.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func benchmarkPage(b *testing.B, body []byte, use func(*extract.Page)) {
	n, before := 0, cpuTime(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		page, err := extract.Decode(scope(events.Interactions), body)
		if err != nil || len(page.Dead) > 0 {
			b.Fatal(err, page)
		}
		for i := range page.Rows {
			n += len(page.Rows[i].Sightings)
		}
		use(page)
	}
	b.ReportMetric(float64(n)/(cpuTime(b)-before).Seconds(), "events/cpu-s")
	b.ReportMetric((cpuTime(b)-before).Seconds()*1e3/float64(b.N), "cpu-ms/page")
	b.ReportMetric(float64(n)/float64(b.N), "events/page")
}
