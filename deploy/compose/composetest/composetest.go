// Package composetest reads compose.yaml as docker compose does, and what it starts. It is a module of its own, so that the poller does not
// depend on docker compose.
package composetest
