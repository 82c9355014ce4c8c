package kafka

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/tlsconf"
)

// Class says what an error asks of the caller.
type Class int

// Classes of errors.
const (
	// Retry: trying again later may help. Errors that no other class is known for have this one.
	Retry Class = iota
	// Fatal: a person has to change something: a permission, a topic, a password.
	Fatal
	// Refused: the broker will never accept this record. It may accept others.
	Refused
)

func (c Class) String() string {
	switch c {
	case Fatal:
		return "fatal"
	case Refused:
		return "refused"
	}
	return "retry"
}

// classify is the one place that knows what Kafka's errors mean to the poller. The client has retried by then what it can.
func classify(err error) Class {
	if _, refused := errors.AsType[*LoginError](err); refused {
		return Fatal
	}
	if _, source := errors.AsType[*sourceError](err); !source && tlsconf.Hint("kafka.tls", err) != "" {
		return Fatal
	}
	code, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return Retry
	}
	switch code {
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp:
		return Refused
	}
	if _, ok := fatal[code]; ok {
		return Fatal
	}
	// Among these are all errors that Kafka calls retriable, those about producer ids, after which the client gets another id by
	// itself, and UNKNOWN_SERVER_ERROR, which says nothing about the next attempt.
	return Retry
}

// fatal holds the errors that only a person can remove, with what to do.
var fatal = map[*kerr.Error]string{
	kerr.TopicAuthorizationFailed:           "grant the poller's user Describe, DescribeConfigs and Write on the topic",
	kerr.ClusterAuthorizationFailed:         "grant the poller's user IdempotentWrite on the cluster, and Create to let it make topics",
	kerr.GroupAuthorizationFailed:           "grant the poller's user Read on the group",
	kerr.InconsistentGroupProtocol:          "another program uses this group; name one of its own in kafka.group",
	kerr.TransactionalIDAuthorizationFailed: "grant the poller's user Describe and Write on the transactional ids of kafka.group",
	kerr.SaslAuthenticationFailed:           "check kafka.sasl: mechanism, user name and password",
	kerr.UnsupportedSaslMechanism:           "the broker does not offer this kafka.sasl.mechanism; use one that it does",
	kerr.IllegalSaslState:                   "the broker's listener does not expect this kafka.sasl; check the port in kafka.brokers",
	kerr.SecurityDisabled:                   "the broker has no authorizer; this request needs one",
	kerr.UnknownTopicOrPartition:            "create the topic, or set kafka.topics.create: true and start again",
	kerr.UnknownTopicID:                     "the topic was deleted; create it, or set kafka.topics.create: true and start again",
	kerr.InvalidTopicException:              "the topic's name is not valid; check kafka.topic_prefix",
	kerr.InvalidRequiredAcks:                "the broker refuses acks=all; check the topic's min.insync.replicas",
	kerr.PolicyViolation:                    "a policy of the cluster refuses this; ask its administrators, or create the topics by hand",
	kerr.UnsupportedVersion:                 "the broker is too old; want Apache Kafka 2.4 or later",
	kerr.UnsupportedForMessageFormat:        "the topic's message format is too old; remove message.format.version from it",
	kerr.UnsupportedCompressionType:         "the topic does not take this kafka.compression; choose another",
	kerr.InvalidConfig:                      "check kafka.topics.overrides",
	kerr.InvalidReplicationFactor:           "check kafka.topics.replication_factor: there must be as many brokers",
	kerr.InvalidPartitions:                  "check kafka.topics.partitions",
	kerr.InvalidTransactionTimeout:          "raise transaction.max.timeout.ms of the brokers to 10000 at least",
	kerr.ProducerFenced:                     "another instance has taken over",
}

// hintFor returns what to do about an error, or "" if that is not known.
func hintFor(err error) string {
	if refused, ok := errors.AsType[*LoginError](err); ok {
		return refused.Hint
	}
	if source, ok := errors.AsType[*sourceError](err); ok {
		return source.hint
	}
	if hint := tlsconf.Hint("kafka.tls", err); hint != "" {
		return hint
	}
	if _, ok := errors.AsType[*handshakeError](err); ok {
		return "check that the ports in kafka.brokers are those of a listener with TLS, or switch kafka.tls off"
	}
	if code, ok := errors.AsType[*kerr.Error](err); ok {
		return fatal[code]
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return "check kafka.brokers and that the brokers run"
	}
	return ""
}

// Hint returns what a person can do about an error of this package, empty if that is not known or nothing but waiting helps.
func Hint(err error) string {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.Hint()
	}
	e, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if ok {
		return e.Hint()
	}
	return hintFor(err)
}

// GroupError says that a group may not be used.
type GroupError struct {
	Group string
	Err   error // nil if Kafka lists the operations that are allowed, and Read is not among them
}

func (e *GroupError) Error() string {
	text := fmt.Sprintf("group %s may not be used: Read is not allowed", e.Group)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return withHint(text, e.Hint())
}

// Hint says what to do.
func (e *GroupError) Hint() string { return "grant the poller's user Read on it" }

func (e *GroupError) Unwrap() error { return e.Err }

// Retryable is false: somebody has to grant it.
func (e *GroupError) Retryable() bool { return false }

// groupError says what was attempted with a group when a request failed.
func groupError(op, group string, err error) error {
	if errors.Is(err, kerr.GroupAuthorizationFailed) {
		return &GroupError{group, err}
	}
	return &requestError{op + " of group " + group, err}
}

// About names what an error of this package is about: the schema registry, a topic, a group, or else Kafka.
func About(err error) string {
	if _, ok := errors.AsType[*RegistryError](err); ok {
		return "schema registry"
	}
	if e, ok := errors.AsType[*TopicError](err); ok {
		return "topic " + e.Topic
	}
	if _, ok := errors.AsType[*PartitionsError](err); ok {
		return "event topics"
	}
	if e, ok := errors.AsType[*GroupError](err); ok {
		return "group " + e.Group
	}
	return "Kafka"
}

// withHint returns what is wrong and what to do about it in one line. What says the same already, as the error of a request does, is
// left as it is.
func withHint(text, hint string) string {
	if strings.HasSuffix(text, hint) { // or is empty
		return text
	}
	return text + "; " + hint
}

// Retryable reports whether waiting may help against an error, and whether the error says anything about that.
func Retryable(err error) (may, known bool) {
	e, known := errors.AsType[interface {
		error
		Retryable() bool
	}](err)
	return known && e.Retryable(), known
}

// RefusedError is returned by Deliver when Kafka refuses a record, sent by itself, that the poller can neither leave out nor make
// smaller. Nothing of the batch was recorded, and the same batch may be delivered again once somebody has changed a setting.
type RefusedError struct {
	Account string
	Topic   string
	Record  string // what it says, by its key
	Bytes   int    // of the record, before compression
	Taken   int    // max.message.bytes of the topic as it is now; 0 if the broker does not say
	Err     error  // what Kafka has answered
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("deliver to Kafka for account %s: topic %s refuses record %.100q of %d bytes, which the poller cannot go on without: %v",
		e.Account, e.Topic, e.Record, e.Bytes, e.Err)
	if e.Taken > 0 {
		text += fmt.Sprintf("; %s of the topic is %d", maxMessageBytes, e.Taken)
	}
	return text + "; " + e.Hint()
}

// Hint says what to change.
func (e *RefusedError) Hint() string {
	if need := e.Bytes + batchOverhead; e.Taken > 0 && e.Taken < need {
		return fmt.Sprintf("set %s of topic %s to %d or more", maxMessageBytes, e.Topic, max(need, bound.Record+batchOverhead))
	}
	return fmt.Sprintf("check %s, segment.bytes and the message.timestamp settings of topic %s, and what the broker logs about the record", maxMessageBytes, e.Topic)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Retryable is false: somebody has to change a setting of the topic.
func (e *RefusedError) Retryable() bool { return false }

// DeliveryError is returned by Deliver when a batch was not recorded. The same batch may be delivered again.
type DeliveryError struct {
	Account   string
	Topic     string // of the first record that failed
	Failed    int    // records that Kafka has refused or that the client gave up
	Waiting   int    // records whose answer is still outstanding
	Delivered int    // records acknowledged
	Class     Class
	Err       error
}

func (e *DeliveryError) Error() string {
	text := fmt.Sprintf("deliver to Kafka for account %s: ", e.Account)
	if e.Failed > 0 {
		text += fmt.Sprintf("%d of %d records failed, first on topic %s: %v", e.Failed, e.total(), e.Topic, e.Err)
	} else {
		text += fmt.Sprintf("%d of %d records are not acknowledged yet: %v", e.Waiting, e.total(), e.Err)
	}
	if hint := hintFor(e.Err); hint != "" {
		text += "; " + hint
	}
	return text
}

func (e *DeliveryError) total() int { return e.Failed + e.Waiting + e.Delivered }

func (e *DeliveryError) Unwrap() error { return e.Err }

// Retryable reports whether delivering the batch again may help without anybody doing anything.
func (e *DeliveryError) Retryable() bool { return e.Class == Retry }
