package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/events"
)

// checkTimeout bounds the requests of a check to Kafka.
const checkTimeout = 15 * time.Second

// Check looks whether topics, rights and registry are still what they were at start, and returns what is wrong by now; nil if nothing
// is. Of what it finds, only how large records may be is taken over: keys stay in the partitions that they have, until the poller is
// started again. It makes two requests to Kafka, and one for each topic to the registry.
func (p *Publisher) Check(ctx context.Context) []error {
	asking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	problems, err := p.checkTopics(asking)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return []error{&UnreachableError{Brokers: p.options.Config.Brokers, Err: p.connect.reason(err)}}
	}
	problems = append(problems, groupRights(asking, p.client, p.options.Config.groups())...)
	if p.registry != nil {
		problems = append(problems, p.checkSchemas(ctx)...)
	}
	return problems
}

// groups returns the groups that must be used with this configuration.
func (c *Config) groups() (groups []string) {
	if c.Delivery != ExactlyOnce {
		return nil
	}
	if c.Group != "" {
		groups = append(groups, c.Group)
	}
	return append(groups, c.WitnessGroup())
}

// groupRights returns a *GroupError for each of the groups that may not be used. What Kafka does not say is no problem yet.
func groupRights(ctx context.Context, client *kgo.Client, groups []string) (problems []error) {
	for _, name := range groups {
		described, err := kadm.NewClient(client).DescribeGroups(ctx, name)
		group := described[name]
		allowed := group.AuthorizedOperations
		switch err = cmp.Or(err, group.Err); {
		case errors.Is(err, kerr.GroupAuthorizationFailed):
			problems = append(problems, &GroupError{name, kerr.GroupAuthorizationFailed})
		case err == nil && len(allowed) > 0 && !slices.Contains(allowed, kmsg.ACLOperationRead) && !slices.Contains(allowed, kmsg.ACLOperationAll):
			problems = append(problems, &GroupError{Group: name})
		}
	}
	return problems
}

func (p *Publisher) checkTopics(ctx context.Context) ([]error, error) {
	t := p.Topics
	found, err := describe(ctx, p.client, t.specs)
	if err != nil {
		return nil, err
	}
	problems := t.changes(found)
	latest := maps.Clone(t.byName)
	for name := range latest {
		if found.topics[name].err != nil {
			delete(latest, name)
		}
	}
	unread, err := readConfigs(ctx, p.client, latest)
	if err != nil {
		return nil, err
	}
	problems = append(problems, unread...)
	for _, s := range t.specs {
		if topic, ok := latest[s.name]; ok {
			problems = append(problems, s.configChanges(t.byName[s.name], topic, p.options.Config)...)
		}
	}
	for _, topic := range latest {
		p.encoder.limits.note(topic.Name, topic.MaxMessageBytes)
	}
	for name, topic := range t.byName { // what cannot be read now was what it was
		if _, ok := latest[name]; !ok {
			latest[name] = topic
		}
	}
	t.latest.Store(&latest)
	return problems, nil
}

// changes returns what metadata says of topics that it did not say at start.
func (t *Topics) changes(found *metadata) (problems []error) {
	counts := map[int][]string{}
	changed := false
	for _, s := range t.specs {
		was, is := t.byName[s.name], found.topics[s.name]
		switch {
		case is.missing():
			problems = append(problems, &TopicError{
				Topic: s.name, Err: is.err, Text: fmt.Sprintf("was deleted; it had %d partitions", was.Partitions),
				hint: "create it again with as many, or restart the poller with kafka.topics.create: true; what was on it is lost",
			})
			continue
		case is.err != nil:
			problems = append(problems, s.usable(is)...)
			continue
		}
		problems = append(problems, s.usable(is)...)
		if is.id != was.ID {
			problems = append(problems, &TopicError{
				Topic: s.name, Text: "was deleted and made anew while the poller runs; what was on it is lost",
				hint: "restart the poller once consumers have been told: they must begin anew as well",
			})
		}
		switch {
		case s.kind.shared():
			counts[is.partitions] = append(counts[is.partitions], s.name)
			changed = changed || is.partitions != was.Partitions
		case is.partitions != was.Partitions:
			problems = append(problems, &TopicError{
				Topic: s.name, Text: fmt.Sprintf("has %d partitions, and had %d at start", is.partitions, was.Partitions),
				hint: fmt.Sprintf("nothing is lost: its records stay in the first %d; restart the poller to go on so", t.Partitions(s.name)),
			})
		}
	}
	switch {
	case changed:
		problems = append(problems, &PartitionsError{Counts: counts, Placed: t.placed})
	case t.misplaced != nil:
		problems = append(problems, t.misplaced)
	}
	return problems
}

// configChanges returns what is wrong with the settings of a topic as they are now, and which of them refuse or drop records that they
// did not at start.
func (s topicSpec) configChanges(was, is Topic, c Config) []error {
	problems := checkConfig(s, is, c)
	if want := min(was.MaxMessageBytes, c.maxBatch(s.name)); is.MaxMessageBytes < want && is.MaxMessageBytes >= s.needs(c) {
		problems = append(problems, &TopicError{
			Topic: s.name, Text: fmt.Sprintf("has %s=%d; want at least %d as at start: larger events become dead letters", maxMessageBytes, is.MaxMessageBytes, want),
			hint: "raise it again, or restart the poller to go on with it",
		})
	}
	if s.kind.compacted() {
		return problems
	}
	for _, setting := range []struct {
		name    string
		was, is time.Duration // negative: no limit
	}{
		{"retention.ms", was.Retention, is.Retention}, {"message.timestamp.before.max.ms", was.Before, is.Before},
	} {
		if setting.is >= 0 && (setting.was < 0 || setting.is < setting.was) {
			was := "no limit"
			if setting.was >= 0 {
				was = days(setting.was)
			}
			problems = append(problems, &TopicError{
				Topic: s.name, Text: fmt.Sprintf("has %s=%d (%s), and had %s at start: Kafka drops or refuses what is older, late edits among it",
					setting.name, setting.is.Milliseconds(), days(setting.is), was),
				hint: "raise it again, or restart the poller to go on with it",
			})
		}
	}
	return problems
}

// checkSchemas returns which schemas the registry has lost. One that does not answer has lost none, as far as is known.
func (p *Publisher) checkSchemas(ctx context.Context) (problems []error) {
	for _, s := range p.Topics.specs {
		typ := s.valueType()
		if typ == "" {
			continue
		}
		err := p.registry.Check(ctx, s.name, events.Schema(typ), p.schemas.ids[s.name])
		if lost, ok := errors.AsType[*RegistryError](err); ok {
			problems = append(problems, lost)
		} else if err != nil {
			return problems
		}
	}
	return problems
}
