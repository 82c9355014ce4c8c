package revise

import (
	"encoding/hex"
	"strings"

	"agentassist-poller/internal/binform"
)

// A text of the kind code is a word that is known beforehand, or an identifier. Together these are most of an observation.
//
//	+------+                        +-------+--------+--------+
//	| word |                        | shape | prefix | digits |
//	+------+                        +-------+--------+--------+
//	  byte                            byte    text
//
//	word    bit 7 is set; bits 6 to 0 are the place in words
//	shape   bit 7 is not set; bits 6 to 4 are the place in idShapes, bits 3 to 0 the length of the prefix
//	digits  hexadecimal, two in a byte, the first in the upper bits; an odd number is filled up with a 0
//
// Both lists belong to the version of a state: a build cannot read what a later one has appended to them. A text has one form: that of
// a word if it is one, else of the first shape that fits, else the kind text.

// words are the values of event_time_basis, and values that the API's pages name. There can be 128.
var words = []string{
	"agenticActivities[].requestTime", "requestedAt", "respondedAt", "timestampValue", "startTime", "summary.exeStartTime",
	"summary.sumSubTime", "sessionStartTime", "sessionEndTime", "earliest time in the record",
	"destinations[].respondingAgent.assignedAt", "destinations[].respondingAgent.acceptedTime",
	"destinations[].nonRespondingAgents[].assignedAt", "destinations[].EnterTime",
	"AGENT", "agent", "CUSTOMER", "AGENTIC", "Agentic", "agentic", "ASSIST", "SEARCH", "POSITIVE", "NEGATIVE", "NEUTRAL",
	"UNKNOWN", "like", "dislike", "down", "Down", "copy", "send", "override", "suggestion", "Summary", "summary", "interim",
	"final", "kore", "Conversation", "widget", "voice", "Voice", "chat", "messaging", "email", "Web/Mobile Client", "text",
	"template", "idle", "completed", "COMPLETED", "CLOSED", "ACTIVE", "TERMINATED", "BotResolved", "Dropped",
	"USER ABANDONED", "CLOSED AT BOT", "ABANDONED WITH AGENT", "NO AGENTS AVAILABLE", "Inbound", "Outbound", "Bot Hangup",
	"User Hangup", "Agent Closed", "System Hangup", "QueueEntry", "AgentSegment", "Answered",
}

var wordPlaces = func() map[string]byte {
	places := make(map[string]byte, len(words))
	for i, word := range words {
		places[word] = byte(i)
	}
	return places
}()

// idShapes are the shapes of identifiers at the end of a text: groups of lower-case hexadecimal digits with hyphens in between, by the
// lengths of the groups.
var idShapes = [][]int{
	{8, 4, 4, 4, 12},
	{7, 4, 4, 4, 12},
	{32},
	{24},
}

// flagWord is set in the first byte of a word.
const flagWord = 0x80

// maxPrefix is the longest prefix of an identifier. Prefixes are st-, smr- and so on.
const maxPrefix = 15

// appendText appends a field with the text s.
func appendText(dst []byte, number int, s string) []byte {
	if place, ok := wordPlaces[s]; ok {
		return append(appendTag(dst, number, kindCode), flagWord|place)
	}
	for shape, groups := range idShapes {
		prefix := len(s) - shapeLen(groups)
		if prefix < 0 || prefix > maxPrefix {
			continue
		}
		if digits := shapeDigits(s[prefix:], groups); digits != nil {
			dst = append(appendTag(dst, number, kindCode), byte(shape<<4|prefix))
			return append(append(dst, s[:prefix]...), digits...)
		}
	}
	return binform.AppendBytes(appendTag(dst, number, kindText), s)
}

// shapeLen returns the length of an identifier, with hyphens.
func shapeLen(groups []int) int { return countDigits(groups) + len(groups) - 1 }

func countDigits(groups []int) (n int) {
	for _, size := range groups {
		n += size
	}
	return n
}

// shapeDigits returns the digits of s, two in a byte, or nil if s does not have the shape. s has the right length.
func shapeDigits(s string, groups []int) []byte {
	digits := make([]byte, 0, 33)
	for i, size := range groups {
		if i > 0 {
			if s[0] != '-' {
				return nil
			}
			s = s[1:]
		}
		digits, s = append(digits, s[:size]...), s[size:]
	}
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil
		}
	}
	if len(digits)%2 == 1 {
		digits = append(digits, '0')
	}
	packed := make([]byte, len(digits)/2)
	if _, err := hex.Decode(packed, digits); err != nil {
		return nil
	}
	return packed
}

// code skips a word or an identifier.
func (r *reader) code() {
	first := r.Byte()
	if first&flagWord != 0 {
		r.require(int(first&^flagWord) < len(words), "an unknown word")
		return
	}
	shape := int(first >> 4)
	if r.require(shape < len(idShapes), "an unknown shape of identifiers"); r.Err() == nil {
		r.Take(uint64(int(first&maxPrefix) + (countDigits(idShapes[shape])+1)/2))
	}
}

// text returns the value of a text field.
func (r *reader) text(f field) string {
	if f.kind == kindText {
		return string(f.value)
	}
	value := r.enter(f, kindCode)
	if r.Err() != nil {
		return ""
	}
	first := value.Byte()
	if first&flagWord != 0 {
		return words[first&^flagWord]
	}
	var s strings.Builder
	s.Write(value.Take(uint64(first & maxPrefix)))
	digits := hex.EncodeToString(value.Rest())
	for i, size := range idShapes[first>>4] {
		if i > 0 {
			s.WriteByte('-')
		}
		s.WriteString(digits[:size])
		digits = digits[size:]
	}
	r.require(digits == "" || digits == "0", "an identifier with one digit too many")
	return s.String()
}
