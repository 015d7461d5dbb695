package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/snapshot"
)

// A28: what is newer than the last good backup is lost in a total crash. How old that is can be seen, and is an alarm when it is too old.
func TestLate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	made := func(series string, ago time.Duration, change func(*snapshot.Snapshot)) *snapshot.Snapshot {
		s := &snapshot.Snapshot{Series: series, Start: snapshot.TimeOf(now.Add(-ago))}
		if change != nil {
			change(s)
		}
		return s
	}
	list := []*snapshot.Snapshot{
		made("old", 49*time.Hour, nil),
		made("forced", 30*time.Hour, nil),
		made("never whole", 2*time.Hour, func(s *snapshot.Snapshot) { s.Partial = true }),
		made("forced", time.Hour, func(s *snapshot.Snapshot) { s.Partial = true }),
		made("young", 25*time.Hour, nil),
		made("old", time.Minute, func(s *snapshot.Snapshot) { s.Incomplete = true }),
		made("wrong clock", -400*24*time.Hour, nil),
		made("interrupted", time.Minute, func(s *snapshot.Snapshot) { s.Incomplete = true }), // no backup has ever been done
	}
	l, err := lateOf(list, "26h", now)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"old", "forced", "never whole", "wrong clock"}, l.series); d != "" {
		t.Error(d)
	}
	for series, want := range map[string]string{"old": "2 days old", "forced": "1 day old", "never whole": "none is whole", "young": "1 day old", "wrong clock": "none is whole"} {
		if got := l.age(series, now); got != want {
			t.Errorf("%s: %q, want %q", series, got, want)
		}
	}
	if err := l.err(now); err == nil || !strings.Contains(err.Error(), "old (2 days old), forced (1 day old), never whole (none is whole)") || strings.Contains(err.Error(), "young (") {
		t.Errorf("said: %v", err)
	}

	for _, c := range []struct {
		list  []*snapshot.Snapshot
		limit string
		late  bool
	}{{list[:1], "50h", false}, {list[:1], "2d", true}, {list[:1], "", false}, {nil, "", false}, {nil, "1h", true}, {list[7:], "1h", true}} {
		l, err := lateOf(c.list, c.limit, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.err(now); (err != nil) != c.late {
			t.Errorf("%d snapshots, at most %q: %v", len(c.list), c.limit, err)
		}
	}
	for _, text := range []string{"26", "soon", "-1h"} {
		if _, err := lateOf(nil, text, now); exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%s: %v", text, err)
		}
	}
}
