package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// problems are what is wrong with topics, rights, the schema registry and the group while accounts may be read all the same. They are
// red until they are found to be over. The zero value is ready for use, and safe for concurrent use.
type problems struct {
	mu sync.Mutex
	by map[string][]*status.Error // by who looks for them
}

// set replaces what one source has found, and logs what is new and what is over.
func (p *problems) set(log *slog.Logger, source string, found []error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := map[string]*status.Error{}
	for _, e := range p.by[source] {
		before[e.Text] = e
	}
	var after []*status.Error
	for _, err := range found {
		e := status.Error{Text: err.Error(), Hint: kafka.Hint(err), About: kafka.About(err), Class: status.ClassPermanent, Since: now.UTC(), Count: 1}
		if may, known := kafka.Retryable(err); may || !known {
			e.Class = status.ClassRetry
		}
		was := before[e.Text]
		if was == nil {
			log.Error("something is wrong; accounts are read all the same where that is possible", "problem", e.Text)
		}
		delete(before, e.Text)
		after = append(after, e.After(was))
	}
	for _, text := range slices.Sorted(maps.Keys(before)) {
		log.Info("a problem is over", "problem", text, "since", before[text].Since)
	}
	if p.by == nil {
		p.by = map[string][]*status.Error{}
	}
	p.by[source] = after
}

// list returns all of them, in an order that stays.
func (p *problems) list() []status.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []status.Error{}
	for _, source := range slices.Sorted(maps.Keys(p.by)) {
		for _, e := range p.by[source] {
			all = append(all, *e)
		}
	}
	return all
}

const (
	// checkEvery is how often topics, rights and registry are looked at.
	checkEvery = 30 * time.Second
	// unwritten is for how long nobody has tried to write the checkpoint file if nobody has anything to write.
	unwritten = 2 * time.Minute
)

// checkKafka looks, until ctx ends, whether topics, rights and registry are what they were at start. It also looks whether a checkpoint
// file that could not be written can be: maybe nobody has anything to write into it any more.
func (a *App) checkKafka(ctx context.Context, publisher *kafka.Publisher) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		found := publisher.Check(ctx)
		if ctx.Err() != nil {
			return
		}
		a.problems.set(a.log, "kafka", found, time.Now())
		if store := a.file.Store(); store.Failing() != nil && time.Since(store.Failing().Last) > unwritten {
			_ = store.Probe() // the store notes what comes of it
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
