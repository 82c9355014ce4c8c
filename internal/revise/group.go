package revise

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
)

// What a row shows no more can be found only if it is known what the row has shown. Mostly the row still shows the thing that was rated,
// and so which feedback on it is gone. Where it does not (the widget, of which a conversation lists who rated it), the store has an entry
// for the group, beside those of entities:
//
//	+------+-------+--------+----
//	| 0xfe | count | entity | ...
//	+------+-------+--------+----
//	  byte  uvarint  16 bytes each
//
// The entry's key has the hash of the group's id. The entities are the ids of the feedback in the group, in the order in which they were
// first shown. No state of an entity begins with 0xfe, and no list of parts.

const (
	groupMark  = 0xfe
	memberSize = 16
	// maxMembers bounds a group. What more people say is published, but not noticed when it is taken back.
	maxMembers = 64
)

var errGroup = errors.New("not a group of feedback")

// group is feedback of which a page shows members.
type group struct {
	at      checkpoint.Key
	members []string // ids of entities
	added   []string // those that this page has shown first
}

// expand replaces the observations that stand for all feedback of a group by one for each that the row does not show.
func (d *decision) expand(store Store) error {
	groups := map[string]*group{}
	var ids []string
	var probes []checkpoint.Probe
	type member struct{ parent, id string }
	shown := map[member]bool{}
	stands := func(o *events.Observation) bool { return o.Group != "" && o.Event.Head().EntityID == o.Group }
	for i := range d.Observations {
		o := &d.Observations[i]
		if o.Group == "" {
			continue
		}
		shown[member{o.Parent, o.Event.Head().EntityID}] = true
		if groups[o.Group] != nil {
			continue
		}
		h, err := HashOf(o.Group)
		if err != nil {
			return fmt.Errorf("look up a group of feedback: %w", err)
		}
		at := checkpoint.KeyAt(o.Anchor, true, h)
		groups[o.Group] = &group{at: at}
		ids, probes = append(ids, o.Group), append(probes, checkpoint.Probe{Key: at, Slack: daysOf(day)})
	}
	if len(ids) == 0 {
		return nil
	}
	found := make([]checkpoint.Found, len(probes))
	if err := store.Lookup(probes, found); err != nil {
		return fmt.Errorf("look up groups of feedback: %w", err)
	}
	for i, f := range found {
		if !f.Known {
			continue
		}
		g := groups[ids[i]]
		g.at = f.Key
		var err error
		if g.members, err = decodeGroup(f.Value); err != nil {
			d.unreadable(ids[i], err)
			continue
		}
		d.touched[f.Key.Day] = true
	}
	expanded := make([]events.Observation, 0, len(d.Observations))
	for i := range d.Observations {
		o := d.Observations[i]
		if !stands(&o) {
			expanded = append(expanded, o)
			continue
		}
		for _, id := range groups[o.Group].members {
			if shown[member{o.Parent, id}] {
				continue
			}
			none := *o.Event.(*events.Feedback)
			none.EntityID = id
			gone := o
			gone.Event, gone.Plain = &none, nil
			expanded = append(expanded, gone)
		}
	}
	d.Observations, d.groups, d.groupIDs = expanded, groups, ids
	return nil
}

// join notes that an entity belongs to the group of an observation.
func (d *decision) join(o *events.Observation) {
	if o.Group == "" || events.Withdrawn(o.Event) {
		return
	}
	g, id := d.groups[o.Group], o.Event.Head().EntityID
	if len(id) != 2*memberSize || slices.Contains(g.members, id) || slices.Contains(g.added, id) || len(g.members)+len(g.added) == maxMembers {
		return
	}
	g.added = append(g.added, id)
}

// putGroups stores the groups that have new members, each together with the first of them.
func (d *decision) putGroups() {
	for _, id := range d.groupIDs {
		g := d.groups[id]
		if len(g.added) == 0 {
			continue
		}
		d.Puts = append(d.Puts, checkpoint.Entry{Key: g.at, Value: encodeGroup(append(g.members, g.added...))})
		d.putOf = append(d.putOf, d.entities[g.added[0]].number)
	}
}

func encodeGroup(members []string) []byte {
	b := binary.AppendUvarint([]byte{groupMark}, uint64(len(members)))
	for _, id := range members {
		b, _ = hex.AppendDecode(b, []byte(id)) // ids are hexadecimal: hashOf has read them
	}
	return b
}

// decodeGroup reads what encodeGroup has written, and refuses everything else.
func decodeGroup(b []byte) ([]string, error) {
	r := newReader(b)
	r.require(r.Byte() == groupMark, "no group")
	n := r.Uint(maxMembers)
	members := make([]string, 0, n)
	for range n {
		var id [memberSize]byte
		r.Fill(id[:])
		members = append(members, hex.EncodeToString(id[:]))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %d bytes: %w", errGroup, len(b), err)
	}
	return members, nil
}
