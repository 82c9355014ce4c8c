// Package charttest holds the tests of the Helm chart. It is a module of its own, so that Helm and Kubernetes are no
// dependencies of the poller.
package charttest
