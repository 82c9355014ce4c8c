// Package payload says what the body of an answer is: a page, or what else came in its place, and what to do about that.
//
// It looks at a body from outside. Whether a page is a good one is for its decoder to say, which asks here about what it could
// not read.
package payload

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"agentassist-poller/internal/status"
)

// Fault says what came in place of a page.
type Fault string

// The faults. None of them is not a page: the zero value is one.
const (
	Truncated Fault = "truncated" // it is empty, or ends in the middle
	Refused   Fault = "refused"   // the API reports an error
	HTML      Fault = "html"      // a proxy or a login page answered
	Encrypted Fault = "encrypted" // payload encryption is switched on
	NotJSON   Fault = "not-json"
	Shape     Fault = "shape"    // JSON, but not this API's
	TooMuch   Fault = "too-much" // a page with more in it than is read at once
)

// advice has what to do about each fault. What to do about a refusal depends on its code.
var advice = map[Fault]struct {
	class status.Class
	hint  string
}{
	Truncated: {status.ClassRetry, "if this goes on, something on the way cuts answers short: check the proxies and gateways between"},
	Refused:   {status.ClassRetry, ""},
	HTML:      {status.ClassShape, "an HTML page came instead of JSON: check base_url, and any proxy, gateway or login page on the way"},
	Encrypted: {status.ClassShape, `switch off "Enforce Request and Response Payload Encryption" in the settings of the JWT app that ` +
		"auth.client_id names: this program cannot read encrypted payloads"},
	NotJSON: {status.ClassShape, "the answer is not JSON: check base_url and what is between here and there"},
	TooMuch: {status.ClassShape, "fewer records are asked for at once; if this goes on, look at what is in the answer"},
	Shape: {status.ClassShape, "the answer is JSON of another shape: check that base_url is the address of the API; if it is, the API " +
		"has changed and a newer version of this program is needed"},
}

// Class says what a fault asks of the person who sees it.
func (f Fault) Class() status.Class { return advice[f].class }

// Hint says what to change, empty if that is not known.
func (f Fault) Hint() string { return advice[f].hint }

// Finding is what was found in place of a page.
type Finding struct {
	Fault Fault // empty for a page
	// Detail is what the body says, or what is missing. It may be long, and hold whatever somebody else sent.
	Detail string
	// Code is the number in the API's own error, 0 for none.
	Code int
}

// maxDetail is how much of a body is quoted.
const maxDetail = 64 << 10

// Trim returns a body without what some gateways put around it: a byte order mark, white space, and comments of HTML at the end.
func Trim(body []byte) []byte {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	for bytes.HasSuffix(body, []byte("-->")) {
		start := bytes.LastIndex(body, []byte("<!--"))
		if start <= 0 {
			break
		}
		body = bytes.TrimSpace(body[:start])
	}
	return body
}

// Judge looks at the body of an answer. The content type may be empty. It is cheap for a page: only a body that begins unlike one
// is parsed.
func Judge(contentType string, body []byte) Finding {
	body = Trim(body)
	if len(body) == 0 {
		return Finding{Fault: Truncated, Detail: "the body is empty"}
	}
	isHTML := strings.HasPrefix(strings.ToLower(contentType), "text/html")
	switch first, last := body[0], body[len(body)-1]; {
	case first == '{' && last != '}', first == '[' && last != ']':
		if end := bytes.LastIndexAny(body, "}]") + 1; end > 0 && json.Valid(body[:end]) {
			return Finding{Fault: NotJSON, Detail: "after the JSON comes " + strconv.Quote(string(body[end:min(len(body), end+maxDetail)]))}
		}
		return Finding{Fault: Truncated, Detail: "the body ends in the middle"}
	case first == '{' && beginsLikePage(body):
		return Finding{}
	case first == '{':
		return judgeObject(body)
	case first == '<' || isHTML:
		return Finding{Fault: HTML, Detail: title(body)}
	case looksEncrypted(body):
		return Finding{Fault: Encrypted, Detail: "one opaque word"}
	case json.Valid(body):
		return Finding{Fault: Shape, Detail: kindOf(first) + " instead of an object with data or results"}
	}
	return Finding{Fault: NotJSON, Detail: string(body[:min(len(body), maxDetail)])}
}

// pageKeys are the names at the top of the endpoints' envelopes.
var pageKeys = map[string]bool{
	"numResults": true, "hasMore": true, "data": true,
	"results": true, "skip": true, "limit": true, "totalPages": true, "totalResults": true,
}

func beginsLikePage(object []byte) bool {
	key, ok := bytes.CutPrefix(bytes.TrimLeft(object[1:], " \t\r\n"), []byte(`"`))
	if !ok {
		return false
	}
	end := bytes.IndexByte(key[:min(len(key), 32)], '"')
	return end > 0 && pageKeys[string(key[:end])]
}

// judgeObject tells the API's errors, encrypted payloads and foreign objects from pages that begin with a name we do not know.
func judgeObject(body []byte) Finding {
	if len(body) > maxDetail { // a map of it might be many times as large
		for _, name := range nameAtTop.FindAllSubmatch(body[:maxDetail], maxNames) {
			if encryptedName.Match(name[1]) {
				return Finding{Fault: Encrypted, Detail: "a member " + string(name[1])}
			}
		}
		return Finding{}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return Finding{} // the page's decoder will say what is wrong, and where
	}
	if object["data"] != nil || object["results"] != nil {
		return Finding{}
	}
	if f := refusal(object); f.Fault != "" {
		return f
	}
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	f := Finding{Fault: Shape, Detail: "neither data nor results, only " + strings.Join(names, ", ")}
	if slices.ContainsFunc(names, encryptedName.MatchString) {
		f.Fault = Encrypted
	}
	if len(names) == 0 {
		f.Detail = "an empty object"
	}
	f.Detail = f.Detail[:min(len(f.Detail), maxDetail)]
	return f
}

// nameAtTop finds names in the beginning of an object that is too large to be parsed here. It does not know how deep they lie.
var nameAtTop = regexp.MustCompile(`"([^"\\]{1,40})"\s*:`)

// maxNames is how many of them are looked at.
const maxNames = 10

// encryptedName are names that the envelope of an encrypted payload may have: it is not documented.
var encryptedName = regexp.MustCompile(`(?i)encrypt|cipher|jwe|enc_?key|auth_?tag|^(iv|aes_?key|wrapped_?key)$`)

// looksEncrypted reports whether a body is one long word of base64, or the five parts of a compact JWE.
func looksEncrypted(body []byte) bool {
	const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=."
	body = bytes.Trim(body, `"`)
	if len(bytes.Trim(body, base64)) > 0 {
		return false
	}
	return len(body) >= 64 || bytes.HasPrefix(body, []byte("eyJ")) && bytes.Count(body, []byte(".")) == 4
}

// refusal reads the API's error bodies, {"errors":[{"msg":...,"code":...}]}, and what gateways send in their place.
func refusal(object map[string]json.RawMessage) Finding {
	first := func(o map[string]json.RawMessage, keys ...string) string {
		for _, key := range keys {
			if text := scalar(o[key]); text != "" {
				return text
			}
		}
		return ""
	}
	if errs := bytes.TrimSpace(object["errors"]); len(errs) > 0 {
		var list []json.RawMessage
		if json.Unmarshal(errs, &list) != nil {
			list = []json.RawMessage{errs} // one error that is no list
		}
		if len(list) == 0 || scalar(errs) == "null" {
			return Finding{}
		}
		var item map[string]json.RawMessage
		if json.Unmarshal(list[0], &item) != nil {
			return Finding{Fault: Refused, Detail: scalar(list[0])}
		}
		return Finding{Refused, first(item, "msg", "message"), number(first(item, "code"))}
	}
	if message := first(object, "error_description", "message", "msg", "error", "errorMessage"); message != "" {
		return Finding{Refused, message, number(first(object, "code", "statusCode", "status"))}
	}
	return Finding{}
}

// scalar is the text of a JSON string, or anything else as it is written.
func scalar(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && raw[0] == '"' {
		return s
	}
	return string(raw)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

var titleTag = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// title returns the title of an HTML page.
func title(page []byte) string {
	if m := titleTag.FindSubmatch(page[:min(len(page), maxDetail)]); m != nil {
		return string(m[1])
	}
	return ""
}

func kindOf(first byte) string {
	switch first {
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}
