package pass

import (
	"errors"
	"fmt"

	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
)

// An answer can be too large to be read. Then a pass asks for fewer rows, down to one. Where it can ask for the next row, it steps over a
// single row that is too large, and makes a dead record of it.

// maxStepped bounds how many rows a pass steps over one after the other. If more answers are too large, the server ignores the limit.
const maxStepped = 100

// tooLarge returns the error of an answer that was too large, or that held too much, nil for any other error.
func tooLarge(failed error) error {
	if ke, ok := errors.AsType[*kore.Error](failed); ok && ke.Reason == kore.ReasonTooLarge {
		return ke
	}
	if pe, ok := errors.AsType[*extract.PageError](failed); ok && pe.TooMuch() {
		return pe
	}
	return nil
}

// stepped counts the rows that a pass has stepped over since it could read one.
type stepped int

// over returns the page of a row that was asked for by itself and was too large: a dead record, read at the times of pg. It returns false
// if the pass must not step over it, because more than a row came, or because there were too many of them.
func (n *stepped) over(q kore.Query, pg *Page, failed error) (*Page, bool) {
	ke, ok := errors.AsType[*kore.Error](failed)
	if !ok || pg == nil || *n == maxStepped {
		return nil, false
	}
	*n++
	reason := fmt.Sprintf("the answer with this row alone is too large; %s", ke.Hint)
	page := &extract.Page{NumResults: -1, Total: -1, TotalPages: -1, Dead: []extract.Dead{extract.DeadBeginning(reason, ke.Beginning)}}
	dead := *pg
	dead.Page = page
	return &dead, true
}

// A suspect is a range of a list in which some row is too large: from the offset that is asked for next to before end.
type suspect struct{ end int }

// limit returns how many rows to ask for at an offset: as many as possible, or half of those that are suspect.
func (s suspect) limit(offset, most int) int {
	if left := s.end - offset; left > 0 {
		return min(most, max(1, left/2))
	}
	return most
}

// found returns what is suspect once an answer with so many rows from offset on was too large. Directly behind a row that was stepped
// over, the next row is more likely to be at fault than any other.
func (n stepped) found(offset, limit int) suspect {
	if n > 0 {
		limit = 1
	}
	return suspect{offset + limit}
}
