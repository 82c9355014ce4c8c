package journal

import (
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// TestEarlierRecordsAreRead holds the journal to the records in testdata, which an earlier build wrote: the same changes give the
// same records to the byte, and a replay of the earlier ones makes the same store. A new version of the form gets files of its
// own; those of the versions before stay, and stay readable.
func TestEarlierRecordsAreRead(t *testing.T) {
	var now strings.Builder
	for _, record := range examples(t) {
		value := "tombstone"
		if record.Value != nil {
			value = hex.EncodeToString(record.Value)
		}
		fmt.Fprintf(&now, "%s %s\n", record.Key, value)
	}
	earlier, err := os.ReadFile("testdata/records-2.golden")
	require.NoError(t, err)
	require.Equal(t, string(earlier), now.String())

	store := checkpointtest.Open(t)
	r := NewReplay(store.Store, func(string) bool { return true })
	for line := range strings.Lines(string(earlier)) {
		key, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		var value []byte
		if text != "tombstone" {
			value, err = hex.DecodeString(text)
			require.NoError(t, err)
		}
		require.NoError(t, r.Add([]byte(key), value, 1))
	}
	_, err = r.Finish(nil)
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/store-2.golden")
	require.NoError(t, err)
	require.Equal(t, string(want), storeText(t, store))
}

// storeText lists all that the store holds of account a1, the journal's own records included.
func storeText(t *testing.T, store *checkpointtest.Store) string {
	t.Helper()
	var text strings.Builder
	records, err := store.AllProgress("a1")
	require.NoError(t, err)
	for _, name := range slices.Sorted(maps.Keys(records)) {
		fmt.Fprintf(&text, "%s %x\n", name, records[name])
	}
	days, err := store.Days("a1")
	require.NoError(t, err)
	for _, day := range days {
		fmt.Fprintf(&text, "day %d touched %d entities %d\n", day.Day, day.Touched, day.Entities)
		for slot := range checkpoint.Slot(checkpoint.Slots) {
			require.NoError(t, store.Scan("a1", day.Day, slot, func(minute uint16, hash checkpoint.Hash, value []byte) error {
				fmt.Fprintf(&text, "slot %d minute %d hash %x value %x\n", slot, minute, hash, value)
				return nil
			}))
		}
	}
	return text.String()
}
