package poll

import (
	"fmt"
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/timeline"
)

// Restart is where a unit is to go on from.
type Restart struct {
	Unit string
	From time.Time
}

// Records returns the progress of the account as it would be recorded now, and where each unit goes on from. With an empty store it
// is that of an account whose checkpoint is lost, from its last watermarks on.
func (a *Account) Records() (map[string][]byte, []Restart, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	records := map[string][]byte{}
	var restarts []Restart
	for _, u := range a.units {
		if err := u.addRecord(records); err != nil {
			return nil, nil, err
		}
		restarts = append(restarts, Restart{u.String(), u.Read.ReadThrough(u.Start)})
	}
	return records, restarts, nil
}

// Rewind takes back what the progress of an account says of its last time, so that it is read again: what was published of it may
// not be where it is now read. It goes back from the last time that was read, to the beginning of a day. Ends are those of the topics
// of events as they are now: offsets that were recorded may be those of other topics.
func Rewind(records map[string][]byte, by time.Duration, ends kafka.Offsets) (changed map[string][]byte, to time.Time, err error) {
	all := map[string]*progress{}
	sets := map[string]*timeline.Set{}
	for name, record := range records {
		if _, _, ok := parseProgressName(name); !ok {
			continue
		}
		p, err := decodeProgress(record)
		if err != nil {
			return nil, to, fmt.Errorf("%s: %w", name, err)
		}
		set := &timeline.Set{}
		if len(p.Read) > 0 {
			if set, err = timeline.DecodeSet(p.Read); err != nil {
				return nil, to, fmt.Errorf("%s: %w", name, err)
			}
		}
		all[name], sets[name] = p, set
		to = timeline.Later(to, set.Bounds().To)
	}
	if to.IsZero() { // nothing was read
		return nil, to, nil
	}
	to = to.Add(-by).Truncate(timeline.Day)
	changed = map[string][]byte{}
	for name, p := range all {
		kept := &timeline.Set{}
		for _, s := range sets[name].ReadSpans(p.Start, timeline.Later(p.Start, to)) {
			kept.Mark(s.From, s.To, s.ReadAt)
		}
		p.Read = kept.AppendBinary(nil)
		p.CompleteUpTo = timeline.Earlier(p.CompleteUpTo, to)
		for topic := range p.Offsets {
			p.Offsets[topic] = ends[topic]
		}
		if p.Conversations != nil {
			p.Conversations.Counts = nil
		}
		if changed[name], err = p.encode(); err != nil {
			return nil, to, err
		}
	}
	return changed, to, nil
}
