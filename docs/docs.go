// Package docs holds documents that the program itself reads.
package docs

import _ "embed"

// ReferenceConfig is reference-config.yaml: every setting with its default, and a comment where one is needed.
//
//go:embed reference-config.yaml
var ReferenceConfig []byte
