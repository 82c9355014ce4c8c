package poll

import (
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/timeline"
)

// A row that the configuration does not ask for is dropped once the pass has read it: paging and totals depend on all rows. There are two
// reasons. The account-wide endpoints show rows of bots that are not configured, unless Options.KeepOtherBots wants them. And each endpoint
// may have a Filter.
//
// So what counts as complete depends on the bots and on the filter. Those by which rows were kept are recorded with the progress of the
// unit. When rows are to be kept that were dropped before, all that was read counts as not read, and nothing as complete: it is read
// again, and what was published is not published again.

// A Filter names the rows of an endpoint that are published, by the ids and names that their events carry. An empty list takes all rows.
// Of several queues or agents of a row one is enough.
type Filter struct {
	Queues   []string `json:"queues,omitempty"`
	Channels []string `json:"channels,omitempty"`
	Agents   []string `json:"agents,omitempty"`
}

// IsZero reports whether the filter takes all rows.
func (f *Filter) IsZero() bool { return len(f.Queues)+len(f.Channels)+len(f.Agents) == 0 }

// Takes reports whether a row is published.
func (f *Filter) Takes(row *extract.Row) bool {
	return f.takesChannel(row) && overlap(f.Queues, row.Queues) && overlap(f.Agents, row.Agents)
}

// takesChannel reports whether a row is of a channel that is published. Unlike queues and agents, its channel does not change.
func (f *Filter) takesChannel(row *extract.Row) bool {
	return len(f.Channels) == 0 || slices.Contains(f.Channels, row.Channel)
}

// overlap reports whether any of the wanted is among the values, or all are wanted.
func overlap(wanted, values []string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(wanted, v) })
}

// includes reports whether the filter takes every row that another takes.
func (f *Filter) includes(other *Filter) bool {
	return includes(f.Queues, other.Queues) && includes(f.Channels, other.Channels) && includes(f.Agents, other.Agents)
}

// includes reports whether every one of some values is wanted. No values are all there are.
func includes(wanted, values []string) bool {
	if len(wanted) == 0 || len(values) == 0 {
		return len(wanted) == 0
	}
	return !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(wanted, v) })
}

// String describes the filter; it is empty if the filter takes all rows.
func (f *Filter) String() string {
	var parts []string
	for _, l := range []struct {
		name   string
		values []string
	}{{"queues", f.Queues}, {"channels", f.Channels}, {"agents", f.Agents}} {
		if len(l.values) > 0 {
			parts = append(parts, l.name+" "+strings.Join(l.values, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// ask adds to a query what of the filter the API applies. It leaves out what the API's own filter could not be trusted with: a session
// gets queues and agents after it began, and the server would hide it until then, when nothing tells any more that its time must be read
// again; and the account-wide endpoints filter channels by other names than their rows show.
func (f *Filter) ask(q *kore.Query) {
	if q.Endpoint.Spec().Takes.Filters {
		q.Channels, q.Agents = f.Channels, f.Agents
	}
}

// KeptBots returns the ids of the bots whose rows an account-wide endpoint publishes, nil for all.
func (o *Options) KeptBots() []string {
	if o.KeepOtherBots || len(o.Bots) == 0 {
		return nil
	}
	ids := make([]string, len(o.Bots))
	for i, b := range o.Bots {
		ids[i] = b.ID
	}
	slices.Sort(ids)
	return ids
}

// keep notes which rows are kept from now on: those of some bots, nil for all, that a filter takes.
func (a *Account) keep(p *progress, bots []string, f Filter) {
	wider := !includes(p.Bots, bots) || !p.Filter.includes(&f)
	p.Bots, p.Filter = bots, f
	if !wider {
		return
	}
	now := a.api.Now().UTC()
	if p.Read != nil { // what is not remembered would be published again
		p.Start = timeline.Later(p.Start, timeline.CeilSecond(now.Add(-a.cfg.Retention)))
	}
	p.Read, p.Past, p.Began, p.CompleteUpTo = nil, nil, now.Truncate(time.Second), time.Time{}
	a.log.Info("more rows are published than before; all is read again", "since", p.Start)
}

// dropUnwanted takes the rows that are not asked for out of a page that has been read.
func (a *Account) dropUnwanted(u *unit, r *activePass, pg *pass.Page) {
	if p := u.state; p.Bots != nil {
		n := drop(r, pg, func(row *extract.Row) bool { return row.BotID == "" || slices.Contains(p.Bots, row.BotID) })
		u.otherBots += n
		a.cfg.Observer.Dropped(a.cfg.Name, u.Endpoint, DroppedOtherBot, n)
	}
	u.see(pg)
	if f := &u.state.Filter; !f.IsZero() {
		n := drop(r, pg, func(row *extract.Row) bool {
			wanted := f.Takes(row)
			if !wanted && (!row.Open || !f.takesChannel(row)) { // else it may be wanted once it has got a queue or an agent
				delete(u.hot, row.ID)
			}
			return wanted
		})
		u.filtered += n
		a.cfg.Observer.Dropped(a.cfg.Name, u.Endpoint, DroppedFilter, n)
	}
}

// Why rows are dropped.
const (
	DroppedOtherBot = "other_bot"
	DroppedFilter   = "filter"
)

// drop takes the rows that are not wanted out of a page, and returns how many.
func drop(r *activePass, pg *pass.Page, wanted func(*extract.Row) bool) (n int64) {
	pg.Rows = slices.DeleteFunc(pg.Rows, func(row extract.Row) bool {
		if wanted(&row) {
			return false
		}
		if n++; !row.Start.IsZero() { // they take room on pages
			r.starts = append(r.starts, row.Start)
		}
		return true
	})
	return n
}
