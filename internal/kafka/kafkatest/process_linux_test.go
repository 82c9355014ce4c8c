package kafkatest

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// A port that was handed out is found by the server it is for, and by nobody else in the meantime: as many connections and
// listeners as here would take one of so many ports otherwise.
func TestPortStaysOurs(t *testing.T) {
	ports, err := freePorts(1000)
	require.NoError(t, err)
	ours := map[int]bool{}
	for _, port := range ports {
		require.False(t, ours[port], "handed out twice")
		ours[port] = true
	}
	var others []net.Addr
	for range 200 {
		l, err := net.Listen("tcp", local(0))
		require.NoError(t, err)
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		others = append(others, l.Addr(), c.LocalAddr())
	}
	for _, addr := range others {
		require.NotContains(t, ours, addr.(*net.TCPAddr).Port)
	}
	for _, port := range ports[:100] {
		l, err := net.Listen("tcp", local(port))
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}
