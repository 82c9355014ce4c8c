package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/koresim"
)

// SimulateOptions are the flags of poller simulate.
type SimulateOptions struct {
	Listen            string
	AnyPort           bool // take another port if that of Listen is taken
	Seed              uint64
	Accounts, Bots    int
	SegmentsPerDay    int           // per account
	History           time.Duration // how much has happened before the start
	Burst             bool          // conversations take seconds instead of minutes
	Profile           string        // one consistent answer to what is not known about the real API
	RequestsPerMinute int
	FaultRate         float64  // of all answers
	Faults            []string // kinds; empty for all that a client must get over by itself

	// What the configuration says of Kafka.
	Brokers  []string
	Registry string // empty for none
	Prefix   string // of topics; empty for the default
}

// Simulate serves the simulated API until ctx ends, and prints a configuration to read it with.
func Simulate(ctx context.Context, out app.Output, o SimulateOptions) error {
	profile, ok := koresim.ProfileNamed(o.Profile)
	if !ok {
		var names []string
		for _, p := range koresim.Profiles() {
			names = append(names, p.Name)
		}
		return &app.UsageError{Err: fmt.Errorf("there is no profile %q; want one of %s", o.Profile, strings.Join(names, ", "))}
	}
	cfg := koresim.Config{
		Seed: o.Seed, Start: time.Now().Add(-o.History).UTC().Truncate(time.Second),
		Accounts: o.Accounts, Bots: o.Bots, SegmentsPerDay: o.SegmentsPerDay,
		Profile: profile, RequestsPerMinute: o.RequestsPerMinute, Faults: koresim.Faults{Rate: o.FaultRate, Seed: o.Seed},
	}
	for _, f := range o.Faults {
		cfg.Faults.Kinds = append(cfg.Faults.Kinds, koresim.Fault(f))
	}
	if o.Burst {
		cfg.Pace = koresim.Burst
	}
	if err := cfg.Validate(); err != nil {
		return &app.UsageError{Err: err}
	}
	sim, err := serveSim(o.Listen, cfg)
	if o.AnyPort && errors.Is(err, syscall.EADDRINUSE) {
		var other string
		if other, err = anyPort(o.Listen); err != nil {
			return err
		}
		if sim, err = serveSim(other, cfg); err == nil {
			out.Log.Warn("the address for the simulated API is taken; another one is used", "taken", o.Listen, "addr", sim.listener.Addr().String())
		}
	}
	if err != nil {
		return err
	}
	server, err := pollerListens(out.Log)
	if err != nil {
		return errors.Join(err, sim.listener.Close())
	}
	// One write, so that a poller that reads the file meanwhile finds all of it or nothing.
	_, err = fmt.Fprintf(out.Out, "# The simulated API listens on %s. A configuration that reads it:\n%s%s",
		sim.url, sim.config(o), server)
	if err != nil {
		return errors.Join(fmt.Errorf("print the configuration: %w", err), sim.listener.Close())
	}
	next := "Put the configuration above into poller.yaml. Then, in another terminal"
	if app.Terminal(out.Out) == nil {
		next = "Next, if the configuration is in poller.yaml"
	}
	fmt.Fprintf(out.Err, "The simulated API listens on %s until Ctrl-C.\n%s: poller check --config poller.yaml\n", sim.url, next)
	return sim.Serve(ctx, sim.listener)
}

// pollerListens returns the part of a configuration that has the poller listen where it can: nothing if it can by default.
func pollerListens(log *slog.Logger) (string, error) {
	var defaults app.Config
	defaults.SetDefaults()
	probe, err := net.Listen("tcp", defaults.Server.Listen)
	if err == nil {
		return "", probe.Close()
	}
	if probe, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return "", fmt.Errorf("find a port for the poller's status: %w", err)
	}
	address := probe.Addr().String()
	log.Warn("the address where pollers serve their status is taken; the configuration names another one", "taken", defaults.Server.Listen, "addr", address)
	return fmt.Sprintf("server: {listen: %q} # %s is taken\n", address, defaults.Server.Listen), probe.Close()
}

// simulator is a simulated API behind a socket.
type simulator struct {
	*koresim.Server
	listener net.Listener
	url      string
}

func serveSim(listen string, cfg koresim.Config) (*simulator, error) {
	server, err := koresim.New(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w; choose another address with --listen", listen, err)
	}
	return &simulator{Server: server, listener: listener, url: "http://" + listener.Addr().String()}, nil
}

// config returns a configuration that reads the simulated API.
func (s *simulator) config(o SimulateOptions) string {
	var b strings.Builder
	b.WriteString("accounts:\n")
	for _, a := range s.Accounts() {
		fmt.Fprintf(&b, "  - name: %s\n    base_url: %s\n    account_id: %s\n    auth: {client_id: %s, client_secret: %s}\n",
			a.Name, s.url, a.ID, a.ClientID, a.ClientSecret)
		if o.RequestsPerMinute > 0 {
			fmt.Fprintf(&b, "    requests_per_minute: %d\n", o.RequestsPerMinute)
		}
		if o.Burst && o.Profile == koresim.Profiles()[0].Name && o.FaultRate == 0 {
			b.WriteString("    allowed_lateness: 30s # no row of this API is late; by default 5m at least\n")
		}
		b.WriteString("    bots:\n")
		for _, bot := range a.Bots {
			fmt.Fprintf(&b, "      - {name: %s, bot_id: %s}\n", bot.Name, bot.ID)
		}
		fmt.Fprintf(&b, "    endpoints: {interaction-details: {iid: %s}}\n", a.Bots[0].ID)
	}
	brokers := make([]string, len(o.Brokers))
	for i, broker := range o.Brokers {
		brokers[i] = strconv.Quote(broker)
	}
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]\n", strings.Join(brokers, ", "))
	if o.Prefix != "" {
		fmt.Fprintf(&b, "  topic_prefix: %q\n", o.Prefix)
	}
	if o.Registry == "" {
		b.WriteString("# schema_registry: {url: http://localhost:8081} # most ready-made deserializers need one\n")
	} else {
		fmt.Fprintf(&b, "schema_registry: {url: %q}\n", o.Registry)
	}
	return b.String()
}

// Choices lists the profiles and the faults that SimulateOptions take, for the help.
func Choices() string {
	var b strings.Builder
	b.WriteString("Profiles:\n")
	for _, p := range koresim.Profiles() {
		fmt.Fprintf(&b, "  %-31s %s\n", p.Name, p.About)
	}
	b.WriteString("\nFaults (* does not pass by itself, and comes only if it is named):\n")
	passing := koresim.PassingFaults()
	names, about := "", ""
	line := func() { fmt.Fprintf(&b, "  %-31s %s\n", names, about) }
	for _, f := range koresim.FaultKinds() {
		name := string(f)
		if !slices.Contains(passing, f) {
			name += "*"
		}
		switch {
		case about == "":
			names = name
		case f.About() == about:
			names += ", " + name
		default:
			line()
			names = name
		}
		about = f.About()
	}
	line()
	return strings.TrimSuffix(b.String(), "\n")
}
