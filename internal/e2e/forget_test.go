package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// A conversation is forgotten, under exactly-once while the poller runs: of its feedback nothing is left on the topic of latest revisions, and
// its texts are not in the checkpoint any more. The poller goes on, and publishes nothing again.
func TestSmallForget(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{kafka.ExactlyOnce, kafka.AtLeastOnce} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			testForget(t, withoutRegistry(t), delivery)
		})
	}
}

func TestKafkaForget(t *testing.T) {
	t.Parallel()
	testForget(t, apache(t), kafka.ExactlyOnce)
}

func testForget(t *testing.T, p *platform, delivery string) {
	live := quietCentre(t, "live", 34)
	s := newSetup(t, p, live.yaml(quickSettings("3s")))
	s.delivery, s.more = delivery, "  topics: {partitions: 3, replication_factor: 1}\n  latest: [feedback, segment]\n"
	c := s.follow(t)
	run := s.startInProcess(t)
	c.settle(t, live)
	poller := binary(t, "")
	names := kafka.NewNames(s.prefix)
	conversation, texts := spokenBut(t, c, "")
	if delivery == kafka.AtLeastOnce {
		code, _, errs := s.run(t, poller, "forget", conversation)
		require.NotZero(t, code)
		require.Contains(t, errs, "the poller must be stopped meanwhile")
		run.stop(t)
	}
	before := c.ends(t)

	code, told, errs := s.run(t, poller, "forget", conversation, "--dry-run")
	require.Zero(t, code, errs)
	require.Contains(t, told, "would be deleted from "+names.Latest(events.TypeFeedback))
	require.Regexp(t, `texts of [1-9]\d* things? would be removed from the checkpoint`, told)
	require.Equal(t, before[names.Event(events.TypeFeedback)], c.ends(t)[names.Event(events.TypeFeedback)])
	require.NotEmpty(t, latestOf(t, s, conversation))
	if delivery == kafka.ExactlyOnce {
		require.NotEmpty(t, recorded(t, s, texts), "the test would not see what stays")
	}

	code, told, errs = s.run(t, poller, "forget", conversation)
	require.Zero(t, code, errs)
	t.Log(told)
	require.Regexp(t, `stay +[1-9]\d* records? +`+names.Event(events.TypeFeedback)+` +until Kafka deletes them, from 20\d\d-`, told)
	require.Empty(t, latestOf(t, s, conversation))
	if delivery == kafka.ExactlyOnce {
		require.Empty(t, recorded(t, s, texts))
	}
	code, told, errs = s.run(t, poller, "forget", conversation, "--dry-run")
	require.Zero(t, code, errs)
	require.Contains(t, told, "texts of 0 things would be removed")

	if delivery == kafka.AtLeastOnce {
		run = s.startInProcess(t)
	} else {
		run.awaitReading(t, "live") // it has the partition back
	}
	reread(t, live)
	c.settle(t, live)
	after := c.ends(t, c.eventTopics()...)
	for topic, partitions := range before {
		if after[topic] != nil {
			require.Equal(t, partitions, after[topic], topic)
		}
	}
	require.Empty(t, latestOf(t, s, conversation))
	run.stop(t)

	// A person is found in all conversations with an event that has its id, and in no other.
	agent, served := somebody(t, c)
	code, told, errs = s.run(t, poller, "forget", "--person", agent, "--dry-run", "--json")
	require.Zero(t, code, errs)
	var found []struct {
		Conversations []string `json:"conversation_ids"`
	}
	require.NoError(t, json.Unmarshal([]byte(told), &found))
	require.Len(t, found, 1)
	require.Equal(t, served, found[0].Conversations)

	// A conversation that only the topics of latest revisions still have is found.
	client, err := kgo.NewClient(kgo.SeedBrokers(p.list()...))
	require.NoError(t, err)
	defer client.Close()
	kept, _ := spokenBut(t, c, conversation)
	for topic, partitions := range c.ends(t, c.eventTopics()...) {
		for partition := range partitions {
			cut(t, kadm.NewClient(client), topic, partition, 0)
		}
	}
	code, told, errs = s.run(t, poller, "forget", kept, "--dry-run")
	require.Zero(t, code, errs)
	require.Contains(t, told, "would be deleted from "+names.Latest(events.TypeFeedback))
	require.NotRegexp(t, `(?m)^ +stay `, told)

	code, _, errs = s.run(t, poller, "forget", "c-nobody-knows")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "forget c-nobody-knows: no topic below the prefix")
}

// somebody returns the id of an agent, and the conversations of the events that have it.
func somebody(t *testing.T, c *consumer) (agent string, conversations []string) {
	t.Helper()
	all, of := map[string]bool{}, map[string]map[string]bool{} // by agent
	records := c.read(t)
	for i := range records {
		r := &records[i]
		if r.Topic == c.names.Watermark() || r.Topic == c.names.DeadLetter() || r.Field("conversation_id") == "" {
			continue
		}
		all[r.Field("conversation_id")] = true
		eachText(t, r, func(_, class, text string) {
			if class == "id" && text != "" {
				if of[text] == nil {
					of[text] = map[string]bool{}
				}
				of[text][r.Field("conversation_id")] = true
			}
		})
	}
	for id, in := range of {
		if len(in) > len(conversations) && len(in) < len(all) {
			agent, conversations = id, slices.Sorted(maps.Keys(in))
		}
	}
	require.Greater(t, len(conversations), 1)
	return agent, conversations
}

// spokenBut returns another conversation than one, with feedback, and the texts with personal data that are in its events only.
func spokenBut(t *testing.T, c *consumer, other string) (conversation string, texts []string) {
	t.Helper()
	of := map[string]map[string]bool{} // conversations by text
	rated := map[string]bool{}
	records := c.read(t)
	for i := range records {
		r := &records[i]
		if r.Topic == c.names.Watermark() || r.Topic == c.names.DeadLetter() {
			continue
		}
		in := r.Field("conversation_id")
		rated[in] = rated[in] || r.Topic == c.names.Event(events.TypeFeedback)
		eachText(t, r, func(_, class, text string) {
			if class != "" && class != "id" && len(text) >= 8 {
				if of[text] == nil {
					of[text] = map[string]bool{}
				}
				of[text][in] = true
			}
		})
	}
	own := map[string][]string{}
	for text, conversations := range of {
		for in := range conversations {
			if len(conversations) == 1 && in != "" && in != other && rated[in] {
				own[in] = append(own[in], text)
			}
		}
	}
	for in, list := range own {
		if len(list) > len(texts) {
			conversation, texts = in, list
		}
	}
	require.NotEmpty(t, texts)
	return conversation, texts
}

// recorded returns the texts that the checkpoint topic holds once it is compacted.
func recorded(t *testing.T, s *setup, texts []string) (found []string) {
	t.Helper()
	for key, value := range alive(t, s, kafka.NewNames(s.prefix).Checkpoint()) {
		for _, text := range texts {
			if bytes.Contains(value, []byte(text)) {
				found = append(found, fmt.Sprintf("%s: %q", key, text))
			}
		}
	}
	return found
}

// latestOf returns the entities of a conversation that are left on the topics of latest revisions.
func latestOf(t *testing.T, s *setup, conversation string) (left []string) {
	t.Helper()
	names := kafka.NewNames(s.prefix)
	for _, typ := range []events.Type{events.TypeFeedback, events.TypeSegment} {
		for key, value := range alive(t, s, names.Latest(typ)) {
			if value == nil {
				continue
			}
			decoded, err := s.platform.decoder(t).Decode(t.Context(), value)
			require.NoError(t, err)
			if decoded["conversation_id"] == conversation {
				left = append(left, fmt.Sprintf("%s %s", typ, key))
			}
		}
	}
	return left
}

// alive returns what a topic holds once it is compacted, by key.
func alive(t *testing.T, s *setup, topic string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, k := range recordsOf(t, s.platform, topic) {
		if k.Topic == topic {
			out[string(k.Key)] = k.Value
		}
	}
	return out
}
