// Package check says whether a poller would run with a configuration: it asks everything that the poller needs, and changes none of it.
package check

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
)

// State is what came of the check of one thing.
type State string

// The states. Only a thing that failed keeps a poller from its work.
const (
	OK      State = "ok"
	Warning State = "warning" // a poller runs all the same
	Failed  State = "failed"
	Skipped State = "skipped" // nobody could look, as something else failed
)

// A Result says what was found of one thing. It holds no secret.
type Result struct {
	Name  string `json:"name"` // such as "account retail-us: token"
	State State  `json:"state"`
	Found string `json:"found"`
	Hint  string `json:"hint"` // what to do, empty if there is nothing or nobody knows
}

// Options say what to check.
type Options struct {
	Accounts []Account
	// Kafka names the topics, the brokers and the registry.
	Kafka kafka.Options
	// File is the path of the checkpoint file.
	File string
	// Timeout bounds all of it together; 0 means a minute.
	Timeout time.Duration
	// Transport replaces the transport to the API; nil: the client's own.
	Transport http.RoundTripper
}

// An Account is one to check: what is read of it, and how it is asked.
type Account struct {
	Poll poll.Options
	API  kore.Config
}

// Run checks everything, side by side, and returns a result or more for each thing, always in the same order. It sends a few requests to
// the API of each account. The only thing that it writes is an empty file in the directory of the checkpoint
// file, which it removes at once.
func Run(ctx context.Context, o Options) []Result {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	var parts []func() []Result
	var topics *kafka.Topics
	for _, a := range o.Accounts {
		parts = append(parts, func() []Result { return checkAccount(ctx, a, o.Transport) })
	}
	parts = append(parts,
		func() []Result {
			var partitions []int32
			for _, a := range o.Accounts {
				partitions = append(partitions, kafka.CheckpointPartition(a.Poll.AccountID))
			}
			var found []kafka.Finding
			found, topics = kafka.Inspect(ctx, o.Kafka, distinct(partitions))
			return Results(found)
		},
		func() []Result { return Results(kafka.InspectRegistry(ctx, o.Kafka)) },
		func() []Result { return []Result{checkFile(o.File)} },
	)
	found := make([][]Result, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() { found[i] = part() })
	}
	running.Wait()
	var out []Result
	for i := range found {
		out = append(out, found[i]...)
		if i < len(o.Accounts) && topics != nil {
			out = append(out, checkStart(o.Accounts[i], topics, time.Now())...)
		}
	}
	return out
}

// Failures returns how many results are failures.
func Failures(all []Result) (n int) {
	for _, r := range all {
		if r.State == Failed {
			n++
		}
	}
	return n
}

// Results turns findings about Kafka and the registry into results.
func Results(found []kafka.Finding) (out []Result) {
	for _, f := range found {
		switch {
		case f.Skipped != "":
			out = append(out, Result{Name: f.Name, State: Skipped, Found: f.Skipped})
		case f.Err == nil:
			out = append(out, Result{Name: f.Name, State: OK, Found: f.Found})
		case f.Minor:
			out = append(out, because(f.Name, Warning, f.Err))
		default:
			out = append(out, because(f.Name, Failed, f.Err))
		}
	}
	return out
}

// because returns a result that says what an error says, its hint apart.
func because(name string, state State, err error) Result {
	r := Result{Name: name, State: state, Found: err.Error()}
	if e, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && e.Hint() != "" {
		r.Found, r.Hint = strings.TrimSuffix(r.Found, "; "+e.Hint()), e.Hint()
	}
	if errors.Is(err, context.DeadlineExceeded) && r.Hint == "" {
		r.Hint = "what was asked did not answer in time; ask again, or with a longer --timeout"
	}
	return r
}

// checkStart tells of a start that is older than what the topics keep. A poller refuses it only if it has read nothing yet.
func checkStart(a Account, topics *kafka.Topics, now time.Time) []Result {
	start := a.Poll.Start(now)
	if !start.Before(now.Add(-time.Hour)) {
		return nil
	}
	err := topics.CheckRetention(start, now)
	if err == nil {
		return nil
	}
	r := because("account "+a.Poll.Name+": start", Failed, err)
	if !slices.Contains(topics.Created, topics.Watermark()) {
		r.State = Warning
		r.Found += "; a poller that has read something already goes on all the same"
	}
	return []Result{r}
}

func distinct[T comparable](in []T) (out []T) {
	seen := map[T]bool{}
	for _, v := range in {
		if !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}
