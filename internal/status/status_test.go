package status_test

import (
	"encoding/json"
	"testing"
	"time"

	"agentassist-poller/internal/status"

	"github.com/stretchr/testify/require"
)

func TestWorst(t *testing.T) {
	account := func(states ...status.State) status.Account {
		var a status.Account
		for _, s := range states {
			a.Endpoints = append(a.Endpoints, status.Endpoint{State: s})
		}
		return a
	}
	tests := []struct {
		name string
		in   status.Status
		want status.State
	}{
		{"nothing", status.Status{}, status.OK},
		{"all well", status.Status{Accounts: []status.Account{account(status.OK, status.OK)}}, status.OK},
		{"waiting is not red", status.Status{Accounts: []status.Account{account(status.OK, status.Waiting)}}, status.Waiting},
		{"one failing", status.Status{Accounts: []status.Account{account(status.OK), account(status.Failing, status.Waiting)}}, status.Failing},
		{"delivery", status.Status{Delivery: status.Delivery{State: status.Failing}, Accounts: []status.Account{account(status.OK)}}, status.Failing},
		{"problem", status.Status{Problems: []status.Error{{Text: "a topic was deleted"}}}, status.Failing},
		{"checkpoint", status.Status{Checkpoint: status.Checkpoint{State: status.Failing}}, status.Failing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, test.in.Worst())
			require.Equal(t, test.want == status.Failing, test.in.Worst().Red())
		})
	}
}

func TestSecondsInJSON(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 15 * time.Second: "15", 1500 * time.Millisecond: "1.5", -250 * time.Millisecond: "-0.25", 90*time.Minute + time.Microsecond: "5400",
	} {
		got, err := json.Marshal(status.Of(d))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		var back status.Seconds
		require.NoError(t, json.Unmarshal(got, &back))
		require.Equal(t, d.Round(time.Millisecond), time.Duration(back))
	}
}

// Before anything has been read the answer must say null, not the year 1.
func TestUnknownIsNull(t *testing.T) {
	got, err := json.Marshal(status.Endpoint{Endpoint: "interactions", State: status.Waiting})
	require.NoError(t, err)
	require.NotContains(t, string(got), "0001-01-01")
	require.Contains(t, string(got), `"read_through":null`)
}
