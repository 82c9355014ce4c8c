package kafkatest_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/kafka/kafkatest"
)

// A broker that was killed comes back with what was acknowledged.
func TestBrokerSurvivesKill(t *testing.T) {
	kafkatest.Require(t)
	b := kafkatest.Kafka(t, kafkatest.KafkaOptions{})
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	require.NoError(t, err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "kept")
	require.NoError(t, err)
	require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: []byte("x")}).FirstErr())

	require.NoError(t, b.Kill())
	_, err = net.Dial("tcp", b.Addr)
	require.Error(t, err)

	require.NoError(t, b.Restart(t.Context()))
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), "kept")
	require.NoError(t, err)
	end, _ := ends.Lookup("kept", 0)
	require.EqualValues(t, 1, end.Offset)
}
