package extract

import (
	"slices"

	"agentassist-poller/internal/events"
)

// numberCopies numbers the copies of each record that the page shows more than once: 0 is the one that has progressed furthest. Copies that
// have progressed alike have the same number.
func (p *Page) numberCopies() {
	seen := make(map[string]bool, len(p.Rows))
	for i := range p.Rows {
		seen[p.Rows[i].ID] = true
	}
	if len(seen) == len(p.Rows) {
		return
	}
	rows := make(map[string][]*Row, len(seen))
	for i := range p.Rows {
		r := &p.Rows[i]
		rows[r.ID] = append(rows[r.ID], r)
	}
	for _, copies := range rows {
		if len(copies) == 1 {
			continue
		}
		progress := make(map[*Row]events.Progress, len(copies))
		for _, r := range copies {
			all := make([]events.Event, len(r.Observations))
			for i := range r.Observations {
				all[i] = r.Observations[i].Event
			}
			progress[r] = events.ProgressOf(all...)
		}
		slices.SortStableFunc(copies, func(a, b *Row) int { return progress[b].Compare(progress[a]) })
		number := 0
		for n, r := range copies {
			if n > 0 && progress[r].Compare(progress[copies[n-1]]) != 0 {
				number = n
			}
			for i := range r.Observations {
				r.Observations[i].Copy = number
			}
			for i := range r.Unsaid {
				r.Unsaid[i].Copy = number
			}
		}
	}
}
