// Package e2e runs the whole program in its tests: a simulated contact centre behind a socket, the poller, Kafka, a schema registry,
// and a consumer, whose records are compared with what the contact centre says has happened.
//
// # How a scenario is built
//
// A scenario takes five lines, and then does to them what it is about: it kills, stops, deletes, cuts off.
//
//	p := embedded(t)                                  // Kafka and a registry in memory, or apache(t): main_test.go
//	live := serve(t, "live", koresim.Config{...})     // a contact centre, with a ledger of what happens in it: centre_test.go
//	s := newSetup(t, p, live.yaml(quickSettings("1h"))) // the configuration of a poller: poller_test.go
//	c := s.follow(t)                                  // a consumer of all topics: consumer_test.go
//	run := s.startInProcess(t)                        // the poller within the test, or s.startProcess(t, binary(t, "")), the real binary
//
// Each scenario is a function with two tests: TestSmall... plays a small world on the embedded platform, wherever Go is; TestKafka...
// plays a large one on Apache Kafka and Apicurio Registry, where POLLER_KAFKA_TEST is set. scaled picks the sizes.
//
// # How it is judged
//
//	c.settle(t, live)             // each thing that happened was published once, with the fields that it had: koresim.Compare
//	c.settleAfterKills(t, ...)    // the same, where a kill may repeat one batch
//	c.awaitAll(t, live)           // all of it is there, however often
//	checkRecords(t, c)            // keys, partitions, headers, watermarks: records_test.go
//	checkWindows(t, c, 1, live)   // a consumer that closes windows of time by watermarks is never told lies: window_test.go
//	c.checkLatest(t, s)           // the compacted topics: latest_test.go
//	live.checkRequests(t)         // budget, tokens, requests in flight: centre_test.go
//
// Nothing here expects anything to happen within a time: a test waits (eventually, settle) for far longer than an idle machine takes.
// Where the product promises a time, as for stopping, the test says so.
package e2e
