package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"agentassist-poller/internal/app"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// configSchema returns what says what is wrong with a document, as an editor would.
func configSchema(t *testing.T) func(src string) error {
	t.Helper()
	var printed bytes.Buffer
	require.NoError(t, app.PrintConfigSchema(&printed))
	document, err := jsonschema.UnmarshalJSON(&printed)
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("config.schema.json", document))
	s, err := c.Compile("config.schema.json")
	require.NoError(t, err)
	return func(src string) error {
		var value any
		if err := yaml.Unmarshal([]byte(src), &value); err != nil {
			return err
		}
		asJSON, err := json.Marshal(value)
		require.NoError(t, err)
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		require.NoError(t, err)
		return s.Validate(instance)
	}
}

// unseen are the files in testdata/bad with which a schema finds no fault, and why.
var unseen = map[string]string{
	"empty":                  "the environment may hold everything",
	"no_bots":                "the environment may name them",
	"no_secret":              "the environment may hold it",
	"environment_typo":       "the file is right",
	"no_endpoints":           "the environment may switch one on; and four settings are at fault together",
	"same_account_twice":     "relates two items of a list",
	"same_bot_twice":         "relates two items of a list",
	"secret_twice":           "relates two settings",
	"sweep_beyond_retention": "compares two durations",
	"start_in_the_future":    "needs a clock",
	"secret_file_missing":    "needs the files",
	"admin_address":          "addresses are texts",
	"admin_by_name":          "addresses are texts",
	"admin_token":            "relates two settings, and needs the files",
	"admin_without_token":    "relates two settings",
	"privacy_without_key":    "relates two settings",
	"privacy_short_key":      "needs the files",
	"traces_endpoint_user":   "addresses are texts",
	"traces_nowhere":         "relates two settings",
	"traces_tls":             "relates two settings",
}

func TestSchemaOfBadConfigurations(t *testing.T) {
	wrong := configSchema(t)
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		err := wrong(read(t, file))
		if why, ok := unseen[name]; ok {
			require.NoError(t, err, "%s: %s", name, why)
		} else {
			require.Error(t, err, name)
		}
	}
	for name := range unseen {
		require.FileExists(t, "testdata/bad/"+name+".yaml")
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Everything that the program reads, and everything that documents show, is right by the schema.
func TestSchemaOfGoodConfigurations(t *testing.T) {
	wrong := configSchema(t)
	all := map[string]string{
		"good":               good,
		"reference":          read(t, "../../docs/reference-config.yaml"),
		"effective":          strings.ReplaceAll(read(t, "testdata/effective.yaml"), `"[redacted]"`, "s3cret"),
		"nothing":            "",
		"sections are empty": "accounts:\nkafka:\nschema_registry: {tls: }\nlog:\n",
	}
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "../../README.md") {
		for i, block := range yamlBlock.FindAllStringSubmatch(read(t, page), -1) {
			all[filepath.Base(page)+" "+strconv.Itoa(i)] = block[1]
		}
	}
	require.Contains(t, all, "README.md 0")
	for name, src := range all {
		require.NoError(t, wrong(src), name)
	}
}

// Of each kind of setting, the schema takes every way of writing it that the program takes, and little else.
func TestSchemaAgreesWithTheProgram(t *testing.T) {
	wrong := configSchema(t)
	environ := []string{"A=1", "NOTHING=", "POLLER_KAFKA_BROKERS=b:9092"}
	written := []string{
		`""`, "x", "0", "1", `"0"`, `"12"`, "12", "-1", "+5", "1e3", `"1e3"`, `"1.5e1"`, "1.5", `"1.5"`, ".5", "true", "false", `"true"`, `"yes"`, "yes", "null", "~", "[]", "[a]", "{}", "{a: b}",
		"7d", "1d12h", "1.5h", "-5s", "15", `"1h30m"`, "1h 30m", "d", "1d-1h", "300ms", "12µs", "1s1", "99999", `"2000000000"`,
		"32MiB", `" 32 MiB"`, "1GiB", "MiB", "257MiB",
		"now", "7d ago", "-7d ago", `"36h  ago"`, "ago", "2026-11-01", "2026-11-01T00:00:00Z", "2026-11-01T5:30:00.25+05:30", "2026-11-01 00:00",
		"auto", "keep", "drop", "info", "INFO", "snappy", "none", "PLAIN", "event", "message", "[message, search]", "[nothing]", "search",
		`"${A}"`, "a${A}b", `"${A"`, `"$${A"`, `"$$${A}"`, `"$"`, `"$$"`, `"a$b{"`, `"${1A}"`, `"${}"`, `"[redacted]"`, `"${NOTHING}"`, `"a\nb"`,
	}
	// Why the program may refuse what the schema takes: ranges, signs and relations, and what variables stand for.
	lax := regexp.MustCompile(`want between|too short|want at least|is not an id|lies |longer than|smaller|is missing|is empty|"[-+.]|"2000000000"`)
	const account = "accounts: [{name: a, account_id: a1, auth: {client_id: c, client_secret: s}, bots: [{bot_id: st-1}], "
	for setting, document := range map[string]string{
		"number":      account + "requests_per_minute: VALUE}]",
		"text":        "kafka: {client_id: VALUE}",
		"name":        "accounts: [{name: VALUE, account_id: a1, auth: {client_id: c, client_secret: s}, bots: [{bot_id: st-1}]}]",
		"secret":      "accounts: [{name: a, account_id: a1, auth: {client_id: c, client_secret: VALUE}, bots: [{bot_id: st-1}]}]",
		"size":        account + "max_body: VALUE}]",
		"start":       account + "start: VALUE}]",
		"lateness":    account + "allowed_lateness: VALUE}]",
		"bots":        "accounts: [{name: a, account_id: a1, auth: {client_id: c, client_secret: s}, bots: VALUE}]",
		"other bots":  account + "other_bots: VALUE}]",
		"not taken":   account + "endpoints: {interactions: {iid: VALUE}}}]",
		"duration":    "kafka: {linger: VALUE}",
		"choice":      "kafka: {compression: VALUE}",
		"level":       "log: {level: VALUE}",
		"switch":      "kafka: {headers: VALUE}",
		"float":       "events: {nps: {negative_up_to: VALUE, positive_from: 100000}}",
		"list":        "kafka: {latest: VALUE}",
		"table":       "kafka: {topics: {overrides: VALUE}}",
		"texts":       "kafka: {sasl: {extensions: VALUE}}",
		"replication": "kafka: {topics: {replication_factor: VALUE}}",
		"section":     "shutdown: VALUE",
	} {
		for _, value := range written {
			src := strings.ReplaceAll(document, "VALUE", value)
			if !strings.HasPrefix(src, "accounts:") {
				src = account + "}]\n" + src
			}
			_, _, err := app.Parse(app.LoadOptions{SkipFiles: true, Environ: environ}, []byte(src))
			bySchema := wrong(src)
			switch {
			case err == nil && bySchema != nil:
				t.Errorf("%s: %s: the program takes what the schema refuses: %v", setting, value, bySchema)
			case err != nil && bySchema == nil && !lax.MatchString(err.Error()) && !strings.Contains(value, "${"):
				t.Errorf("%s: %s: the schema takes what the program refuses: %v", setting, value, err)
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	src, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(src)
}
