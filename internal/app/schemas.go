package app

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"agentassist-poller/schemas"
)

const schemaExt = ".avsc"

// Schemas lists what there is to publish, prints the schema that is named, or writes all of them into a directory.
func Schemas(out io.Writer, name, dir string) error {
	files, err := fs.Glob(schemas.Files, "*"+schemaExt)
	if err != nil {
		return err
	}
	switch {
	case dir != "":
		return writeSchemas(out, files, dir)
	case name != "":
		text, err := fs.ReadFile(schemas.Files, name+schemaExt)
		if err != nil {
			return &UsageError{fmt.Errorf("there is no schema %q; want one of %s", name, strings.ReplaceAll(strings.Join(files, ", "), schemaExt, ""))}
		}
		_, err = out.Write(text)
		return err
	}
	for _, file := range files {
		fmt.Fprintln(out, strings.TrimSuffix(file, schemaExt))
	}
	return nil
}

func writeSchemas(out io.Writer, files []string, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write schemas: %w", err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(schemas.Files, file)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return fmt.Errorf("write schemas: %w", err)
		}
		fmt.Fprintln(out, path)
	}
	return nil
}
