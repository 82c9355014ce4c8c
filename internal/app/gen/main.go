// Command gen writes the JSON Schema of the configuration, as docs/config.schema.json and into the schema of the chart's values. It is run by
// go generate in internal/app.
package main

import (
	"bytes"
	"errors"
	"log"
	"os"

	"agentassist-poller/internal/app"
)

// Where the files are, seen from package app.
const (
	alone = "../../docs/config.schema.json"
	chart = "../../deploy/helm/agentassist-poller/values.schema.json"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	if err := generate(); err != nil {
		log.Fatal(err)
	}
}

func generate() error {
	schema, err := app.ConfigSchema()
	if err != nil {
		return err
	}
	text, err := app.Indented(schema)
	if err != nil {
		return err
	}
	if err := os.WriteFile(alone, text, 0o644); err != nil {
		return err
	}
	values, err := os.ReadFile(chart)
	if err != nil {
		return err
	}
	// Helm reads draft 7, in which definitions are what $defs are now.
	definitions := schema.Defs
	schema.Dialect, schema.Defs = "", nil
	definitions["config"] = schema
	if text, err = app.Indented(definitions); err != nil {
		return err
	}
	text = bytes.ReplaceAll(bytes.TrimSpace(text), []byte("#/$defs/"), []byte("#/definitions/"))
	mark := []byte(`  "definitions": `)
	written, _, found := bytes.Cut(values, mark)
	if !found {
		return errors.New(chart + " has no definitions, which are generated")
	}
	text = bytes.ReplaceAll(text, []byte("\n"), []byte("\n  "))
	return os.WriteFile(chart, append(append(append(written, mark...), text...), "\n}\n"...), 0o644)
}
