package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/privacy"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/tlsconf"
)

// EnvPrefix begins the names of environment variables that are settings: POLLER_KAFKA_BROKERS is kafka.brokers.
const EnvPrefix = "POLLER_"

// Config is the whole configuration. docs/reference-config.yaml describes every key.
type Config struct {
	Accounts       []Account            `yaml:"accounts"`
	Kafka          kafka.Config         `yaml:"kafka"`
	SchemaRegistry kafka.RegistryConfig `yaml:"schema_registry"`
	Checkpoint     Checkpoint           `yaml:"checkpoint"`
	Retention      time.Duration        `yaml:"retention" was:"memory"`
	Events         Events               `yaml:"events"`
	Privacy        privacy.Config       `yaml:"privacy"`
	Server         Server               `yaml:"server"`
	Log            Log                  `yaml:"log"`
	Traces         Traces               `yaml:"traces"`
	Shutdown       Shutdown             `yaml:"shutdown"`

	policy *privacy.Policy // what Privacy says; nil without its key
}

// Account is one account of the platform: one request budget, some bots.
type Account struct {
	Name              string    `yaml:"name"`
	BaseURL           string    `yaml:"base_url"`
	AccountID         string    `yaml:"account_id"`
	Auth              Auth      `yaml:"auth"`
	RequestsPerMinute int       `yaml:"requests_per_minute"`
	MaxBody           Size      `yaml:"max_body"`
	Start             Start     `yaml:"start"`
	Bots              []Bot     `yaml:"bots"`
	OtherBots         string    `yaml:"other_bots"`
	Endpoints         Endpoints `yaml:"endpoints"`
	Sweeps            []Sweep   `yaml:"sweeps"`
	// EditWeights say how much an edit of an event type counts where sweeps follow edits; 1 for those that are not there.
	EditWeights     map[string]float64 `yaml:"edit_weights"`
	AllowedLateness Lateness           `yaml:"allowed_lateness"`
	// Link comes in place of events.link.
	Link string `yaml:"link"`

	sweepsChosen bool // by the configuration: they are used as they are
}

// What may become of rows of bots that are not configured.
const (
	otherBotsDrop = "drop"
	otherBotsKeep = "keep"
)

// Auth is how the account proves who it is.
type Auth struct {
	Credentials `yaml:",inline"`
	// Prefix comes before the token in the header, for installations that want Bearer.
	Prefix string `yaml:"prefix"`
}

// Credentials identify a JWT app.
type Credentials struct {
	ClientID         string        `yaml:"client_id"`
	ClientSecret     secret.Secret `yaml:"client_secret"`
	ClientSecretFile string        `yaml:"client_secret_file"`
}

// Bot is one bot of an account. Without credentials of its own it uses the account's.
type Bot struct {
	Name  string       `yaml:"name"`
	BotID string       `yaml:"bot_id"`
	Auth  *Credentials `yaml:"auth"`
}

// Endpoints holds the settings of each endpoint.
type Endpoints struct {
	Interactions       Endpoint `yaml:"interactions"`
	Conversations      Endpoint `yaml:"conversations"`
	InteractionDetails Endpoint `yaml:"interaction-details"`
	CallDetails        Endpoint `yaml:"call-details"`
}

// Endpoint says whether and how often one endpoint is read.
type Endpoint struct {
	Enabled      bool          `yaml:"enabled"`
	PollInterval time.Duration `yaml:"poll_interval"`
	IID          string        `yaml:"iid"`
	Timeout      time.Duration `yaml:"timeout"`
	// Concurrency is how many requests may be in flight at the same time.
	Concurrency int `yaml:"concurrency"`
	// Queues, Channels and Agents name the rows that are published, as events name them; without a name all are.
	Queues   []string `yaml:"queues"`
	Channels []string `yaml:"channels"`
	Agents   []string `yaml:"agents"`
	// SelectedFields are what account-wide endpoints are asked to add to their rows.
	SelectedFields []string `yaml:"selected_fields"`
}

// Of returns the settings of an endpoint.
func (e *Endpoints) Of(name events.Endpoint) *Endpoint {
	return events.ForEach(&e.Interactions, &e.Conversations, &e.InteractionDetails, &e.CallDetails)[name.Index()]
}

// enabled returns the endpoints that are read.
func (e *Endpoints) enabled() []events.Endpoint {
	return slices.DeleteFunc(events.Endpoints(), func(name events.Endpoint) bool { return !e.Of(name).Enabled })
}

// endpointDefaults holds the defaults of each endpoint. The timeout is in the table of
// endpoints.
var endpointDefaults = events.ForEach(
	Endpoint{Enabled: true, PollInterval: 15 * time.Second, Concurrency: 1},
	Endpoint{Enabled: true, PollInterval: time.Minute, Concurrency: 2},
	Endpoint{Enabled: true, PollInterval: time.Minute, Concurrency: 1},
	Endpoint{Enabled: false, PollInterval: time.Minute, Concurrency: 1},
)

// Sweep re-reads time up to Within ago, at most Every so often.
type Sweep struct {
	Within time.Duration `yaml:"within"`
	Every  time.Duration `yaml:"every"`
}

// Checkpoint says where the checkpoint file is.
type Checkpoint struct {
	Path string `yaml:"path"`
}

// Events says which events there are and what they mean.
type Events struct {
	Message MessageEvents `yaml:"message"`
	CSAT    Thresholds    `yaml:"csat"`
	NPS     Thresholds    `yaml:"nps"`
	Link    string        `yaml:"link"`
}

// Types returns the event types that are switched on, in the order of the documentation.
func (e *Events) Types() []events.Type {
	return slices.DeleteFunc(events.Types(), func(t events.Type) bool { return !e.enabled(t) })
}

// Off returns the event types that are switched off.
func (e *Events) Off() []events.Type {
	return slices.DeleteFunc(events.Types(), e.enabled)
}

func (e *Events) enabled(t events.Type) bool {
	return t.OnByDefault() || t == events.TypeMessage && e.Message.Enabled
}

// MessageEvents switches transcripts.
type MessageEvents struct {
	Enabled bool `yaml:"enabled"`
}

// Thresholds say what a customer's score means; between the two it is neutral.
type Thresholds struct {
	NegativeUpTo float64 `yaml:"negative_up_to"`
	PositiveFrom float64 `yaml:"positive_from"`
}

// Server is the HTTP server for metrics, probes and status. No address means none.
type Server struct {
	Listen string `yaml:"listen"`
	Pprof  bool   `yaml:"pprof"`
	Admin  Admin  `yaml:"admin"`
}

// Admin is the HTTP server for what may be changed at run time. No address means none.
type Admin struct {
	Listen    string        `yaml:"listen"`
	Token     secret.Secret `yaml:"token"`
	TokenFile string        `yaml:"token_file"`
}

// hasToken reports whether requests must carry a token.
func (c *Admin) hasToken() bool { return !c.Token.IsZero() || c.TokenFile != "" }

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Traces says where trace spans go. Without an endpoint there are none.
type Traces struct {
	// Endpoint is the address of a collector that takes OTLP over HTTP, without the path.
	Endpoint string                   `yaml:"endpoint"`
	Headers  map[string]secret.Secret `yaml:"headers"`
	TLS      tlsconf.Config           `yaml:"tls"`
	// SampleRatio is the part of the traces that is sent.
	SampleRatio float64 `yaml:"sample_ratio"`
	ServiceName string  `yaml:"service_name"`
}

// Shutdown bounds what is finished after a stop was asked for.
type Shutdown struct {
	Drain time.Duration `yaml:"drain"`
}

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() {
	*c = Config{
		Checkpoint: Checkpoint{Path: "./poller.db"},
		Retention:  35 * 24 * time.Hour,
		Events:     Events{CSAT: Thresholds(extract.DefaultCSAT), NPS: Thresholds(extract.DefaultNPS)},
		Privacy:    privacy.Config{Preset: privacy.PresetNone},
		Server:     Server{Listen: ":8080"},
		Log:        Log{Level: "info", Format: formatAuto},
		Traces:     Traces{SampleRatio: 1, ServiceName: "agentassist-poller"},
		Shutdown:   Shutdown{Drain: 20 * time.Second},
	}
	c.Kafka.SetDefaults()
	c.SchemaRegistry.SetDefaults()
}

// SetDefaults is called for every account that the configuration names.
func (a *Account) SetDefaults() {
	*a = Account{
		BaseURL:           "https://platform.kore.ai",
		RequestsPerMinute: 60,
		MaxBody:           kore.DefaultMaxBody,
		OtherBots:         otherBotsDrop,
		Sweeps:            defaultSweeps(),
		EditWeights:       map[string]float64{string(events.TypeFeedback): 5, string(events.TypeConversation): 2},
		AllowedLateness:   Lateness{Auto: true},
	}
	for i, e := range events.Endpoints() {
		*a.Endpoints.Of(e) = endpointDefaults[i]
		a.Endpoints.Of(e).Timeout = e.Spec().Timeout
		if e.PerAccount() {
			a.Endpoints.Of(e).SelectedFields = kore.DefaultFields()
		}
	}
}

// defaultSweeps are the sweeps that the plan's own tests use.
func defaultSweeps() []Sweep {
	var out []Sweep
	for _, t := range plan.DefaultPolicy().Tiers {
		out = append(out, Sweep(t))
	}
	return out
}

// Kore returns what the account's API client must know.
func (a *Account) Kore() kore.Config {
	c := kore.Config{
		BaseURL: a.BaseURL, AccountID: a.AccountID,
		ClientID: a.Auth.ClientID, ClientSecret: a.Auth.ClientSecret, ClientSecretFile: a.Auth.ClientSecretFile, AuthPrefix: a.Auth.Prefix,
		Bots:     map[string]kore.Credentials{},
		Timeouts: map[events.Endpoint]time.Duration{},
		Fields:   map[events.Endpoint][]string{},
		MaxBody:  int64(a.MaxBody),
	}
	for _, b := range a.Bots {
		if b.Auth != nil {
			c.Bots[b.BotID] = kore.Credentials(*b.Auth)
		}
	}
	for _, e := range events.Endpoints() {
		c.Timeouts[e] = a.Endpoints.Of(e).Timeout
		if e.PerAccount() {
			c.Fields[e] = append([]string{}, a.Endpoints.Of(e).SelectedFields...)
		}
	}
	return c
}

// maxConfig is far more than a configuration of thousands of bots needs.
const maxConfig = 8 << 20

// LoadOptions say where a configuration comes from.
type LoadOptions struct {
	// Path of the YAML file. Empty means that there is only the environment.
	Path string
	// Environ is what os.Environ returns.
	Environ []string
	// SkipFiles leaves secrets and certificates in files unread: for a machine that checks a configuration and does
	// not have them. What is loaded so cannot run.
	SkipFiles bool
}

// AwaitConfig waits while the file of a configuration is empty, because what prints into it may have begun a moment ago: for at most
// configWait, and no longer than ctx. Whatever else is wrong with the file is for Load to say.
func AwaitConfig(ctx context.Context, log *slog.Logger, path string) {
	empty := func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Mode().IsRegular() && info.Size() == 0
	}
	if !empty() {
		return
	}
	log.Warn("the configuration is empty; waiting for it to be written", "config", path, "at_most", configWait)
	for deadline := time.Now().Add(configWait); empty() && time.Now().Before(deadline); {
		if !pause(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// configWait is how long a configuration may take to be written: poller simulate first thinks up what has happened.
const configWait = 15 * time.Second

// Load reads, checks and returns a configuration. Its error is a *conf.Error with every problem if there is something to correct.
// Warnings do not refuse a configuration; Load returns them with or without an error.
func Load(o LoadOptions) (*Config, []conf.Problem, error) {
	var src []byte
	if o.Path != "" {
		info, err := os.Stat(o.Path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, nil, &UsageError{fmt.Errorf("there is no configuration %s; name a file that exists with --config", o.Path)}
		case err != nil:
			return nil, nil, &UsageError{fmt.Errorf("read configuration: %w", err)}
		case info.IsDir() || info.Size() > maxConfig:
			return nil, nil, &UsageError{fmt.Errorf("read configuration: %s is not a file of at most %d bytes", o.Path, maxConfig)}
		}
		if src, err = os.ReadFile(o.Path); err != nil {
			return nil, nil, &UsageError{fmt.Errorf("read configuration: %w", err)}
		}
	}
	return Parse(o, src)
}

// Parse is Load for a configuration that has been read already; the path only names it.
func Parse(o LoadOptions, src []byte) (*Config, []conf.Problem, error) {
	var c Config
	c.SetDefaults()
	name := o.Path
	if name == "" {
		name = "configuration"
	}
	doc := conf.Decode(conf.Options{Name: name, YAML: src, Environ: o.Environ, Prefix: EnvPrefix}, &c)
	c.fitSweeps(doc)
	c.Kafka.Topics.PartitionsChosen = doc.Has("kafka.topics.partitions")
	if !doc.Has("kafka.group") {
		c.Kafka.Group = kafka.DefaultGroup(c.Kafka.TopicPrefix)
	}
	c.checkFiles(doc, o.SkipFiles)
	c.validate(doc)
	if doc.Err() == nil && !o.SkipFiles {
		var err error
		if c.policy, err = c.Privacy.Policy(); err != nil {
			doc.Add("privacy.key_file", "%v", err)
		}
	}
	if err := doc.Err(); err != nil {
		return nil, doc.Warnings(), err
	}
	return &c, doc.Warnings(), nil
}

// fitSweeps keeps the sweeps that nobody asked for from reaching further back than the retention.
func (c *Config) fitSweeps(doc *conf.Doc) {
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if a.sweepsChosen = doc.Has(fmt.Sprintf("accounts[%d].sweeps", i)); !a.sweepsChosen {
			a.Sweeps = slices.DeleteFunc(a.Sweeps, func(s Sweep) bool { return s.Within > c.Retention })
		}
	}
}

// Effective is the configuration as it is in force, defaults and environment included, secrets hidden.
func (c *Config) Effective() string { return conf.Format(c) }
