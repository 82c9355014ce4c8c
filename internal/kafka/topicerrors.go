package kafka

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A TopicsError holds everything that is wrong with the topics.
type TopicsError struct{ Problems []error }

func (e *TopicsError) Error() string { return errors.Join(e.Problems...).Error() }

func (e *TopicsError) Unwrap() []error { return e.Problems }

// Retryable reports whether waiting may help against every problem.
func (e *TopicsError) Retryable() bool {
	return !slices.ContainsFunc(e.Problems, func(err error) bool {
		r, ok := errors.AsType[interface {
			error
			Retryable() bool
		}](err)
		return !ok || !r.Retryable()
	})
}

// orNil returns nil if there are no problems.
func (e *TopicsError) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

// A requestError says which request to the cluster failed as a whole.
type requestError struct {
	op  string
	err error
}

func (e *requestError) Error() string { return withHint(e.op+": "+e.err.Error(), e.Hint()) }

// Hint says what to do, empty if that is not known.
func (e *requestError) Hint() string { return hintFor(e.err) }

func (e *requestError) Unwrap() error   { return e.err }
func (e *requestError) Retryable() bool { return classify(e.err) == Retry }

// A TopicError says what is wrong with one topic and what to do about it.
type TopicError struct {
	Topic string
	Text  string
	Err   error // Kafka's answer; nil if the topic exists and is not as it should be
	hint  string
}

func (e *TopicError) Error() string {
	text := fmt.Sprintf("topic %s %s", e.Topic, e.Text)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return withHint(text, e.hint)
}

// Hint says what to do, empty if that is not known.
func (e *TopicError) Hint() string { return e.hint }

func (e *TopicError) Unwrap() error { return e.Err }

// Retryable reports whether the cluster was merely not ready to answer. Otherwise somebody has to change the topic.
func (e *TopicError) Retryable() bool { return e.Err != nil && classify(e.Err) == Retry }

func denied(topic string, err error, operation string) *TopicError {
	return &TopicError{
		Topic: topic, Err: err,
		Text: "may not be used: " + operation + " is not allowed",
		hint: "grant the poller's user " + operation + " on it",
	}
}

// A RetentionError says that Kafka would delete or refuse records as soon as they are written.
type RetentionError struct {
	Topic   string
	Setting string // retention.ms or message.timestamp.before.max.ms
	Keeps   time.Duration
	Oldest  time.Time
	// Earliest is the oldest time that the topic would keep now.
	Earliest time.Time
}

func (e *RetentionError) Error() string {
	return withHint(fmt.Sprintf("topic %s would drop events of %s at once: its %s is %s", e.Topic, e.Oldest.UTC().Format(time.RFC3339), e.Setting,
		days(e.Keeps)), e.Hint())
}

// Hint says what to do.
func (e *RetentionError) Hint() string {
	return fmt.Sprintf("start at %s or later, raise %s, or set kafka.timestamp: observed to give records the time of reading",
		e.Earliest.UTC().Format(time.RFC3339), e.Setting)
}

// Retryable returns false: a person has to choose.
func (e *RetentionError) Retryable() bool { return false }

// CheckRetention returns a *RetentionError if Kafka would delete or refuse events as old as oldest: it judges the age of a record by its
// timestamp, and deletes a segment that is too old at its next check, although it has acknowledged the records. Call CheckRetention
// before the first read and before every backfill.
func (t *Topics) CheckRetention(oldest, now time.Time) error {
	if t.timestamps == TimestampObserved {
		return nil
	}
	latest := *t.latest.Load()
	for _, s := range t.specs {
		topic := latest[s.name]
		if s.kind != kindEvents || topic.LogAppendTime {
			continue
		}
		if topic.Retention >= 0 && oldest.Before(now.Add(-topic.Retention)) {
			return &RetentionError{
				Topic: s.name, Setting: "retention.ms", Keeps: topic.Retention, Oldest: oldest,
				Earliest: earliest(now, topic.Retention),
			}
		}
		if topic.Before >= 0 && oldest.Before(now.Add(-topic.Before)) {
			return &RetentionError{
				Topic: s.name, Setting: "message.timestamp.before.max.ms", Keeps: topic.Before, Oldest: oldest,
				Earliest: earliest(now, topic.Before),
			}
		}
	}
	return nil
}

// earliest returns a start for a topic that keeps records for so long. It leaves a person time to type it in, and lies in the past.
func earliest(now time.Time, keeps time.Duration) time.Time {
	margin, unit := 2*time.Hour, time.Hour
	if keeps < 2*margin {
		margin, unit = keeps/2, time.Minute
	}
	return now.Add(margin - keeps).Truncate(unit)
}

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%.4g days", d.Hours()/24)
	}
	return d.String()
}
