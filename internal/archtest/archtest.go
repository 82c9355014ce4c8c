// Package archtest holds the tests that keep the house in order: who may import whom, and what is done nowhere.
//
// A rule that a test keeps needs no reviewer to remember it. Each has its reason beside it.
package archtest
