// Package koresim is a simulated Kore.ai: a contact centre that goes on by itself, the four public APIs that show it, and
// a ledger of every thing that must become an event.
//
// It is the witness that the poller is measured against, so it shares nothing with the poller but the names of event
// types and endpoints, and where the real API is said to be lenient or nobody knows, it is strict. What the world shows
// is a pure function of (Config, now): nothing is stored, so a year of history costs no more than what is asked of it.
package koresim

import (
	"fmt"
	"slices"
	"time"

	"agentassist-poller/internal/events"
)

// Pace says how long things take.
type Pace int

const (
	// Lifelike conversations take minutes, e-mails days, edits come seconds to a day after the end.
	Lifelike Pace = iota
	// Burst conversations take seconds and are edited within seconds, so that a demonstration of twenty seconds sees all.
	Burst
)

// Mix weighs the channels of conversations.
type Mix struct{ Voice, Chat, Messaging, Email int }

// Spike makes many conversations begin within one second.
type Spike struct {
	At           time.Time
	Account, Bot int
	Rows         int
}

// Config describes a world and the server in front of it. The zero value of each field is a sensible default.
type Config struct {
	Seed uint64
	// Start is when the first contact begins; End, when not zero, is when no more begin. What has begun goes on.
	Start, End time.Time
	// Clock is the world's time, time.Now by default. Only what it says has happened can be read.
	Clock func() time.Time
	// Readable, when not nil, is the time of which answers tell: what happened after it cannot be read yet.
	Readable func() time.Time

	// Accounts is the number of accounts, Bots of bots in each. The first BusyBots (default: all) share SegmentsPerDay
	// evenly; every other bot sees about IdlePerDay contacts a day.
	Accounts, Bots, BusyBots int
	SegmentsPerDay           int
	IdlePerDay               float64
	// BotOnly is how many sessions that never reach an agent there are per one that does.
	BotOnly float64
	Mix     Mix
	Pace    Pace
	// LateEdits is the share of edits that come hours after the end instead of minutes.
	LateEdits float64
	// EmailOpen is how long an e-mail conversation may stay open.
	EmailOpen time.Duration
	// Quiet leaves conversations without anything in them but the segment: for tests of paging and volume.
	Quiet bool
	// TooLarge is the share of assisted contacts in which something is large beyond reason: a summary of 250 kB, of 1.5 MB or of 2.5 MB, or
	// a conversation id of 400 kB.
	TooLarge float64
	// Odd is the share of contacts of which something that nobody can read stands in place of a row: a text, or an object that nests too
	// deep or is broken. Bots that are not busy show nothing else on interactions. Of as many segments interactions shows a second, older
	// copy, and of many that last beyond midnight it corrects the start once they have ended: from the day of the end to the day before.
	Odd float64
	// Drift adds fields that no page documents.
	Drift  bool
	Spikes []Spike

	Profile Profile
	// RequestsPerMinute is the budget of each account in any sliding minute. Negative: no limit.
	RequestsPerMinute int
	RetryAfter        RetryAfter
	// InFlight is how many requests of one account may be at an endpoint at the same time; 0 is 1. Others are counted, see Stats.Crowded.
	InFlight map[events.Endpoint]int
	// AuthPrefix must precede the token in the auth header ("Bearer "). Default: the bare token.
	AuthPrefix string
	// OptionalJTI accepts tokens without jti.
	OptionalJTI bool
	// Unscoped lists scopes that the tokens' app does not have.
	Unscoped []string
	// Skew is how far the server's clock is ahead of Clock.
	Skew   time.Duration
	Faults Faults
	// Track remembers when each change was first served, see Server.FirstServed.
	Track bool
	// OnRequest is called after each request, possibly by several goroutines at once.
	OnRequest func(Request)
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	}
	c.Start = c.Start.UTC()
	if c.Clock == nil {
		c.Clock = time.Now
	}
	def(&c.Accounts, 1)
	def(&c.Bots, 2)
	def(&c.BusyBots, c.Bots)
	c.BusyBots = min(c.BusyBots, c.Bots)
	def(&c.SegmentsPerDay, 1000)
	def(&c.RequestsPerMinute, 60)
	if c.Mix == (Mix{}) {
		c.Mix = Mix{Voice: 45, Chat: 35, Messaging: 15, Email: 5}
	}
	if c.BotOnly == 0 {
		c.BotOnly = 0.25
	}
	if c.BotOnly < 0 {
		c.BotOnly = 0
	}
	if c.IdlePerDay == 0 {
		c.IdlePerDay = 0.5
	}
	if c.LateEdits == 0 {
		c.LateEdits = 0.03
	}
	if c.EmailOpen == 0 {
		c.EmailOpen = 48 * time.Hour
	}
	if c.Profile.Name == "" {
		c.Profile = Profiles()[0]
	}
	c.Faults = c.Faults.withDefaults()
	return c
}

// Validate says what in the configuration cannot be simulated.
func (c Config) Validate() error {
	if !c.End.IsZero() && c.End.Before(c.Start) {
		return fmt.Errorf("end %s is before start %s", c.End.Format(time.RFC3339), c.Start.Format(time.RFC3339))
	}
	if c.Accounts < 0 || c.Bots < 0 || c.BusyBots < 0 || c.SegmentsPerDay < 0 {
		return fmt.Errorf("accounts, bots and segments per day must not be negative")
	}
	for _, f := range c.Faults.Kinds {
		if !slices.Contains(FaultKinds(), f) {
			return fmt.Errorf("there is no fault %q; want some of %s", f, joined(FaultKinds()))
		}
	}
	if c.Faults.Rate < 0 || c.Faults.Rate > 1 {
		return fmt.Errorf("the rate of faults is %v; want a share from 0 to 1", c.Faults.Rate)
	}
	if c.TooLarge < 0 || c.TooLarge > 1 {
		return fmt.Errorf("the share of what is too large is %v; want a share from 0 to 1", c.TooLarge)
	}
	if c.Odd < 0 || c.Odd > 1 {
		return fmt.Errorf("the share of what is odd is %v; want a share from 0 to 1", c.Odd)
	}
	for _, s := range c.Spikes {
		if s.At.Before(c.Start) || s.Account >= max(c.Accounts, 1) || s.Bot >= max(c.Bots, 1) {
			return fmt.Errorf("spike at %s is outside the world", s.At.Format(time.RFC3339))
		}
	}
	return nil
}
