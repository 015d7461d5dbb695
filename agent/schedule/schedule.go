// Package schedule reads cron expressions and says when they are due.
//
// An expression has the five fields of crontab(5), minute hour day-of-month month day-of-week, with names, lists, ranges and steps, or is
// one of @hourly, @daily, @weekly, @monthly, @yearly. `TZ=Europe/Berlin ` before it names the clock; without it the machine's own is meant.
// When both days are restricted, either of them will do, as cron has it.
//
// Clocks are put forward and back once a year, in the night, when backups run. What is due at an hour of the day is due once each day:
//
//	02:30 does not exist     due at the moment the clock is put forward
//	02:30 comes twice        due the first time only
//	every hour (*)           follows the time that passes: not at all in the hour that is left out, twice in the one that is repeated
//
// The first two are what a library's plain search for matching clock times gets wrong: it would leave a night's backup out, or make it twice.
//
// A Schedule is immutable and safe for concurrent use; the package reads no clock.
package schedule

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is a cron expression that was read.
type Schedule struct {
	text   string
	fields cron.SpecSchedule // in UTC: what it finds are readings of a clock
	zone   *time.Location    // nil: that of the time that is asked about
}

// maxText is more than any expression needs: each minute of an hour listed by itself.
const maxText = 512

// minSpan is how far readings of a clock may lie from each other across a change of the clock, and some: Next begins to look so much earlier.
const minSpan = 3 * time.Hour

// Parse reads an expression.
func Parse(text string) (*Schedule, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("a cron expression of %d bytes", len(text))
	}
	s := &Schedule{text: text}
	rest := strings.TrimSpace(text)
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		name, found := strings.CutPrefix(rest, prefix)
		if !found {
			continue
		}
		name, rest, _ = strings.Cut(name, " ")
		zone, err := time.LoadLocation(name)
		if err != nil || name == "" {
			return nil, fmt.Errorf("unknown time zone %q: names are like Europe/Berlin or UTC", name)
		}
		s.zone, rest = zone, strings.TrimSpace(rest)
		break
	}
	if strings.HasPrefix(rest, "@every") || strings.HasPrefix(rest, "@reboot") {
		return nil, fmt.Errorf("%s depends on when a program was started: write times, such as */15 * * * *", strings.Fields(rest)[0])
	}
	if strings.Contains(rest, "TZ=") {
		return nil, fmt.Errorf("the time zone stands once, before the expression")
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(sundays(rest))
	if err != nil {
		return nil, fmt.Errorf("not a cron expression (minute hour day month weekday): %w", err)
	}
	fields, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q has no times", rest)
	}
	s.fields = *fields
	s.fields.Location = time.UTC
	if s.fields.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%q is never due: there is no such day", rest)
	}
	return s, nil
}

// sundayRange is a range that ends on a Sunday.
var sundayRange = regexp.MustCompile(`^([0-6])-7$`)

// sundays writes Sunday as 0, where crontab(5) also allows 7.
func sundays(text string) string {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return text
	}
	days := strings.Split(fields[4], ",")
	for i, day := range days {
		if day == "7" {
			days[i] = "0"
		} else if m := sundayRange.FindStringSubmatch(day); m != nil {
			days[i] = m[1] + "-6,0"
		}
	}
	fields[4] = strings.Join(days, ",")
	return strings.Join(fields, " ")
}

// String is the expression as it was written.
func (s *Schedule) String() string { return s.text }

// allHours is the set of a star: each hour.
const allHours = 1<<24 - 1

// Next is the first time after the given one at which the schedule is due, in the zone of the schedule or, if it names none, in that of
// the given time. It is zero when there is none within the five years that a search goes on.
func (s *Schedule) Next(after time.Time) time.Time {
	zone := s.zone
	if zone == nil {
		zone = after.Location()
	}
	after = after.In(zone)
	if s.fields.Hour&allHours == allHours {
		fields := s.fields
		fields.Location = zone
		return fields.Next(after)
	}
	for reading := s.fields.Next(clock(after).Add(-minSpan)); !reading.IsZero(); reading = s.fields.Next(reading) {
		if t := moment(reading, zone); t.After(after) {
			return t
		}
	}
	return time.Time{}
}

// clock is what the clock on the wall shows, as if it were UTC.
func clock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// moment is the first moment at which the clock of a zone shows a reading, or, when it never does, at which it has been put past it.
func moment(reading time.Time, zone *time.Location) time.Time {
	near := time.Date(reading.Year(), reading.Month(), reading.Day(), reading.Hour(), reading.Minute(), reading.Second(), 0, zone)
	begin, end := near.ZoneBounds()
	for _, t := range []time.Time{begin.Add(-1), near, end} { // one in each of the three periods that may hold the reading
		_, offset := t.Zone()
		if found := reading.Add(-time.Duration(offset) * time.Second).In(zone); clock(found).Equal(reading) {
			return found
		}
	}
	if !begin.IsZero() && clock(begin).After(reading) && clock(begin.Add(-1)).Before(reading) {
		return begin
	}
	return end
}
