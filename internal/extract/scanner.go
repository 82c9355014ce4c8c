package extract

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"agentassist-poller/internal/bound"
)

// A scanner walks a JSON text from front to back, once, and checks what it passes. It takes what RFC 8259 takes, duplicate
// names and broken UTF-8 included: neither is a reason to lose a record. The first error ends the walk: what comes next is
// the end of the text from then on.
//
// It is our own because a page is mostly JSON: a decoder that yields tokens costs more than all that is made of them.
type scanner struct {
	body  string
	pos   int // of the character that comes next
	depth int
	err   error // wraps io.ErrUnexpectedEOF if the text ends in the middle
}

// errDepth is wrapped by the error of a text that nests deeper than bound.Depth.
var errDepth = errors.New("the JSON nests too deep")

// kind says what value comes next by its first character, '0' for any number; 0 at the end.
func (s *scanner) kind() byte {
	if s.next() == len(s.body) {
		return 0
	}
	if c := s.body[s.pos]; c != '-' && (c < '0' || c > '9') {
		return c
	}
	return '0'
}

// next passes over white space and returns where it is.
func (s *scanner) next() int {
	for s.pos < len(s.body) {
		switch s.body[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return s.pos
		}
	}
	return s.pos
}

// comes reports whether the very next character is c.
func (s *scanner) comes(c byte) bool { return s.pos < len(s.body) && s.body[s.pos] == c }

// accept passes over c if that comes next.
func (s *scanner) accept(c byte) bool {
	s.next()
	if !s.comes(c) {
		return false
	}
	s.pos++
	return true
}

// A syntaxError says what is wrong with a text, and where.
type syntaxError struct {
	what string
	at   int    // the offset in the text
	rest string // of the sentence
	kind error  // io.ErrUnexpectedEOF or errDepth; nil for anything else
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at offset %d%s", e.what, e.at, e.rest) }
func (e *syntaxError) Unwrap() error { return e.kind }

// within returns an error of a text as one of the part of it that begins at start: offsets count from there.
func within(err error, start int) error {
	if e, ok := errors.AsType[*syntaxError](err); ok {
		return &syntaxError{e.what, e.at - start, e.rest, e.kind}
	}
	return err
}

// fail ends the walk because what comes next is not what should.
func (s *scanner) fail(want string) {
	e := &syntaxError{at: s.pos, rest: ", where " + want + " should be"}
	if s.pos == len(s.body) {
		e.what, e.kind = io.ErrUnexpectedEOF.Error(), io.ErrUnexpectedEOF
	} else {
		r, _ := utf8.DecodeRuneInString(s.body[s.pos:])
		e.what = strconv.QuoteRune(r)
	}
	s.stop(e)
}

// stop ends the walk. The first error counts.
func (s *scanner) stop(err error) {
	if s.err == nil {
		s.err = err
	}
	s.pos = len(s.body)
}

// enter passes over the bracket that comes next and reports whether there is anything before the closing one; if not, it
// passes over that as well.
func (s *scanner) enter(closing byte) bool {
	if s.depth == bound.Depth {
		s.stop(&syntaxError{errDepth.Error(), s.pos, fmt.Sprintf("; at most %d levels are read", bound.Depth), errDepth})
		return false
	}
	s.pos++
	s.depth++
	return !s.leave(closing)
}

// more passes over what follows an element, and reports whether that was a comma and not the closing bracket.
func (s *scanner) more(closing byte) bool {
	if s.accept(',') {
		return true
	}
	if !s.leave(closing) {
		s.fail("a comma or " + string(closing))
	}
	return false
}

func (s *scanner) leave(closing byte) bool {
	if !s.accept(closing) {
		return false
	}
	s.depth--
	return true
}

// name passes over the name of a member and its colon.
func (s *scanner) name() (text string, plain bool) {
	if s.kind() != '"' {
		s.fail("a name")
		return `""`, true
	}
	text, plain = s.quoted()
	if !s.accept(':') {
		s.fail("a colon")
	}
	return text, plain
}

// value passes over any value and returns it; empty after an error.
func (s *scanner) value() string {
	start := s.next()
	s.skip()
	if s.err != nil {
		return ""
	}
	return s.body[start:s.pos]
}

// skip passes over any value.
func (s *scanner) skip() {
	switch s.kind() {
	case '{':
		for more := s.enter('}'); more; more = s.more('}') {
			s.name()
			s.skip()
		}
	case '[':
		for more := s.enter(']'); more; more = s.more(']') {
			s.skip()
		}
	case '"':
		s.quoted()
	case '0':
		s.number()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.fail("a value")
	}
}

// plainRun returns how many characters at the start of s stand for themselves in a string: no quote, no backslash, no
// control character. It looks at eight at a time: subtracting borrows into the high bit of a byte that is one of these, and
// of no byte before it.
func plainRun(s string) int {
	const (
		each  = 0x0101010101010101
		highs = each << 7
	)
	n := 0
	for ; n+8 <= len(s); n += 8 {
		w := binary.LittleEndian.Uint64([]byte(s[n : n+8]))
		quote, backslash := w^each*'"', w^each*'\\'
		found := ((w-each*' ')&^w | (quote-each)&^quote | (backslash-each)&^backslash) & highs
		if found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for n < len(s) && s[n] != '"' && s[n] != '\\' && s[n] >= ' ' {
		n++
	}
	return n
}

// quoted passes over the string that comes next and returns it with its quotes. It is plain if nothing in it is escaped.
func (s *scanner) quoted() (text string, plain bool) {
	start := s.pos
	s.pos++
	plain = true
	for {
		s.pos += plainRun(s.body[s.pos:])
		switch {
		case s.comes('"'):
			s.pos++
			return s.body[start:s.pos], plain
		case s.comes('\\'):
			s.escape()
			plain = false
		default:
			s.fail("the rest of a string")
		}
		if s.err != nil {
			return `""`, true
		}
	}
}

// escape passes over a backslash and what belongs to it.
func (s *scanner) escape() {
	s.pos++
	const simple, hex = `"\/bfnrtu`, "0123456789abcdefABCDEF"
	unicode := s.comes('u')
	s.oneOf(simple, "an escape")
	for i := 0; unicode && i < 4; i++ {
		s.oneOf(hex, "a hexadecimal digit")
	}
}

func (s *scanner) oneOf(chars, what string) {
	if s.pos == len(s.body) || strings.IndexByte(chars, s.body[s.pos]) < 0 {
		s.fail(what)
		return
	}
	s.pos++
}

// number passes over the number that comes next.
func (s *scanner) number() {
	s.sign("-")
	if s.comes('0') {
		s.pos++
	} else {
		s.digits()
	}
	if s.comes('.') {
		s.pos++
		s.digits()
	}
	if s.comes('e') || s.comes('E') {
		s.pos++
		s.sign("+-")
		s.digits()
	}
}

func (s *scanner) sign(signs string) {
	if s.pos < len(s.body) && strings.IndexByte(signs, s.body[s.pos]) >= 0 {
		s.pos++
	}
}

// digits passes over one digit or more.
func (s *scanner) digits() {
	s.oneOf("0123456789", "a digit")
	for s.pos < len(s.body) && s.body[s.pos]-'0' <= 9 {
		s.pos++
	}
}

// word passes over a literal of which the first character comes next.
func (s *scanner) word(w string) {
	for i := range len(w) {
		if !s.comes(w[i]) {
			s.fail(w)
			return
		}
		s.pos++
	}
}
