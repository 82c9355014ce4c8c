package demo

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The demo's broker offers no request whose answer clients in Java refuse.
func TestBrokerForClientsInJava(t *testing.T) {
	broker, err := newBroker()
	require.NoError(t, err)
	defer broker.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...))
	require.NoError(t, err)
	defer client.Close()
	offers, err := kadm.NewClient(client).ApiVersions(t.Context())
	require.NoError(t, err)
	require.Len(t, offers, 1)
	for _, offer := range offers {
		create, _ := offer.KeyMaxVersion(kmsg.CreateTopics.Int16())
		require.EqualValues(t, 4, create)
		_, describes := offer.KeyMaxVersion(kmsg.DescribeTopicPartitions.Int16())
		require.False(t, describes)
	}
}
