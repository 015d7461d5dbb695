package archive

import (
	"fmt"
	"strings"
	"time"

	"cairn/remote"
)

// Retention is how long everything that is stored in the archive stays locked against deletion, and how firmly (docs/format.md §2). It is in
// the cards, so that no client can forget it.
type Retention struct {
	Mode    remote.Mode `json:"mode"`
	Seconds int64       `json:"seconds"`
}

// Bounds of a retention: a second, for tests, and what S3 allows.
const (
	minRetention = 1
	maxRetention = 36500 * 24 * 3600
)

// NewRetention makes a retention of a period.
func NewRetention(period time.Duration, mode remote.Mode) (*Retention, error) {
	r := &Retention{Mode: mode, Seconds: int64(period / time.Second)}
	return r, r.check()
}

// Period is how long an object is locked after it was stored, or found to be needed still.
func (r *Retention) Period() time.Duration { return time.Duration(r.Seconds) * time.Second }

// text names the period for messages; also that of no retention of the archive's own, when something else locked.
func (r *Retention) text() string {
	if r == nil {
		return "its days"
	}
	return r.Period().String()
}

func (r *Retention) check() error {
	if r == nil {
		return nil
	}
	if _, err := remote.ParseMode(string(r.Mode)); err != nil {
		return fmt.Errorf("card: %w", err)
	}
	if r.Seconds < minRetention || r.Seconds > maxRetention {
		return fmt.Errorf("card: retention of %d seconds is not between %d and %d", r.Seconds, minRetention, int64(maxRetention))
	}
	return nil
}

func (r *Retention) equal(o *Retention) bool {
	return r == nil && o == nil || r != nil && o != nil && *r == *o
}

// Locked says whether objects of a name are locked in an archive with a retention: all but what comes and goes.
func Locked(name string) bool {
	return !strings.HasPrefix(name, sessionPrefix) && !strings.HasPrefix(name, "probe")
}

// guard returns a member's store so that what is put there is locked as the card says.
func (c *Card) guard(s remote.Store, now func() time.Time) remote.Store {
	if c == nil || c.Retention == nil || s == nil {
		return s
	}
	return remote.Retaining(s, remote.Policy{Period: c.Retention.Period(), Mode: c.Retention.Mode, Now: now,
		Exempt: func(name string) bool { return !Locked(name) }})
}

// Guarded returns the store of a member that joins the archive so that what is put there is locked as what the archive stores.
func (a *Archive) Guarded(s remote.Store) remote.Store { return a.card.guard(s, nil) }

// Retention is how long what is stored stays locked; nil: not at all.
func (a *Archive) Retention() *Retention { return a.card.Retention }

// PlanRetention plans another retention, or none (nil), for what is stored from then on. What is locked stays so; what is needed
// and locked for a shorter time is locked for longer by the next prune.
func (a *Archive) PlanRetention(r *Retention) (*Change, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	c, err := a.plan()
	if err != nil {
		return nil, err
	}
	if r.equal(a.card.Retention) {
		return nil, fmt.Errorf("the archive has this retention already")
	}
	c.card.Retention = r
	c.card.Features = c.card.features()
	return c, c.check()
}
