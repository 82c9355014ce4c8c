package kafkatest

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
)

//go:embed testdata/clients.xml
var clients []byte

// Java runs a program of one source file, with Flink, Avro and Kafka's client in its class path, and returns what it prints. It fails the test
// if that does not work, with what the program says on standard error.
func Java(t testing.TB, source string, stdin io.Reader, args ...string) string {
	t.Helper()
	dir, err := install(t.Context(), clients, "dependency:copy-dependencies@jars")
	if err != nil {
		t.Fatal(err)
	}
	out, said, err := runJava(t.Context(), filepath.Join(dir, "jars", "*"), source, stdin, args...)
	if err != nil {
		t.Fatalf("run %s: %v\n%s", source, err, said)
	}
	return out
}

func runJava(ctx context.Context, classpath, source string, stdin io.Reader, args ...string) (out, said string, err error) {
	fixed := []string{"-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath, source}
	cmd := exec.CommandContext(ctx, "java", append(fixed, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Run(); err != nil {
		return "", stderr.String(), fmt.Errorf("java: %w", err)
	}
	return stdout.String(), stderr.String(), nil
}
