package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
)

// feedback is what the board needs of a feedback event. docs/events.md has all fields.
type feedback struct {
	EntityID     string `json:"entity_id"`
	Revision     int64  `json:"revision"`
	SupersededBy string `json:"superseded_by"`
	Sentiment    string `json:"sentiment"`
	GivenBy      string `json:"given_by"`
	Agent        struct {
		AgentID string `json:"agent_id"`
	} `json:"agent"`
}

// A board has the current state of all feedback: one entry each. It is safe for concurrent use.
type board struct {
	mu      sync.Mutex
	current map[string]feedback // by entity_id
}

func newBoard() *board { return &board{current: map[string]feedback{}} }

// handle keeps the highest revision of each feedback, so that an event counts once, however often it comes.
func (b *board) handle(_ context.Context, f feedback) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.Revision > b.current[f.EntityID].Revision {
		b.current[f.EntityID] = f
	}
	return nil
}

// counts are how many things an agent likes, and how many not.
type counts struct {
	Positive int `json:"positive"`
	Negative int `json:"negative"`
}

// agents counts what agents think now, by the agent's id. Feedback that was taken back or goes on as another entity does not count.
func (b *board) agents() map[string]counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	agents := map[string]counts{}
	for _, f := range b.current {
		if f.GivenBy != "AGENT" || f.SupersededBy != "" {
			continue
		}
		c := agents[f.Agent.AgentID]
		switch f.Sentiment {
		case "POSITIVE":
			c.Positive++
		case "NEGATIVE":
			c.Negative++
		default:
			continue
		}
		agents[f.Agent.AgentID] = c
	}
	return agents
}

func (b *board) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(b.agents()) // an error means that the client has gone
}
