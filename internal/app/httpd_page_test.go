package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDurationsForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1234 * time.Millisecond: "1.2 s", 45 * time.Second: "45 s", time.Minute: "1 min", 95 * time.Second: "95 s",
		150 * time.Second: "2 min 30 s", 47 * time.Minute: "47 min", time.Hour: "1 h", 100 * time.Minute: "1 h 40 min", 24 * time.Hour: "1 d",
		50 * time.Hour: "2 d 2 h", 35 * 24 * time.Hour: "35 d", -400 * time.Millisecond: "-0.4 s",
	} {
		require.Equal(t, want, short(d), d.String())
	}
}

func TestCountsForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -1000: "-1\u202f000"} {
		require.Equal(t, want, count(n))
	}
}
