package conf_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/secret"

	"github.com/stretchr/testify/require"
)

type settings struct {
	Name    string            `yaml:"name"`
	Count   int               `yaml:"count"`
	Share   float64           `yaml:"share"`
	Every   time.Duration     `yaml:"every"`
	On      bool              `yaml:"on"`
	Token   secret.Secret     `yaml:"token"`
	Plain   string            `yaml:"plain" secret:"true"`
	Tags    []string          `yaml:"tags"`
	Limits  map[string]int    `yaml:"limits"`
	Servers []server          `yaml:"servers"`
	Own     *login            `yaml:"own"`
	Zones   map[string]server `yaml:"zones"`
	Ignored string
}

type server struct {
	Host  string `yaml:"host"`
	Port  int    `yaml:"port-number"`
	Login login  `yaml:"login"`
}

func (s *server) SetDefaults() { s.Port = 80 }

type login struct {
	User string `yaml:"user"`
}

func decode(t *testing.T, yaml string, environ ...string) (settings, []string, []conf.Problem) {
	t.Helper()
	s := settings{Name: "default", Limits: map[string]int{"kept": 1}}
	doc := conf.Decode(conf.Options{Name: "f.yaml", YAML: []byte(yaml), Environ: environ, Prefix: "APP_"}, &s)
	err := doc.Err()
	if err == nil {
		return s, nil, doc.Warnings()
	}
	_, ok := errors.AsType[*conf.Error](err)
	require.True(t, ok)
	return s, strings.Split(err.Error(), "\n"), doc.Warnings()
}

func TestDecode(t *testing.T) {
	s, problems, warnings := decode(t, `
# every kind of value
count: 3
share: 0.5
every: 1d12h
on: true
token: ${TOKEN}
plain: $${not a variable}
tags: [a, "b"]
limits: {other: 2}
servers:
  - host: 007
  - {host: b, port-number: 8080, login: {user: u}}
own: {user: me}
`, "TOKEN=s3cret: [not yaml", "UNRELATED=x")
	require.Empty(t, problems)
	require.Empty(t, warnings)
	require.Equal(t, settings{
		Name: "default", Count: 3, Share: 0.5, Every: 36 * time.Hour, On: true, Token: secret.New("s3cret: [not yaml"),
		Plain: "${not a variable}", Tags: []string{"a", "b"}, Limits: map[string]int{"kept": 1, "other": 2},
		Servers: []server{{Host: "007", Port: 80}, {Host: "b", Port: 8080, Login: login{"u"}}}, Own: &login{"me"},
	}, s)
}

func TestEmptyKeepsDefaults(t *testing.T) {
	for _, src := range []string{"", "# nothing\n", "---\n", "servers:\nlimits:\nown:\n", "~\n"} {
		s, problems, _ := decode(t, src)
		require.Empty(t, problems, src)
		require.Equal(t, settings{Name: "default", Limits: map[string]int{"kept": 1}}, s, src)
	}
}

// Helm passes numbers through JSON and writes large ones with an exponent.
func TestWholeNumbersWithExponent(t *testing.T) {
	s, problems, _ := decode(t, "count: 1e+06")
	require.Empty(t, problems)
	require.Equal(t, 1_000_000, s.Count)
	for _, bad := range []string{"1e-3", "1.5", "1.0", "1e99", "0x10", "Inf"} {
		_, problems, _ := decode(t, "count: "+bad)
		require.Len(t, problems, 1, bad)
	}
}

func TestMergeAndAlias(t *testing.T) {
	s, problems, _ := decode(t, `
servers:
  - &first {host: a, login: &who {user: u}}
  - <<: *first
    host: b
  - {host: c, login: *who}
`)
	require.Empty(t, problems)
	require.Equal(t, []server{{"a", 80, login{"u"}}, {"b", 80, login{"u"}}, {"c", 80, login{"u"}}}, s.Servers)
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, yaml string
		environ    []string
		want       []string
	}{
		{"unknown", "nam: x", nil, []string{`f.yaml:1:1: nam: there is no such setting; did you mean name?`}},
		{"spelling", "servers: [{portNumber: 1}]", nil, []string{`f.yaml:1:12: servers[0].portNumber: there is no such setting; did you mean port-number?`}},
		{"wrong place", "host: x", nil, []string{`f.yaml:1:1: host: there is no such setting; did you mean host in the section servers?`}},
		{"nothing near", "own: {zzz: 1}", nil, []string{`f.yaml:1:7: own.zzz: there is no such setting; known here: user`}},
		{"duplicate", "name: a\ncount: 1\nname: b", nil, []string{`f.yaml:3:1: name: written twice; the first is on line 1`}},
		{"all at once", "count: many\nservers:\n  - prot: 1\n  - host: {}\nevery: soon\nshare: nan\non: yes", nil, []string{
			`f.yaml:1:8: count: "many": want a whole number`,
			`f.yaml:3:5: servers[0].prot: there is no such setting; known here: host, port-number, login`,
			`f.yaml:4:11: servers[1].host: is a section; want a single value`,
			`f.yaml:5:8: every: "soon": want a duration such as 15s, 5m, 36h or 7d`,
			`f.yaml:6:8: share: "nan": want a number`,
			`f.yaml:7:5: on: "yes": want true or false`,
		}},
		{"tab", "own:\n\tuser: a", nil, []string{`f.yaml:2:1: the file is not valid YAML: a tab begins a value or indents a line; indent with spaces`}},
		{"two colons", "name: a: b", nil, []string{`f.yaml:1:7: the file is not valid YAML: mapping value is not allowed in this context; check the indentation of this line and the next, and quote values that have a colon`}},
		{"indented too far", "own:\n  - a\n x: b", nil, []string{`f.yaml:3:2: the file is not valid YAML: value is not allowed in this context; check the indentation`}},
		{"no value", "name:\ncount: 1", nil, []string{`f.yaml:1:1: name: has no value; write one or remove the line`}},
		{"not a list", "tags: a", nil, []string{`f.yaml:1:7: tags: is a single value; want a list`}},
		{"not a section", "own: [a]", nil, []string{`f.yaml:1:6: own: is a list; want a section with keys such as user`}},
		{"not a table", "limits: 1", nil, []string{`f.yaml:1:9: limits: is a single value; want a section of names and values`}},
		{"list at the top", "- a", nil, []string{`f.yaml:1:1: the file holds a list; want keys such as accounts: and kafka:`}},
		{"two documents", "name: a\n---\nname: b", nil, []string{`f.yaml:3:1: a second document begins here; write everything in one`}},
		{"tag", "name: !!binary aGk=", nil, []string{`f.yaml:1:7: name: tags such as !!binary are not read; write the value alone`}},
		{"no anchor", "name: *who", nil, []string{`f.yaml:1:7: name: *who: no anchor &who stands before it`}},
		{"merge of a list", "own: {<<: [a]}", nil, []string{`f.yaml:1:12: own: <<: takes a section, not a single value`}},
		{"variable", "name: ${NAM}", []string{"NAME=x"}, []string{`f.yaml:1:7: name: ${NAM} is not set in the environment; did you mean ${NAME}?`}},
		{"reference", "name: a${b", nil, []string{`f.yaml:1:7: name: ${b is no reference to a variable; want ${NAME}, or $${ for a plain ${`}},
		{"value of a variable is not shown", "count: ${TOKEN}", []string{"TOKEN=s3cret"}, []string{`f.yaml:1:8: count: "${TOKEN}": want a whole number`}},
		{"typo in a name", "", []string{"APP_SERVERS_3_HSOT=x"}, []string{`$APP_SERVERS_3_HSOT: sets nothing; did you mean APP_SERVERS_3_HOST?`}},
		{"table without names", "", []string{"APP_LIMITS=4"}, []string{`$APP_LIMITS: limits: is a single value; want a section of names and values`}},
		{"index with a gap", "", []string{"APP_SERVERS_1_HOST=x"}, []string{`$APP_SERVERS_1_HOST: servers[1]: leaves a gap in the list; the next index is 0`}},
		{"bad value in a variable", "count: 1", []string{"APP_COUNT=x"}, []string{`$APP_COUNT: count: "x": want a whole number`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, problems, _ := decode(t, test.yaml, test.environ...)
			require.Equal(t, test.want, problems)
		})
	}
}

// A parser's message may show the line that it failed on. Ours must not: the line may hold a secret.
func TestSyntaxErrorsShowNoSource(t *testing.T) {
	for _, src := range []string{"token: \"s3cret", "token: [s3cret", "a: b: s3cret", "\tname: s3cret", "name: {s3cret", "? s3cret\n:\n- x", "%s3cret", "&s3cret"} {
		_, problems, _ := decode(t, src)
		for _, p := range problems {
			if !strings.Contains(p, "there is no such setting") {
				require.NotContains(t, p, "s3cret", src)
			}
		}
		require.NotEmpty(t, problems, src)
		t.Log(problems)
	}
}

func TestEnvironment(t *testing.T) {
	s, problems, warnings := decode(t, "name: file\nservers: [{host: a}]",
		"APP_NAME=env", "APP_TAGS= a, b ,", "APP_LIMITS=per.day=4,b=5", "APP_ZONES_NORTH_EAST_PORT_NUMBER=7", "APP_OWN_USER=me",
		"APP_SERVERS_0_LOGIN_USER=u", "APP_SERVERS_1_HOST=b", "APP_SERVERS_1_PORT_NUMBER=1", "APP_PORT_9092_TCP=tcp://x")
	require.Empty(t, problems)
	require.Equal(t, "env", s.Name)
	require.Equal(t, []string{"a", "b"}, s.Tags)
	require.Equal(t, map[string]int{"kept": 1, "per.day": 4, "b": 5}, s.Limits)
	require.Equal(t, map[string]server{"north-east": {Port: 7}}, s.Zones)
	require.Equal(t, []server{{"a", 80, login{"u"}}, {"b", 1, login{}}}, s.Servers)
	require.Equal(t, "me", s.Own.User)
	require.Len(t, warnings, 1)
	require.Equal(t, "$APP_PORT_9092_TCP: is set by Kubernetes for a service of that name, is not a setting, and is ignored", warnings[0].String())
}

// What Kubernetes sets for a service whose name begins like a setting is no setting that somebody misspelt.
func TestServiceLinks(t *testing.T) {
	for _, link := range []string{
		"APP_SERVERS_0_PORT=tcp://10.0.0.7:8081", "APP_NAMES_SERVICE_HOST=10.0.0.7", "APP_NAMES_SERVICE_PORT=8081", "APP_NAMES_SERVICE_PORT_HTTP=8081",
		"APP_NAMES_PORT_8081_TCP=tcp://10.0.0.7:8081", "APP_NAMES_PORT_8081_TCP_PROTO=tcp", "APP_NAMES_PORT_8081_TCP_PORT=8081",
		"APP_NAMES_PORT_8081_TCP_ADDR=10.0.0.7", "APP_NAME_PORT=tcp://10.0.0.7:8081",
	} {
		_, problems, warnings := decode(t, "name: x", link)
		require.Empty(t, problems, link)
		require.Len(t, warnings, 1, link)
		require.Contains(t, warnings[0].String(), "is set by Kubernetes", link)
	}
	_, problems, _ := decode(t, "name: x", "APP_NAMES=y", "APP_SERVERS_0_PORT_NUMBR=80")
	require.Len(t, problems, 2)
}

func TestEnvironmentBeyondTenEntries(t *testing.T) {
	var environ []string
	for i := range 12 {
		environ = append(environ, fmt.Sprintf("APP_SERVERS_%d_HOST=h%d", i, i))
	}
	s, problems, _ := decode(t, "", environ...)
	require.Empty(t, problems)
	require.Len(t, s.Servers, 12)
	require.Equal(t, "h11", s.Servers[11].Host)
}

func TestAliasesAreBounded(t *testing.T) {
	src := "name: x\ntags: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
	for i := 1; i < 9; i++ {
		src += fmt.Sprintf("x%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	_, problems, _ := decode(t, src)
	require.Contains(t, strings.Join(problems, "\n"), "more than 100000 values")
}

func TestPositionsOfLaterProblems(t *testing.T) {
	var s settings
	doc := conf.Decode(conf.Options{Name: "f.yaml", YAML: []byte("name: a\nservers:\n  - host: x\n")}, &s)
	doc.Add("servers[0].login.user", "is missing")
	doc.Add("name", "is taken")
	doc.Add("count", "is missing")
	doc.Add("name", "is taken")
	doc.Warn("servers[0].host", "is odd")
	require.True(t, doc.Has("servers[0].host"))
	require.False(t, doc.Has("servers[1].host"))
	require.EqualError(t, doc.Err(), "f.yaml:1:1: count: is missing\nf.yaml:1:7: name: is taken\nf.yaml:3:5: servers[0].login.user: is missing")
	require.Equal(t, "f.yaml:3:11: servers[0].host: is odd", doc.Warnings()[0].String())
}

func TestSecretsStayHidden(t *testing.T) {
	s, problems, _ := decode(t, "token: s3cret\nplain: s3cret\n")
	require.Empty(t, problems)
	require.Equal(t, "s3cret", s.Token.Reveal())
	require.NotContains(t, conf.Format(s), "s3cret")
	require.Equal(t, 2, strings.Count(conf.Format(s), secret.Redacted))
	_, problems, _ = decode(t, "token: {a: s3cret}\nplain: [s3cret]")
	require.Len(t, problems, 2)
	require.NotContains(t, strings.Join(problems, ""), "s3cret")
}

func TestFormatIsReadBack(t *testing.T) {
	in := settings{
		Name: "a: b #\n\"true\"", Count: -1, Share: 1.5, Every: 90 * time.Minute, On: true, Tags: []string{"true", "", "x y", "localhost:9092"},
		Limits: map[string]int{"b": 1, "a: x": 2}, Servers: []server{{"h", 1, login{"u"}}, {"i", 2, login{}}}, Own: &login{"me"},
	}
	var out settings
	doc := conf.Decode(conf.Options{Name: "f.yaml", YAML: []byte(conf.Format(in))}, &out)
	require.NoError(t, doc.Err())
	require.Equal(t, in, out)
}

func TestStrings(t *testing.T) {
	var got []string
	for path, value := range conf.Strings(&settings{Name: "n", Token: secret.New("s3cret"), Tags: []string{"a"}, Own: &login{"me"},
		Servers: []server{{Host: "h"}}, Zones: map[string]server{"z": {Host: "i"}}}) {
		got = append(got, path+"="+value)
	}
	require.Equal(t, []string{
		"name=n", "plain=", "tags[0]=a", "servers[0].host=h", "servers[0].login.user=", "own.user=me", "zones.z.host=i", "zones.z.login.user=",
	}, got)
}

func TestPaths(t *testing.T) {
	require.Equal(t, []string{
		"name", "count", "share", "every", "on", "token", "plain", "tags", "limits",
		"servers.host", "servers.port-number", "servers.login.user", "own.user",
		"zones.host", "zones.port-number", "zones.login.user",
	}, conf.Paths(settings{}))
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"15s": 15 * time.Second, "5m": 5 * time.Minute, "36h": 36 * time.Hour, "7d": 7 * 24 * time.Hour, "1h30m": 90 * time.Minute,
		"250ms": 250 * time.Millisecond, "0s": 0, "-1h": -time.Hour, "-1d": -24 * time.Hour,
	} {
		got, err := conf.ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		if text != "36h" && !strings.HasPrefix(text, "-1d") {
			require.Equal(t, text, conf.FormatDuration(got))
		}
	}
	for _, text := range []string{"", "7", "d", "1w", "1.5d", "7d-1h", "--1h", "99999d", "1d1d", "20000d2500000h", "-"} {
		_, err := conf.ParseDuration(text)
		require.Error(t, err, text)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name: a\nservers: [{host: ${H}}]\n", "APP_SERVERS_0_HOST=b")
	f.Add("a: &a [*a]\n<<: {x: 1}\n", "APP_LIMITS_X=1")
	f.Add("? {a: b}\n: c\n", "=")
	f.Add("a:\n- b: |\n   c\n  d: 'e'\n", "APP_")
	f.Fuzz(func(t *testing.T, yaml, environ string) {
		var s settings
		doc := conf.Decode(conf.Options{Name: "f.yaml", YAML: []byte(yaml), Environ: []string{environ}, Prefix: "APP_"}, &s)
		if doc.Err() == nil {
			_ = conf.Format(s)
		}
		for _, w := range doc.Warnings() {
			_ = w.String()
		}
	})
}
