package snapshot

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

var selectZone = time.FixedZone("CET", 3600)

// selectNow is the local time at which the examples are typed.
var selectNow = time.Date(2026, 11, 22, 12, 0, 0, 0, selectZone)

func named(prefix, series, start string) *Snapshot {
	t, err := time.ParseInLocation("2006-01-02T15:04:05", start, selectZone)
	if err != nil {
		panic(err)
	}
	s := &Snapshot{Series: series, Start: TimeOf(t)}
	digits, err := hex.DecodeString(prefix)
	if err != nil {
		panic(err)
	}
	copy(s.ID[:], digits)
	s.ID[31] = 0xee
	return s
}

func selectList() []*Snapshot {
	broken := named("deadbe", "web1", "2026-11-22T11:00:00")
	broken.Incomplete = true
	onlyBroken := named("dead00", "half", "2026-11-22T11:00:00")
	onlyBroken.Incomplete = true
	copied := named("abab01", "tilde~1", "2026-11-16T00:00:00")
	copied.Origin = Origin{[16]byte{1}, named("0f0f0f", "", "2026-11-16T00:00:00").ID}
	also := named("abab02", "tilde~1", "2026-11-16T00:00:01")
	also.Origin = Origin{[16]byte{1}, named("abab01", "", "2026-11-16T00:00:00").ID}
	return []*Snapshot{
		copied, also,
		named("aaaa02", "web1", "2026-11-20T03:00:01"),
		named("aaaa01", "web1", "2026-11-19T03:00:01"),
		broken,
		named("bbbb01", "web1:/srv/data", "2026-11-20T04:00:00"),
		named("bbbb02", "web1:/srv/data", "2026-11-21T04:00:00"),
		named("cccc01", "db@prod", "2026-11-21T05:00:00"),
		named("cccc02", "db@prod", "2026-11-21T06:00:00"),
		named("dddd01", "cafe", "2026-11-18T00:00:00"),
		named("cafe01", "beef", "2026-11-18T00:00:00"),
		named("eeee01", "tilde~1", "2026-11-17T23:59:59"),
		named("bbbbff", "", "2026-11-21T06:00:00"),
		onlyBroken,
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"latest": "cccc02", "latest:/etc": "cccc02 /etc", "latest:/": "cccc02 /", "latest~1": "bbbbff", "latest~0": "cccc02",
		"latest~2:/x": "cccc01 /x", "latest@2026-11-19": "aaaa01", "latest@2026-11-20:/a:/b": "bbbb01 /a:/b",
		"aaaa01": "aaaa01", "AAAA02": "aaaa02", "aaaa02:/x:/y@z~1": "aaaa02 /x:/y@z~1", "bbbbf": "bbbbff", "0f0f0f": "abab01", "0f0f:/x": "abab01 /x", "abab01": "abab01", "deadbe": "deadbe",
		"dead00:/x": "dead00 /x",
		"web1":      "aaaa02", "web1~1": "aaaa01", "web1@now": "aaaa02", "web1@2026-11-20T03:00": "aaaa02",
		"web1@2026-11-20": "aaaa02", "web1@2026-11-19": "aaaa01", "web1@2026-11-20T02:59": "aaaa01",
		"web1@2026-11-20T03:00:00": "aaaa01", "web1@2026-11-20T03:00:01": "aaaa02", "web1@2026-11-20T03:00:00.5": "aaaa01",
		"web1@2026-11-20 03:00": "aaaa02", "web1@2026-11-20T02:00Z": "aaaa02", "web1@2026-11-20T03:00Z": "aaaa02",
		"web1@2026-11-20T01:59Z": "aaaa01", "web1@2026-11-20T03:00+02:00": "aaaa01", "web1@2026-11-20T03:00:00+0100:/etc": "aaaa01 /etc",
		"web1:/srv/data": "bbbb02", "web1:/srv/data~1": "bbbb01", "web1:/srv/data@2026-11-20": "bbbb01",
		"web1:/srv/data:/etc": "bbbb02 /etc", "web1:/srv/data@2026-11-20T04:00:/srv": "bbbb01 /srv",
		"web1@now:/srv/data": "aaaa02 /srv/data", "web1:/srv/dat": "aaaa02 /srv/dat", "web1~0:/srv/data": "aaaa02 /srv/data",
		"db@prod": "cccc02", "db@prod@2026-11-21T05:30": "cccc01", "db@prod~1:/a@2026-11-21": "cccc01 /a@2026-11-21",
		"cafe@now": "dddd01", "cafe0": "cafe01", "tilde~1": "eeee01", "tilde~1~0": "eeee01",
	} {
		s, path, err := Select(selectList(), spec, selectNow)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		got := s.ID.String()[:6]
		if path != "" {
			got += " " + path
		}
		if got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
}

func TestSelectErrors(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]struct {
		kind error
		text string // in the error
		hint string // in the hint
	}{
		"":                     {ErrSpec, "no snapshot is named", "latest"},
		":/etc":                {ErrSpec, "no snapshot is named", "latest"},
		"aaa":                  {ErrSpec, "at least 4 digits", "cairn snapshots"},
		"aaaa":                 {ErrAmbiguous, "2 snapshots have an id that begins so: aaaa0100 (2026-11-19T03:00:01, \"web1\"), aaaa0200 (", "more digits"},
		"dead":                 {ErrAmbiguous, "incomplete", "more digits"},
		"cafe":                 {ErrAmbiguous, "cafe0100", "cafe@now"},
		"abcd:/x":              {ErrNotFound, "no id begins so", "cairn snapshots"},
		"latest~99":            {ErrNotFound, "has only 12 snapshots", "oldest one is abab0100"},
		"latest~x":             {ErrSpec, "\"x\" is not a number", "latest~1"},
		"web1~2":               {ErrNotFound, "series \"web1\" has only 2 snapshots", "aaaa0100"},
		"web1@2026-11-18":      {ErrNotFound, "at or before 2026-11-18T23:59:59", "aaaa0100 (2026-11-19T03:00:01"},
		"web1@yesterday":       {ErrSpec, "yesterday", "local"},
		"web1@2026-13-01:/etc": {ErrSpec, "\"2026-13-01\"", "local"},
		"half":                 {ErrNotFound, "no complete snapshot", "incomplete"},
		"half@now:/x":          {ErrNotFound, "no complete snapshot", "incomplete"},
		"latest:etc":           {ErrSpec, "begins with /", "latest:/etc"},
		"nope":                 {ErrNotFound, "neither an id nor a series", "beef, cafe, db@prod, half, tilde~1 and 2 more"},
		"nope@2026-11-20:/x":   {ErrNotFound, "neither", "cafe"},
		"\xff~1":               {ErrNotFound, "neither", "cafe"},
	} {
		s, _, err := Select(selectList(), spec, selectNow)
		var bad *SelectError
		if s != nil || !errors.Is(err, want.kind) || !errors.As(err, &bad) {
			t.Errorf("%q: %v, %v", spec, s, err)
			continue
		}
		if !strings.Contains(err.Error(), want.text) || !strings.Contains(bad.Hint(), want.hint) {
			t.Errorf("%q: %q hint: %q", spec, err, bad.Hint())
		}
		if errors.Is(err, ErrAmbiguous) != (len(bad.Candidates) > 0) {
			t.Errorf("%q: %d candidates", spec, len(bad.Candidates))
		}
	}
	for _, spec := range []string{"latest", "web1", "abcd", "web1@now"} {
		_, _, err := Select(nil, spec, selectNow)
		var bad *SelectError
		if !errors.As(err, &bad) || !strings.Contains(bad.Hint(), "cairn backup") {
			t.Errorf("%q without snapshots: %v", spec, err)
		}
	}
}

// TestSelectTells shows as many digits as make candidates distinct, and not too many candidates.
func TestSelectTells(t *testing.T) {
	t.Parallel()
	var list []*Snapshot
	for i := range 20 {
		s := named("abcdef0102", "s", "2026-11-19T03:00:01")
		s.ID[5] = byte(i)
		list = append(list, s)
	}
	_, _, err := Select(list, "abcd", selectNow)
	if err == nil || !strings.Contains(err.Error(), "abcdef010205 (") || !strings.Contains(err.Error(), "and 14 more") {
		t.Error(err)
	}
	s, _, err := Select(list, "latest", selectNow)
	if err != nil || s.ID[5] != 19 {
		t.Errorf("of equal times the highest id is the latest: %v, %v", s, err)
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	now := time.Date(2026, 3, 30, 0, 0, 0, 0, berlin)
	for text, want := range map[string]string{
		"2026-03-29":             "2026-03-29T23:59:59.999999999+02:00", // a day of 23 hours
		"2026-03-29T01:59":       "2026-03-29T01:59:59.999999999+01:00",
		"2026-03-29 03:00":       "2026-03-29T03:00:59.999999999+02:00",
		"2026-03-29T03:00:05":    "2026-03-29T03:00:05.999999999+02:00",
		"2026-03-29T03:00:05.25": "2026-03-29T03:00:05.25+02:00",
		"2026-03-29T03:00Z":      "2026-03-29T05:00:59.999999999+02:00",
		"2026-03-29T03:00-0500":  "2026-03-29T10:00:59.999999999+02:00",
		"2026-03-29T03:00-05":    "2026-03-29T10:00:59.999999999+02:00",
		"2026-03-29T03:00:00Z":   "2026-03-29T05:00:00.999999999+02:00",
		"now":                    "2026-03-30T00:00:00+02:00",
	} {
		got, err := ParseTime(text, now)
		if err != nil || got.In(berlin).Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %s, %v", text, got.In(berlin).Format(time.RFC3339Nano), err)
		}
	}
	for _, text := range []string{"", "20", "2026", "2026-3-1", "2026-02-30", "2026-03-29T", "2026-03-29T25:00", "2026-03-29T03:00 CET", "Now", "12:00"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func FuzzSelect(f *testing.F) {
	for _, spec := range []string{
		"latest", "latest~2:/etc", "aaaa01", "web1@2026-11-20T03:00:/x", "web1:/srv/data:/etc", "db@prod@now", "tilde~1~0", "cafe", "", ":/",
	} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, path, err := Select(selectList(), spec, selectNow)
		var bad *SelectError
		switch {
		case err != nil && (s != nil || path != "" || !errors.As(err, &bad) || bad.Hint() == "" || bad.Unwrap() == nil):
			t.Fatalf("%q: %v, %q, %v", spec, s, path, err)
		case err == nil && (s == nil || path != "" && path[0] != '/' || !strings.HasSuffix(spec, path)):
			t.Fatalf("%q: %v, %q", spec, s, path)
		case err == nil && s.Incomplete && !strings.HasPrefix(strings.ToLower(spec), "dead"):
			t.Fatalf("%q: an incomplete snapshot", spec)
		}
	})
}
