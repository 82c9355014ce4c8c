package poll

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/testsize"
)

// The progress of a unit and its watermark fit into a record, however many rows are open, spans were read and jobs are under way, and
// however odd ids are.
func TestLargestProgress(t *testing.T) {
	testsize.Slow(t)
	u, err := newUnit(events.InteractionDetails, strings.Repeat("b", bound.ConfiguredID), time.Minute, &progress{Start: epoch})
	require.NoError(t, err)
	for i := range maxHot {
		u.hot[fmt.Sprint(strings.Repeat("\x01", bound.ID-5), i)] = &hotRow{start: epoch.Add(time.Duration(i) * time.Second), open: true}
	}
	u.state.Offsets = kafka.Offsets{}
	for i := range 8 {
		u.state.Offsets.Raise(fmt.Sprint("agentassist.of-a-type-", i), 999, 1<<60)
	}
	for i := range bound.OpenJobs + maxFinished + 5 {
		j := &unitJob{ID: fmt.Sprintf("%064d", i), From: epoch, To: epoch.Add(time.Hour)}
		if i >= bound.OpenJobs {
			j.Finished = epoch
		}
		for range bound.JobSpans {
			j.Left = append(j.Left, jobSpan{timeline.Span{From: epoch, To: epoch.Add(time.Second)}, true})
		}
		if i >= bound.OpenJobs {
			j.Left = nil
		}
		u.addJob(j)
	}
	end := epoch.Add(30 * timeline.Day)
	for i := range 6_000 { // seconds that are full, with time between that is read
		at := epoch.Add(time.Duration(i) * time.Minute)
		u.conclude(plan.Work{Priority: plan.PriorityTail}, &pass.Outcome{
			ReadAt: end, Read: []timeline.Span{{From: at.Add(time.Second), To: at.Add(time.Minute)}}, Capped: []timeline.Span{{From: at, To: at.Add(time.Second)}},
		}, nil)
		if i%1000 == 0 {
			u.Held = nil
		}
	}
	records := map[string][]byte{}
	require.NoError(t, u.addRecord(records))
	require.Less(t, len(records[u.progressName()]), bound.Record)
	p, err := decodeProgress(records[u.progressName()])
	require.NoError(t, err)
	require.NotEmpty(t, p.Open)
	require.Equal(t, epoch, p.Open[0].Start, "those that began first hold back what is complete")

	a := &Account{cfg: Options{Name: strings.Repeat("n", 100), AccountID: strings.Repeat("a", bound.ConfiguredID)}}
	w := a.watermark(u)
	value, err := w.AppendAvro(nil)
	require.NoError(t, err)
	require.Less(t, len(value), bound.Record-bound.Offsets)
	require.Greater(t, len(w.Gaps), bound.ReadSpans/2)
}

// What is said of a job fits into a record, however many units have a part in it.
func TestLargestJobProgress(t *testing.T) {
	p := &JobProgress{ID: "j", Account: "a", State: JobRunning, Reason: strings.Repeat("x", 1<<20), Requests: 7}
	for range 10_000 {
		p.Units = append(p.Units, JobUnit{Endpoint: events.Conversations, Bot: strings.Repeat("\x01", bound.ConfiguredID)})
	}
	key, value, err := p.Encode()
	require.NoError(t, err)
	require.Less(t, len(value), bound.Job+1)
	r, err := DecodeJobRecord(key, value)
	require.NoError(t, err)
	require.EqualValues(t, 7, r.Progress.Requests)
	require.NotEmpty(t, r.Progress.Units)
	require.Len(t, p.Units, 10_000, "it is the caller's")
	_, err = json.Marshal(p)
	require.NoError(t, err)
}
