// Package schemas holds the Avro schemas of everything the poller publishes.
//
// The schemas are the truth: package events is generated from them. Besides what Avro defines, a field may say where
// upstream it comes from ("upstream"), since which content recipe it counts ("since"), that it does not count
// ("hashed": false), under which name it counts where that is not its own ("hashed_as"), that it
// does not count where it was made from other fields ("derivable"), that its order does not count ("unordered"), which endpoint has the last
// word on it ("owner"), which fields are one statement and always come from the same endpoint ("unit"), and which class of personal data it
// holds ("personal": see docs/privacy.md). A record may name the owner of its
// fields and the header fields that count as content ("hashed_header"). Avro ignores what it does not know.
//
// A release copies the schemas to released/<version>. From then on a test holds every schema to all its released
// versions: compatible both ways, the same logical types, the same content.
package schemas

import "embed"

// Files holds the schemas by file name: search.avsc and so on, watermark.avsc and dead-letter.avsc among them.
//
//go:embed *.avsc
var Files embed.FS
