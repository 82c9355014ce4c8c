package poll

import (
	"fmt"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/timeline"
)

// load makes the units from the configuration and what is recorded of them.
func (a *Account) load() error {
	records, err := a.cfg.Store.AllProgress(a.cfg.AccountID)
	if err != nil {
		return err
	}
	if err := a.chargeSpent(records[spentName]); err != nil {
		return err
	}
	if record := records[intentName]; record != nil {
		if a.intent, err = decodeIntent(record); err != nil {
			return err
		}
	}
	for _, e := range events.Endpoints() {
		if _, ok := a.cfg.Endpoints[e]; !ok {
			continue
		}
		units, err := a.unitsOf(e, records)
		if err != nil {
			return err
		}
		a.units = append(a.units, units...)
	}
	for _, u := range a.units {
		if u.Endpoint == events.Interactions {
			if p := u.state.Bounds; p != nil && p.Known {
				*a.bounds = *p
			}
			u.state.Bounds, u.zone = a.bounds, a.bounds
		}
	}
	return nil
}

// unitsOf makes the units of one endpoint: one for each bot, or one for the account.
func (a *Account) unitsOf(e events.Endpoint, records map[string][]byte) ([]*unit, error) {
	bots := a.cfg.Bots
	var published kafka.Offsets // by the one unit, before it was known that each bot must have one
	if e.PerAccount() {
		bots = []Bot{{}}
		if p, err := decodeRecord(records, e, ""); err != nil {
			return nil, err
		} else if p != nil && p.Scoped == pass.ScopeBot {
			bots, published = a.cfg.Bots, p.Offsets
		}
	}
	var units []*unit
	for _, b := range bots {
		p, err := decodeRecord(records, e, b.ID)
		if err != nil {
			return nil, err
		}
		if p == nil {
			p = a.newProgress(e, b.ID)
		}
		p.raise(published)
		u, err := newUnit(e, b.ID, a.cfg.Endpoints[e].PollInterval, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", progressName(e, b.ID), err)
		}
		u.botName = b.Name
		if e.PerAccount() {
			u.iid = a.iidOf(a.cfg.Endpoints[e], b)
			for _, bot := range a.cfg.Bots {
				u.bots = append(u.bots, bot.ID)
			}
			if len(a.cfg.Bots) <= 1 || b.ID != "" {
				p.Scoped = pass.ScopeAccount // there is nothing that could be hidden
			}
		}
		units = append(units, u)
	}
	return units, nil
}

// newProgress returns the progress of a unit that has no record: it starts at the configured start, or at the last watermark if the
// checkpoint was lost.
func (a *Account) newProgress(e events.Endpoint, bot string) *progress {
	now := a.api.Now()
	p := &progress{Start: a.cfg.Start(now).UTC().Truncate(time.Second)}
	if a.cfg.Resume == nil {
		return p
	}
	w := a.cfg.Resume(e, bot)
	if w == nil || w.CompleteUpTo == nil {
		return p
	}
	p.Start = timeline.Later(*w.CompleteUpTo, now.Add(-a.cfg.Retention)).UTC().Truncate(time.Second)
	p.CompleteUpTo = *w.CompleteUpTo
	p.StoreLost = now
	if w.CompleteFrom != nil {
		var past timeline.Set
		past.Mark(*w.CompleteFrom, p.Start, p.Start)
		p.Past = past.AppendBinary(nil)
	}
	p.Offsets = kafka.Offsets{}
	for _, o := range w.Offsets {
		p.Offsets.Raise(o.Topic, int32(o.Partition), o.Offset)
	}
	a.log.Warn("nothing is recorded of what was read; reading goes on from the last watermark, and what was published since "+
		"is published again with the same event ids", "endpoint", e, "bot", bot, "from", p.Start)
	return p
}

// rescope replaces the unit of an account-wide endpoint by one for each bot.
func (a *Account) rescope(e events.Endpoint) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	records, err := a.cfg.Store.AllProgress(a.cfg.AccountID)
	if err != nil {
		return err
	}
	units, err := a.unitsOf(e, records)
	if err != nil {
		return err
	}
	a.log.Info("the API shows only the rows of the bot that is asked for; the endpoint is read once for each bot", "endpoint", e)
	a.units = slices.DeleteFunc(a.units, func(u *unit) bool { return u.Endpoint == e })
	a.units = append(a.units, units...)
	for _, l := range a.loops { // work refers to units by their place
		l.active = nil
	}
	a.plan = nil
	a.jobs.again()
	return nil
}

func decodeRecord(records map[string][]byte, e events.Endpoint, bot string) (*progress, error) {
	b, ok := records[progressName(e, bot)]
	if !ok {
		return nil, nil
	}
	p, err := decodeProgress(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", progressName(e, bot), err)
	}
	return p, nil
}

func (a *Account) iidOf(opts EndpointOptions, b Bot) string {
	switch {
	case b.ID != "":
		return b.ID
	case opts.IID != "":
		return opts.IID
	case len(a.cfg.Bots) > 0:
		return a.cfg.Bots[0].ID
	}
	return ""
}
