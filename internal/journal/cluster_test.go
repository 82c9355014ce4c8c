package journal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// A manifest names the cluster that it was written for, and so does the journal after a replay.
func TestCluster(t *testing.T) {
	store := checkpointtest.Open(t)
	j, err := New(store.Store, "a1")
	require.NoError(t, err)
	require.Empty(t, j.Cluster())
	j.SetCluster("mirror")
	c := checkpoint.Changes{Account: "a1", ReadAt: time.Unix(1e9, 0), Progress: map[string][]byte{"x": {1}}}
	records, err := j.Append(&c, bound.Record)
	require.NoError(t, err)

	other := checkpointtest.Open(t)
	r := NewReplay(other.Store, func(string) bool { return true })
	for i, record := range records {
		require.NoError(t, r.Add(record.Key, record.Value, int64(i+1)))
	}
	_, err = r.Finish(nil)
	require.NoError(t, err)
	again, err := New(other.Store, "a1")
	require.NoError(t, err)
	require.Equal(t, "mirror", again.Cluster())
}

// A manifest of version 1 names no cluster.
func TestManifestOfVersion1(t *testing.T) {
	m := manifest{first: 1, next: 3, compactTo: 1, bytes: 7, members: tally{2, 5}}
	value := m.encode()
	value[0] = 1
	got, err := decodeManifest(value)
	require.NoError(t, err)
	require.Equal(t, m, got)
}
