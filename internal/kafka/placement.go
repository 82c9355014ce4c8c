package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// place decides over how many partitions of each event topic keys are placed. All revisions of an entity must stay in one partition,
// and equal keys of all topics in partitions of equal number: so the number that events were published over so far stays, whatever
// somebody has added since, until a person names another one in kafka.topics.partitions.
//
// counts are the topics by their number of partitions, published is the number so far, 0 if nothing was published. A problem that is
// not fatal is one to go on with.
func place(counts map[int][]string, published int, c TopicsConfig) (n int, problem *PartitionsError) {
	if len(counts) == 0 {
		return 0, nil
	}
	numbers := slices.Sorted(maps.Keys(counts))
	least := numbers[0]
	switch alike := len(numbers) == 1; {
	case alike && (published == 0 || published >= least): // with fewer than before they were made anew, and hold nothing older
		return least, nil
	case alike && c.PartitionsChosen && int(c.Partitions) == least:
		return least, nil
	case published > 0 && published <= least:
		return published, &PartitionsError{Counts: counts, Placed: published}
	}
	return 0, &PartitionsError{Counts: counts}
}

// PartitionsError is returned when event topics do not all have the number of partitions that keys are placed over.
type PartitionsError struct {
	Counts map[int][]string // topics by number of partitions
	// Placed is the number of partitions that keys are placed over all the same, as before; 0 if there is none to go on with.
	Placed int
}

func (e *PartitionsError) Error() string { return withHint(e.text(), e.Hint()) }

func (e *PartitionsError) text() string {
	numbers := slices.Sorted(maps.Keys(e.Counts))
	most := numbers[len(numbers)-1]
	var text string
	if len(numbers) == 1 {
		text = fmt.Sprintf("event topics have %d partitions", most)
	} else {
		var parts []string
		for _, n := range numbers {
			parts = append(parts, fmt.Sprintf("%d in %s", n, strings.Join(slices.Sorted(slices.Values(e.Counts[n])), ", ")))
		}
		text = "event topics have different numbers of partitions, so that streams cannot be joined: " + strings.Join(parts, "; ")
	}
	if e.Placed > 0 {
		text += fmt.Sprintf("; keys are placed over the first %d of each, as before, so that revisions stay in order", e.Placed)
	}
	return text
}

// Hint says what to do.
func (e *PartitionsError) Hint() string {
	numbers := slices.Sorted(maps.Keys(e.Counts))
	most := numbers[len(numbers)-1]
	if e.Placed == 0 {
		return fmt.Sprintf("give all the same number: add partitions to those that have fewer than %d, or, as long as there are no events on "+
			"them, delete those that do not fit and start again", most)
	}
	text := "to use all, "
	if len(numbers) > 1 {
		text += fmt.Sprintf("give all event topics %d partitions, ", most)
	}
	return text + fmt.Sprintf("set kafka.topics.partitions: %d and restart every instance: from then on keys are placed over %d, most of them elsewhere", most, most)
}

// Retryable is false: somebody has to decide.
func (e *PartitionsError) Retryable() bool { return false }

const (
	// publishedTail is how many of the last records of the watermark topic are looked at. Most are watermarks, one in three or four;
	// the rest are the ends of transactions.
	publishedTail = 100
	// publishedTimeout bounds that. It is spent only if the last record that was there has been compacted away.
	publishedTimeout = 3 * time.Second
)

// publishedOver returns over how many partitions events were placed by whoever has published last, as the offsets of its watermarks
// say; 0 if nobody has.
func publishedOver(ctx context.Context, connect *connector, client *kgo.Client, t *Topics) (n int, err error) {
	admin, topic := kadm.NewClient(client), t.Watermark()
	end, err := offsetOf(ctx, admin.ListCommittedOffsets, topic, 0)
	if err != nil {
		return 0, &requestError{"look up the end of " + topic, err}
	}
	start, err := offsetOf(ctx, admin.ListStartOffsets, topic, 0)
	if err != nil {
		return 0, &requestError{"look up the start of " + topic, err}
	}
	ctx, cancel := context.WithTimeout(ctx, publishedTimeout)
	defer cancel()
	err = readTo(ctx, connect, partitionRange{topic, 0, max(start, end-publishedTail), end}, func(r *kgo.Record) {
		w := watermarkOf(r)
		if w == nil {
			return
		}
		offsets := map[string]int{}
		for _, o := range w.Offsets {
			offsets[o.Topic]++
		}
		for _, count := range offsets {
			n = count
		}
	})
	if ctx.Err() != nil {
		err = nil // what was read until then tells, or nothing does
	}
	return n, err
}
