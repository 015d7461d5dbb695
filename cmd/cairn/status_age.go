package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/snapshot"
	"cairn/snapshot/retention"
)

// lateness is what --max-age asks: which series have no whole snapshot that is young enough. What was lost with the source since
// its last good snapshot is lost for good, so somebody has to hear of it before that.
type lateness struct {
	asked  bool
	since  time.Time // a whole snapshot must have begun at or after this
	series []string  // those that have none
	good   map[string]time.Time
}

// ahead is how wrong clocks may be: a snapshot further in the future counts for nothing, or it would silence the alarm until then.
const ahead = time.Hour

// lateOf finds for each series the newest snapshot that is complete and not partial. list is the oldest first.
func lateOf(list []*snapshot.Snapshot, text string, now time.Time) (*lateness, error) {
	l := &lateness{asked: text != "", good: map[string]time.Time{}}
	if l.asked {
		span, err := retention.ParseSpan(text)
		if err != nil {
			return nil, usage("status: --max-age: %w", err)
		}
		l.since = span.Before(now)
	}
	var order []string
	for _, s := range list {
		if s.Incomplete {
			continue
		}
		at, known := l.good[s.Series]
		if !known {
			order = append(order, s.Series)
			l.good[s.Series] = at
		}
		if begun := s.Start.Time(); !s.Partial && begun.After(at) && begun.Before(now.Add(ahead)) {
			l.good[s.Series] = begun
		}
	}
	for _, name := range order {
		if l.asked && l.good[name].Before(l.since) {
			l.series = append(l.series, name)
		}
	}
	return l, nil
}

// err is what --max-age has to say.
func (l *lateness) err(now time.Time) error {
	if !l.asked || len(l.series) == 0 && len(l.good) > 0 {
		return nil
	}
	if len(l.good) == 0 {
		return hint(fmt.Errorf("there is no snapshot at all"), "look at what should have made one; `cairn snapshots` lists what there is")
	}
	var parts []string
	for _, name := range l.series {
		parts = append(parts, fmt.Sprintf("%s (%s)", printable(name), l.age(name, now)))
	}
	return hint(fmt.Errorf("no whole snapshot is young enough: %s", strings.Join(parts, ", ")),
		"look at what should have made one; name the series that count with --series, --host, --source and the like")
}

// age says how old the newest whole snapshot of a series is.
func (l *lateness) age(series string, now time.Time) string {
	at := l.good[series]
	if at.IsZero() {
		return "none is whole"
	}
	return humanize.RelTime(at, now, "old", "ahead")
}

// ageFlags choose what --max-age is about.
func ageFlags() []cli.Flag {
	return append(selectFlags(), &cli.StringFlag{Name: "max-age",
		Usage: "fail (exit code 1) when the newest whole snapshot of a series is older than `TIME` (26h, 2d), or there is none"})
}
