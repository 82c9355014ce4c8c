package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"agentassist-poller/schemas"

	"github.com/stretchr/testify/require"
)

// What is in the tree must be what the schemas give; go generate ./internal/events brings it about.
func TestTreeIsGenerated(t *testing.T) {
	want, err := generate(schemas.Files)
	require.NoError(t, err)
	found, err := filepath.Glob("../*_gen.go")
	require.NoError(t, err)
	for _, path := range append(found, filepath.Join("..", documentation)) {
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel("..", path)
		require.NoError(t, err)
		require.Contains(t, want, name, "no schema gives this file")
		if string(want[name]) != string(got) {
			t.Errorf("%s differs from its schema; run go generate ./internal/events", name)
		}
		delete(want, name)
	}
	require.Empty(t, want, "files that are not in the tree")
}

// variant returns the schemas with search.avsc changed.
func variant(t *testing.T, change func(search map[string]any, body []any)) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, name := range []string{"search.avsc", "feedback.avsc"} {
		text, err := schemas.Files.ReadFile(name)
		require.NoError(t, err)
		if name == "search.avsc" {
			var v map[string]any
			require.NoError(t, json.Unmarshal(text, &v))
			change(v, v["fields"].([]any)[headerLen:])
			text, err = json.Marshal(v)
			require.NoError(t, err)
		}
		fsys[name] = &fstest.MapFile{Data: text}
	}
	return fsys
}

func TestFieldCountsSinceItsRecipe(t *testing.T) {
	files, err := generate(variant(t, func(_ map[string]any, body []any) {
		body[2].(map[string]any)["since"] = 2
	}))
	require.NoError(t, err)
	text := string(files["search_gen.go"])
	require.Contains(t, text, "if recipe >= 2 {\n\t\tdst = contentStr(dst, \"search_phrase\", e.SearchPhrase)\n\t}")
	require.Equal(t, 1, strings.Count(text, "recipe >= "))
}

// A field that is renamed counts as it did before, so that a rename publishes nothing.
func TestRenamedFieldCountsUnderItsFirstName(t *testing.T) {
	files, err := generate(variant(t, func(_ map[string]any, body []any) {
		field := body[2].(map[string]any)
		field["name"], field["hashed_as"] = "phrase", field["name"]
	}))
	require.NoError(t, err)
	require.Contains(t, string(files["search_gen.go"]), `dst = contentStr(dst, "search_phrase", e.Phrase)`)
}

func TestGenerateRefuses(t *testing.T) {
	setType := func(typ any) func(map[string]any, []any) {
		return func(_ map[string]any, body []any) { body[0].(map[string]any)["type"] = typ }
	}
	tests := map[string]struct {
		change func(map[string]any, []any)
		want   string
	}{
		"int":         {setType("int"), `read search.avsc: field Search.via: type "int" is not allowed`},
		"enum":        {setType(map[string]any{"type": "enum", "name": "E", "symbols": []string{"A"}}), "is not allowed"},
		"micros":      {setType(map[string]any{"type": "long", "logicalType": "timestamp-micros"}), "is not allowed"},
		"wide union":  {setType([]string{"null", "string", "long"}), "is not null and one type"},
		"null second": {setType([]string{"string", "null"}), "is not null and one type"},
		"other header": {func(search map[string]any, _ []any) {
			search["fields"].([]any)[3].(map[string]any)["doc"] = "Something else."
		}, "the headers of feedback.avsc and search.avsc differ"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := generate(variant(t, tt.change))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestGoName(t *testing.T) {
	for in, want := range map[string]string{
		"csat_score": "CSATScore", "count_faqs": "CountFAQs", "automation_bot_ids": "AutomationBotIDs", "step_json": "StepJSON", "via": "Via",
	} {
		require.Equal(t, want, goName(in))
	}
}
