package kore

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/status"
)

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "60", "-1", "1.5", "1e400", "NaN", "Inf", "0x10", "soon", "9223372036854775807",
		"Fri, 31 Dec 1999 23:59:59 GMT", "Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:59 1999", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		f.Add(value, int64(946684800))
	}
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		now := time.Unix(unix%(1<<36), 0)
		wait := retryAfter(value, now)
		require.GreaterOrEqual(t, wait, minWait)
		require.Equal(t, wait, retryAfter(" "+value+"\t", now))
		if date, err := http.ParseTime(value); err == nil && date.After(now.Add(minWait)) {
			require.False(t, now.Add(wait).Before(date) && wait != 1<<63-1, "asks again before it may")
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	for _, body := range []string{"", "{}", "[]", `{"errors":[{"msg":"m","code":401}]}`, `{"errors":{"msg":"m","code":"4002"}}`, `{"errors":["m"]}`,
		`{"errors":null}`, `{"errors":[null]}`, `{"errors":[{"msg":{"a":1},"code":1e3}]}`, `{"message":["x"]}`, `{"error":{"a":1}}`,
		`{"data":[],"errors":[1]}`, `{"iv":1}`, "<html><title>t</title>", "\ufeff<x>", `"eyJh.a.b.c.d"`, "eyJhbGciOiJIUzI1NiJ9.e30.x"} {
		f.Add(200, "application/json", []byte(body))
		f.Add(401, "text/html", []byte(body))
	}
	f.Fuzz(func(t *testing.T, code int, contentType string, body []byte) {
		code = 200 + (code%400+400)%400
		a := answer{status: code, header: http.Header{"Content-Type": {contentType}}, body: body, now: time.Unix(0, 0)}
		failure := classify(events.Interactions, a)
		if failure == nil {
			require.Equal(t, 2, code/100, "an error passed as a page")
			return
		}
		require.Equal(t, failure.Class == status.ClassWait, failure.RetryAfter > 0)
		require.NotEmpty(t, failure.Reason)
		message := line(scrub(failure.Message))
		require.LessOrEqual(t, utf8.RuneCountInString(message), maxMessage)
		require.True(t, utf8.ValidString(message))
		require.NotContains(t, message, "\n")
		require.False(t, strings.Contains(message, "eyJhbGciOiJIUzI1NiJ9"))
	})
}
