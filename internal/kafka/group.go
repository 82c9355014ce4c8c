package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// sessionTimeout is how long an instance may be silent before its partitions go to others. Heartbeats are a third of it
	// apart, as Kafka's own clients have them.
	sessionTimeout    = 9 * time.Second
	heartbeatInterval = 3 * time.Second
	// describeTimeout bounds one request for a description of a group.
	describeTimeout = 5 * time.Second
)

// A Member is this process in the group that divides the partitions of the checkpoint topic.
type Member struct {
	client *kgo.Client // its life is that of the membership
	other  *kgo.Client // of the publisher; it outlives the membership
	pulse  pulse
	topic  string
	group  string
	done   chan struct{}
	cancel context.CancelFunc
}

// An Assignment receives the partitions of a member. Its methods are called one at a time.
type Assignment interface {
	// Assigned names partitions that are this member's from now on, in addition to those that it has. It is called after every
	// rebalance, with none if there are no new ones.
	Assigned(m *Member, partitions []int32)
	// Revoked names partitions that are to go to another member, or went already. The other one gets them when Revoked returns.
	Revoked(partitions []int32)
	// Trouble says why the group cannot be joined or kept; it is tried again.
	Trouble(err error)
}

// Join joins the group and returns at once. Assignments are reported to a. The members divide the accounts evenly among themselves;
// accounts are those that this instance is configured with, their names by id.
func (p *Publisher) Join(a Assignment, accounts map[string]string) (*Member, error) {
	c := p.options.Config
	ctx, cancel := context.WithCancel(context.Background())
	m := &Member{other: p.client, topic: p.Topics.Checkpoint(), group: c.Group, done: make(chan struct{}), cancel: cancel}
	assigned := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) { a.Assigned(m, topics[m.topic]) }
	revoked := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		if partitions := topics[m.topic]; len(partitions) > 0 {
			a.Revoked(partitions)
		}
	}
	client, err := p.connect.client(nil,
		kgo.WithContext(ctx), kgo.ClientID(p.options.Instance), kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(m.topic), kgo.DisableAutoCommit(),
		kgo.Balancers(newBalancer(m.topic, accounts)), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval),
		kgo.OnPartitionsAssigned(assigned), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked),
		kgo.WithHooks(&m.pulse),
	)
	if err != nil {
		cancel()
		return nil, err
	}
	client.PauseFetchTopics(m.topic) // what it holds is read by whoever takes a partition over
	m.client = client
	go func() {
		defer close(m.done)
		m.listen(ctx, a)
	}()
	return m, nil
}

// listen reports what goes wrong in the group, until ctx ends.
func (m *Member) listen(ctx context.Context, a Assignment) {
	for {
		fetches := m.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		for _, e := range fetches.Errors() {
			a.Trouble(groupError("share accounts", m.group, e.Err))
		}
	}
}

// Alive reports whether the group still counts on this member, as far as can be known: it has heard from it within the session
// timeout. When it has not, the partitions may be another's.
func (m *Member) Alive() bool { return m.pulse.alive(time.Now()) }

// A Sharing is how the partitions are divided, as the group says it.
type Sharing struct {
	// Owners has the instance that each partition is assigned to.
	Owners map[int32]string
	// Stable is false while the group divides them anew: then nothing is known of problems.
	Stable bool
	// Unread are the accounts that no instance reads, by id.
	Unread map[string]*UnreadError
	// Foreign is not nil if another installation uses the group.
	Foreign *ForeignError
}

// Sharing asks the group how the partitions are divided.
func (m *Member) Sharing(ctx context.Context) (*Sharing, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	groups, err := kadm.NewClient(m.client).DescribeGroups(ctx, m.group)
	if err == nil {
		err = groups[m.group].Err
	}
	if err != nil {
		return nil, groupError("share accounts", m.group, err)
	}
	return m.sharing(groups[m.group]), nil
}

func (m *Member) sharing(group kadm.DescribedGroup) *Sharing {
	s := &Sharing{Owners: map[int32]string{}, Stable: group.State == "Stable", Unread: map[string]*UnreadError{}}
	known := map[string]map[string]string{} // by instance; nil for one that does not tell
	for _, member := range group.Members {
		if meta, ok := member.Join.AsConsumer(); ok {
			if !slices.Contains(meta.Topics, m.topic) {
				s.Foreign = &ForeignError{Group: m.group, Instance: member.ClientID, Topics: meta.Topics, Topic: m.topic}
				continue
			}
			known[member.ClientID] = decodeAccounts(meta.UserData)
		}
		assigned, _ := member.Assigned.AsConsumer()
		if assigned == nil {
			continue
		}
		for _, topic := range assigned.Topics {
			for _, partition := range topic.Partitions {
				s.Owners[partition] = member.ClientID
			}
		}
	}
	if !s.Stable || s.Foreign != nil {
		return s
	}
	for instance, accounts := range known {
		for id, name := range accounts {
			partition := CheckpointPartition(id)
			owner, assigned := s.Owners[partition]
			if !assigned {
				continue // between the two steps of a rebalance
			}
			if knows, member := known[owner]; member && knows == nil {
				continue // it does not tell
			} else if _, has := knows[id]; has {
				continue
			}
			if s.Unread[id] == nil {
				s.Unread[id] = &UnreadError{Account: name, Group: m.group, Partition: partition, Owner: owner}
			}
			s.Unread[id].With = append(s.Unread[id].With, instance)
		}
	}
	for _, e := range s.Unread {
		slices.Sort(e.With)
	}
	return s
}

// UnreadError says that no instance of a group reads an account, because not all have it in their configuration.
type UnreadError struct {
	Account   string // its name
	Group     string
	Partition int32
	Owner     string   // the instance that the partition is assigned to
	With      []string // the instances that have the account
}

func (e *UnreadError) Error() string {
	return fmt.Sprintf("account %s is read by nobody: group %s has assigned its partition %d to %s, which does not have the account in its "+
		"configuration; %s does; give all instances of the group the same accounts", e.Account, e.Group, e.Partition, e.Owner, strings.Join(e.With, ", "))
}

// Retryable is false: somebody has to change a configuration.
func (e *UnreadError) Retryable() bool { return false }

// ForeignError says that another installation uses the group. Only one of the two is assigned anything.
type ForeignError struct {
	Group    string
	Instance string   // of the other installation
	Topics   []string // its checkpoint topic
	Topic    string   // ours
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("group %s is used by two installations: %s reads topic %s, and this one %s; only one of them is assigned accounts; "+
		"give each a kafka.group of its own", e.Group, e.Instance, strings.Join(e.Topics, ", "), e.Topic)
}

// Retryable is false: somebody has to change a configuration.
func (e *ForeignError) Retryable() bool { return false }

// Leave gives the partitions back and waits until the group knows it, but no longer than ctx. Reading of all of them must have ended.
//
// The client does not leave by itself: in the middle of a rebalance it would wait for the slowest of the other members first.
func (m *Member) Leave(ctx context.Context) error {
	m.cancel()
	<-m.done
	m.client.Close()
	id, _ := m.client.GroupMetadata()
	if id == "" {
		return nil // it has never been a member
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.group, id
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = id
	req.Members = append(req.Members, member)
	resp, err := req.RequestWith(ctx, m.other)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err == nil && len(resp.Members) > 0 {
		err = kerr.ErrorForCode(resp.Members[0].ErrorCode)
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberID) { // it has been thrown out already
		return fmt.Errorf("leave group %s: %w", m.group, err)
	}
	return nil
}

// A pulse knows when the group last heard from the member: when the member sent the last request that was answered.
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

// silence returns how long ago since was: by the monotonic clock or by the wall clock, whichever says more. The first may stop with
// the machine, the second may be set back.
func silence(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}
