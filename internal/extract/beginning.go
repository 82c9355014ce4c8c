package extract

import "regexp"

// DeadBeginning returns a dead record for an answer of a single record that was too large to be read: the beginning of the record, as far
// as beginning, of the answer, holds it, and the ids that are in it.
func DeadBeginning(reason string, beginning []byte) Dead {
	if at := toRecords.FindIndex(beginning); at != nil { // what stands before the record is not the same on every read
		beginning = beginning[at[1]:]
	}
	d := Dead{Stage: stageDecode, Reason: reason, Raw: beginning}
	for _, found := range idAtTop.FindAllSubmatch(beginning, -1) {
		id := string(found[2])
		switch string(found[1]) {
		case "conversationID", "conversationId", "convId":
			d.ConversationID = id
		case "segmentID":
			d.SegmentID = id
		case "botSessionID", "sessionId", "mbSessionId":
			d.SessionID = id
		}
	}
	return d
}

// toRecords finds where the records of a page begin.
var toRecords = regexp.MustCompile(`^[^\[]*"(data|results)"\s*:\s*\[\s*`)

// idAtTop finds ids by their names. It does not know how deep they lie, which is good enough for a person who looks for a record.
var idAtTop = regexp.MustCompile(`"(conversationI[Dd]|convId|segmentID|botSessionID|sessionId|mbSessionId)"\s*:\s*"([^"\\]{1,200})"`)
