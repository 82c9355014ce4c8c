package revise

import (
	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
)

// Part is a part of a page that is published and committed as one: events in their order, and the entries of their entities.
type Part struct {
	Events  []Outgoing
	Refused []Refused
	Puts    []checkpoint.Entry
}

// Divide divides the result of a page into parts of about so many bytes, at least one part, to be published and committed one after the
// other. If the process ends after any of them, Decide returns the rest for the same page. Divide never divides an entity, so that a part
// can be larger: if a page shows an entity twice, everything in between is in the same part.
func (r *Result) Divide(most int) []Part {
	if r.size() <= most {
		return []Part{{r.Events, r.Refused, r.Puts}}
	}
	last := map[int]int{} // the last event of each entity
	for i, entity := range r.eventOf {
		last[entity] = i
	}
	puts := map[int][]checkpoint.Entry{}
	var silent []int // entities without an event, in order
	for i, entity := range r.putOf {
		if _, published := last[entity]; !published && puts[entity] == nil {
			silent = append(silent, entity)
		}
		puts[entity] = append(puts[entity], r.Puts[i])
	}
	refused := map[int][]Refused{}
	for i, entity := range r.refusedOf {
		refused[entity] = append(refused[entity], r.Refused[i])
	}

	parts, size := make([]Part, 1), 0
	add := func(entity int) { // after the entity's last event
		p := &parts[len(parts)-1]
		p.Refused = append(p.Refused, refused[entity]...)
		size += len(refused[entity]) * bound.DeadRaw
		for _, put := range puts[entity] {
			p.Puts = append(p.Puts, put)
			size += len(put.Value)
		}
	}
	cut := func() {
		if size >= most {
			parts, size = append(parts, Part{}), 0
		}
	}
	open := -1 // the last event of the entities so far
	for i, entity := range r.eventOf {
		if open < i {
			cut()
		}
		p := &parts[len(parts)-1]
		p.Events = append(p.Events, r.Events[i])
		size += r.sizes[i]
		if open = max(open, last[entity]); last[entity] == i {
			add(entity)
		}
	}
	for _, entity := range silent {
		cut()
		add(entity)
	}
	return parts
}

// size returns about how many bytes the result publishes and commits.
func (r *Result) size() (size int) {
	for _, n := range r.sizes {
		size += n
	}
	for _, put := range r.Puts {
		size += len(put.Value)
	}
	return size + len(r.Refused)*bound.DeadRaw
}
