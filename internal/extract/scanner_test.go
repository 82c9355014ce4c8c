package extract

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
)

// What the scanner takes, what it makes of it and where it stops is what the JSON library says: this is a test of the inside
// because pages show little of that.
func agree(t *testing.T, text string) {
	t.Helper()
	dec := jsontext.NewDecoder(bytes.NewBufferString(text), tolerant)
	want, wantErr := dec.ReadValue()
	want = want.Clone()
	r := newReader([]byte(text))
	got := r.value()
	if errors.Is(r.err, errDepth) { // the library reads on
		require.Greater(t, strings.Count(text, "[")+strings.Count(text, "{"), bound.Depth)
		require.Zero(t, r.kind())
		return
	}
	if wantErr != nil {
		require.Error(t, r.err, "%q", text)
		cut := errors.Is(wantErr, io.ErrUnexpectedEOF) || errors.Is(wantErr, io.EOF)
		require.Equal(t, cut, errors.Is(r.err, io.ErrUnexpectedEOF), "%q: %v, not %v", text, r.err, wantErr)
		require.Empty(t, got)
		require.Zero(t, r.kind(), "nothing comes after an error")
		return
	}
	require.NoError(t, r.err, "%q", text)
	require.Equal(t, string(want), got)
	require.EqualValues(t, dec.InputOffset(), r.pos)
	if got[0] == '"' {
		unquoted, _ := jsontext.AppendUnquote(nil, want)
		r = newReader([]byte(text))
		r.next()
		require.Equal(t, string(unquoted), r.unquote(r.quoted()))
	}
}

var scannerSeeds = []string{
	``, ` `, `null`, `true`, `false`, `nul`, `nulL`, `truefalse`, `0`, `-0`, `01`, `-`, `-a`, `1.`, `1.5`, `.5`, `1e`, `1e+`, `1E-07`, `+1`, `NaN`,
	`""`, `"a"`, `"`, `"a`, `"\"`, `"\n\/\\\""`, `"\x"`, `"\u00e9\ud83d\ude00\ud83d"`, `"\u12`, `"\u12"`, `"\uzzzz"`, "\"a\tb\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\xc3\"", "\"\xc3",
	`"12345678"`, `"1234567\""`, `"12345678\\"`, "\"1234567\x01\"", `"ÄÖÜäöüß€"`, "\"12345\xe2\x82\"",
	`[]`, `[ ]`, `[1,2 , 3]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `[1`, `[1,`, `]`, `[}`, `{}`, `{ }`, `{"a":1,"a":2}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{1:1}`, `{"a":1`, `{"a" : [ { } , null ] }`, `{"a":1]`, `{"a",1}`, "\x00", "[1\x00]", "\v1", "\u00a01",
}

func TestScanner(t *testing.T) {
	for _, text := range scannerSeeds {
		agree(t, text)
	}
	for _, depth := range []int{bound.Depth, bound.Depth + 1, 1_000_000} {
		for _, text := range []string{
			strings.Repeat("[", depth) + strings.Repeat("]", depth), strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth),
		} {
			agree(t, text)
			r := newReader([]byte(text))
			r.skip()
			require.Equal(t, depth > bound.Depth, errors.Is(r.err, errDepth))
		}
	}
}

// A page that ends anywhere is cut off, wherever that is.
func TestScannerOfHalfPages(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("testdata", "raw-data-v2.json"))
	require.NoError(t, err)
	for end := range page {
		agree(t, string(page[:end]))
	}
	agree(t, string(page))
}

func FuzzScanner(f *testing.F) {
	for _, text := range scannerSeeds {
		f.Add(text)
	}
	f.Fuzz(agree)
}
