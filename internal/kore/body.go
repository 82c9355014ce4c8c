package kore

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/zlib"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxErrorBody  = 64 << 10  // how much of an error's body is looked at
	maxErrorDrain = 256 << 10 // how much more is read to keep the connection
	maxMessage    = 300       // runes of it that are shown
)

// noRows is the page that an answer without content stands for: some gateways say so of an empty page.
const noRows = `{"numResults":0,"hasMore":false,"totalResults":0,"totalPages":0,"data":[]}`

// inflate has the body of an answer decompressed where a proxy has compressed it with deflate, which was not asked for. What the
// transport asked for, gzip, it has decompressed itself.
func inflate(resp *http.Response) {
	if !strings.EqualFold(strings.TrimSpace(resp.Header.Get("Content-Encoding")), "deflate") {
		return
	}
	resp.Header.Del("Content-Encoding")
	resp.ContentLength = -1
	resp.Body = &inflater{compressed: resp.Body}
}

// An inflater reads deflate: in a zlib envelope, as the standard has it, or without, as some servers do.
type inflater struct {
	compressed io.ReadCloser
	plain      io.Reader // nil until the first Read
}

func (r *inflater) Read(p []byte) (int, error) {
	if r.plain == nil {
		buffered := bufio.NewReader(r.compressed)
		head, err := buffered.Peek(2)
		if err != nil {
			return 0, err
		}
		if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
			if r.plain, err = zlib.NewReader(buffered); err != nil {
				return 0, err
			}
		} else {
			r.plain = flate.NewReader(buffered)
		}
	}
	return r.plain.Read(p)
}

func (r *inflater) Close() error { return r.compressed.Close() }

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

// readError reads as much of an error's body as is worth reading. A body that was cut short serves as well.
func readError(resp *http.Response) []byte {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxErrorDrain) // so that the connection can be kept, which it need not be
	}
	return body
}

// tokenLike is anything that begins like a JWT's header, cut short or not.
var tokenLike = regexp.MustCompile(`eyJ[A-Za-z0-9_.=-]{8,}`)

// line turns text that others sent into one short printable line.
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
