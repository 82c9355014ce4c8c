package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"agentassist-poller/internal/check"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/schemas"
)

const schemaExt = ".avsc"

// SchemasList prints the name of each schema, and what it is of.
func SchemasList(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, name := range SchemaNames() {
		fmt.Fprintf(table, "%s\t%s\n", name, events.Doc(events.Type(name)))
	}
	return table.Flush()
}

// SchemasShow prints the schema that is named.
func SchemasShow(out io.Writer, name string) error {
	text, err := fs.ReadFile(schemas.Files, name+schemaExt)
	if err != nil {
		return &UsageError{fmt.Errorf("there is no schema %q; want one of %s", name, strings.Join(SchemaNames(), ", "))}
	}
	_, err = out.Write(text)
	return err
}

// SchemaNames are those of all schemas.
func SchemaNames() []string {
	files, err := fs.Glob(schemas.Files, "*"+schemaExt)
	if err != nil {
		panic(err) // the pattern is right, and the files are part of the binary
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], schemaExt)
	}
	return files
}

// SchemasWrite writes all schemas into a directory, which it makes if need be.
func SchemasWrite(out io.Writer, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write schemas: %w", err)
	}
	for _, name := range SchemaNames() {
		text, err := fs.ReadFile(schemas.Files, name+schemaExt)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, name+schemaExt)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return fmt.Errorf("write schemas: %w", err)
		}
		fmt.Fprintln(out, path)
	}
	return nil
}

// SchemasOptions are the flags of the commands that ask the schema registry.
type SchemasOptions struct {
	JSON   bool
	Color  bool
	DryRun bool // of register
}

// SchemasCheck asks the registry whether it has the schemas of this version, or would take them. It changes nothing.
func SchemasCheck(ctx context.Context, c *Config, out Output, o SchemasOptions) error {
	return schemasWith(ctx, "check", kafka.InspectRegistry, c, out, o)
}

// SchemasRegister registers the schemas that are missing, and sets the compatibility of their subjects. With DryRun it only checks.
func SchemasRegister(ctx context.Context, c *Config, out Output, o SchemasOptions) error {
	if o.DryRun {
		dry := *c
		dry.SchemaRegistry.Register = true
		return schemasWith(ctx, "check", kafka.InspectRegistry, &dry, out, o)
	}
	return schemasWith(ctx, "register", kafka.RegisterSchemas, c, out, o)
}

// schemasWith prints what the registry says, and returns an error if it refuses a schema.
func schemasWith(ctx context.Context, what string, ask func(context.Context, kafka.Options) []kafka.Finding, c *Config, out Output, o SchemasOptions) error {
	if c.SchemaRegistry.URL == "" {
		return &UsageError{errors.New("no schema registry is configured; set schema_registry.url, or show the schemas with poller schemas show")}
	}
	results := check.Results(ask(ctx, topicOptions(c)))
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s schemas: %w", what, err)
	}
	var err error
	if o.JSON {
		err = printJSON(out.Out, results)
	} else {
		err = check.Print(out.Out, results, o.Color)
	}
	if err != nil {
		return err
	}
	if n := check.Failures(results); n > 0 {
		return fmt.Errorf("%s schemas at %s: %s", what, c.SchemaRegistry.URL, plural(n, "failure"))
	}
	return nil
}
