package snapshot

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What a *SelectError is, beside ErrNotFound.
var (
	// ErrAmbiguous means that several snapshots fit.
	ErrAmbiguous = errors.New("ambiguous")
	// ErrSpec means that the text has no form that names a snapshot.
	ErrSpec = errors.New("malformed snapshot name")
)

// SelectError says why a text names no snapshot. It is ErrNotFound, ErrAmbiguous or ErrSpec.
type SelectError struct {
	Spec       string
	Reason     string
	Candidates []*Snapshot // when it is ambiguous, in the order of their ids
	Next       string      // what the user may do, see Hint

	kind error
	list string // the candidates in words
}

func (e *SelectError) Error() string {
	return fmt.Sprintf("snapshot %.200q: %s%s", e.Spec, e.Reason, e.list)
}

// Unwrap returns the sentinel.
func (e *SelectError) Unwrap() error { return e.kind }

// Hint returns the next step.
func (e *SelectError) Hint() string { return e.Next }

func (f *selector) fail(kind error, reason, hint string) *SelectError {
	return &SelectError{Spec: f.spec, Reason: reason, Next: hint, kind: kind}
}

// ambiguous lists the candidates with as many digits as tell them apart.
func (f *selector) ambiguous(reason string, candidates []*Snapshot, hint string) *SelectError {
	const most = 6
	e := f.fail(ErrAmbiguous, reason, hint)
	e.Candidates = candidates
	digits := 8
	for i := 1; i < len(candidates); i++ { // sorted by id: neighbours are the most alike
		a, b := candidates[i-1].ID.String(), candidates[i].ID.String()
		for digits < len(a) && a[:digits] == b[:digits] {
			digits++
		}
	}
	var lines []string
	for _, s := range candidates[:min(len(candidates), most)] {
		lines = append(lines, f.describe(s, digits))
	}
	if len(candidates) > most {
		lines = append(lines, fmt.Sprintf("and %d more", len(candidates)-most))
	}
	e.list = ": " + strings.Join(lines, ", ")
	return e
}

func (f *selector) describe(s *Snapshot, digits int) string {
	text := s.ID.String()[:digits] + " (" + f.show(s.Start.Time())
	if s.Series != "" {
		text += fmt.Sprintf(", %.80q", s.Series)
	}
	if s.Incomplete {
		text += ", incomplete"
	}
	return text + ")"
}

// show writes a time so that ParseTime reads it.
func (f *selector) show(t time.Time) string {
	return t.In(f.now.Location()).Format("2006-01-02T15:04:05")
}

func plural(n int) string {
	if n == 1 {
		return "one snapshot"
	}
	return fmt.Sprintf("%d snapshots", n)
}
