package app

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
)

// shown are the series that an app exports, with their values.
func shown(t *testing.T, a *App) map[string]float64 {
	t.Helper()
	fromStatus := prometheus.NewRegistry()
	fromStatus.MustRegister(gauges{a.Status})
	out := map[string]float64{}
	families, err := prometheus.Gatherers{a.metrics, fromStatus}.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "," + l.GetName() + "=" + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

// From its first second on the status has every endpoint, and says why it is not read: before Kafka has answered, while Kafka is away,
// before the first answer.
func TestStatusHasEndpointsFromTheStart(t *testing.T) {
	inBubble(t, koresim.Config{SegmentsPerDay: 1000}, func(s *stage) {
		s.group = "pollers"
		s.cut(true)
		a, _ := s.run("one")
		endpoints := func() (out []status.Endpoint) {
			account := a.Status().Accounts[0]
			for _, e := range account.Endpoints {
				require.True(s, e.State == status.OK || e.Waiting != nil || e.LastError != nil, "%s is %s, and does not say why", e.Endpoint, e.State)
				require.False(s, account.Read && e.Waiting != nil && e.Waiting.Reason == status.WaitAccount)
			}
			require.Len(s, account.Endpoints, 3)
			require.NotEmpty(s, account.Budget.PriorityClasses)
			return account.Endpoints
		}
		if w := endpoints()[0].Waiting; w != nil { // else the first attempt has failed already
			require.Equal(s, "Kafka and the schema registry are being asked, and have not both answered yet", w.Text)
		}
		time.Sleep(30 * time.Second)
		for _, e := range endpoints() {
			require.Equal(s, status.Failing, e.State)
			require.Contains(s, e.LastError.Text, "reach Kafka at")
			require.Equal(s, "check kafka.brokers and that the brokers run", e.LastError.Hint)
			require.Equal(s, 0.0, shown(s.T, a)["poller_endpoint_up,account=retail,bot="+e.BotID+",endpoint="+e.Endpoint])
		}
		s.cut(false)
		steps := map[string]bool{}
		for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
			for _, e := range endpoints() {
				if e.Waiting != nil {
					steps[e.Waiting.Text] = true
				}
			}
		}
		for _, want := range []string{
			"the group has not said yet which instance reads the account",
			"the part of the checkpoint that the account belongs to is taken over: taking over",
			"the first poll has not ended yet",
		} {
			require.Contains(s, steps, want)
		}
		require.Equal(s, status.OK, a.Status().State)
	})
}

// A poller that is started while Kafka is away says how far its checkpoint file knows the account to be read, and how far that is behind.
func TestStatusHasWhatTheFileKnows(t *testing.T) {
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			inBubble(t, koresim.Config{SegmentsPerDay: 1000}, func(s *stage) {
				s.delivery, s.file = delivery, filepath.Join(s.TempDir(), "poller.db")
				a, stop := s.run("one")
				_, last := s.ready(a, 5*time.Minute)
				require.NoError(s, last)
				before := a.Status().Accounts[0].Endpoints
				require.NoError(s, stop())
				s.cut(true)
				time.Sleep(time.Hour)
				a, _ = s.run("one")
				for range 10 {
					for i, e := range a.Status().Accounts[0].Endpoints {
						require.Equal(s, before[i].CompleteUpTo, e.CompleteUpTo)
						require.Equal(s, before[i].ReadThrough, e.ReadThrough)
						require.InDelta(s, time.Hour+time.Duration(*before[i].Lag), time.Duration(*e.Lag), float64(time.Minute))
						require.True(s, e.State == status.Failing || e.Waiting != nil)
					}
					time.Sleep(5 * time.Second)
				}
				s.cut(false)
				time.Sleep(5 * time.Minute)
				require.Equal(s, status.OK, a.Status().State)
			})
		})
	}
}

// While Kafka is away nothing vanishes that an operator or an alert looks at: what is not read is not up, its lag grows, and what was
// complete stays so. All of it is well again once Kafka is back.
func TestNothingVanishesWhileKafkaIsAway(t *testing.T) {
	inBubble(t, koresim.Config{SegmentsPerDay: 1000}, func(s *stage) {
		a, _ := s.run("one")
		_, last := s.ready(a, 5*time.Minute)
		require.NoError(s, last)
		before, series := a.Status(), shown(s.T, a)
		require.Equal(s, status.OK, before.State, "%+v", before)
		s.cut(true)
		time.Sleep(5 * time.Minute)
		for range 100 { // whatever it is doing about that
			lost, now := a.Status(), shown(s.T, a)
			for name := range series {
				require.Contains(s, now, name)
			}
			require.False(s, lost.Accounts[0].Read)
			require.Equal(s, status.Failing, lost.Delivery.State)
			require.GreaterOrEqual(s, lost.Delivery.Published, before.Delivery.Published)
			require.Equal(s, 0.0, now["poller_account_read,account=retail"])
			require.Len(s, lost.Accounts[0].Endpoints, len(before.Accounts[0].Endpoints))
			for i, e := range lost.Accounts[0].Endpoints {
				was, labels := before.Accounts[0].Endpoints[i], ",account=retail,bot="+e.BotID+",endpoint="+e.Endpoint
				require.Equal(s, 0.0, now["poller_endpoint_up"+labels])
				require.Greater(s, now["poller_endpoint_lag_seconds"+labels], 280.0)
				require.GreaterOrEqual(s, e.Rows, was.Rows)
				require.NotNil(s, e.LastError)
				if was.CompleteUpTo != nil {
					require.False(s, e.CompleteUpTo.Before(*was.CompleteUpTo))
				}
			}
			time.Sleep(170 * time.Millisecond)
		}
		s.cut(false)
		time.Sleep(2 * time.Minute)
		for _, e := range a.Status().Accounts[0].Endpoints {
			require.Equal(s, status.OK, e.State)
			require.Less(s, time.Duration(*e.Lag), 2*time.Minute)
		}
		time.Sleep(10 * time.Minute) // for so long it has to go well to be called well
		back := a.Status()
		require.Equal(s, status.OK, back.State)
		require.Greater(s, back.Delivery.Published, before.Delivery.Published)
	})
}
