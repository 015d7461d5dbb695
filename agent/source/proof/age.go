package proof

import (
	"fmt"
	"time"

	"cairn/agent/schedule"
	"cairn/agent/verify"
)

// Limit says how old the newest snapshot of a series may be.
type Limit struct {
	Schedule string        // cron expression; "": none
	Grace    time.Duration // that a run may take, and start late
	Most     time.Duration // whatever the schedule says; 0: only the schedule counts
}

// Age says whether what was taken at a time is too old at another: the run that was due after it should be there by now. due is when that was, zero
// without a schedule.
func (l Limit) Age(taken, now time.Time) (due time.Time, problem *Problem, err error) {
	age := now.Sub(taken)
	if l.Schedule != "" {
		s, err := schedule.Parse(l.Schedule)
		if err != nil {
			return due, nil, fmt.Errorf("schedule: %w", err)
		}
		due = s.Next(taken.In(now.Location()))
	}
	switch {
	case l.Most > 0 && age > l.Most:
		return due, late("is %s old, and may be %s: what is newer would be lost", Span(age), Span(l.Most)), nil
	case l.Most == 0 && !due.IsZero() && now.After(due.Add(l.Grace)):
		return due, late("is %s old: the run that was due at %s is missing, and what is newer would be lost", Span(age), due.Format("2006-01-02 15:04")), nil
	}
	return due, nil, nil
}

func late(format string, args ...any) *Problem {
	return &Problem{Kind: KindAge, Severity: verify.Error, Message: fmt.Sprintf(format, args...)}
}

// Span writes a duration for people: days and hours, hours and minutes, or seconds.
func Span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Span(-d)
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
