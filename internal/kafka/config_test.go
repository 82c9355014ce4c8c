package kafka_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/secret"
)

func validConfig() kafka.Config {
	c := kafka.DefaultConfig()
	c.Brokers = []string{"localhost:9092"}
	return c
}

func TestDefaultsNeedOnlyBrokers(t *testing.T) {
	c := kafka.DefaultConfig()
	require.Equal(t, []string{"brokers: is empty; want at least one address such as localhost:9092"}, lines(c.Validate()))
	c = validConfig()
	require.Empty(t, c.Validate())
	r := kafka.DefaultRegistryConfig()
	require.Empty(t, r.Validate())
}

func TestConfigProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*kafka.Config)
		want   []string
	}{
		"broker without port": {
			func(c *kafka.Config) { c.Brokers = []string{"a:9092", "b"} },
			[]string{`brokers[1]: "b"; want host:port`},
		},
		"prefix": {
			func(c *kafka.Config) { c.TopicPrefix = "a b" },
			[]string{`topic_prefix: "a b"; want 1 to 225 characters out of a-z, A-Z, 0-9, '.', '_' and '-'`},
		},
		"delivery": {
			func(c *kafka.Config) { c.Delivery = "maybe" },
			[]string{`delivery: "maybe"; want one of exactly-once, at-least-once`},
		},
		"half a certificate": {
			func(c *kafka.Config) { c.TLS.CertFile = "x.pem" },
			[]string{"tls.cert_file: a client certificate needs both tls.cert_file and tls.key_file"},
		},
		"no mechanism": {
			func(c *kafka.Config) { c.SASL.Username = "u" },
			[]string{"sasl.mechanism: is missing; want one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM"},
		},
		"mechanism": {
			func(c *kafka.Config) { c.SASL.Mechanism = "GSSAPI" },
			[]string{`sasl.mechanism: "GSSAPI"; want one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM`},
		},
		"nobody": {
			func(c *kafka.Config) { c.SASL.Mechanism = "PLAIN" },
			[]string{"sasl.username: is missing; PLAIN needs one", "sasl.password: is missing; set it or sasl.password_file"},
		},
		"two passwords": {
			func(c *kafka.Config) {
				c.SASL = kafka.SASLConfig{Mechanism: "SCRAM-SHA-256", Username: "u", Password: secret.New("p"), PasswordFile: "f"}
			},
			[]string{"sasl.password: is given twice; want either sasl.password or sasl.password_file"},
		},
		"no token": {
			func(c *kafka.Config) { c.SASL = kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenURL: "login"} },
			[]string{
				"sasl.token_url: want the address that gives tokens, such as https://login.example.com/oauth2/token",
				"sasl.client_id: is missing; OAUTHBEARER needs one",
				"sasl.client_secret: is missing; set it or sasl.client_secret_file",
			},
		},
		"IAM without TLS, with a password": {
			func(c *kafka.Config) {
				c.SASL = kafka.SASLConfig{Mechanism: "AWS_MSK_IAM", Username: "AKIA", Password: secret.New("p")}
			},
			[]string{
				"sasl.mechanism: AWS_MSK_IAM takes no user, client or secret from here; want credentials where the AWS SDK finds them",
				"tls.enabled: is off; AWS_MSK_IAM needs TLS",
			},
		},
		"IAM": {
			func(c *kafka.Config) { c.SASL.Mechanism, c.TLS.Enabled = "AWS_MSK_IAM", true },
			nil,
		},
		"numbers": {
			func(c *kafka.Config) {
				c.Linger, c.DeliveryTimeout, c.MaxRecordBytes = -1, time.Millisecond, 1
				c.Topics.Partitions, c.Topics.ReplicationFactor, c.Topics.Retention = 0, -1, time.Minute
			},
			[]string{
				"linger: -1ns; want between 0 and 1s",
				"delivery_timeout: 1ms; want between 1s and 1h",
				"max_record_bytes: 1; want between 16384 and 67108864",
				"topics.partitions: 0; want between 1 and 1000",
				"topics.replication_factor: -1; want 1 or more, or 0 to choose by the number of brokers",
				"topics.retention: 1m0s; want at least 1h",
			},
		},
		"override": {
			func(c *kafka.Config) {
				c.Topics.Overrides = map[string]kafka.TopicOverride{"feedback": {Retention: time.Second, ReplicationFactor: -1}}
			},
			[]string{
				"topics.overrides.feedback.replication_factor: -1; want 1 or more",
				"topics.overrides.feedback.retention: 1s; want at least 1h",
			},
		},
		"dataschema": {
			func(c *kafka.Config) { c.DataSchema = "https://u:p@registry" },
			[]string{"dataschema: want an absolute address without user and password, such as https://registry.example.com"},
		},
		"timestamp and compression": {
			func(c *kafka.Config) { c.Timestamp, c.Compression = "now", "lzma" },
			[]string{
				`compression: "lzma"; want one of none, gzip, snappy, lz4, zstd`,
				`timestamp: "now"; want one of event, observed`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := validConfig()
			tt.change(&c)
			require.Equal(t, tt.want, lines(c.Validate()))
		})
	}
}

func TestConfigNamesUnknownTopics(t *testing.T) {
	c := validConfig()
	c.Latest = []string{"feedback", "feedbacks"}
	c.Topics.Overrides = map[string]kafka.TopicOverride{"serach": {}, "search": {}, "feedback-latest": {}}
	problems := c.Validate()
	require.Len(t, problems, 2)
	require.Equal(t, "topics.overrides.serach", problems[0].Path)
	require.Contains(t, problems[0].Text, "there is no such topic; want one of search,")
	require.Equal(t, "latest[1]", problems[1].Path)
}

func TestRegistryConfigProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*kafka.RegistryConfig)
		want   []string
	}{
		"no address": {
			func(c *kafka.RegistryConfig) { c.URL = "localhost:8081" },
			[]string{"url: want the address of the registry's API, such as http://localhost:8081"},
		},
		"user in the address": {
			func(c *kafka.RegistryConfig) { c.URL = "http://u:p@localhost:8081" },
			[]string{"url: holds a user; want it in username and password"},
		},
		"user without password": {
			func(c *kafka.RegistryConfig) { c.Username = "u" },
			[]string{"password: is missing; set it or password_file"},
		},
		"two ways in": {
			func(c *kafka.RegistryConfig) {
				c.Username, c.Password, c.BearerToken = "u", secret.New("p"), secret.New("t")
			},
			[]string{"bearer_token: is given beside username; want one of the two"},
		},
		"times": {
			func(c *kafka.RegistryConfig) { c.Timeout, c.RetryFor = 0, -1 },
			[]string{"timeout: 0s; want between 100ms and 5m", "retry_for: -1ns; want between 0 and 1h"},
		},
		"compatibility": {
			func(c *kafka.RegistryConfig) { c.Compatibility = "SOME" },
			[]string{`compatibility: "SOME"; want one of FULL_TRANSITIVE, FULL, BACKWARD_TRANSITIVE, BACKWARD, FORWARD_TRANSITIVE, FORWARD, NONE, keep`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := kafka.DefaultRegistryConfig()
			c.URL = "http://localhost:8081"
			tt.change(&c)
			require.Equal(t, tt.want, lines(c.Validate()))
		})
	}
}

func lines(problems []kafka.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}
