package checkpoint_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
)

// A file that was open without syncing when the machine went down counts as damaged, whatever its contents.
func TestNoSyncAcrossBoots(t *testing.T) {
	dir := t.TempDir()
	boot := filepath.Join(dir, "boot_id")
	checkpoint.SetBootFile(t, boot)
	path := filepath.Join(dir, "poller.db")
	restart := func(id string) { require.NoError(t, os.WriteFile(boot, []byte(id), 0o600)) }
	open := func(noSync bool) (*checkpoint.Store, string) {
		store, setAside, err := checkpoint.OpenOrSetAside(path, checkpoint.Options{NoSync: noSync})
		require.NoError(t, err)
		return store, setAside
	}
	crash := func(store *checkpoint.Store) { require.NoError(t, checkpoint.Crash(store)) }

	restart("first")
	store, _ := open(true)
	crash(store)
	store, setAside := open(true)
	require.Empty(t, setAside, "the process died, the machine did not")
	require.NoError(t, store.Close())
	restart("second")
	store, setAside = open(true)
	require.Empty(t, setAside, "it was closed")
	crash(store)
	restart("third")
	store, setAside = open(true)
	require.NotEmpty(t, setAside)
	crash(store)
	store, setAside = open(false)
	require.Empty(t, setAside)
	crash(store)
	restart("fourth")
	store, setAside = open(false)
	require.Empty(t, setAside, "it was synced")
	require.NoError(t, store.Close())
}
