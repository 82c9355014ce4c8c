package checkpoint_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// TestEarlierFileIsRead opens the file in testdata, which an earlier build wrote, and compares what it holds with what that build
// read from it. Then it writes to the file. bbolt has the byte order of the machine, and the file is little-endian.
func TestEarlierFileIsRead(t *testing.T) {
	packed, err := os.Open("testdata/format3.db.gz")
	require.NoError(t, err)
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	require.NoError(t, err)
	file, err := io.ReadAll(r)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "poller.db")
	require.NoError(t, os.WriteFile(path, file, 0o600))

	s := checkpointtest.OpenAt(t, path)
	want, err := os.ReadFile("testdata/format3.golden")
	require.NoError(t, err)
	require.Equal(t, string(want), storeText(t, s))

	found := make([]checkpoint.Found, 1)
	require.NoError(t, s.Lookup(account, []checkpoint.Probe{{Key: checkpoint.KeyAt(noon, true, hash(50))}}, found))
	require.True(t, found[0].Known)
	require.NoError(t, s.Commit(checkpoint.Changes{
		Account: account, ReadAt: noon, Puts: []checkpoint.Entry{{Key: found[0].Key, Value: []byte("changed")}},
	}))
	s.Reopen(t)
	require.NotEqual(t, string(want), storeText(t, s))
	require.Len(t, bytes.Split([]byte(storeText(t, s)), []byte("\n")), len(bytes.Split(want, []byte("\n"))))
}

// storeText lists all that the store holds.
func storeText(t *testing.T, s *checkpointtest.Store) string {
	t.Helper()
	var text strings.Builder
	next, err := s.Identity("next")
	require.NoError(t, err)
	fmt.Fprintf(&text, "identity next %x\n", next)
	accounts, err := s.Accounts()
	require.NoError(t, err)
	for _, account := range accounts {
		fmt.Fprintf(&text, "account %s\n", account)
		records, err := s.AllProgress(account)
		require.NoError(t, err)
		for _, name := range slices.Sorted(maps.Keys(records)) {
			fmt.Fprintf(&text, "progress %s %q\n", name, records[name])
		}
		for _, line := range contents(t, s, account) {
			fmt.Fprintln(&text, line)
		}
	}
	return text.String()
}
