package payload_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/payload"
	"agentassist-poller/internal/status"
)

func TestJudge(t *testing.T) {
	const htmlPage = "<!DOCTYPE html>\n<html><head><title>Sign in\n to the proxy</title></head></html>"
	refused := func(message string, code int) payload.Finding {
		return payload.Finding{Fault: payload.Refused, Detail: message, Code: code}
	}
	for name, c := range map[string]struct {
		contentType, body string
		want              payload.Finding // without Detail where it is empty
	}{
		"a page":                          {"", `{"numResults":0,"hasMore":false,"data":[]}`, payload.Finding{}},
		"a page of conversations":         {"", "{\n  \"results\": [], \"skip\":0}\n", payload.Finding{}},
		"a page after a byte order mark":  {"", "\ufeff" + `{"data":[]}`, payload.Finding{}},
		"a page that calls itself HTML":   {"text/html", `{"data":[]}`, payload.Finding{}},
		"an unknown name first":           {"", `{"requestId":"x","data":[]}`, payload.Finding{}},
		"no errors beside data":           {"", `{"errors":[],"data":[]}`, payload.Finding{}},
		"null for data":                   {"", `{"data":null}`, payload.Finding{}},
		"broken in the middle":            {"", `{"errors":[{"msg" "x"}]}`, payload.Finding{}},
		"empty":                           {"", "", payload.Finding{Fault: payload.Truncated, Detail: "the body is empty"}},
		"blank":                           {"text/html", "\ufeff \r\n", payload.Finding{Fault: payload.Truncated, Detail: "the body is empty"}},
		"half an object":                  {"", `{"data":[{"a":`, payload.Finding{Fault: payload.Truncated, Detail: "the body ends in the middle"}},
		"a page before a comment":         {"", "{\"data\":[]}\n<!-- a --> <!-- edge-7 -->\n", payload.Finding{}},
		"a page before a remark":          {"", `{"data":[]} served by 7`, payload.Finding{Fault: payload.NotJSON, Detail: `after the JSON comes " served by 7"`}},
		"half an object with a comment":   {"", `{"data":[{"a":<!-- a -->`, payload.Finding{Fault: payload.Truncated, Detail: "the body ends in the middle"}},
		"half a list":                     {"", `[1,`, payload.Finding{Fault: payload.Truncated, Detail: "the body ends in the middle"}},
		"the API's error":                 {"", ` {"errors" : [{"msg":"no","code":401}]}`, refused("no", 401)},
		"its code in text":                {"", `{"errors":[{"msg":"no","code":"4002"}]}`, refused("no", 4002)},
		"its error in a word":             {"", `{"errors":"no"}`, refused("no", 0)},
		"its error in a list of words":    {"", `{"status":"fail","errors":["no"]}`, refused("no", 0)},
		"a gateway's error":               {"", `{"statusCode":500,"message":"Internal Server Error"}`, refused("Internal Server Error", 500)},
		"errors that are none":            {"", `{"errors":[]}`, payload.Finding{Fault: payload.Shape, Detail: "neither data nor results, only errors"}},
		"an empty object":                 {"", `{}`, payload.Finding{Fault: payload.Shape, Detail: "an empty object"}},
		"a foreign object":                {"", `{"rows":[],"more":1}`, payload.Finding{Fault: payload.Shape, Detail: "neither data nor results, only more, rows"}},
		"a payload that is not encrypted": {"", `{"payload":{"rows":[]}}`, payload.Finding{Fault: payload.Shape}},
		"a list":                          {"", `[]`, payload.Finding{Fault: payload.Shape, Detail: "an array instead of an object with data or results"}},
		"a word":                          {"", `"Unauthorized"`, payload.Finding{Fault: payload.Shape, Detail: "a string instead of an object with data or results"}},
		"null":                            {"", `null`, payload.Finding{Fault: payload.Shape, Detail: "null instead of an object with data or results"}},
		"a login page":                    {"text/html; charset=utf-8", htmlPage, payload.Finding{Fault: payload.HTML, Detail: "Sign in\n to the proxy"}},
		"one that calls itself JSON":      {"application/json", "\ufeff\n " + htmlPage, payload.Finding{Fault: payload.HTML, Detail: "Sign in\n to the proxy"}},
		"text that calls itself HTML":     {"Text/HTML", "OK", payload.Finding{Fault: payload.HTML}},
		"text":                            {"text/plain", "upstream connect error", payload.Finding{Fault: payload.NotJSON, Detail: "upstream connect error"}},
		"compressed":                      {"", "\x1f\x8b\x08\x00", payload.Finding{Fault: payload.NotJSON}},
		"an encrypted object":             {"", `{"encryptedPayload":"AAAA","encryptedKey":"BBBB","iv":"CCCC"}`, payload.Finding{Fault: payload.Encrypted}},
		"one that is named late":          {"", `{"v":1,"cipherText":"AAAA"}`, payload.Finding{Fault: payload.Encrypted}},
		"one with a vector":               {"", `{"payload":"9a8b","iv":"77"}`, payload.Finding{Fault: payload.Encrypted}},
		"a compact JWE":                   {"", "eyJhbGciOiJSU0EtT0FFUCJ9.QR1Owv.48V1.5eym.XFBoMYUZ", payload.Finding{Fault: payload.Encrypted}},
		"base64 in a string":              {"", `"` + strings.Repeat("Zm9v", 40) + `=="`, payload.Finding{Fault: payload.Encrypted}},
	} {
		t.Run(name, func(t *testing.T) {
			got := payload.Judge(c.contentType, []byte(c.body))
			if c.want.Detail == "" {
				got.Detail = ""
			}
			require.Equal(t, c.want, got)
		})
	}
}

// Whatever came in place of a page, somebody is told what to do about it, unless the API's own number tells.
func TestEveryFaultHasAdvice(t *testing.T) {
	for _, f := range []payload.Fault{payload.Truncated, payload.HTML, payload.Encrypted, payload.NotJSON, payload.Shape, payload.TooMuch} {
		require.NotEmpty(t, f.Hint(), f)
		want := status.ClassShape
		if f == payload.Truncated {
			want = status.ClassRetry
		}
		require.Equal(t, want, f.Class(), f)
	}
	require.Equal(t, status.ClassRetry, payload.Refused.Class())
}

// A large object is not parsed: its decoder says what is wrong with it. An encrypted payload is told by its first names.
func TestJudgeOfLargeObjects(t *testing.T) {
	large := strings.Repeat(`"a":1,`, 1<<20)
	require.Empty(t, payload.Judge("", []byte(`{`+large+`"b":1}`)))
	require.Equal(t, payload.Encrypted, payload.Judge("", []byte(`{"v":1,"encryptedData":"`+strings.Repeat("QUJD", 1<<20)+`"}`)).Fault)
	require.Less(t, testing.AllocsPerRun(1, func() { payload.Judge("", []byte(`{`+large+`"b":1}`)) }), 200.0)
}
