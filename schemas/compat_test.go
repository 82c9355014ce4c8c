package schemas_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentassist-poller/schemas"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
)

// compatible says what in newer breaks readers or writers of older, or makes the poller publish again what has not changed.
// Registries check less: they let a logical type change, and they know nothing of content.
func compatible(older, newer string) error {
	was, err := avro.Parse(older)
	if err != nil {
		return err
	}
	is, err := avro.Parse(newer)
	if err != nil {
		return err
	}
	return errors.Join(
		wrap("new readers, old records", avro.CheckCompatibility(was, is)),
		wrap("old readers, new records", avro.CheckCompatibility(is, was)),
		sameMeaning(older, newer),
	)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// sameMeaning compares what Avro's rules do not: names, logical types and what counts as content.
func sameMeaning(older, newer string) error {
	var was, is node
	if err := errors.Join(json.Unmarshal([]byte(older), &was), json.Unmarshal([]byte(newer), &is)); err != nil {
		return err
	}
	var errs []error
	for _, key := range []string{"name", "namespace", "hashed_header"} {
		if fmt.Sprint(was[key]) != fmt.Sprint(is[key]) {
			errs = append(errs, fmt.Errorf("%s was %v, is %v", key, was[key], is[key]))
		}
	}
	before, recipe := facts(was)
	after, _ := facts(is)
	for path, now := range after {
		then, known := before[path]
		switch {
		case known && then != now:
			errs = append(errs, fmt.Errorf("%s was %+v, is %+v", path, then, now))
		case !known && now.counts && now.since <= recipe:
			errs = append(errs, fmt.Errorf("%s is new, so it may count only since recipe %d, not %d", path, recipe+1, now.since))
		}
	}
	return errors.Join(errs...)
}

// fact is what must stay as it is for a field once it is released.
type fact struct {
	logicalType       string
	countsAs          string // empty if it counts under its own name
	counts, unordered bool
	since             int
	personal          bool // it counts by a token where privacy is configured
}

// facts returns what is known of each field by its path, and the recipe that the schema belongs to.
func facts(schema node) (byPath map[string]fact, recipe int) {
	byPath = map[string]fact{}
	recipe = 1
	records(schema, func(path string, r node) {
		for _, f := range fieldsOf(r) {
			x := fact{counts: f["hashed"] != false, unordered: f["unordered"] == true, since: 1, personal: f["personal"] != nil}
			if since, ok := f["since"].(float64); ok {
				x.since = int(since)
			}
			if as, ok := f["hashed_as"]; ok && as != f["name"] {
				x.countsAs = as.(string)
			}
			walk("", f["type"], func(_ string, typ any) {
				if t, ok := typ.(node); ok && t["type"] != "record" {
					x.logicalType += fmt.Sprint(t["logicalType"], ";")
				}
			})
			recipe = max(recipe, x.since)
			byPath[path+"."+f["name"].(string)] = x
		}
	})
	return byPath, recipe
}

// Every schema must get along with every version of it that was released, not with the last one alone.
func TestCompatibleWithAllReleases(t *testing.T) {
	released, err := filepath.Glob("released/*/*.avsc")
	require.NoError(t, err)
	require.NotEmpty(t, released)
	for _, path := range released {
		t.Run(path, func(t *testing.T) {
			older, err := os.ReadFile(path)
			require.NoError(t, err)
			newer, err := schemas.Files.ReadFile(filepath.Base(path))
			require.NoError(t, err, "a released schema must not go away")
			require.NoError(t, compatible(string(older), string(newer)))
		})
	}
}

func TestIncompatibleChangesAreRefused(t *testing.T) {
	field := func(extra string) string {
		return `{"type":"record","name":"R","namespace":"agentassist.v1","doc":"d","hashed_header":[],"fields":[
			{"name":"a","type":"string","default":"","since":1},
			{"name":"n","type":"long","default":0,"since":1},
			{"name":"t","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null,"since":1},
			{"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"x","type":["null","string"],"default":null}]}},"default":[],"since":1}` +
			extra + `]}`
	}
	base := field("")
	edit := func(old, new string) string {
		before, after, found := strings.Cut(base, old)
		require.True(t, found, "%q", old)
		return before + new + after
	}
	tests := map[string]struct {
		newer string
		want  string // empty where the change is fine
	}{
		"nothing":                     {base, ""},
		"other words":                 {edit(`"doc":"d"`, `"doc":"other"`), ""},
		"new field since the next":    {field(`,{"name":"b","type":["null","string"],"default":null,"since":2}`), ""},
		"new field that never counts": {field(`,{"name":"b","type":["null","string"],"default":null,"since":1,"hashed":false}`), ""},
		"new field since the present": {field(`,{"name":"b","type":["null","string"],"default":null,"since":1}`), "may count only since recipe 2"},
		"new inner field":             {edit(`"fields":[{"name":"x"`, `"fields":[{"name":"y","type":["null","string"],"default":null},{"name":"x"`), ".l[].y is new"},
		"new field without default":   {field(`,{"name":"b","type":"string","since":2}`), "new readers, old records"},
		"field with no default gone":  {edit(`{"name":"a","type":"string","default":"","since":1},`, ""), ""},
		"long to nullable":            {edit(`"type":"long","default":0`, `"type":["null","long"],"default":null`), "old readers, new records"},
		"long to double":              {edit(`"type":"long","default":0`, `"type":"double","default":0`), "old readers, new records"},
		"long to int":                 {edit(`"type":"long","default":0`, `"type":"int","default":0`), "new readers, old records"},
		"string to enum":              {edit(`"type":"string","default":""`, `"type":{"type":"enum","name":"E","symbols":["A"]},"default":"A"`), "records"},
		"millis to micros":            {edit("timestamp-millis", "timestamp-micros"), ".t was"},
		"millis to plain":             {edit(`{"type":"long","logicalType":"timestamp-millis"}`, `"long"`), ".t was"},
		"plain to millis":             {edit(`"type":"long","default":0`, `"type":{"type":"long","logicalType":"timestamp-millis"},"default":0`), ".n was"},
		"no longer counts":            {edit(`"default":0,"since":1`, `"default":0,"since":1,"hashed":false`), ".n was"},
		"personal data from now on":   {edit(`"default":0,"since":1`, `"default":0,"since":1,"personal":"id"`), ".n was"},
		"counts since another":        {edit(`"default":0,"since":1`, `"default":0,"since":2`), ".n was"},
		"order no longer counts":      {edit(`"default":[],"since":1`, `"default":[],"since":1,"unordered":true`), ".l was"},
		"header counts":               {edit(`"hashed_header":[]`, `"hashed_header":["channel"]`), "hashed_header was"},
		"other name":                  {edit(`"name":"R"`, `"name":"S"`), "name was R"},
		"other namespace":             {edit(`agentassist.v1`, `agentassist.v2`), "namespace was"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := compatible(base, tt.newer)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}
