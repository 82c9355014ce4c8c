package kafka

import (
	"net/url"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// Headers of the CloudEvents Kafka binding in binary mode. They let a consumer route events without decoding them.
const (
	headerID          = "ce_id"
	headerSource      = "ce_source"
	headerSpecVersion = "ce_specversion"
	headerType        = "ce_type"
	headerTime        = "ce_time"
	headerSubject     = "ce_subject"
	headerDataSchema  = "ce_dataschema"
	headerContentType = "content-type"
	// Extensions of ours. With them a consumer tells an all-clear from a new alert without decoding.
	headerRevision  = "ce_revision"
	headerSentiment = "ce_sentiment" // of feedback
	// Extension of CloudEvents for distributed tracing.
	headerTraceparent = "ce_traceparent"
)

// Values that headers always have.
const (
	specVersion = "1.0"
	contentType = "application/avro"
)

// eventType returns the value of the header ce_type.
func eventType(t events.Type) string { return "agentassist." + string(t) + ".v1" }

// appendTime appends a time as CloudEvents wants it: RFC 3339, here in UTC and with milliseconds. Package time is fast at
// the layout without them.
func appendTime(dst []byte, t time.Time) []byte {
	dst = t.UTC().AppendFormat(dst, time.RFC3339)
	millis := t.Nanosecond() / int(time.Millisecond)
	return append(dst[:len(dst)-1], '.', byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10), 'Z')
}

// constantHeaders are those that all records of a topic share, made once.
type constantHeaders []kgo.RecordHeader

func newConstantHeaders(t events.Type, dataSchema, ref string) *constantHeaders {
	h := constantHeaders{
		{Key: headerSpecVersion, Value: []byte(specVersion)},
		{Key: headerType, Value: []byte(eventType(t))},
		{Key: headerContentType, Value: []byte(contentType)},
	}
	if dataSchema != "" {
		h = append(h, kgo.RecordHeader{Key: headerDataSchema, Value: []byte(dataSchema + ref)})
	}
	return &h
}

// headerArena holds what the headers of one batch have in common.
type headerArena struct {
	free    []kgo.RecordHeader
	sources map[[2]string][]byte
}

// eventHeaders returns the headers of one event, nil if they are switched off.
func (w *writer) eventHeaders(constant *constantHeaders, e events.Event) []kgo.RecordHeader {
	if constant == nil {
		return nil
	}
	h := e.Head()
	n := len(*constant) + 7
	if cap(w.headers.free) < n {
		w.headers.free = make([]kgo.RecordHeader, 0, 64*n)
	}
	when, _ := w.arena.encode(func(dst []byte) ([]byte, error) {
		return appendTime(dst, h.EventTime), nil
	})
	out := append(w.headers.free, *constant...)
	out = append(out,
		kgo.RecordHeader{Key: headerID, Value: w.arena.text(h.EventID)},
		kgo.RecordHeader{Key: headerSource, Value: w.source(h)},
		kgo.RecordHeader{Key: headerTime, Value: when},
		kgo.RecordHeader{Key: headerSubject, Value: w.arena.text(h.EntityID)},
		kgo.RecordHeader{Key: headerRevision, Value: w.revision(h.Revision)},
	)
	if f, ok := e.(*events.Feedback); ok {
		out = append(out, kgo.RecordHeader{Key: headerSentiment, Value: w.arena.text(f.Sentiment)})
	}
	if w.traceparent != nil {
		out = append(out, kgo.RecordHeader{Key: headerTraceparent, Value: w.traceparent})
	}
	w.headers.free = out[len(out):len(out):cap(out)]
	return out[:len(out):len(out)]
}

// anyTraceparent is as long as every other.
var anyTraceparent = []byte("00-00000000000000000000000000000000-0000000000000000-00")

// first is the revision of nearly all events.
var first = []byte("1")

func (w *writer) revision(n int64) []byte {
	if n == 1 {
		return first
	}
	return w.arena.text(strconv.FormatInt(n, 10))
}

// source is the same for all events of a bot.
func (w *writer) source(h *events.Header) []byte {
	key := [2]string{h.AccountID}
	if h.BotID != nil {
		key[1] = *h.BotID
	}
	if s, ok := w.headers.sources[key]; ok {
		return s
	}
	if w.headers.sources == nil {
		w.headers.sources = map[[2]string][]byte{}
	}
	s := "/accounts/" + url.PathEscape(key[0])
	if key[1] != "" {
		s += "/bots/" + url.PathEscape(key[1])
	}
	w.headers.sources[key] = []byte(s)
	return w.headers.sources[key]
}
