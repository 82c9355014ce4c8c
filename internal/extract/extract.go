// Package extract turns one page of an upstream endpoint into rows and the observations of things on them: what was searched,
// shown, used, rated, nudged, stepped through, asked, summarised, served. It does no I/O, keeps no state and knows no clock.
//
// A record that cannot be read costs nothing but itself, a field that cannot be read nothing but the field; both are
// reported. Whether a observation becomes an event is decided elsewhere.
package extract

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/payload"
)

// Scope is what the reader of a page knows and the page does not say.
type Scope struct {
	Source    string // the configured account's name
	AccountID string
	// BotID is the bot that was asked for. Where the endpoint runs once per account it is empty, and the rows say.
	BotID    string
	Endpoint events.Endpoint
	Scores   Scores
}

// A Page is what one response said.
type Page struct {
	Rows []Row
	Dead []Dead
	// NumResults, Total and TotalPages are the response's own counts, -1 where it gives none.
	NumResults, Total, TotalPages int64
	// HasMore is nil where the response does not say.
	HasMore *bool
	// Drift counts what was not expected, by path: unknown fields ("data[].newField"), and values that could not be
	// used ("bad:data[].segmentEndTime"). Nil if there was none.
	Drift map[string]int64
}

// A Row is one record of a page.
type Row struct {
	// ID is the same on every read of the record. Paging depends on it. It and ConversationID may be kept; everything else
	// shares the memory of the page, all of which stays as long as any of it.
	ID             string
	ConversationID string
	BotID          string
	// Start and End are the record's own times, zero where it has none.
	Start, End time.Time
	// Open records will change. Where the endpoint says nothing about it, records are not open.
	Open bool
	// BotOnly sessions never reached an agent, or have not yet.
	BotOnly bool
	// Agentic conversations have something that the conversations endpoint tells more about.
	Agentic bool
	// Channel, Queues and Agents are what the record is of, as its events say: Queues and Agents hold the ids of all that took part.
	// Records of conversations tell only the channel.
	Channel        string
	Queues, Agents []string
	Observations   []events.Observation
	// Unsaid is the feedback that the row would show and does not: whatever it showed before was taken back.
	Unsaid []events.Observation
}

// Dead is a record that could not be read, whole. Like what a row holds, it shares the memory of the page.
type Dead struct {
	Stage  string // decode or map
	Reason string // bounded in length, as Raw and the ids are not
	Raw    []byte
	// The ids that could be read, each possibly empty.
	ConversationID, SessionID, SegmentID string
}

// The stages at which a record can die here.
const (
	stageDecode = "decode"
	stageMap    = "map"
)

// maxBroken bounds how many records of one page may be broken JSON before the page as a whole counts as broken: each of
// them costs another look at the page.
const maxBroken = 20

// Decode reads one response body. It returns an error, a *PageError, only if nothing of the page can be trusted. The page
// keeps the body, which must not be changed any more: texts are parts of it. Values may be shared between the events of a
// page: replace their pointers, never write through them.
//
// What is made of a body is bounded: by package bound, in the number of records, of elements and of levels.
func Decode(s Scope, body []byte) (*Page, error) {
	body = payload.Trim(body)
	var broken []Dead
	whole := body // as it came
	for {
		d := newDecoder(s, body)
		err := d.envelope()
		if err == nil {
			d.page.numberCopies()
			d.page.Dead = append(broken, d.page.Dead...)
			return d.page, nil
		}
		start, end, found := d.brokenRecord()
		if !found || len(broken) == maxBroken {
			return nil, pageError(body, err)
		}
		reason := excerpt(within(err, start).Error())
		if !errors.Is(err, errDepth) {
			reason = "broken JSON: " + reason
		}
		if len(broken) == 0 {
			body = bytes.Clone(body)
		}
		dead := idsBefore(s.Endpoint, whole[start:end])
		dead.Stage, dead.Reason, dead.Raw = stageDecode, reason, whole[start:end:end]
		broken = append(broken, dead)
		blank(body[start:end])
	}
}

// A decoder reads one page.
type decoder struct {
	*reader
	collector
	page    *Page
	scratch []events.ShownSuggestion
	record  struct {
		start, end int // end is 0 while the record is being read
	}
	records  int // begun so far
	elements int // of the records read so far
}

func newDecoder(s Scope, body []byte) *decoder {
	d := &decoder{
		reader:    newReader(body),
		collector: collector{scope: s},
		page:      &Page{NumResults: -1, Total: -1, TotalPages: -1},
	}
	d.record.end = -1
	return d
}

// envelope reads the whole response. The records lie in data or results, before or after the counts.
func (d *decoder) envelope() error {
	var hasRecords, isNull bool
	var refusal error
	if d.kind() == '{' {
		d.members("", func(name string) {
			switch name {
			case "data", "results":
				if k := d.kind(); k == '[' || k == '{' || k == 'n' {
					hasRecords, isNull = true, k == 'n'
					d.page.Rows = slices.Grow(d.page.Rows, int(min(max(d.page.NumResults, 0), 100))) // if it comes first
					d.list(d.row)
				} else {
					d.skip()
				}
			case "numResults":
				d.page.NumResults = orElse(d.integer(), -1)
			case "totalResults":
				d.page.Total = orElse(d.integer(), -1)
			case "totalPages":
				d.page.TotalPages = orElse(d.integer(), -1)
			case "hasMore":
				d.page.HasMore = d.boolean()
			case "skip", "limit", "message", "msg", "error": // what was asked for, and words beside a page
				d.skip()
			case "errors":
				refusal = d.refusal()
			}
		})
	} else {
		d.skip()
	}
	if d.err == nil {
		if d.next() < len(d.body) {
			d.err = errors.New("something follows the response")
		}
	}
	switch {
	case d.err != nil:
		return d.err
	case refusal != nil:
		return refusal
	case !hasRecords && d.page.NumResults != 0 && d.page.Total != 0: // a count of none needs no list
		return errNoRecords
	case isNull && d.page.NumResults > 0:
		return fmt.Errorf("%w: it announces %d", errRecordsMissing, d.page.NumResults)
	}
	if len(d.drift) > 0 {
		d.page.Drift = d.drift
	}
	return nil
}

// refusal reads the errors of a response that came with status 200; nil for none.
func (d *decoder) refusal() error {
	var first *refusedError
	d.list(func() {
		var e refusedError
		if d.kind() == '{' {
			d.members("errors[]", func(name string) {
				switch name {
				case "msg", "message":
					e.message = or(d.textOrJSON())
				case "code":
					e.code = int(orElse(d.integer(), 0))
				default:
					d.skip()
				}
			})
		} else {
			e.message = or(d.textOrJSON())
		}
		if first == nil {
			first = &e
		}
	})
	if first == nil {
		return nil
	}
	return first
}

// records reads one record of each endpoint.
var records = events.ForEach((*decoder).segment, (*decoder).conversation, (*decoder).session, (*decoder).session)

// row reads one record, whichever it is.
func (d *decoder) row() {
	if d.records++; d.records > bound.PageRecords {
		d.stop(fmt.Errorf("%w: it has more than %d records", errTooMuch, bound.PageRecords))
		return
	}
	d.record.start = d.next()
	d.record.end = 0
	d.earliest, d.listed = nil, 0
	if k := d.kind(); k != '{' {
		d.skip()
		if d.err == nil {
			d.dead(stageDecode, "the record is "+kindName(k)+", not an object", Dead{})
		}
	} else {
		records[d.scope.Endpoint.Index()](d)
	}
	if d.err != nil {
		return
	}
	d.record.end = -1
	d.elements += min(d.listed, bound.RecordElements)
	if d.listed = 0; d.elements > bound.PageElements {
		d.stop(fmt.Errorf("%w: the lists in its records have more than %d elements", errTooMuch, bound.PageElements))
	}
}

// named is a text of a record, or a list of texts, by its name upstream.
type named struct {
	name string
	text *string
	list []string
}

// unfit returns why a record that was read to its end cannot be published, empty if it can: the record has too many elements, or one
// of the texts is too long that its events repeat, and that become keys.
func (d *decoder) unfit(repeated ...named) string {
	if d.listed > bound.RecordElements {
		return fmt.Sprintf("the lists in the record have more than %d elements", bound.RecordElements)
	}
	for _, r := range repeated {
		size, most := len(or(r.text)), bound.ID
		if r.list != nil {
			most = bound.IDs
		}
		for _, text := range r.list {
			size += len(text)
		}
		if size > most {
			return fmt.Sprintf("%s has %d bytes; want at most %d", r.name, size, most)
		}
	}
	return ""
}

// add appends a row to the page, with what was observed in it. Its ids are kept by callers for as long as the record is open, so they are copies: a part of
// the body would hold on to all of it.
func (d *decoder) add(r Row) {
	r.ID, r.ConversationID = strings.Clone(r.ID), strings.Clone(r.ConversationID)
	r.Observations, r.Unsaid = slices.Clone(d.out), slices.Clone(d.unsaid)
	d.page.Rows = append(d.page.Rows, r)
}

// dead gives up the record that was just read.
func (d *decoder) dead(stage, reason string, ids Dead) {
	ids.Stage, ids.Reason = stage, reason
	raw := d.body[d.record.start:d.pos]
	ids.Raw = unsafe.Slice(unsafe.StringData(raw), len(raw)) // of the body, as texts are
	d.page.Dead = append(d.page.Dead, ids)
}

// brokenRecord finds where the record that broke the page begins and ends, if it has an end.
func (d *decoder) brokenRecord() (start, end int, found bool) {
	if d.record.end != 0 {
		return 0, 0, false
	}
	start = d.record.start
	end = start + balanced(d.body[start:])
	if end == start {
		return 0, 0, false
	}
	rest := strings.TrimLeft(d.body[end:], " \t\r\n")
	return start, end, rest != "" && (rest[0] == ',' || rest[0] == ']')
}

// balanced returns the length of the object or array at the start of s, whatever else is wrong inside; 0 if it has no end.
func balanced(s string) int {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		if depth == 0 {
			return 0
		}
	}
	return 0
}

// idNames are what an endpoint calls the ids of its records; empty where it has none of the kind.
type idNames struct{ conversation, session, segment string }

var (
	analyticsIDs = idNames{"conversationId", "sessionId", ""}
	idNamesOf    = events.ForEach(idNames{"conversationID", "botSessionID", "segmentID"}, idNames{"convId", "mbSessionId", ""}, analyticsIDs, analyticsIDs)
)

// idsBefore returns the ids that stand in a broken record before what is wrong with it.
func idsBefore(e events.Endpoint, record []byte) (ids Dead) {
	names := idNamesOf[e.Index()]
	r := newReader(record)
	if r.kind() != '{' {
		return ids
	}
	for more := r.enter('}'); more; more = r.more('}') {
		var id *string
		switch r.unquote(r.scanner.name()) {
		case "": // as are the names of ids that the endpoint does not have
		case names.conversation:
			id = &ids.ConversationID
		case names.session:
			id = &ids.SessionID
		case names.segment:
			id = &ids.SegmentID
		}
		if id == nil {
			r.skip()
		} else if text, ok := r.scalar(); ok && r.err == nil {
			*id = text
		}
	}
	return ids
}

// blank writes null over a record.
func blank(record []byte) {
	for i := range record {
		record[i] = ' '
	}
	copy(record, "null")
}

func kindName(k byte) string {
	switch k {
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	}
	return "a boolean"
}

// orElse returns what p points to, or the given value.
func orElse[T any](p *T, or T) T {
	if p == nil {
		return or
	}
	return *p
}
