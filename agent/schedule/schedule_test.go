package schedule

import (
	"os/exec"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the table must not depend on what the machine knows of zones

	"github.com/google/go-cmp/cmp"
)

// B19: cron expressions, also in the nights in which the clock is changed.
func TestB19Next(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, zone, after string
		want                    []string // the next times, one after the other
	}{
		{"each night", "30 2 * * *", "Europe/Berlin", "2026-11-20T12:00:00+01:00",
			[]string{"2026-11-21T02:30:00+01:00", "2026-11-22T02:30:00+01:00"}},
		{"the hour that is left out", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"several in the hour that is left out are one", "0,20,40 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"the hour that comes twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"asked in the second of the two hours", "45 2 * * *", "Europe/Berlin", "2026-10-25T02:30:00+01:00",
			[]string{"2026-10-26T02:45:00+01:00"}},
		{"each hour, forward", "0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00+01:00",
			[]string{"2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"}},
		{"each hour, back", "0 * * * *", "Europe/Berlin", "2026-10-25T01:30:00+02:00",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"half an hour of Lord Howe", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"New York, forward", "15 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00",
			[]string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:15:00-04:00"}},
		{"midnight that does not exist", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00-04:00",
			[]string{"2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"}},
		{"the zone in the expression", "TZ=Asia/Tokyo 0 3 * * *", "Europe/Berlin", "2026-11-20T12:00:00+01:00",
			[]string{"2026-11-21T03:00:00+09:00"}},
		{"Sunday is 7, too", "0 4 * * 7", "UTC", "2026-11-20T12:00:00Z", []string{"2026-11-22T04:00:00Z", "2026-11-29T04:00:00Z"}},
		{"a range up to 7", "0 4 * * 6-7", "UTC", "2026-11-20T12:00:00Z", []string{"2026-11-21T04:00:00Z", "2026-11-22T04:00:00Z", "2026-11-28T04:00:00Z"}},
		{"either day will do", "0 4 1 * mon", "UTC", "2026-11-24T12:00:00Z", []string{"2026-11-30T04:00:00Z", "2026-12-01T04:00:00Z", "2026-12-07T04:00:00Z"}},
		{"a leap day", "0 4 29 2 *", "UTC", "2026-11-24T12:00:00Z", []string{"2028-02-29T04:00:00Z"}},
		{"words", "@weekly", "UTC", "2026-11-24T12:00:00Z", []string{"2026-11-29T00:00:00Z"}},
		{"exactly now is not after", "30 2 * * *", "UTC", "2026-11-24T02:30:00Z", []string{"2026-11-25T02:30:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			at = at.In(zone)
			var got []string
			for range c.want {
				at = s.Next(at)
				got = append(got, at.Format(time.RFC3339))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestB19Days: in two years of any of these clocks a daily job is due once on each date, and time never stands still.
func TestB19Days(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Beirut", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"30 2 * * *", "0 0 * * *", "59 23 * * *", "15 1 * * *"} {
			s, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2025, 1, 1, 23, 59, 30, 0, zone)
			day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
			for range 730 {
				next := s.Next(at)
				if day = day.AddDate(0, 0, 1); next.Format(time.DateOnly) != day.Format(time.DateOnly) || !next.After(at) {
					t.Fatalf("%s, %s: after %v comes %v, not one on %s", name, text, at, next, day.Format(time.DateOnly))
				}
				at = next
			}
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "not a cron expression",
		"* * * *":                   "expected exactly 5 fields",
		"61 * * * *":                "not a cron expression",
		"0 4 31 2 *":                "never due",
		"@every 1h":                 "depends on when",
		"@reboot":                   "depends on when",
		"TZ=0":                      "unknown time zone",
		"TZ=":                       "unknown time zone",
		"TZ=Mars/Olympus * * * * *": "unknown time zone",
		"TZ=UTC TZ=UTC * * * * *":   "stands once",
		strings.Repeat("*", 600):    "600 bytes",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestCalendar(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"30 2 * * *":                 {"*-*-* 02:30:00"},
		"*/15 * * * *":               {"*-*-* *:00,15,30,45:00"},
		"0 4 * * 1-5":                {"Mon,Tue,Wed,Thu,Fri *-*-* 04:00:00"},
		"0 4 1 */3 *":                {"*-01,04,07,10-01 04:00:00"},
		"0 4 1 * 7":                  {"*-*-01 04:00:00", "Sun *-*-* 04:00:00"},
		"0 1-5,7 * * *":              {"*-*-* 01..05,07:00:00"},
		"TZ=Europe/Berlin 5 0 * * *": {"*-*-* 00:05:00 Europe/Berlin"},
		"0 4 * * *":                  {"*-*-* 04:00:00"},
	} {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Calendar()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", text, d)
		}
		if tool, err := exec.LookPath("systemd-analyze"); err == nil {
			if out, err := exec.Command(tool, append([]string{"calendar"}, got...)...).CombinedOutput(); err != nil {
				t.Errorf("systemd refuses %q: %s", got, out)
			}
		}
	}
}

// FuzzParse: no text makes Parse panic, and what it accepts is due some time, later than asked.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"30 2 * * *", "TZ=UTC 0 0 1 1 *", "TZ=0", "@daily", "*/7 1-3 * feb sun,7", "0 0 29 2 6-7"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if next := s.Next(at); !next.IsZero() && !next.After(at) {
			t.Fatalf("%q: %v is not after %v", text, next, at)
		}
		if s.Calendar()[0] == "" {
			t.Fatalf("%q has no calendar", text)
		}
	})
}
