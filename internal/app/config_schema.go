package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"agentassist-poller/docs"
	"agentassist-poller/internal/conf"
)

//go:generate go run ./gen

// ConfigSchema returns a JSON Schema of the configuration, for editors and for the chart. It accepts every file that Load accepts, whatever the
// environment holds, and refuses what no environment makes right, as far as a schema sees it: it knows keys and single values.
func ConfigSchema() (*conf.Schema, error) {
	descriptions, err := conf.Comments(docs.ReferenceConfig)
	if err != nil {
		return nil, fmt.Errorf("describe settings: %w", err)
	}
	var c Config
	c.SetDefaults()
	s := conf.NewSchema(&c, descriptions)
	s.Title = "Configuration of agentassist-poller"
	return s, nil
}

// PrintConfigSchema prints ConfigSchema.
func PrintConfigSchema(w io.Writer) error {
	s, err := ConfigSchema()
	if err != nil {
		return err
	}
	text, err := Indented(s)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// Indented is JSON as files hold it, with < and > as they are.
func Indented(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(v)
	return b.Bytes(), err
}
