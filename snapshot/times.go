package snapshot

import (
	"fmt"
	"strings"
	"time"
)

// ParseTime parses a point in time as people type it: "2026-11-20", "2026-11-20T03:00",
// "2026-11-20T03:00:15" (a blank may stand for the T), the last two also with a zone ("Z", "+01:00",
// "+0100"), or "now". Without a zone the time is that of now's zone.
//
// It returns the last instant of the unit that was named: a snapshot that a timer started at 03:00
// says 03:00:01, and whoever asks for the last one at 03:00, or on a day, means it. A time with a
// fraction of a second is taken exactly.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	text := s
	if len(text) > 10 && text[10] == ' ' {
		text = text[:10] + "T" + text[11:]
	}
	if t, err := time.ParseInLocation("2006-01-02", text, now.Location()); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil // a day may have 23 hours
	}
	for _, zone := range []string{"", "Z07:00", "Z0700", "Z07"} {
		if t, err := time.ParseInLocation("2006-01-02T15:04"+zone, text, now.Location()); err == nil {
			return t.Add(time.Minute - time.Nanosecond), nil
		}
		t, err := time.ParseInLocation("2006-01-02T15:04:05"+zone, text, now.Location())
		if err != nil {
			continue
		}
		if strings.ContainsAny(text, ".,") {
			return t, nil
		}
		return t.Add(time.Second - time.Nanosecond), nil
	}
	return time.Time{}, fmt.Errorf("time %.80q: want a form like 2026-11-20, 2026-11-20T03:00, 2026-11-20T03:00:00+01:00 or now", s)
}
