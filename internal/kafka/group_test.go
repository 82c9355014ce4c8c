package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/secret"
)

// A member counts as alive for as long as the group must have kept it, and after a silence only once the group has kept it.
func TestPulse(t *testing.T) {
	start := time.Now()
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	var p kafka.Pulse
	require.False(t, p.Alive(at(0)), "it has not joined")
	p.Beat(at(0))
	require.False(t, p.Alive(at(0)), "what was answered may have been a no")
	p.Beat(at(1))
	require.True(t, p.Alive(at(1)))
	require.True(t, p.Alive(at(9.9)))
	require.False(t, p.Alive(at(10)), "since the request was sent, not since it was answered")
	p.Beat(at(12))
	require.False(t, p.Alive(at(12)), "stopped for longer than a session: it may have been thrown out")
	p.Beat(at(15))
	require.True(t, p.Alive(at(15)))
	require.False(t, p.Alive(at(16).Round(0).Add(time.Hour)), "the machine slept")
}

// assignments records what a member is told.
type assignments struct {
	mu  sync.Mutex
	own []int32
}

func (a *assignments) Assigned(_ *kafka.Member, partitions []int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own = append(a.own, partitions...)
}

func (a *assignments) Revoked(partitions []int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own = slices.DeleteFunc(a.own, func(p int32) bool { return slices.Contains(partitions, p) })
}

func (a *assignments) Trouble(error) {}

func (a *assignments) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.own)
}

// odd counts the partitions that have an account in these tests.
func (a *assignments) odd() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.own {
		n += int(p % 2)
	}
	return n
}

// However members come and go, each has as many accounts as any other, or one more, and nothing moves without need.
func TestShare(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	all := func(int32, int) bool { return true }
	for range 2000 {
		weights := make([]int, 64)
		accounts, total := func(p int32) int { return weights[p] }, 0
		for range rnd.IntN(100) {
			weights[rnd.IntN(64)]++
			total++
		}
		owners := make([]int, 64)
		n := 1 + rnd.IntN(6)
		for p := range owners {
			owners[p] = rnd.IntN(n+1) - 1
		}
		shared := kafka.Share(owners, n, accounts, all)
		loads := make([]int, n)
		heaviest := 1
		for p, member := range shared {
			loads[member] += weights[p]
			heaviest = max(heaviest, weights[p])
		}
		require.LessOrEqual(t, slices.Max(loads)-slices.Min(loads), heaviest, "%v", loads)
		require.Equal(t, shared, kafka.Share(shared, n, accounts, all), "what is even stays")
	}
}

// Whatever each member fits, a partition goes to one that it fits, if there is any, and stays there.
func TestShareAmongMembersThatFit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		n := 1 + rnd.IntN(6)
		weights, owners, fit := make([]int, 64), make([]int, 64), make([][]bool, 64)
		for p := range owners {
			weights[p], owners[p], fit[p] = rnd.IntN(3), rnd.IntN(n+1)-1, make([]bool, n)
			for m := range n {
				fit[p][m] = rnd.IntN(3) > 0
			}
		}
		accounts := func(p int32) int { return weights[p] }
		fits := func(p int32, m int) bool { return fit[p][m] }
		shared := kafka.Share(owners, n, accounts, fits)
		for p, member := range shared {
			require.Equal(t, slices.Contains(fit[p], true), member >= 0)
			require.True(t, member < 0 || fit[p][member])
		}
		require.Equal(t, shared, kafka.Share(shared, n, accounts, fits), "what is even stays")
	}
}

// accountIn returns the id of an account that belongs to a partition, the nth of them.
func accountIn(partition int32, n int) string {
	for i := 0; ; i++ {
		id := fmt.Sprint("account", i)
		if kafka.CheckpointPartition(id) == partition {
			if n == 0 {
				return id
			}
			n--
		}
	}
}

// Members share the partitions; one that leaves hands its own over.
func TestGroup(t *testing.T) {
	f := open(t, newCluster(t), append(fast(), kgo.ClientID("x")), transactional)
	accounts := map[string]string{} // one for each odd partition
	for p := int32(1); p < 64; p += 2 {
		accounts[accountIn(p, 0)] = "x"
	}
	join := func() (*kafka.Member, *assignments) {
		a := &assignments{}
		m, err := f.Join(a, accounts)
		require.NoError(t, err)
		return m, a
	}
	first, one := join()
	require.Eventually(t, func() bool { return one.count() == 64 && first.Alive() }, 5*time.Minute, 10*time.Millisecond)
	second, two := join()
	require.Eventually(t, func() bool { return one.odd() == 16 && two.odd() == 16 && second.Alive() }, 5*time.Minute, 10*time.Millisecond)
	sharing, err := second.Sharing(t.Context())
	require.NoError(t, err)
	require.Len(t, sharing.Owners, 64)
	require.NoError(t, first.Leave(t.Context()))
	require.Eventually(t, func() bool { return two.count() == 64 }, 5*time.Minute, 10*time.Millisecond)
	require.NoError(t, second.Leave(t.Context()))
	require.Zero(t, one.count()+two.count())
}

// A member leaves at once in the middle of a rebalance, which may take a minute if another member is slow.
func TestLeaveDuringRebalance(t *testing.T) {
	cluster := newCluster(t)
	rejoining, release := make(chan struct{}, 10), make(chan struct{})
	t.Cleanup(func() { close(release) })
	joins := map[string]int{}
	cluster.ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		id := r.(*kmsg.JoinGroupRequest).MemberID
		if joins[id]++; id != "" && joins[id] == 2 {
			rejoining <- struct{}{}
			cluster.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	one := join(t, cluster, "one", "agentassist", "x")
	require.Eventually(t, func() bool { return one.count() == 64 }, 5*time.Minute, 10*time.Millisecond)
	two := join(t, cluster, "two", "agentassist", "x")
	<-rejoining
	leaving, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, one.Leave(leaving))
	require.Zero(t, one.count())
	require.Eventually(t, func() bool { return two.count() == 64 }, 5*time.Minute, 10*time.Millisecond)
}

// joined is a member that is named, and what it was assigned.
type joined struct {
	*kafka.Member
	*assignments
}

// join adds a member with a publisher of its own. It leaves at the end of the test.
func join(t *testing.T, cluster *kfake.Cluster, name, prefix string, accounts ...string) joined {
	t.Helper()
	c := configFor(cluster)
	c.Delivery, c.TopicPrefix, c.Group = kafka.ExactlyOnce, prefix, "pollers"
	p, err := kafka.Open(t.Context(), kafka.Options{Config: c, Types: types, Log: quiet, Instance: name, Client: fast()})
	require.NoError(t, err)
	byID := map[string]string{}
	for _, id := range accounts {
		byID[id] = "name of " + id
	}
	j := joined{assignments: &assignments{}}
	j.Member, err = p.Join(j.assignments, byID)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = j.Leave(context.Background())
		_ = p.Close(context.Background())
	})
	return j
}

// until returns how the partitions are divided once the group is at rest and that is as wanted.
func (j joined) until(t *testing.T, wanted func(*kafka.Sharing) bool) (s *kafka.Sharing) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		s, err = j.Sharing(t.Context())
		return err == nil && s.Stable && wanted(s)
	}, 5*time.Minute, 20*time.Millisecond)
	return s
}

// In the middle of a roll-out, instances have different accounts: each partition goes to an instance that has its accounts. One with
// accounts of both is read in part, and every instance says which account nobody reads.
func TestMembersWithDifferentAccounts(t *testing.T) {
	cluster := newCluster(t)
	old, both, fresh := accountIn(7, 0), accountIn(8, 0), accountIn(9, 0)
	one := join(t, cluster, "one", "agentassist", old, both)
	one.until(t, func(s *kafka.Sharing) bool { return s.Owners[9] == "one" })
	two := join(t, cluster, "two", "agentassist", both, fresh)
	s := one.until(t, func(s *kafka.Sharing) bool { return s.Owners[9] == "two" })
	require.Equal(t, "one", s.Owners[7])
	require.Empty(t, s.Unread)

	three := join(t, cluster, "three", "agentassist", accountIn(7, 1))
	for _, m := range []joined{one, two, three} {
		s = m.until(t, func(s *kafka.Sharing) bool { return len(s.Unread) > 0 })
		require.Len(t, s.Unread, 1)
		for id, e := range s.Unread {
			with, owner := "one", "three"
			if id == accountIn(7, 1) {
				with, owner = "three", "one"
			}
			require.EqualError(t, e, "account name of "+id+" is read by nobody: group pollers has assigned its partition 7 to "+owner+", which does not have the "+
				"account in its configuration; "+with+" does; give all instances of the group the same accounts")
		}
	}
}

// Two installations that share a group by mistake: every instance says so, and one of the two is assigned its partitions.
func TestInstallationsThatShareAGroup(t *testing.T) {
	cluster := newCluster(t)
	one := join(t, cluster, "one", "a", "x")
	one.until(t, func(s *kafka.Sharing) bool { return len(s.Owners) == 64 })
	two := join(t, cluster, "two", "b", "y")
	for _, j := range []struct {
		joined
		want string
	}{
		{one, "group pollers is used by two installations: two reads topic b.checkpoint, and this one a.checkpoint; only one of them is assigned accounts; give each a kafka.group of its own"},
		{two, "group pollers is used by two installations: one reads topic a.checkpoint, and this one b.checkpoint"},
	} {
		require.Eventually(t, func() bool {
			s, err := j.Sharing(t.Context())
			return err == nil && s.Foreign != nil && strings.Contains(s.Foreign.Error(), j.want)
		}, 5*time.Minute, 20*time.Millisecond)
	}
	require.Eventually(t, func() bool { return one.count()+two.count() == 64 && one.count()*two.count() == 0 }, 5*time.Minute, 20*time.Millisecond)
}

// Members that have too many accounts to tell count as having all.
func TestMembersWithTooManyAccounts(t *testing.T) {
	cluster := newCluster(t)
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("6798834e4e94062f75%06d", i))
	}
	one := join(t, cluster, "one", "agentassist", many...)
	two := join(t, cluster, "two", "agentassist", many...)
	for _, m := range []joined{one, two} {
		s := m.until(t, func(s *kafka.Sharing) bool { return two.count() > 0 })
		require.Empty(t, s.Unread)
	}
}

// A group that may not be used is named, at start and while running.
func TestGroupRights(t *testing.T) {
	on := func(resource kmsg.ACLResourceType, name string, ops ...kmsg.ACLOperation) (acls []kfake.ACL) {
		for _, op := range ops {
			acls = append(acls, kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true})
		}
		return acls
	}
	topics := on(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationAll)
	for name, tt := range map[string]struct {
		acls []kfake.ACL
		want []string
	}{
		"none": {nil, []string{"agentassist-poller", "agentassist-poller.checkpoint"}},
		"group only": {
			on(kmsg.ACLResourceTypeGroup, "agentassist-poller", kmsg.ACLOperationRead), []string{"agentassist-poller.checkpoint"},
		},
		"both": {
			append(on(kmsg.ACLResourceTypeGroup, "agentassist-poller", kmsg.ACLOperationRead), on(kmsg.ACLResourceTypeGroup, "agentassist-poller.checkpoint", kmsg.ACLOperationRead)...),
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "a"), kfake.User("PLAIN", "poller", "p", append(tt.acls, topics...)...))
			c := configFor(cluster)
			c.Delivery = kafka.ExactlyOnce
			c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "poller", Password: secret.New("p")}
			p, err := kafka.Open(t.Context(), kafka.Options{Config: c, Types: types, Log: quiet})
			if tt.want == nil {
				require.NoError(t, err)
				require.Empty(t, p.Check(t.Context()))
				require.NoError(t, p.Close(t.Context()))
				return
			}
			may, known := kafka.Retryable(err)
			require.True(t, known)
			require.False(t, may)
			require.Equal(t, len(tt.want), strings.Count(err.Error(), "may not be used: Read is not allowed"))
			for _, group := range tt.want {
				require.ErrorContains(t, err, "group "+group+" may not be used: Read is not allowed")
			}
			require.ErrorContains(t, err, "grant the poller's user Read on it")
		})
	}
}
