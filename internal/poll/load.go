package poll

import (
	"cmp"
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
			if p := u.state.Bounds; p != nil && (p.Known || !a.bounds.Known) {
				*a.bounds = *p
			}
		}
	}
	for _, u := range a.units {
		if u.Endpoint != events.Interactions {
			continue
		}
		if p := u.state.Bounds; p != nil && p.Assumed() && a.bounds.Known && a.bounds.Zone != 0 {
			u.Read = &timeline.Set{} // recorded before the zone was found
		}
		u.state.Bounds, u.zone = a.bounds, a.bounds
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
		var bots []string
		if e.PerAccount() && b.ID == "" {
			bots = a.cfg.KeptBots()
		}
		a.keep(p, bots, a.cfg.Endpoints[e].Filter)
		u, err := newUnit(e, b.ID, a.cfg.Endpoints[e].PollInterval, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", progressName(e, b.ID), err)
		}
		u.botName, u.noTranscripts = b.Name, slices.Contains(a.cfg.Off, events.TypeMessage)
		if e.PerAccount() {
			u.iid = a.cfg.IIDOf(e, b.ID)
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
	p := &progress{Start: a.cfg.Start(now).UTC().Truncate(time.Second), Began: now.UTC().Truncate(time.Second)}
	if a.cfg.Resume == nil {
		return p
	}
	w := a.cfg.Resume(e, bot)
	if w == nil || w.CompleteUpTo == nil {
		return p
	}
	p.Began = time.Time{}
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
		l.finishAll(nil, passDropped)
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

// IIDOf returns the bot in whose name an account-wide endpoint is asked for the rows of one bot, or, if bot is empty, for all rows. It is
// empty if no bot is configured.
func (o *Options) IIDOf(e events.Endpoint, bot string) string {
	iid := cmp.Or(bot, o.Endpoints[e].IID)
	if iid == "" && len(o.Bots) > 0 {
		iid = o.Bots[0].ID
	}
	return iid
}
