package kafka

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/tlsconf"
)

// Modes of delivery.
const (
	ExactlyOnce = "exactly-once"
	AtLeastOnce = "at-least-once"
)

// What the timestamp of a record says.
const (
	TimestampEvent    = "event"
	TimestampObserved = "observed"
)

// Config is the section kafka of the configuration. Fill in the defaults before decoding into it.
type Config struct {
	Brokers     []string `yaml:"brokers"`
	TopicPrefix string   `yaml:"topic_prefix"`
	Delivery    string   `yaml:"delivery"`
	Group       string   `yaml:"group"`
	ClientID    string   `yaml:"client_id"`

	TLS  TLSConfig  `yaml:"tls"`
	SASL SASLConfig `yaml:"sasl"`

	// Compression of produced records. Every Kafka client in use reads snappy, and it costs this one the least: in our measurements
	// zstd took four times the CPU, lz4 about twice.
	Compression string `yaml:"compression"`
	// Linger is how long a record waits for others to share its batch.
	Linger time.Duration `yaml:"linger"`
	// DeliveryTimeout is how long one attempt at delivering a batch may take before it is reported as failed. The next attempt still
	// waits for records that were sent and not acknowledged by then, so nothing is sent twice.
	DeliveryTimeout time.Duration `yaml:"delivery_timeout"`
	// MaxRecordBytes bounds the record of an event, uncompressed. What is larger goes to the dead letters.
	MaxRecordBytes int `yaml:"max_record_bytes"`

	Topics TopicsConfig `yaml:"topics"`

	// Headers enables the CloudEvents headers of events.
	Headers bool `yaml:"headers"`
	// DataSchema, if set, is the address under which consumers find schemas; it adds the header ce_dataschema.
	DataSchema string `yaml:"dataschema"`
	// Traceparent adds the header ce_traceparent.
	Traceparent bool `yaml:"traceparent"`
	// Timestamp says which time records carry: event or observed.
	Timestamp string `yaml:"timestamp"`
	// Latest lists event types that are also written to compacted topics keyed by entity.
	Latest []string `yaml:"latest"`
}

// TLSConfig says how a connection to Kafka, or to the registry, is protected.
type TLSConfig = tlsconf.Config

// TopicsConfig says how topics are created.
type TopicsConfig struct {
	Create bool `yaml:"create"`
	// Partitions of each event topic. All have the same number, so that streams join. Topics that exist keep the number that they
	// have; where that was raised, naming the new one here takes it.
	Partitions int32 `yaml:"partitions"`
	// PartitionsChosen says that Partitions was configured, and is not the default.
	PartitionsChosen bool
	// ReplicationFactor of 0 means three, or as many as there are brokers.
	ReplicationFactor int16         `yaml:"replication_factor"`
	Retention         time.Duration `yaml:"retention"`
	// Overrides by topic, named without the prefix.
	Overrides map[string]TopicOverride `yaml:"overrides"`
}

// A TopicOverride says how the creation of one topic differs. The number of partitions cannot differ: event topics must have the same
// number, and the other topics have a fixed one.
type TopicOverride struct {
	ReplicationFactor int16             `yaml:"replication_factor"`
	Retention         time.Duration     `yaml:"retention"`
	Config            map[string]string `yaml:"config"`
}

// SASLConfig says how the client authenticates. With an empty mechanism it does not.
type SASLConfig struct {
	Mechanism    string        `yaml:"mechanism"`
	Username     string        `yaml:"username"`
	Password     secret.Secret `yaml:"password" secret:"true"`
	PasswordFile string        `yaml:"password_file"`

	// OAUTHBEARER fetches tokens by the client-credentials grant.
	TokenURL         string            `yaml:"token_url"`
	ClientID         string            `yaml:"client_id"`
	ClientSecret     secret.Secret     `yaml:"client_secret" secret:"true"`
	ClientSecretFile string            `yaml:"client_secret_file"`
	Scope            string            `yaml:"scope"`
	Extensions       map[string]string `yaml:"extensions"`
}

// SASL mechanisms.
const (
	saslPlain       = "PLAIN"
	saslScram256    = "SCRAM-SHA-256"
	saslScram512    = "SCRAM-SHA-512"
	saslOAuthBearer = "OAUTHBEARER"
	saslIAM         = "AWS_MSK_IAM"
)

var mechanisms = []string{saslPlain, saslScram256, saslScram512, saslOAuthBearer, saslIAM}

// SetDefaults sets the values that hold where the configuration has none.
func (c *Config) SetDefaults() {
	*c = Config{
		TopicPrefix:     "agentassist",
		Delivery:        ExactlyOnce,
		Group:           DefaultGroup("agentassist"),
		ClientID:        "agentassist-poller",
		Compression:     "snappy",
		Linger:          5 * time.Millisecond,
		DeliveryTimeout: 30 * time.Second,
		MaxRecordBytes:  1_000_000,
		Topics:          TopicsConfig{Create: true, Partitions: 12, Retention: 30 * 24 * time.Hour},
		Headers:         true,
		Timestamp:       TimestampEvent,
	}
}

// DefaultGroup returns the group of an installation that does not name one. It follows from the topics, as two installations that share
// a group would take each other's partitions away.
func DefaultGroup(topicPrefix string) string { return topicPrefix + "-poller" }

// TransactionalID returns the transactional id of the owner of a partition of the checkpoint topic.
func (c *Config) TransactionalID(partition int32) string {
	name := c.Group
	if name == "" {
		name = c.TopicPrefix
	}
	return fmt.Sprintf("%s.%d", name, partition)
}

// DefaultConfig returns a configuration that has every default.
func DefaultConfig() Config {
	var c Config
	c.SetDefaults()
	return c
}

// A Problem is one thing to correct in a section of the configuration. Its path starts below the section.
type Problem struct{ Path, Text string }

func (p Problem) String() string { return p.Path + ": " + p.Text }

// problems collects what is wrong.
type problems []Problem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, Problem{path, fmt.Sprintf(format, args...)})
}

func (p *problems) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(path, "%q; want one of %s", value, strings.Join(allowed, ", "))
	}
}

// tls checks the section tls.
func (p *problems) tls(c *TLSConfig) {
	if text := c.CertFileProblem("tls"); text != "" {
		p.add("tls.cert_file", "%s", text)
	}
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// What MaxRecordBytes and TopicsConfig.Partitions can be.
const (
	minRecordBytes = 16 << 10
	maxRecordBytes = 64 << 20
	maxPartitions  = 1000
)

// Kafka allows 249 characters; the longest of our suffixes must fit.
const maxPrefix = 249 - len(".suggestion-shown-latest")

// Limits says what settings may be where their types allow more.
func (c *Config) Limits() conf.Limits {
	return conf.Limits{
		"topic_prefix":                        {Match: topicName},
		"delivery":                            {OneOf: []string{ExactlyOnce, AtLeastOnce}},
		"sasl.mechanism":                      {OneOf: append([]string{""}, mechanisms...)},
		"compression":                         {OneOf: []string{"none", "gzip", "snappy", "lz4", "zstd"}},
		"max_record_bytes":                    {Least: minRecordBytes, Most: maxRecordBytes},
		"topics.partitions":                   {Least: 1, Most: maxPartitions},
		"topics.replication_factor":           {Most: math.MaxInt16},
		"topics.overrides":                    {OneOf: suffixes()},
		"topics.overrides.replication_factor": {Most: math.MaxInt16},
		"timestamp":                           {OneOf: []string{TimestampEvent, TimestampObserved}},
		"latest":                              {OneOf: typeNames()},
	}
}

// Validate returns everything that is wrong, in the order of the section. It does no I/O.
func (c *Config) Validate() []Problem {
	limits := c.Limits()
	var p problems
	if len(c.Brokers) == 0 {
		p.add("brokers", "is empty; want at least one address such as localhost:9092")
	}
	for i, b := range c.Brokers {
		path := fmt.Sprintf("brokers[%d]", i)
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			p.add(path, "%q; want host:port", b)
		}
	}
	if !topicName.MatchString(c.TopicPrefix) || len(c.TopicPrefix) > maxPrefix {
		p.add("topic_prefix", "%q; want 1 to %d characters out of a-z, A-Z, 0-9, '.', '_' and '-'", c.TopicPrefix, maxPrefix)
	}
	p.oneOf("delivery", c.Delivery, limits["delivery"].OneOf...)
	p.tls(&c.TLS)
	c.SASL.validate(&p)
	if c.SASL.Mechanism == saslIAM && !c.TLS.On() {
		p.add("tls.enabled", "is off; AWS_MSK_IAM needs TLS")
	}
	p.oneOf("compression", c.Compression, limits["compression"].OneOf...)
	if c.Linger < 0 || c.Linger > time.Second {
		p.add("linger", "%s; want between 0 and 1s", c.Linger)
	}
	if c.DeliveryTimeout < time.Second || c.DeliveryTimeout > time.Hour {
		p.add("delivery_timeout", "%s; want between 1s and 1h", c.DeliveryTimeout)
	}
	if c.MaxRecordBytes < minRecordBytes || c.MaxRecordBytes > maxRecordBytes {
		p.add("max_record_bytes", "%d; want between %d and %d", c.MaxRecordBytes, minRecordBytes, maxRecordBytes)
	}
	c.Topics.validate(&p)
	if c.DataSchema != "" {
		if u, err := url.Parse(c.DataSchema); err != nil || !u.IsAbs() || u.User != nil {
			p.add("dataschema", "want an absolute address without user and password, such as https://registry.example.com")
		}
	}
	if c.Traceparent && !c.Headers {
		p.add("traceparent", "is one of the CloudEvents headers, which are off; want headers: true")
	}
	p.oneOf("timestamp", c.Timestamp, limits["timestamp"].OneOf...)
	for i, t := range c.Latest {
		if known := limits["latest"].OneOf; !slices.Contains(known, t) {
			p.add(fmt.Sprintf("latest[%d]", i), "%q is no event type; want one of %s", t, strings.Join(known, ", "))
		}
	}
	return p
}

func (c *TopicsConfig) validate(p *problems) {
	if c.Partitions < 1 || c.Partitions > maxPartitions {
		p.add("topics.partitions", "%d; want between 1 and %d", c.Partitions, maxPartitions)
	}
	if c.ReplicationFactor < 0 {
		p.add("topics.replication_factor", "%d; want 1 or more, or 0 to choose by the number of brokers", c.ReplicationFactor)
	}
	if c.Retention < time.Hour {
		p.add("topics.retention", "%s; want at least 1h", c.Retention)
	}
	known := suffixes()
	for _, name := range sortedKeys(c.Overrides) {
		path := "topics.overrides." + name
		o := c.Overrides[name]
		if !slices.Contains(known, name) {
			p.add(path, "there is no such topic; want one of %s", strings.Join(known, ", "))
		}
		if o.ReplicationFactor < 0 {
			p.add(path+".replication_factor", "%d; want 1 or more", o.ReplicationFactor)
		}
		if o.Retention != 0 && o.Retention < time.Hour {
			p.add(path+".retention", "%s; want at least 1h", o.Retention)
		}
	}
}

func (c *SASLConfig) validate(p *problems) {
	switch c.Mechanism {
	case "":
		if c.Username != "" || !c.Password.IsZero() || c.PasswordFile != "" || c.TokenURL != "" {
			p.add("sasl.mechanism", "is missing; want one of %s", strings.Join(mechanisms, ", "))
		}
	case saslPlain, saslScram256, saslScram512:
		if c.Username == "" {
			p.add("sasl.username", "is missing; %s needs one", c.Mechanism)
		}
		oneSecret(p, "sasl.password", c.Password, c.PasswordFile, true)
	case saslOAuthBearer:
		if u, err := url.Parse(c.TokenURL); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
			p.add("sasl.token_url", "want the address that gives tokens, such as https://login.example.com/oauth2/token")
		}
		if c.ClientID == "" {
			p.add("sasl.client_id", "is missing; OAUTHBEARER needs one")
		}
		oneSecret(p, "sasl.client_secret", c.ClientSecret, c.ClientSecretFile, true)
	case saslIAM:
		if c.Username != "" || !c.Password.IsZero() || c.PasswordFile != "" || c.ClientID != "" || !c.ClientSecret.IsZero() || c.ClientSecretFile != "" {
			p.add("sasl.mechanism", "AWS_MSK_IAM takes no user, client or secret from here; want credentials where the AWS SDK finds them")
		}
	default:
		p.oneOf("sasl.mechanism", c.Mechanism, mechanisms...)
	}
}

// oneSecret checks that a secret is given at most one way, and at all where it is needed.
func oneSecret(p *problems, path string, s secret.Secret, file string, needed bool) {
	switch {
	case !s.IsZero() && file != "":
		p.add(path, "is given twice; want either %s or %s_file", path, path)
	case s.IsZero() && file == "" && needed:
		p.add(path, "is missing; set it or %s_file", path)
	}
}

func typeNames() []string {
	var names []string
	for _, t := range events.Types() {
		names = append(names, string(t))
	}
	return names
}
