package kafka

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancer shares the partitions of the checkpoint topic out so that every member reads about as many accounts, and moves no
// more of them than that takes. Most partitions belong to no account, so that equal numbers of partitions would not do.
type balancer struct {
	kgo.GroupBalancer // what members tell each other is as for the client's own
	topic             string
	accounts          func(partition int32) int
}

func newBalancer(topic string, accounts func(partition int32) int) kgo.GroupBalancer {
	return &balancer{kgo.CooperativeStickyBalancer(), topic, accounts}
}

// ProtocolName implements kgo.GroupBalancer.
func (*balancer) ProtocolName() string { return "agentassist-accounts" }

// MemberBalancer implements kgo.GroupBalancer.
func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	consumer, err := kgo.NewConsumerBalancer(b, members)
	return consumer, consumer.MemberTopics(), err
}

// Balance implements kgo.ConsumerBalancerBalance.
func (b *balancer) Balance(consumer *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	owners := make([]int, topics[b.topic]) // by partition: index of the member
	since := make([]int32, len(owners))    // the generation in which the owner got it
	for p := range owners {
		owners[p] = -1
	}
	n := 0
	consumer.EachMember(func(_ *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		for _, owned := range meta.OwnedPartitions {
			for _, p := range owned.Partitions {
				if owned.Topic == b.topic && int(p) < len(owners) && (owners[p] < 0 || meta.Generation > since[p]) {
					owners[p], since[p] = n, meta.Generation
				}
			}
		}
		n++
	})
	plan := consumer.NewPlan()
	for p, member := range share(owners, n, b.accounts) {
		m, _ := consumer.MemberAt(member)
		plan.AddPartition(m, b.topic, int32(p))
	}
	plan.AdjustCooperative(consumer)
	return plan
}

// share returns which of n members each partition goes to; owners are those that have it now, -1 for none.
func share(owners []int, n int, accounts func(partition int32) int) []int {
	out := slices.Clone(owners)
	type load struct{ accounts, partitions int }
	loads := make([]load, n)
	add := func(p, member, sign int) {
		loads[member].accounts += sign * accounts(int32(p))
		loads[member].partitions += sign
	}
	var free []int
	for p, member := range out {
		if member < 0 {
			free = append(free, p)
		} else {
			add(p, member, 1)
		}
	}
	order := func(a, b int) int {
		return cmp.Or(loads[a].accounts-loads[b].accounts, loads[a].partitions-loads[b].partitions, a-b)
	}
	members := make([]int, n)
	for i := range members {
		members[i] = i
	}
	slices.SortStableFunc(free, func(a, b int) int { return accounts(int32(b)) - accounts(int32(a)) })
	for _, p := range free {
		out[p] = slices.MinFunc(members, order)
		add(p, out[p], 1)
	}
	for { // every move brings two members nearer to each other
		from, to := slices.MaxFunc(members, order), slices.MinFunc(members, order)
		best := -1
		for p, member := range out {
			if member == from && accounts(int32(p)) < loads[from].accounts-loads[to].accounts &&
				accounts(int32(p)) > 0 && (best < 0 || accounts(int32(p)) > accounts(int32(best))) {
				best = p
			}
		}
		if best < 0 {
			return out
		}
		add(best, from, -1)
		add(best, to, 1)
		out[best] = to
	}
}
