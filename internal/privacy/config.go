package privacy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/secret"
)

// Config says what becomes of personal data: of a field what Fields says, else what its class says, else what the preset says.
type Config struct {
	Preset  string `yaml:"preset"`
	Name    string `yaml:"name"`
	Contact string `yaml:"contact"`
	Text    string `yaml:"text"`
	ID      string `yaml:"id"`
	Raw     string `yaml:"raw"`
	// Fields by path: agent.name of all types, conversation.customer_phone of one.
	Fields  map[string]string `yaml:"fields"`
	Key     secret.Secret     `yaml:"key"`
	KeyFile string            `yaml:"key_file"`
}

// The presets.
const (
	PresetNone   = "none"   // everything is kept
	PresetStrict = "strict" // no names, addresses, numbers and texts; ids are hashed
)

var presets = map[string]map[Class]Mode{
	PresetNone:   {Name: Keep, Contact: Keep, Text: Keep, ID: Keep},
	PresetStrict: {Name: Drop, Contact: Drop, Text: Drop, ID: Hash},
}

var modes = []string{string(Keep), string(Drop), string(Hash), string(Mask)}

// minKey is how long the key must be, so that nobody finds out by trying which text a hash is of.
const minKey = 16

// The field of dead letters that holds what could not be read.
const (
	deadLetter = events.Type("dead-letter")
	rawBytes   = "raw_bytes"
)

// Limits says what settings may be where their types allow more.
func (c *Config) Limits() conf.Limits {
	limits := conf.Limits{"preset": {OneOf: slices.Sorted(maps.Keys(presets))}}
	for _, class := range []Class{Name, Contact, Text, ID, Raw} {
		limits[string(class)] = conf.Limit{OneOf: append([]string{""}, modes...)}
	}
	return limits
}

// A Problem is one thing to correct in the section. Its path starts below the section.
type Problem struct{ Path, Text string }

// Validate returns everything that is wrong with the section. It does no I/O.
func (c *Config) Validate() (problems []Problem) {
	add := func(path, format string, args ...any) {
		problems = append(problems, Problem{path, fmt.Sprintf(format, args...)})
	}
	if presets[c.Preset] == nil {
		add("preset", "%q; want %s or %s", c.Preset, PresetNone, PresetStrict)
	}
	for _, class := range []Class{Name, Contact, Text, ID, Raw} {
		if mode := c.chosen(class); mode != "" && !slices.Contains(modes, mode) {
			add(string(class), "%q; want one of %s, or nothing for what the preset says", mode, strings.Join(modes, ", "))
		}
	}
	known := fields()
	for _, path := range slices.Sorted(maps.Keys(c.Fields)) {
		mode := c.Fields[path]
		at := "fields." + path
		switch {
		case !known[path]:
			hint := "docs/events.md names them all"
			if near := conf.Nearest(path, slices.Sorted(maps.Keys(known))); near != "" {
				hint = "did you mean " + near + "?"
			}
			add(at, "no field of that name holds personal data; %s", hint)
		case !slices.Contains(modes, mode):
			add(at, "%q; want one of %s", mode, strings.Join(modes, ", "))
		case path == string(deadLetter)+"."+rawBytes && mode != string(Keep) && mode != string(Drop):
			add(at, "%q; want %s or %s: bytes that could not be read cannot be changed", mode, Keep, Drop)
		}
	}
	if len(problems) > 0 || !c.Hides() {
		return problems
	}
	switch n := len(c.Key.Reveal()); {
	case n == 0 && c.KeyFile == "":
		add("key_file", "is missing; what is not kept needs a key, in a file of at least %d bytes, such as openssl rand -hex 32 prints", minKey)
	case n > 0 && n < minKey:
		add("key", "has %d bytes; want at least %d, such as openssl rand -hex 32 prints", n, minKey)
	}
	return problems
}

// Hides reports whether anything is not kept, which needs a key.
func (c *Config) Hides() bool {
	p := newPolicy(c.mode, nil)
	return p.hides() > 0 || !p.keepRaw
}

// Policy returns the policy of a valid configuration, nil if everything is kept. It reads the key.
func (c *Config) Policy() (*Policy, error) {
	if !c.Hides() {
		return nil, nil
	}
	key := c.Key
	if c.KeyFile != "" {
		var err error
		if key, err = secret.FromFile(c.KeyFile); err != nil {
			return nil, err
		}
	}
	if n := len(key.Reveal()); n < minKey {
		return nil, fmt.Errorf("the key has %d bytes; want at least %d, such as openssl rand -hex 32 prints", n, minKey)
	}
	return newPolicy(c.mode, []byte(key.Reveal())), nil
}

// mode returns what becomes of a field.
func (c *Config) mode(t events.Type, path string, class Class) Mode {
	for _, name := range []string{string(t) + "." + path, path} {
		if mode := c.Fields[name]; mode != "" {
			return Mode(mode)
		}
	}
	return c.ofClass(class)
}

// ofClass returns what becomes of fields of a class that are not named. Raw JSON is dropped as soon as anything that it may hold is not kept,
// unless the configuration says otherwise.
func (c *Config) ofClass(class Class) Mode {
	if mode := c.chosen(class); mode != "" {
		return Mode(mode)
	}
	if class != Raw {
		return presets[c.Preset][class]
	}
	for _, other := range []Class{Name, Contact, Text, ID} {
		if c.ofClass(other) != Keep {
			return Drop
		}
	}
	for _, mode := range c.Fields {
		if mode != string(Keep) {
			return Drop
		}
	}
	return Keep
}

func (c *Config) chosen(class Class) string {
	return map[Class]string{Name: c.Name, Contact: c.Contact, Text: c.Text, ID: c.ID, Raw: c.Raw}[class]
}

// fields returns the paths that Fields may have.
func fields() map[string]bool {
	all := map[string]bool{string(deadLetter) + "." + rawBytes: true}
	for _, t := range events.Types() {
		sitesOf(t, func(path string, _ Class) Mode {
			all[path], all[string(t)+"."+path] = true, true
			return Keep
		})
	}
	return all
}
