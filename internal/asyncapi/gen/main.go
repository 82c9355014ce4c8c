// Command gen writes docs/asyncapi.yaml. It is run by go generate in internal/asyncapi; a test fails when its output and the tree differ.
package main

import (
	"log"
	"os"

	"agentassist-poller/internal/asyncapi"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	text, err := asyncapi.Published()
	if err == nil {
		err = os.WriteFile(asyncapi.Path, text, 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
}
