package kore

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/memory"
)

const (
	maxErrorBody  = 64 << 10  // how much of an error's body is looked at
	maxErrorDrain = 256 << 10 // how much more is read to keep the connection
	maxMessage    = 300       // runes of it that are shown
)

// noRows is the page that an answer without content stands for: some gateways say so of an empty page.
const noRows = `{"numResults":0,"hasMore":false,"totalResults":0,"totalPages":0,"data":[]}`

// inflate has the body of an answer decompressed where it is compressed with gzip, which is what requests ask for, or with deflate, which
// some proxies use unasked. What a body is shows in the body: some proxies compress without a header that says so, or decompress and leave
// the header in place. A body in an encoding that is not read stays as it is, with its header.
func inflate(resp *http.Response) error {
	buffered := bufio.NewReader(resp.Body)
	head, _ := buffered.Peek(2) // an error comes again when the body is read
	var plain io.Reader = buffered
	switch encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		plain = z
	case beginsLikeJSON(head), encoding == "gzip", encoding == "x-gzip": // as it is, whatever the header says
	case encoding == "deflate" && len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0: // as the standard has it
		z, err := zlib.NewReader(buffered)
		if err != nil {
			return err
		}
		plain = z
	case encoding == "deflate": // without an envelope
		plain = flate.NewReader(buffered)
	default:
		resp.Body = inflated{plain, resp.Body}
		return nil
	}
	if plain != io.Reader(buffered) {
		resp.ContentLength = -1
	}
	resp.Header.Del("Content-Encoding")
	resp.Body = inflated{plain, resp.Body}
	return nil
}

// beginsLikeJSON reports whether the first characters of a body are those of a JSON object, and not of compressed data.
func beginsLikeJSON(head []byte) bool {
	return len(head) == 2 && head[0] == '{' && strings.IndexByte("\"} \t\r\n", head[1]) >= 0
}

// inflated is what is read of a body, and what is to be closed.
type inflated struct {
	io.Reader
	io.Closer
}

const (
	firstBytes     = 8 << 10  // of the buffer that an answer is read into: every request has as much
	beginningBytes = 32 << 10 // of an answer that is too large are kept
)

// readPage reads a body to its end, at most so many bytes of it. The buffer grows with what arrives, whatever the answer announces, and
// takes from held what it needs beyond firstBytes. With errTooLarge, readPage returns the beginning of the body.
func readPage(ctx context.Context, resp *http.Response, most int64, held *memory.Held) ([]byte, error) {
	if resp.ContentLength > most {
		beginning := make([]byte, beginningBytes)
		n, _ := io.ReadFull(resp.Body, beginning)
		return beginning[:n], errTooLarge
	}
	buf := make([]byte, 0, firstBytes)
	for {
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch size := int64(len(buf)); {
		case size > most:
			return bytes.Clone(buf[:min(len(buf), beginningBytes)]), errTooLarge
		case err == io.EOF && size < resp.ContentLength:
			return nil, errCutShort
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, err
		}
		if len(buf) < cap(buf) {
			continue
		}
		size := min(2*int64(cap(buf)), most+1)
		if announced := resp.ContentLength + 1; announced > int64(cap(buf)) { // room to see the end without growing
			size = min(size, announced)
		}
		if err := held.Grow(ctx, size); err != nil {
			return nil, errNoMemory
		}
		larger := append(make([]byte, 0, size), buf...)
		if cap(buf) > firstBytes {
			held.Shrink(int64(cap(buf)))
		}
		buf = larger
	}
}

// takeDecoded takes from held what is made of a body until it is published, about: a copy of its text, the events that are encoded, and
// what its objects are decoded into. A small body takes nothing.
func takeDecoded(ctx context.Context, body []byte, held *memory.Held) error {
	if len(body) < firstBytes {
		return nil
	}
	objects := min(bytes.Count(body, []byte{'{'}), bound.PageElements)
	if err := held.Grow(ctx, 2*int64(len(body))+1<<10*int64(objects)); err != nil {
		return errNoMemory
	}
	return nil
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
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError { // Cf: what turns the direction of text, for example
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
