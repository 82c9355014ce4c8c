package kore_test

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kore"
)

// server is one whose clock is ahead of ours by skew. It answers after there, and the answer takes back.
type server struct {
	skew        time.Duration
	there, back time.Duration
	status      int
	body        string
	header      []string
}

func (s *server) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(s.there)
	date := httpDate(time.Now().Add(s.skew))
	time.Sleep(s.back)
	return reply(s.status, s.body, append([]string{"Date", date}, s.header...)...), nil
}

func TestSkewIsUnknownAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, config(), kore.WithTransport(&server{status: 200, body: emptyPage}))
		_, known := c.Skew()
		require.False(t, known)
		require.Equal(t, time.Now().Round(0), c.Now())
	})
}

// Whatever the latencies, the estimate is off by no more than half the fastest round trip and half a second, and many
// answers make it better than one.
func TestSkewIsMeasured(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			s := &server{status: 200, body: emptyPage, skew: time.Duration(random.Int64N(int64(2*time.Hour))) - time.Hour}
			c := newClient(t, config(), kore.WithTransport(s))
			fastest := time.Duration(1 << 62)
			for i := range 30 {
				time.Sleep(time.Duration(random.Int64N(int64(20 * time.Second))))
				s.there = time.Duration(random.Int64N(int64(300 * time.Millisecond)))
				s.back = time.Duration(random.Int64N(int64(300 * time.Millisecond)))
				fastest = min(fastest, s.there+s.back)
				_, err := c.Fetch(t.Context(), query())
				require.NoError(t, err)
				got, known := c.Skew()
				require.Equal(t, i > 0, known, "one answer alone is a guess")
				require.InDelta(t, s.skew.Seconds(), got.Seconds(), (fastest/2+500*time.Millisecond).Seconds()+0.01, "seed %d", seed)
			}
			got, _ := c.Skew()
			require.InDelta(t, s.skew.Seconds(), got.Seconds(), 0.35, "seed %d", seed)
			require.Equal(t, time.Now().Round(0).Add(got), c.Now())
		})
	}
}

// A slow answer says little, and takes nothing away from what is known.
func TestSlowAnswersDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{status: 200, body: emptyPage, skew: 90 * time.Second}
		c := newClient(t, config(), kore.WithTransport(s))
		_, err := c.Fetch(t.Context(), query())
		require.NoError(t, err)
		before, _ := c.Skew()
		s.there, s.back = 50*time.Second, 0
		_, err = c.Fetch(t.Context(), query())
		require.NoError(t, err)
		s.there, s.back = 0, 50*time.Second
		_, err = c.Fetch(t.Context(), query())
		require.NoError(t, err)
		after, _ := c.Skew()
		require.InDelta(t, before.Seconds(), after.Seconds(), 0.5)
	})
}

// A clock that was set is believed when a second answer says the same; one answer alone is not.
func TestClockThatWasSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{status: 200, body: emptyPage}
		c := newClient(t, config(), kore.WithTransport(s))
		at := func(skew, want time.Duration) {
			t.Helper()
			s.skew = skew
			time.Sleep(time.Second)
			_, err := c.Fetch(t.Context(), query())
			require.NoError(t, err)
			got, _ := c.Skew()
			require.InDelta(t, want.Seconds(), got.Seconds(), 1)
		}
		at(0, 0)
		at(0, 0)
		at(time.Hour, 0)
		at(0, 0)
		at(time.Hour, 0)
		at(time.Hour, time.Hour)
		at(-time.Minute, time.Hour)
		at(-time.Minute, -time.Minute)
	})
}

// Answers of proxies, gateways and caches carry clocks of their own.
func TestOnlyTheServersClockCounts(t *testing.T) {
	for name, s := range map[string]*server{
		"gateway":     {status: 502, body: `{"message":"bad gateway"}`},
		"login page":  {status: 200, body: htmlPage},
		"redirect":    {status: 302},
		"proxy login": {status: 407},
		"cache":       {status: 200, body: emptyPage, header: []string{"Age", "100"}},
		"two caches":  {status: 200, body: emptyPage, header: []string{"Age", "0, 100"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s.skew = time.Hour
				c := newClient(t, config(), kore.WithTransport(s))
				_, _ = c.Fetch(t.Context(), query()) // most of these are errors
				_, known := c.Skew()
				require.False(t, known)
			})
		})
	}
}

// A cache that asks the API before it answers says Age: 0, and the Date is the API's.
func TestCacheThatRevalidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, config(), kore.WithTransport(&server{status: 200, body: emptyPage, header: []string{"Age", "0"}, skew: time.Hour}))
		for range 2 {
			_, err := c.Fetch(t.Context(), query())
			require.NoError(t, err)
		}
		skew, known := c.Skew()
		require.True(t, known)
		require.InDelta(t, time.Hour, skew, float64(time.Second))
	})
}

// Our clock is wrong by more than a token lives. The first attempt tells, the second passes.
func TestTokensFollowTheServersClock(t *testing.T) {
	for _, skew := range []time.Duration{-3 * time.Hour, -10 * time.Minute, 0, 10 * time.Minute, 3 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
					attempts++
					now := time.Now().Add(skew)
					if attempts == 1 && skew != 0 {
						return reply(401, `{"errors":[{"msg":"no","code":401}]}`, "Date", httpDate(now)), nil
					}
					parseToken(t, r, clientSecret, now) // fails the test unless now lies between iat and exp
					return reply(200, emptyPage, "Date", httpDate(now)), nil
				})))
				_, err := c.Fetch(t.Context(), query())
				if skew != 0 {
					var failure *kore.Error
					require.ErrorAs(t, err, &failure)
					require.Equal(t, kore.ReasonClock, failure.Reason)
				}
				_, err = c.Fetch(t.Context(), query())
				require.NoError(t, err)
			})
		})
	}
}

func TestServerWithoutDate(t *testing.T) {
	for _, date := range []string{"", "yesterday", strconv.Itoa(1 << 40)} {
		c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			return reply(200, emptyPage, "Date", date), nil
		})))
		page, err := c.Fetch(t.Context(), query())
		require.NoError(t, err)
		require.Zero(t, page.ServerTime)
		_, known := c.Skew()
		require.False(t, known)
	}
}
