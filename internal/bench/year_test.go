package bench_test

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkatest"
)

var (
	year         = flag.Duration("year", 0, "read so much simulated history and print the peak of memory: 8760h for a year")
	perDay       = flag.Int("segments-per-day", 1000, "volume of that history")
	yearFor      = flag.Duration("year-timeout", 30*time.Minute, "give up after this long")
	yearDelivery = flag.String("year-delivery", kafka.AtLeastOnce, "and how it is delivered")
	yearKeep     = flag.String("year-heap", "", "write the heap profile of the largest moment to this file")
)

// maxAnon is what a poller may take beside the pages of its checkpoint file, however long the history.
const maxAnon = 64 << 20

// TestYear runs poller run over a long history at an API without a budget. Simulator and Kafka are processes of their own.
//
//	go test ./internal/bench -run TestYear -v -timeout 1h -args -year 8760h
func TestYear(t *testing.T) {
	if *year == 0 {
		t.Skip("takes many minutes: ask for it with -args -year 8760h")
	}
	binary := buildPoller(t)
	broker := kafkatest.Kafka(t, kafkatest.KafkaOptions{})
	s := setup{
		binary: binary, broker: broker.Addr, dir: t.TempDir(), delivery: *yearDelivery,
		accounts: simulate(t, binary, world{history: *year, perDay: *perDay}),
	}
	p := s.start(t)
	began := time.Now()
	peak, published := watch(t, p)
	took := time.Since(began)
	cpu := p.stop()
	file, err := os.Stat(s.file())
	require.NoError(t, err)
	t.Logf("peak of RssAnon %.1f MiB; %d events in %v and %v of CPU time, %.0f per CPU second; checkpoint of %d MiB", float64(peak)/(1<<20),
		published, took.Round(time.Second), cpu.Round(time.Second), float64(published)/cpu.Seconds(), file.Size()>>20)
	require.Less(t, peak, maxAnon)
}

// watch waits until everything is read. It returns the peak of the process's anonymous memory, and how many events it published.
func watch(t *testing.T, p *poller) (peak int, published int64) {
	t.Helper()
	const quiet = 100 // events in ten seconds: those of now, and late edits
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		<-tick.C
		if now := p.anon(); now > peak {
			if *yearKeep != "" && now > peak+peak/20 {
				keepHeap(t, p.url)
			}
			peak = max(peak, now)
		}
		if n%100 != 0 {
			continue
		}
		s := p.status()
		if s == nil {
			continue // not up yet
		}
		line, even := progress(s)
		done := even && n > 100 && s.Delivery.Published-published < quiet
		published = s.Delivery.Published
		t.Logf("%4.0fs  RssAnon %3d MiB, peak %3d MiB; checkpoint %d entities, %d MiB; %d events published%s",
			time.Since(began).Seconds(), p.anon()>>20, peak>>20, s.Checkpoint.Entities, s.Checkpoint.Bytes>>20, s.Delivery.Published, line)
		if done {
			return peak, published
		}
		if time.Since(began) > *yearFor {
			t.Errorf("not done after %v", *yearFor)
			return peak, published
		}
	}
}

func keepHeap(t *testing.T, url string) {
	t.Helper()
	response, err := http.Get(url + "/debug/pprof/heap")
	if err != nil {
		return // not up yet
	}
	defer response.Body.Close()
	var heap bytes.Buffer
	_, err = heap.ReadFrom(response.Body)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(*yearKeep, heap.Bytes(), 0o600))
}
