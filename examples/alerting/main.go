// Command alerting posts an alert to a webhook in Slack's form once for each negative feedback, and its all-clear when the feedback is
// taken back, is no longer negative, or goes on as another entity.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"agentassist-poller/examples/feed"
)

func main() {
	brokers := flag.String("brokers", "localhost:9092", "addresses of Kafka, separated by commas")
	registry := flag.String("registry", "http://localhost:8081", "address of the schema registry")
	topic := flag.String("topic", "agentassist.feedback-negative", "topic to read")
	group := flag.String("group", "negative-feedback-alerts", "consumer group")
	webhook := flag.String("webhook", "", "address that alerts are posted to; empty prints them")
	state := flag.String("state", "alerts.json", "file with what was alerted on")
	// Two months are more than the poller's default retention of topics, 30 days, and the segments that Kafka deletes later than that.
	remember := flag.Duration("remember", 60*24*time.Hour, "how long a feedback stays in the file; longer than the topic keeps records")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg := feed.Config{Brokers: strings.Split(*brokers, ","), Registry: *registry, Topic: *topic, Group: *group}
	send := func(_ context.Context, text string) error {
		_, err := fmt.Println(text)
		return err
	}
	if *webhook != "" {
		hook := &slack{url: *webhook, client: &http.Client{Timeout: 10 * time.Second}}
		send = hook.send
	}
	if err := run(ctx, cfg, *state, *remember, send); err != nil {
		fmt.Fprintln(os.Stderr, "alerting:", err)
		os.Exit(1)
	}
}

// run alerts until ctx ends.
func run(ctx context.Context, cfg feed.Config, state string, remember time.Duration, send func(context.Context, string) error) error {
	a, err := open(state, remember, send)
	if err != nil {
		return err
	}
	return feed.Read(ctx, cfg, a.handle)
}
