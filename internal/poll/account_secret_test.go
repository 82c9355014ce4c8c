package poll_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
)

// A secret that is rotated at the API before it is in the file is refused, and asked for ever more seldom. Once the file has it, every
// endpoint is read again within seconds.
func TestAccountTakesARotatedSecretAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		world := small(1)
		world.SegmentsPerDay = 10
		r := newRig(t, world, quickSweeps)
		a := r.sim.Accounts()[0]
		file := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(file, []byte("the one before"), 0o600))
		r.wrap = func(poll.API) poll.API {
			client, err := kore.New(kore.Config{BaseURL: "http://kore.test", AccountID: a.ID, ClientID: a.ClientID, ClientSecretFile: file}, kore.WithTransport(r.sim.Transport()))
			require.NoError(t, err)
			return client
		}
		r.start()
		r.runFor(20*time.Minute, time.Minute, func(status.Account) {})
		s, _ := r.account.Status()
		for _, e := range s.Endpoints {
			require.Equal(t, status.Failing, e.State)
			require.Less(t, e.LastError.Count, 30, "in 20 minutes")
		}
		require.NoError(t, os.WriteFile(file, []byte(a.ClientSecret), 0o600))
		r.runFor(10*time.Second, time.Second, func(status.Account) {})
		s, _ = r.account.Status()
		for _, e := range s.Endpoints {
			require.Nil(t, e.LastError, "%s: %+v", e.Endpoint, e.LastError)
		}
	})
}
