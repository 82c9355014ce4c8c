package bench_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
)

// BenchmarkPage is what the processor does for a page of 100 segments and 1,000 events, in CPU time, which a busy machine
// changes less than the time on the clock. Ratios to the two baselines change least.
//
//	sha256  hashes the page: how fast this machine is just now
//	tokens  reads every JSON token of it with the library and does nothing: the yardstick, which our scanner does not use
//	decode  reads it into rows and observations
//	encode  and writes them as Avro
//	page    and hashes their content, as is done to tell whether they have changed
func BenchmarkPage(b *testing.B) {
	body := fullPage(b)
	var hashing, tokens time.Duration
	b.Run("sha256", func(b *testing.B) {
		hashing = measure(b, body, func() { sha256.Sum256(body) })
	})
	b.Run("tokens", func(b *testing.B) {
		tokens = measure(b, body, func() { readTokens(b, body) })
		ratio(b, tokens, hashing, "x-sha256")
	})
	b.Run("decode", func(b *testing.B) {
		cpu := measure(b, body, func() { decode(b, body) })
		ratio(b, cpu, tokens, "x-tokens")
	})
	for _, part := range []struct {
		name string
		hash bool
	}{{"encode", false}, {"page", true}} {
		b.Run(part.name, func(b *testing.B) {
			var avro []byte
			n := 0
			cpu := measure(b, body, func() {
				avro, n = avro[:0], 0
				for _, row := range decode(b, body).Rows {
					n += len(row.Observations)
					for _, s := range row.Observations {
						if part.hash {
							events.ContentHash(s.Event, events.Recipe())
						}
						var err error
						if avro, err = events.AppendAvro(avro, s.Event); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
			ratio(b, cpu, hashing, "x-sha256")
			ratio(b, cpu, tokens, "x-tokens")
			b.ReportMetric(float64(n), "events/page")
			b.ReportMetric(float64(n)/cpu.Seconds(), "events/cpu-s")
		})
	}
}

// measure runs f and returns the CPU time of one round, garbage collection included.
func measure(b *testing.B, body []byte, f func()) time.Duration {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	f() // what is pooled is made once
	before := cpuTime(b)
	for b.Loop() {
		f()
	}
	cpu := (cpuTime(b) - before) / time.Duration(b.N)
	b.ReportMetric(cpu.Seconds()*1e3, "cpu-ms/page")
	return cpu
}

// ratio reports cpu as a multiple of a baseline, if that was run.
func ratio(b *testing.B, cpu, baseline time.Duration, unit string) {
	if baseline > 0 {
		b.ReportMetric(float64(cpu)/float64(baseline), unit)
	}
}

func cpuTime(b testing.TB) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func decode(b *testing.B, body []byte) *extract.Page {
	page, err := extract.Decode(extract.Scope{
		Source: "bench", AccountID: "6798834e4e94062f75aaaaaa", BotID: "st-1", Endpoint: events.Interactions,
	}, body)
	if err != nil || len(page.Dead) > 0 {
		b.Fatal(err, page)
	}
	return page
}

func readTokens(b *testing.B, body []byte) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		if _, err := dec.ReadToken(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// fullPage is a page of 100 segments with about ten events each, made of the busiest segments of both years' samples.
func fullPage(b *testing.B) []byte {
	b.Helper()
	var samples []string
	for _, name := range []string{"raw-data-v2", "raw-data-v2-earlier"} {
		text, err := os.ReadFile(filepath.Join("..", "extract", "testdata", name+".json"))
		require.NoError(b, err)
		var page struct{ Data []json.RawMessage }
		require.NoError(b, json.Unmarshal(text, &page))
		var compact bytes.Buffer
		require.NoError(b, json.Compact(&compact, page.Data[0]))
		samples = append(samples, compact.String())
	}
	segments := make([]string, 100)
	for i := range segments {
		segments[i] = strings.Replace(samples[i%2], `"segmentID":"ac-`, fmt.Sprintf(`"segmentID":"ac-%d-`, i), 1)
	}
	return []byte(`{"numResults":100,"hasMore":true,"data":[` + strings.Join(segments, ",") + `]}`)
}
