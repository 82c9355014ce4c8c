package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// slack posts messages to a webhook in Slack's form: an object with the member text.
type slack struct {
	url    string // a secret: everybody who knows it can post
	client *http.Client
}

// A message is what is posted.
type message struct {
	Text string `json:"text"`
	// Mrkdwn is false, so that Slack takes asterisks and the like in what people wrote for what they are.
	Mrkdwn bool `json:"mrkdwn"`
}

// attempts is how often a message is posted before send gives up and the process ends, to begin with that message when it is started again.
const attempts = 5

// send posts a message, and again where the webhook is busy or fails. It blocks for as long as the webhook asks to wait.
// The end of ctx ends that wait but no attempt: a message that was cut off might have arrived, and would be posted again after a restart.
func (s *slack) send(ctx context.Context, text string) error {
	body, err := json.Marshal(message{Text: text})
	if err != nil {
		return fmt.Errorf("encode the message: %w", err)
	}
	for attempt := 1; ; attempt++ {
		wait, err := s.post(context.WithoutCancel(ctx), body)
		if err == nil {
			return nil
		}
		if wait == 0 || attempt == attempts {
			return fmt.Errorf("post to the webhook, attempt %d: %w", attempt, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// post returns how long to wait before another attempt; 0 if there is no point in one.
func (s *slack) post(ctx context.Context, body []byte) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("the address of the webhook is none") // err would show the address
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return time.Second, fmt.Errorf("the webhook cannot be reached") // err would show the address
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		return 0, nil
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	err = fmt.Errorf("the webhook answers %s: %s", resp.Status, answer)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return max(time.Second, time.Duration(seconds)*time.Second), err
	case resp.StatusCode >= 500:
		return time.Second, err
	}
	return 0, err
}
