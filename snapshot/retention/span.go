package retention

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a length of time on a calendar: a month has as many days as it has, and a day may have 23 hours.
type Span struct {
	Months, Days int
	Rest         time.Duration
}

// units of a Span, the largest first: "m" are months, as in other backup tools, and minutes are "min".
const units = "y m w d h min s"

// maxDigits bounds each number of a Span, so that no sum overflows: 999,999 hours are 114 years.
const maxDigits = 6

// ParseSpan reads spans such as "7d", "1y6m", "2w", "36h" or "90min": numbers with units, the larger units first.
func ParseSpan(text string) (Span, error) {
	var s Span
	left := strings.Fields(units)
	for rest := text; rest != ""; {
		digits := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
		if digits < 1 || digits > maxDigits {
			return Span{}, badSpan(text)
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil {
			return Span{}, badSpan(text)
		}
		rest = rest[digits:]
		end := strings.IndexAny(rest, "0123456789")
		if end < 0 {
			end = len(rest)
		}
		if left = after(left, rest[:end]); left == nil {
			return Span{}, badSpan(text)
		}
		s.add(n, rest[:end])
		rest = rest[end:]
	}
	if s == (Span{}) {
		return Span{}, badSpan(text)
	}
	return s, nil
}

// after returns the units smaller than the one named; nil if it is not among them.
func after(units []string, name string) []string {
	for i, u := range units {
		if u == name {
			return append([]string{}, units[i+1:]...)
		}
	}
	return nil
}

func (s *Span) add(n int, unit string) {
	switch unit {
	case "y":
		s.Months += 12 * n
	case "m":
		s.Months += n
	case "w":
		s.Days += 7 * n
	case "d":
		s.Days += n
	case "h":
		s.Rest += time.Duration(n) * time.Hour
	case "min":
		s.Rest += time.Duration(n) * time.Minute
	case "s":
		s.Rest += time.Duration(n) * time.Second
	}
}

func badSpan(text string) error {
	return fmt.Errorf("%.80q is no length of time such as 7d, 1y6m, 2w, 36h or 90min", text)
}

// String writes the span so that ParseSpan reads it.
func (s Span) String() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit string
	}{
		{s.Months / 12, "y"}, {s.Months % 12, "m"}, {s.Days, "d"}, {int(s.Rest / time.Hour), "h"},
		{int(s.Rest / time.Minute % 60), "min"}, {int(s.Rest / time.Second % 60), "s"},
	} {
		if part.n != 0 {
			fmt.Fprintf(&b, "%d%s", part.n, part.unit)
		}
	}
	return b.String()
}

// Before returns the time so long before t, on the clock of t's zone.
func (s Span) Before(t time.Time) time.Time { return shift(t, -s.Months, -s.Days).Add(-s.Rest) }

// After returns the time so long after t, on the clock of t's zone.
func (s Span) After(t time.Time) time.Time { return shift(t, s.Months, s.Days).Add(s.Rest) }

// shift moves a date. A day that the month does not have is its last: a month before 31 March is 28 February, not 3 March.
func shift(t time.Time, months, days int) time.Time {
	y, m, d := t.Date()
	last := time.Date(y, m+time.Month(months)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return time.Date(y, m+time.Month(months), min(d, last)+days, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
}
