package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"

	"agentassist-poller/internal/events"
)

// A Finding says how one thing is that a start needs.
type Finding struct {
	Name  string // such as "topic agentassist.search"
	Found string // how it is, if it is well
	// Err says what is wrong. What to do about it is in its method Hint, if it has one.
	Err error
	// Minor is set if a start goes on all the same.
	Minor bool
	// Skipped says why nobody could look; empty if somebody did.
	Skipped string
}

// Inspect says whether Open, and the taking over of partitions of the checkpoint topic, would succeed with the cluster. It asks only: it
// makes no topic, joins no group and takes nothing over. It returns one or more findings on each thing, and the topics as they are; nil if
// that is not known. Those that a start would make are there as it would make them, and are named in Created. ctx must bound it.
func Inspect(ctx context.Context, o Options, partitions []int32) ([]Finding, *Topics) {
	all := []Finding{{Name: "Kafka", Found: fmt.Sprintf("brokers answer at %s%s", strings.Join(o.Config.Brokers, ", "), o.Config.access())}}
	connect, client, err := reachable(ctx, o)
	if err == nil {
		defer client.Close()
		found, topics := inspectTopics(ctx, connect, client, o.Types)
		all = append(all, found...)
		return append(all, inspectRights(ctx, client, o.Config, partitions)...), topics
	}
	all[0].Err = err
	for _, name := range []string{"topics", "groups and transactional ids"} {
		all = append(all, Finding{Name: name, Skipped: "Kafka does not answer"})
	}
	return all, nil
}

// access says how the client logs in.
func (c *Config) access() (text string) {
	if c.TLS.On() {
		text += ", over TLS"
	}
	switch {
	case c.SASL.Mechanism == saslOAuthBearer:
		text += ", as " + c.SASL.ClientID + " by " + c.SASL.Mechanism
	case c.SASL.Mechanism == saslIAM:
		text += ", by " + c.SASL.Mechanism
	case c.SASL.Mechanism != "":
		text += ", as " + c.SASL.Username + " by " + c.SASL.Mechanism
	}
	return text
}

// inspectTopics says of each topic how it is, or whether it would be made.
func inspectTopics(ctx context.Context, connect *connector, client *kgo.Client, types []events.Type) ([]Finding, *Topics) {
	c := connect.config
	all := newTopics(c, types)
	found, err := describe(ctx, client, all.specs)
	if err != nil {
		return []Finding{{Name: "topics", Err: err}}, nil
	}
	there, absent := newTopics(c, types), map[string]topicSpec{}
	var problems []error
	if missing := all.missing(found); c.Topics.Create && len(missing) > 0 {
		wanted := all.wanted(missing, found, c)
		if _, err := create(ctx, client, wanted, true); err != nil {
			problems = append(problems, err)
		}
		for _, s := range wanted {
			absent[s.name] = s
		}
		there.specs = slices.DeleteFunc(there.specs, func(s topicSpec) bool { _, is := absent[s.name]; return is })
	}
	_, wrong, err := there.survey(ctx, connect, client, found, !found.topics[all.Watermark()].missing())
	if err != nil {
		return []Finding{{Name: "topics", Err: err}}, nil
	}
	if there.misplaced != nil && there.placed > 0 {
		wrong = append(wrong, there.misplaced)
	}
	problems = append(problems, wrong...)

	all.Cluster, all.byName, all.placed = there.Cluster, there.byName, cmp.Or(there.placed, int(c.Topics.Partitions))
	for _, s := range all.specs {
		if wanted, ok := absent[s.name]; ok {
			all.byName[s.name] = wanted.projected()
			all.Created = append(all.Created, s.name)
		}
	}
	all.latest.Store(&all.byName)
	if err := checkOffsets(all); err != nil {
		problems = append(problems, err)
	}
	for _, topic := range all.byName {
		connect.limits.note(topic.Name, topic.MaxMessageBytes)
	}
	return topicFindings(all, absent, problems, connect.limits), all
}

// topicFindings attributes problems to topics, and says of the other topics how they are.
func topicFindings(t *Topics, absent map[string]topicSpec, problems []error, l *limits) (out []Finding) {
	of, rest := map[string][]error{}, []error(nil)
	var sort func(err error)
	sort = func(err error) {
		if several, ok := errors.AsType[*TopicsError](err); ok {
			for _, one := range several.Problems {
				sort(one)
			}
		} else if one, ok := errors.AsType[*TopicError](err); ok {
			of[one.Topic] = append(of[one.Topic], one)
		} else {
			rest = append(rest, err)
		}
	}
	for _, err := range problems {
		sort(err)
	}
	for _, s := range t.specs {
		name, topic := "topic "+s.name, t.byName[s.name]
		for _, err := range of[s.name] {
			out = append(out, Finding{Name: name, Err: err})
		}
		_, missing := absent[s.name]
		switch taken := l.taken(s.name); {
		case len(of[s.name]) > 0:
		case missing:
			out = append(out, Finding{Name: name, Found: "does not exist; a start makes it: " + topic.describe()})
		case taken > 0:
			out = append(out, Finding{Name: name, Minor: true, Err: &TopicError{
				Topic: s.name, Text: fmt.Sprintf("takes records of %s=%d: larger events become dead letters", maxMessageBytes, taken),
				hint: fmt.Sprintf("set %s of it to %d", maxMessageBytes, l.ours(s.name)),
			}})
		default:
			out = append(out, Finding{Name: name, Found: topic.describe()})
		}
	}
	for _, err := range rest {
		partitions, ok := errors.AsType[*PartitionsError](err)
		out = append(out, Finding{Name: "topics", Err: err, Minor: ok && partitions.Placed > 0})
	}
	return out
}

// projected returns a topic as it is once it has been made.
func (s topicSpec) projected() Topic {
	return newTopic(s.name, [16]byte{}, int(s.partitions), s.config)
}

// describe says in words how the topic is.
func (t Topic) describe() string {
	n := count(t.Partitions, "partition")
	switch {
	case t.Compacted:
		n += ", compacted"
	case t.Retention >= 0:
		n += ", records kept for " + days(t.Retention)
	case t.Deleted:
		n += ", records kept for ever"
	}
	return n
}

// inspectRights says whether groups and transactional ids may be used.
func inspectRights(ctx context.Context, client *kgo.Client, c Config, partitions []int32) (out []Finding) {
	for _, group := range c.groups() {
		f := Finding{Name: "group " + group, Found: "may be used"}
		f.Err = cmp.Or(errors.Join(groupRights(ctx, client, []string{group})...), ctx.Err())
		out = append(out, f)
	}
	if c.Delivery != ExactlyOnce {
		return out
	}
	for _, partition := range partitions {
		id := c.TransactionalID(partition)
		out = append(out, Finding{Name: "transactional id " + id, Found: "may be used", Err: transactionalRight(ctx, client, id)})
	}
	return out
}

// transactionalRight returns why a transactional id may not be used. It asks to end a transaction of a producer that cannot exist: Kafka
// looks at the rights first, then refuses. An owner that uses the id does not notice.
func transactionalRight(ctx context.Context, client *kgo.Client, id string) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = id, -1, -1
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err == nil || slices.ContainsFunc(unknownProducer, func(code error) bool { return errors.Is(err, code) }) {
		return nil
	}
	return &requestError{"use transactional id " + id, err}
}

// unknownProducer are the answers to a producer that does not exist. The last one comes while Kafka ends a transaction of the owner.
var unknownProducer = []error{
	kerr.InvalidProducerIDMapping, kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState, kerr.ConcurrentTransactions,
}

// InspectRegistry says whether every schema has an id or would get one. It asks only: it registers nothing, and sets no compatibility.
// Without a registry it returns one finding that says so. ctx must bound it.
func InspectRegistry(ctx context.Context, o Options) []Finding {
	const name = "schema registry"
	if o.Registry.URL == "" {
		return []Finding{{Name: name, Found: "none is configured; values are in Avro's single-object encoding"}}
	}
	r, err := NewRegistry(o.Registry, o.Log)
	if err != nil {
		return []Finding{{Name: name, Err: err}}
	}
	out := []Finding{{Name: name, Found: "answers at " + o.Registry.URL}}
	if err := r.misplaced(ctx); err != nil {
		out[0].Err = err
		return append(out, Finding{Name: "schemas", Skipped: "there is no schema registry at that address"})
	}
	for _, s := range specs(o.Config, o.Types) {
		typ := s.valueType()
		if typ == "" {
			continue
		}
		found, err := r.inspect(ctx, s.name, events.Schema(typ))
		if away, ok := errors.AsType[*RegistryError](err); ok && (away.passing || isStatus(err, http.StatusUnauthorized)) {
			out[0].Err = err
			return append(out, Finding{Name: "schemas", Skipped: "the schema registry does not answer"})
		}
		out = append(out, Finding{Name: "schema " + Subject(s.name), Found: found, Err: err})
	}
	return out
}

// RegisterSchemas registers the schemas of all topics where they are missing, and sets the compatibility of their subjects, whatever
// schema_registry.register says: somebody asked for it. It returns a finding on each schema. A registry must be configured.
func RegisterSchemas(ctx context.Context, o Options) []Finding {
	o.Registry.Register = true
	r, err := NewRegistry(o.Registry, o.Log)
	if err != nil {
		return []Finding{{Name: "schema registry", Err: err}}
	}
	var out []Finding
	for _, s := range specs(o.Config, o.Types) {
		typ := s.valueType()
		if typ == "" {
			continue
		}
		_, err := r.client.LookupSchema(ctx, Subject(s.name), sr.Schema{Schema: events.Schema(typ)})
		had := err == nil
		id, err := r.Resolve(ctx, s.name, events.Schema(typ))
		f := Finding{Name: "schema " + Subject(s.name), Found: fmt.Sprintf("registered with id %d", id), Err: err}
		if had {
			f.Found = fmt.Sprintf("has id %d", id)
		}
		out = append(out, f)
		if away, ok := errors.AsType[*RegistryError](err); ok && (away.passing || isStatus(err, http.StatusUnauthorized)) {
			return append(out, Finding{Name: "other schemas", Skipped: "the schema registry does not answer"})
		}
	}
	return out
}

// misplaced returns an error if what answers is no schema registry: it does not know a question that every one answers. A schema that is not
// found would else be one that is not registered yet.
func (r *Registry) misplaced(ctx context.Context) error {
	err := r.client.Compatibility(ctx)[0].Err
	if !isStatus(err, http.StatusNotFound) {
		return nil
	}
	return &RegistryError{URL: r.config.URL, Err: fmt.Errorf("no schema registry answers there: %w", err), hint: wrongPath}
}

// inspect says what Resolve would do, or returns the error that Resolve would return as far as that can be told.
func (r *Registry) inspect(ctx context.Context, topic, schema string) (found string, err error) {
	subject := Subject(topic)
	id, missing, err := r.lookup(ctx, subject, sr.Schema{Schema: schema})
	if err == nil && missing {
		err = r.mayRegister(ctx, subject, sr.Schema{Schema: schema})
	}
	switch {
	case err != nil:
		return "", r.explain(subject, err)
	case missing:
		return "not registered; a start registers it", nil
	}
	found = fmt.Sprintf("has id %d", id)
	if want, err := r.compatibility(); r.config.Register && err == nil {
		if has := r.compatibilityOf(ctx, subject); has.Err == nil && has.Level != want {
			found += fmt.Sprintf("; its compatibility is %s, and a start sets it to %s", has.Level, want)
		}
	}
	return found, nil
}

// mayRegister returns the error that the registry would answer to the registration of a schema, if that can be told without it.
func (r *Registry) mayRegister(ctx context.Context, subject string, schema sr.Schema) error {
	refused := func(status, code int, format string, args ...any) error {
		return &registerError{&sr.ResponseError{StatusCode: status, ErrorCode: code, Message: fmt.Sprintf(format, args...)}}
	}
	mode := r.client.Mode(ctx, subject)[0]
	if isStatus(mode.Err, http.StatusNotFound) {
		mode = r.client.Mode(ctx)[0]
	}
	if mode.Err == nil && mode.Mode == sr.ModeReadOnly {
		return refused(http.StatusUnprocessableEntity, codeReadOnly, "the registry is in mode %s", mode.Mode)
	}
	const all, last = -2, -1
	has, err := r.client.CheckCompatibility(ctx, subject, all, schema)
	if isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusMethodNotAllowed) { // there is no version yet, or no such question
		has, err = r.client.CheckCompatibility(ctx, subject, last, schema)
	}
	switch {
	case isStatus(err, http.StatusNotFound), err == nil && has.Is:
		return nil
	case err != nil:
		return err
	}
	text := "it is not compatible with a schema that is registered"
	if len(has.Messages) > 0 {
		text += ": " + has.Messages[0]
	}
	return refused(http.StatusConflict, http.StatusConflict, "%s", text)
}
