package revise

import (
	"encoding/hex"
	"strings"

	"agentassist-poller/internal/binform"
)

// A text that is known beforehand is stored as its place in words, an identifier as its digits: the two make most of a
// observation. Both lists belong to stateVersion: what is appended to one cannot be read by a build without it. There can be 128
// words.

// words are what the poller writes as event_time_basis, and the values that the API's pages name.
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

// idShapes are what identifiers look like that end texts: lower-case hex digits in groups, told by their lengths. Of two
// shapes that fit a text the first is taken.
var idShapes = [][]int{
	{8, 4, 4, 4, 12},
	{7, 4, 4, 4, 12},
	{32},
	{24},
}

// flagWord is set in the first byte of a word.
const flagWord = 0x80

// maxPrefix is the longest text before an identifier: st-, smr- and the like.
const maxPrefix = 15

// appendText appends a field with the text s. An identifier is written as a byte for its shape and the length of its
// prefix, the prefix, and its digits, two in a byte.
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

// shapeLen is the length of an identifier, hyphens included.
func shapeLen(groups []int) int { return countDigits(groups) + len(groups) - 1 }

func countDigits(groups []int) (n int) {
	for _, size := range groups {
		n += size
	}
	return n
}

// shapeDigits returns the digits of s, an identifier of the right length, two in a byte; nil if it is not of the shape.
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

// code passes over a word or an identifier.
func (r *reader) code() {
	first := r.Byte()
	if first&flagWord != 0 {
		r.require(int(first&^flagWord) < len(words), "a word that is not known")
		return
	}
	shape := int(first >> 4)
	if r.require(shape < len(idShapes), "a shape of identifiers that is not known"); r.Err() == nil {
		r.Take(uint64(int(first&maxPrefix) + (countDigits(idShapes[shape])+1)/2))
	}
}

// text returns the value of a text, which field has passed over.
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
	r.require(digits == "" || digits == "0", "an identifier with a digit too many")
	return s.String()
}
