package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// sessionTimeout is how long an instance may be silent before its partitions go to others. Heartbeats are a third of it
	// apart, as Kafka's own clients have them.
	sessionTimeout    = 9 * time.Second
	heartbeatInterval = 3 * time.Second
	// describeTimeout bounds the question who owns what.
	describeTimeout = 5 * time.Second
)

// A Member is this process in the group that shares out the partitions of the checkpoint topic.
type Member struct {
	client *kgo.Client
	pulse  pulse
	topic  string
	group  string
	done   chan struct{}
	cancel context.CancelFunc
}

// Assignment is told which partitions are this member's. Its methods are called one at a time.
type Assignment interface {
	// Assigned names partitions that are this member's from now on, in addition to those that it has. It is called after every
	// rebalance, with none if there are no new ones.
	Assigned(m *Member, partitions []int32)
	// Revoked names partitions that are to go to another member, or went already. The other one gets them when Revoked returns.
	Revoked(partitions []int32)
	// Trouble says why the group cannot be joined or kept; it is tried again.
	Trouble(err error)
}

// Join joins the group. It returns at once: what is assigned is told to to. The members share the accounts out evenly; accounts
// says how many belong to a partition.
func (p *Publisher) Join(to Assignment, accounts func(partition int32) int) (*Member, error) {
	c := p.options.Config
	m := &Member{topic: p.Topics.Checkpoint(), group: c.Group, done: make(chan struct{})}
	assigned := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) { to.Assigned(m, topics[m.topic]) }
	revoked := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		if partitions := topics[m.topic]; len(partitions) > 0 {
			to.Revoked(partitions)
		}
	}
	client, err := p.connect.client(nil,
		kgo.ClientID(p.options.Instance), kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(m.topic), kgo.DisableAutoCommit(),
		kgo.Balancers(newBalancer(m.topic, accounts)), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval),
		kgo.OnPartitionsAssigned(assigned), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked),
		kgo.WithHooks(&m.pulse),
	)
	if err != nil {
		return nil, err
	}
	client.PauseFetchTopics(m.topic) // what it holds is read by whoever takes a partition over
	m.client = client
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		m.listen(ctx, to)
	}()
	return m, nil
}

// listen passes on what goes wrong in the group.
func (m *Member) listen(ctx context.Context, to Assignment) {
	for {
		fetches := m.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		for _, e := range fetches.Errors() {
			to.Trouble(&requestError{fmt.Sprintf("share accounts in group %s", m.group), e.Err})
		}
	}
}

// Alive reports whether the group still counts on this member, as far as can be known: it has heard from it within the session
// timeout. When it has not, the partitions may be another's.
func (m *Member) Alive() bool { return m.pulse.alive(time.Now()) }

// Owners returns the instance that each partition is assigned to.
func (m *Member) Owners(ctx context.Context) (map[int32]string, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	groups, err := kadm.NewClient(m.client).DescribeGroups(ctx, m.group)
	if err == nil {
		err = groups[m.group].Err
	}
	if err != nil {
		return nil, &requestError{"describe group " + m.group, err}
	}
	owners := map[int32]string{}
	for _, member := range groups[m.group].Members {
		assigned, _ := member.Assigned.AsConsumer()
		if assigned == nil {
			continue
		}
		for _, topic := range assigned.Topics {
			for _, partition := range topic.Partitions {
				owners[partition] = member.ClientID
			}
		}
	}
	return owners, nil
}

// Leave hands the partitions to the others and waits until that is known to the group, but no longer than ctx. All that belongs
// to them must have ended.
func (m *Member) Leave(ctx context.Context) error {
	m.cancel()
	<-m.done
	err := m.client.LeaveGroupContext(ctx)
	m.client.Close()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("leave group %s: %w", m.group, err)
	}
	return nil
}

// pulse knows when the group last heard from the member: the time when the last request was sent that was answered.
type pulse struct {
	mu   sync.Mutex
	last time.Time
	// again is a request that was answered after a silence. The answer may have been that the member is no longer one; it
	// counts once another one is answered.
	again time.Time
}

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (p *pulse) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	switch kmsg.Key(key) {
	case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat:
		if e2e.WriteErr == nil && e2e.ReadErr == nil {
			p.beat(time.Now().Add(-e2e.DurationE2E()))
		}
	}
}

func (p *pulse) beat(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if silence(p.last, sent) < sessionTimeout || silence(p.again, sent) < sessionTimeout {
		p.last, p.again = sent, time.Time{}
		return
	}
	p.again = sent
}

func (p *pulse) alive(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return silence(p.last, now) < sessionTimeout
}

// silence is the time since, by the clock that goes on while a process is stopped and by the one that goes on while the machine
// is; the longer of both.
func silence(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}
