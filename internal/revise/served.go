package revise

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
)

// Rows of `conversations` name no queue. What only they show, the feedback on the widget above all, gets the queue from the segments of the
// conversation: the store has an entry for each conversation of which segments with a queue were read, beside those of entities:
//
//	+------+-------+---------+-------+-------+----------+------------+----
//	| 0xfd | count | segment | agent | start | queue id | queue name | ...
//	+------+-------+---------+-------+-------+----------+------------+----
//	  byte  uvarint     4        4     varint  length as uvarint, and the bytes
//
// The entry's key has the hash of an id that account, bot and conversation make. Segment and agent are FNV-1a hashes of their ids, start is
// in milliseconds since 1970, and segments come in the order of start. No state of an entity begins with 0xfd, no list of parts and no group.
//
// The queue is filled in where a revision is made, as a link is: it makes no revision by itself, so that it does not matter for what is published,
// and when, which of the endpoints is read first. What is stored of a place never has it.

const (
	servedMark = 0xfd
	// maxServed bounds the segments of one conversation that are remembered: those that began last.
	maxServed = 16
)

var errServed = errors.New("not the segments of a conversation")

// service is what is remembered of a segment: who served, since when, in which queue.
type service struct {
	segment, agent idHash
	start          int64
	queue          events.Queue
}

// served is what is remembered of a conversation.
type served struct {
	at       checkpoint.Key
	services []service // in the order of start
	stored   []byte    // as the store has it, nil for nothing
}

// recallServed looks up the conversations that the page has segments with a queue of, or feedback without one, and takes in the segments.
func (d *decision) recallServed(store Store) error {
	if !d.KeepObservations { // only one of the two endpoints is read
		return nil
	}
	var ids []string
	var probes []checkpoint.Probe
	segments := map[string][]*events.Observation{} // by the id of their conversation
	for i := range d.Observations {
		o := &d.Observations[i]
		if !serves(o) && !lacksQueue(o) {
			continue
		}
		id := servedID(o.Event.Head())
		if id == "" {
			continue
		}
		if serves(o) {
			segments[id] = append(segments[id], o)
		}
		if d.served[id] != nil {
			continue
		}
		h, err := HashOf(id)
		if err != nil {
			return fmt.Errorf("look up the segments of a conversation: %w", err)
		}
		if d.served == nil {
			d.served = map[string]*served{}
		}
		at := checkpoint.KeyAt(o.Anchor, true, h)
		d.served[id] = &served{at: at}
		ids, probes = append(ids, id), append(probes, checkpoint.Probe{Key: at, Slack: checkpoint.Anywhere})
	}
	if len(ids) == 0 {
		return nil
	}
	found := make([]checkpoint.Found, len(probes))
	if err := store.Lookup(probes, found); err != nil {
		return fmt.Errorf("look up the segments of conversations: %w", err)
	}
	for i, f := range found {
		if !f.Known {
			continue
		}
		s := d.served[ids[i]]
		s.at = f.Key
		var err error
		if s.services, err = decodeServed(f.Value); err != nil {
			d.unreadable(ids[i], err)
			continue
		}
		s.stored = f.Value
		d.touched[f.Key.Day] = true
	}
	for id, of := range segments {
		for _, o := range of {
			d.served[id].take(o)
		}
	}
	d.putServed(ids)
	return nil
}

// serves reports whether an observation says in which queue an agent serves a conversation.
func serves(o *events.Observation) bool {
	h := o.Event.Head()
	return o.Event.EventType() == events.TypeSegment && h.Agent != nil && text(h.Agent.AgentID) != "" && h.Queue != nil
}

// lacksQueue reports whether an observation is feedback of a row that names no queue.
func lacksQueue(o *events.Observation) bool {
	return o.Endpoint == events.Conversations && o.Event.EventType() == events.TypeFeedback && o.Event.Head().Queue == nil
}

// servedID returns the id under which the segments of a conversation are remembered, "" if there is no conversation.
func servedID(h *events.Header) string {
	if text(h.ConversationID) == "" {
		return ""
	}
	return events.EntityID(h.AccountID, text(h.BotID), events.TypeSegment, "served", *h.ConversationID)
}

// take remembers what a segment shows.
func (s *served) take(o *events.Observation) {
	h := o.Event.Head()
	now := service{hashID(text(h.SegmentID)), hashID(*h.Agent.AgentID), o.Row.UnixMilli(), *h.Queue}
	if i := slices.IndexFunc(s.services, func(p service) bool { return p.segment == now.segment }); i >= 0 {
		s.services[i] = now
	} else {
		s.services = append(s.services, now)
	}
	slices.SortFunc(s.services, func(a, b service) int {
		return cmp.Or(cmp.Compare(a.start, b.start), slices.Compare(a.segment[:], b.segment[:]))
	})
	if n := len(s.services) - maxServed; n > 0 {
		s.services = slices.Delete(s.services, 0, n)
	}
}

// queueOf returns the queue in which an agent served at a time: that of the agent's last segment that had begun by then, or else of the
// first. It is nil if none is known.
func (s *served) queueOf(agent string, at time.Time) *events.Queue {
	var in *service
	for i := range s.services {
		if p := &s.services[i]; p.agent == hashID(agent) && (in == nil || p.start <= at.UnixMilli()) {
			in = p
		}
	}
	if in == nil {
		return nil
	}
	queue := in.queue
	return &queue
}

// fillQueue gives feedback that names an agent and no queue that of the agent's segment. o is an observation of it.
func (d *decision) fillQueue(event events.Event, o *events.Observation) {
	h := event.Head()
	if event.EventType() != events.TypeFeedback || h.Queue != nil || h.Agent == nil || text(h.Agent.AgentID) == "" {
		return
	}
	s := d.served[servedID(h)]
	if s == nil {
		return
	}
	at := h.EventTime
	if at.Equal(o.Row) { // nothing tells when: the last segment counts
		at = d.ShownAt
	}
	h.Queue = s.queueOf(*h.Agent.AgentID, at)
}

// putServed stores what is remembered of conversations where it has changed.
func (d *decision) putServed(ids []string) {
	for _, id := range ids {
		s := d.served[id]
		if len(s.services) == 0 {
			continue
		}
		if value := encodeServed(s.services); string(value) != string(s.stored) {
			d.Puts = append(d.Puts, checkpoint.Entry{Key: s.at, Value: value})
			d.putOf = append(d.putOf, ofNoEntity)
		}
	}
}

// ofNoEntity is the place on the page of what is stored and belongs to no entity.
const ofNoEntity = -1

func encodeServed(services []service) []byte {
	b := binary.AppendUvarint([]byte{servedMark}, uint64(len(services)))
	for _, p := range services {
		b = append(append(b, p.segment[:]...), p.agent[:]...)
		b = binary.AppendVarint(b, p.start)
		b = binform.AppendBytes(b, text(p.queue.QueueID))
		b = binform.AppendBytes(b, text(p.queue.QueueName))
	}
	return b
}

// decodeServed reads what encodeServed has written, and refuses everything else.
func decodeServed(b []byte) ([]service, error) {
	r := newReader(b)
	r.require(r.Byte() == servedMark, "no conversation")
	services := make([]service, r.Uint(maxServed))
	for i := range services {
		p := &services[i]
		r.Fill(p.segment[:])
		r.Fill(p.agent[:])
		p.start = r.Varint()
		p.queue = events.Queue{QueueID: orNil(string(r.Bytes())), QueueName: orNil(string(r.Bytes()))}
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %d bytes: %w", errServed, len(b), err)
	}
	return services, nil
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
