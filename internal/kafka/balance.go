package kafka

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancer shares the partitions of the checkpoint topic out so that every member reads about as many accounts, and moves no
// more of them than that takes. Most partitions belong to no account, so that equal numbers of partitions would not do. While members
// are configured with different accounts, as in the middle of a roll-out, a partition goes to a member that knows its accounts.
type balancer struct {
	kgo.GroupBalancer // what members tell each other is as for the client's own, but for the user data
	topic             string
	accounts          map[string]string // of this member: names by id
	told              []byte            // the user data that says so
}

func newBalancer(topic string, accounts map[string]string) *balancer {
	return &balancer{kgo.CooperativeStickyBalancer(), topic, accounts, encodeAccounts(accounts)}
}

// memberData is what a member tells the others of its group.
type memberData struct {
	Accounts map[string]string `json:"accounts"` // names by id
}

// maxMemberData bounds it: Kafka keeps what all members tell in one record.
const maxMemberData = 64 << 10

// encodeAccounts returns the user data of a member with these accounts, nil if they are too many to tell.
func encodeAccounts(accounts map[string]string) []byte {
	told, err := json.Marshal(memberData{accounts})
	if err != nil || len(told) > maxMemberData {
		return nil
	}
	return told
}

// decodeAccounts returns the accounts that a member knows, nil if it does not tell: it counts as knowing all then.
func decodeAccounts(told []byte) map[string]string {
	var data memberData
	if json.Unmarshal(told, &data) != nil {
		return nil
	}
	return data.Accounts
}

// ProtocolName implements kgo.GroupBalancer.
func (*balancer) ProtocolName() string { return "agentassist-accounts" }

// JoinGroupMetadata implements kgo.GroupBalancer.
func (b *balancer) JoinGroupMetadata(topics []string, assigned map[string][]int32, generation int32) []byte {
	told := b.GroupBalancer.JoinGroupMetadata(topics, assigned, generation)
	var meta kmsg.ConsumerMemberMetadata
	if meta.ReadFrom(told) != nil {
		return told
	}
	meta.UserData = b.told
	return meta.AppendTo(nil)
}

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
	var members []map[string]string // the accounts that each knows
	var subscribed []bool           // else the member is of another installation, which shares the group by mistake
	consumer.EachMember(func(_ *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		for _, owned := range meta.OwnedPartitions {
			for _, p := range owned.Partitions {
				if owned.Topic == b.topic && int(p) < len(owners) && (owners[p] < 0 || meta.Generation > since[p]) {
					owners[p], since[p] = len(members), meta.Generation
				}
			}
		}
		members = append(members, decodeAccounts(meta.UserData))
		subscribed = append(subscribed, slices.Contains(meta.Topics, b.topic))
	})
	all := accountsByPartition(append(slices.Clone(members), b.accounts)...)
	known := func(p int32, member int) (n int) {
		if members[member] == nil {
			return len(all[p])
		}
		for id := range all[p] {
			if _, ok := members[member][id]; ok {
				n++
			}
		}
		return n
	}
	most := make([]int, len(owners))
	for p := range owners {
		for m := range members {
			if subscribed[m] {
				most[p] = max(most[p], known(int32(p), m))
			}
		}
	}
	fits := func(p int32, member int) bool { return subscribed[member] && known(p, member) == most[p] }
	plan := consumer.NewPlan()
	for p, member := range share(owners, len(members), func(p int32) int { return len(all[p]) }, fits) {
		if member >= 0 {
			m, _ := consumer.MemberAt(member)
			plan.AddPartition(m, b.topic, int32(p))
		}
	}
	plan.AdjustCooperative(consumer)
	return plan
}

// accountsByPartition returns the ids of all the accounts by the partition that they belong to.
func accountsByPartition(accounts ...map[string]string) map[int32]map[string]bool {
	all := map[int32]map[string]bool{}
	for _, known := range accounts {
		for id := range known {
			p := CheckpointPartition(id)
			if all[p] == nil {
				all[p] = map[string]bool{}
			}
			all[p][id] = true
		}
	}
	return all
}

// share returns which of n members each partition goes to, -1 for none; owners are those that have it now, -1 for none. A partition
// goes to a member that it fits.
func share(owners []int, n int, accounts func(partition int32) int, fits func(partition int32, member int) bool) []int {
	out := slices.Clone(owners)
	type load struct{ accounts, partitions int }
	loads := make([]load, n)
	add := func(p, member, sign int) {
		loads[member].accounts += sign * accounts(int32(p))
		loads[member].partitions += sign
	}
	var free []int
	for p, member := range out {
		if member < 0 || !fits(int32(p), member) {
			out[p] = -1
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
		able := slices.DeleteFunc(slices.Clone(members), func(m int) bool { return !fits(int32(p), m) })
		if len(able) > 0 {
			out[p] = slices.MinFunc(able, order)
			add(p, out[p], 1)
		}
	}
	// best returns the partition whose move brings two members nearest to each other, -1 for none.
	best := func(from, to int) int {
		best := -1
		for p, member := range out {
			if member == from && fits(int32(p), to) && accounts(int32(p)) < loads[from].accounts-loads[to].accounts &&
				accounts(int32(p)) > 0 && (best < 0 || accounts(int32(p)) > accounts(int32(best))) {
				best = p
			}
		}
		return best
	}
	for moved := true; moved; {
		moved = false
		slices.SortFunc(members, order)
	pairs:
		for i := n - 1; i > 0; i-- {
			for j := range i {
				if p := best(members[i], members[j]); p >= 0 {
					add(p, members[i], -1)
					add(p, members[j], 1)
					out[p], moved = members[j], true
					break pairs
				}
			}
		}
	}
	return out
}
