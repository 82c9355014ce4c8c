package kore

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/status"
)

// DefaultFields are what the samples of the account-wide endpoints select of a row.
func DefaultFields() []string {
	return []string{"skills", "customerinfo", "userleveltags", "sessionleveltags"}
}

// An option is a part of a request that the API may refuse, although its pages or samples have it: the fields that are selected on the
// account-wide endpoints, the filters on interactions. The client then asks without it, for as long as the client lives.
type option struct {
	mu     sync.Mutex
	wanted []string
	sent   []string
	next   [][]string // what to send in place of sent, once the API refuses that, too
	tried  bool       // next was made
}

// now returns what to send.
func (o *option) now() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

// refused notes that the API has refused a request with so much of the option, and named some of it. It returns what is left out from now
// on.
func (o *option) refused(sent, named []string) (left []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.Equal(sent, o.sent) { // else an earlier answer has said so already
		if !o.tried {
			o.tried = true
			// A refusal may name what it refuses, or what it accepts.
			o.next = [][]string{without(sent, named), without(sent, without(sent, named)), without(sent, without(sent, DefaultFields())), nil}
		}
		for len(o.next) > 0 {
			o.sent, o.next = o.next[0], o.next[1:]
			if len(o.sent) > 0 && len(o.sent) < len(o.wanted) && !slices.Equal(o.sent, sent) {
				break
			}
		}
	}
	return without(o.wanted, o.sent)
}

// without returns the values that are not among others.
func without(values, others []string) (out []string) {
	for _, v := range values {
		if !slices.Contains(others, v) {
			out = append(out, v)
		}
	}
	return out
}

// The names of filters in requests to interactions, and of the list of selected fields.
const (
	channelsFilter   = "channels"
	agentsFilter     = "agentIds"
	selectedFieldsIn = "selectedFields"
)

// newOptions returns the options of the endpoints that have one.
func newOptions(fields map[events.Endpoint][]string) map[events.Endpoint]*option {
	out := map[events.Endpoint]*option{}
	for _, e := range events.Endpoints() {
		var wanted []string
		switch {
		case e.Spec().Takes.Filters:
			wanted = []string{channelsFilter, agentsFilter}
		case !e.PerAccount():
			continue
		case fields[e] != nil:
			wanted = fields[e]
		default:
			wanted = DefaultFields()
		}
		out[e] = &option{wanted: wanted, sent: wanted}
	}
	return out
}

// fit puts into a query what the API takes of the options of its endpoint. It returns what of them the query has.
func (c *Client) fit(q *Query) (sent []string) {
	o := c.options[q.Endpoint]
	if o == nil {
		return nil
	}
	sent = o.now()
	if q.Endpoint.PerAccount() {
		q.fields = sent
		return sent
	}
	if !slices.Contains(sent, channelsFilter) {
		q.Channels = nil
	}
	if !slices.Contains(sent, agentsFilter) {
		q.Agents = nil
	}
	if len(q.Channels)+len(q.Agents) == 0 {
		return nil
	}
	return sent
}

// leaveOut makes of a refusal that names an option of the request one that passes, because the next request comes without it.
func (c *Client) leaveOut(failure *Error, q Query, sent []string) *Error {
	if failure.Reason != ReasonRejected || failure.Status == http.StatusProxyAuthRequired || len(sent) == 0 {
		return failure
	}
	text := strings.ToLower(failure.Message)
	var named []string
	for _, name := range sent {
		if strings.Contains(text, strings.ToLower(name)) {
			named = append(named, name)
		}
	}
	if len(named) == 0 && (!q.Endpoint.PerAccount() || !strings.Contains(text, strings.ToLower(selectedFieldsIn))) {
		return failure
	}
	left := c.options[q.Endpoint].refused(sent, named)
	failure.Class, failure.Reason, failure.LeftOut = status.ClassRetry, ReasonOption, left
	failure.Hint = fmt.Sprintf("asked without %s from now on", strings.Join(left, ", "))
	if q.Endpoint.PerAccount() {
		failure.Hint += fmt.Sprintf(": take it out of endpoints.%s.selected_fields, or ask Kore.ai why the API refuses it", q.Endpoint)
	} else {
		failure.Hint += ", and what comes is filtered here, which costs more requests"
	}
	return failure
}
