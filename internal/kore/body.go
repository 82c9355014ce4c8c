package kore

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxErrorBody  = 64 << 10  // how much of an error's body is looked at
	maxErrorDrain = 256 << 10 // how much more is read to keep the connection
	maxMessage    = 300       // runes of it that are shown
)

// readPage reads a body to its end, at most max bytes of it.
func readPage(resp *http.Response, max int64) ([]byte, error) {
	if resp.ContentLength > max {
		return nil, errTooLarge
	}
	var buf bytes.Buffer
	if resp.ContentLength > 0 {
		buf.Grow(int(resp.ContentLength) + bytes.MinRead) // room to see the end without growing
	}
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, max+1))
	switch {
	case err != nil:
		return nil, err
	case n > max:
		return nil, errTooLarge
	case n < resp.ContentLength:
		return nil, errCutShort
	}
	return buf.Bytes(), nil
}

// readError reads as much of an error's body as is worth reading. A body that breaks off is as good.
func readError(resp *http.Response) []byte {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxErrorDrain) // so that the connection can be kept, which it need not be
	}
	return body
}

// kind is what a body looks like from outside. Whether a page is a good one is for its decoder to say.
type kind int

const (
	page kind = iota
	upstreamErrors
	html
	encoded
	encrypted
	notJSON
	cutShort
)

// finding is what inspect found: for anything but a page, what it says, and the number it gives.
type finding struct {
	kind    kind
	message string
	code    int
}

// inspect looks at a body's beginning and end. It is cheap for a page: only bodies that begin unlike one are parsed.
func inspect(header http.Header, body []byte) finding {
	if enc := header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return finding{kind: encoded, message: "Content-Encoding: " + enc}
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return finding{kind: cutShort, message: "the body is empty"}
	}
	isHTML := strings.HasPrefix(strings.ToLower(header.Get("Content-Type")), "text/html")
	switch first, last := body[0], body[len(body)-1]; {
	case first == '{' && last != '}', first == '[' && last != ']':
		return finding{kind: cutShort, message: "the body ends in the middle"}
	case first == '{':
		if beginsLikePage(body) {
			return finding{}
		}
		return inspectObject(body)
	case first == '[':
		return finding{}
	case first == '<' || isHTML:
		return finding{kind: html, message: title(body)}
	case looksEncrypted(bytes.Trim(body, `"`)):
		return finding{kind: encrypted}
	}
	return finding{kind: notJSON, message: string(body[:min(len(body), maxErrorBody)])}
}

// pageKeys are the names at the top of the four endpoints' envelopes.
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

// inspectObject tells error bodies and encrypted payloads from pages that begin with a name we do not know.
func inspectObject(body []byte) finding {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return finding{} // the page's decoder will say what is wrong, and where
	}
	if object["data"] != nil || object["results"] != nil {
		return finding{}
	}
	if f := parseErrors(object); f.kind == upstreamErrors {
		return f
	}
	for key := range object {
		if encryptedKey.MatchString(key) {
			return finding{kind: encrypted}
		}
	}
	return finding{}
}

// encryptedKey are names that an encrypted payload's envelope may have: it is not documented.
var encryptedKey = regexp.MustCompile(`(?i)encrypt|cipher|^(iv|jwe|aes_?key|wrapped_?key)$`)

// looksEncrypted reports whether a body is one long word of base64, perhaps in the five parts of a JWE.
func looksEncrypted(body []byte) bool {
	const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=."
	return len(body) >= 64 && len(bytes.Trim(body, base64)) == 0
}

// parseErrors reads the API's error bodies, {"errors":[{"msg":...,"code":...}]}, and what gateways send in their place.
func parseErrors(object map[string]json.RawMessage) finding {
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
			return finding{}
		}
		var item map[string]json.RawMessage
		if json.Unmarshal(list[0], &item) != nil {
			return finding{kind: upstreamErrors, message: scalar(list[0])}
		}
		return finding{upstreamErrors, first(item, "msg", "message"), number(first(item, "code"))}
	}
	if message := first(object, "error_description", "message", "msg", "error", "errorMessage"); message != "" {
		return finding{upstreamErrors, message, number(first(object, "code", "statusCode", "status"))}
	}
	return finding{}
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

// title is what an HTML page calls itself.
func title(page []byte) string {
	if m := titleTag.FindSubmatch(page[:min(len(page), maxErrorBody)]); m != nil {
		return string(m[1])
	}
	return ""
}

// tokenLike is anything that begins like a JWT's header, cut short or not.
var tokenLike = regexp.MustCompile(`eyJ[A-Za-z0-9_.=-]{8,}`)

// line makes one short printable line of what others sent.
func line(text string) string {
	if len(text) > 4*maxErrorBody {
		text = text[:4*maxErrorBody]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > maxMessage {
		return string(runes[:maxMessage-1]) + "…"
	}
	return string(runes)
}
