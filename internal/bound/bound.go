// Package bound holds how large anything may get whose size somebody else decides on: upstream, a broker, a configuration. It is
// the one table; what keeps a bound names it from here.
//
// The table follows from one number. Brokers take 1,048,588 bytes for the records of a batch unless max.message.bytes says
// otherwise, and what the poller must write to go on at all has to fit with a margin: a record of its own that Kafka refuses could
// be replaced by nothing. Events are the exception: how large they may get is a setting (kafka.max_record_bytes), and one that is
// too large is replaced by a dead letter.
package bound

import "unicode/utf8"

// Texts.
const (
	// ID bounds an identifier that becomes the key of a record, or that all events of an upstream record repeat: the ids of
	// conversation, session and segment, channel, agent and queue. A record with a longer one is a dead letter. Documented ids have
	// at most 60 characters, and names of people and queues a few hundred. Headers of events hold the id of a bot, percent-encoded.
	ID = 1 << 10
	// IDs bounds a list of identifiers that many events of an upstream record repeat: a thousand sessions of one conversation.
	IDs = 32 << 10
	// ConfiguredID bounds the ids in the configuration: they are parts of keys, headers and progress.
	ConfiguredID = 256
	// Reason bounds a sentence that says what is wrong with something, in dead letters and in the progress of jobs: as much as a
	// person reads.
	Reason = ID
)

// Records that the poller makes. All are less than Record, key and headers included.
const (
	// Record bounds every record but events. It leaves a quarter of what brokers take by default.
	Record = 768 << 10
	// DeadRaw bounds what a dead letter quotes of what it is about. With the ids, the reason and the key it stays below half of Record.
	DeadRaw = 256 << 10
	// Extra bounds what an event carries of members that are not known.
	Extra = 64 << 10
	// CheckpointValue bounds a delta and a part of a snapshot on the checkpoint topic. They are packed up to it.
	CheckpointValue = 512 << 10
	// Entity bounds what is stored of one entity in one entry of the checkpoint: two of them fit into a delta. What an endpoint said of
	// an entity and is larger is stored in parts of so many bytes, each an entry of its own.
	Entity = 192 << 10
	// OpenRows bounds the ids of open rows that the progress of a unit holds, encoded: it is written whole with every pass.
	OpenRows = 256 << 10
	// Offsets bounds the offsets that a watermark holds, one for each partition of each topic that its endpoint feeds, with the topic's
	// name in each. Progress holds the same offsets without the names.
	Offsets = 512 << 10
	// Job bounds a record of a job, and of its progress.
	Job = 256 << 10
	// ReadSpans bounds the spans of time that a unit has read, and so the gaps between them: progress holds the spans, a watermark the
	// gaps. A unit has a few, and one for each second that holds more rows than the API gives out.
	ReadSpans = 4000
	// Capped bounds the spans of which progress says that they hold more than the API gives out.
	Capped = 500
	// OpenJobs bounds the jobs that a unit has under way, JobSpans the pieces of what one of them asks for.
	OpenJobs, JobSpans = 16, 96
)

// Answers.
const (
	// Body is how many bytes of an answer are read unless max_body says otherwise: some thirty times the largest page seen in samples.
	Body = 32 << 20
	// Depth bounds how deep the JSON of an answer may nest. Documented pages nest to 12; what is kept as JSON adds a few levels.
	Depth = 100
	// PageRecords bounds the records of one page. 100 are asked for at most, or twice that where the limit applies to two lists.
	PageRecords = 1000
	// RecordElements bounds the elements of all lists in one upstream record, PageElements those in one page: what is made of an element
	// in memory can be a hundred times as large as the element. Records of samples have up to a hundred.
	RecordElements, PageElements = 20_000, 50_000
)

// Batches.
const (
	// Batch is about how many bytes of events and of checkpoint are delivered as one, in one transaction: a transaction is timed out by
	// the broker after ten seconds. A page with more is delivered in several batches.
	Batch = 4 << 20
)

// Cut returns the beginning of a text, at most so many bytes of it, without half a character at its end.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
