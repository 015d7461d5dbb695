package retention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/snapshot"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Span{
		"7d": {Days: 7}, "2w": {Days: 14}, "1y6m": {Months: 18}, "36h": {Rest: 36 * time.Hour}, "90min": {Rest: 90 * time.Minute},
		"1y2m3w4d5h6min7s": {Months: 14, Days: 25, Rest: 5*time.Hour + 6*time.Minute + 7*time.Second}, "999999h": {Rest: 999_999 * time.Hour},
	} {
		got, err := ParseSpan(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		again, err := ParseSpan(got.String())
		if err != nil || again != got {
			t.Errorf("%q is written as %q, which is %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "7", "d", "0d", "-1d", "1.5d", "7 d", "1d1d", "1d1w", "1D", "1x", "1000000d", "99999999999999999999d", "7d7", "١d"} {
		if got, err := ParseSpan(text); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

func TestSpanOnTheCalendar(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	const layout = "2006-01-02T15:04Z07:00"
	for _, c := range []struct{ from, span, before, after string }{
		{"2026-03-31T03:00+02:00", "1m", "2026-02-28T03:00+01:00", "2026-04-30T03:00+02:00"},
		{"2028-02-29T03:00+01:00", "1y", "2027-02-28T03:00+01:00", "2029-02-28T03:00+01:00"},
		{"2026-01-15T03:00+01:00", "1m", "2025-12-15T03:00+01:00", "2026-02-15T03:00+01:00"},
		{"2026-03-29T12:00+02:00", "1d", "2026-03-28T12:00+01:00", "2026-03-30T12:00+02:00"}, // 23 hours
		{"2026-03-29T12:00+02:00", "24h", "2026-03-28T11:00+01:00", "2026-03-30T12:00+02:00"},
		{"2026-10-25T12:00+01:00", "1d", "2026-10-24T12:00+02:00", "2026-10-26T12:00+01:00"}, // 25 hours
		{"2026-12-31T23:30+01:00", "2m1d", "2026-10-30T23:30+01:00", "2027-03-01T23:30+01:00"},
	} {
		from, err := time.Parse(layout, c.from)
		if err != nil {
			t.Fatal(err)
		}
		span, err := ParseSpan(c.span)
		if err != nil {
			t.Fatal(err)
		}
		from = from.In(berlin)
		if got := span.Before(from).Format(layout); got != c.before {
			t.Errorf("%s before %s: %s, want %s", c.span, c.from, got, c.before)
		}
		if got := span.After(from).Format(layout); got != c.after {
			t.Errorf("%s after %s: %s, want %s", c.span, c.from, got, c.after)
		}
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	var p Policy
	for i, rule := range Counts() {
		if err := p.Set(rule, fmt.Sprint(i+1)); err != nil {
			t.Error(err)
		}
	}
	for i, rule := range Spans() {
		if err := p.Set(rule, fmt.Sprintf("%dd", i+1)); err != nil {
			t.Error(err)
		}
	}
	for _, tag := range []string{"a", "b"} {
		if err := p.Set("tag", tag); err != nil {
			t.Error(err)
		}
	}
	want := Policy{Last: 1, Minutely: 2, Hourly: 3, Daily: 4, Weekly: 5, Monthly: 6, Quarterly: 7, Yearly: 8,
		Within: Span{Days: 1}, WithinHourly: Span{Days: 2}, WithinDaily: Span{Days: 3}, WithinWeekly: Span{Days: 4}, WithinMonthly: Span{Days: 5},
		WithinQuarterly: Span{Days: 6}, WithinYearly: Span{Days: 7}, Tags: []string{"a", "b"}}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
	if len(p.rules()) != len(Counts())+len(Spans()) {
		t.Errorf("%d rules", len(p.rules()))
	}
	if err := p.Set("last", "unlimited"); err != nil || p.Last != Unlimited {
		t.Errorf("unlimited is %d, %v", p.Last, err)
	}
	for _, c := range [][2]string{{"last", "-1"}, {"last", "x"}, {"last", ""}, {"daily", "1d"}, {"within", "5"}, {"within-minutely", "5d"}, {"hurly", "1"}} {
		if err := p.Set(c[0], c[1]); err == nil {
			t.Errorf("%s %q was taken", c[0], c[1])
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Policy{
		"number": {Daily: -2}, "key": {GroupBy: []Key{"colour"}}, "tag": {Tags: []string{""}},
	} {
		if _, err := Decide(nil, p, time.Now()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if p := (Policy{Incomplete: true}); p.HasRules() {
		t.Error("a policy without rules has rules")
	}
	if plan, err := Decide(nil, Policy{Last: 1}, time.Now()); err != nil || len(plan.Forget()) > 0 {
		t.Errorf("of nothing: %v, %v", plan, err)
	}
}

func TestParseGroupBy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]Key{
		"series": {Series}, "host, path,host": {Host, Path}, "none": nil, "tag,user,source,role": {Tag, User, Source, Role},
	} {
		if got, err := ParseGroupBy(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "colour", "series,", "none,host"} {
		if got, err := ParseGroupBy(text); err == nil {
			t.Errorf("%q was taken for %q", text, got)
		}
	}
}

// TestGroupsStayApart: texts that hold what separates them make no two groups one.
func TestGroupsStayApart(t *testing.T) {
	t.Parallel()
	list := []*snapshot.Snapshot{
		{ID: chunk.ID{1}, Paths: []string{"/a", "/b"}}, {ID: chunk.ID{2}, Paths: []string{"/a /b"}}, {ID: chunk.ID{3}, Paths: []string{`/a" "/b`}},
		{ID: chunk.ID{4}, Host: "x y", User: ""}, {ID: chunk.ID{5}, Host: "x", User: "y"},
	}
	plan, err := Decide(list, Policy{Last: 1, GroupBy: []Key{Host, User, Path}}, time.Now())
	if err != nil || len(plan.Groups) != len(list) {
		t.Errorf("%d groups, %v", len(plan.Groups), err)
	}
}

// TestRandom holds what is true of all policies against lists of all kinds.
func TestRandom(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for seed := range uint64(120) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tab := &table{p: randomPolicy(rng), now: now, list: randomList(rng, now)}
		decisions := tab.decide(t, tab.list)
		tab.laws(t, decisions)

		ahead := *tab // the clock of whoever asks, if it is ahead, makes nothing go
		ahead.now = now.AddDate(3, 0, 0)
		past := slices.DeleteFunc(slices.Clone(tab.list), func(s *snapshot.Snapshot) bool { return s.Start.Time().After(now) })
		if d := cmp.Diff(tab.decide(t, past), ahead.decide(t, past)); d != "" {
			t.Errorf("seed %d: a clock that is ahead changes what is kept:\n%s", seed, d)
		}
		behind := *tab // and if it is behind, more is kept
		behind.now = now.AddDate(0, 0, -20)
		behind.atLeast(t, seed, "a clock behind", tab.list, decisions)

		more := *tab // so is with one rule more, or a larger number
		more.p.Weekly += 1 + rng.IntN(3)
		more.p.Tags = append(slices.Clone(more.p.Tags), "b")
		if tab.p.HasRules() {
			more.atLeast(t, seed, "more rules", tab.list, decisions)
		}
		if t.Failed() {
			t.Fatalf("seed %d, policy %+v", seed, tab.p)
		}
	}
}

// atLeast fails unless complete snapshots that were kept are kept, those aside that a newest one stood in for.
func (tab *table) atLeast(t *testing.T, seed uint64, what string, list []*snapshot.Snapshot, before map[*snapshot.Snapshot]Decision) {
	t.Helper()
	after := tab.decide(t, list)
	for s, d := range before {
		if !d.Keep || s.Incomplete || slices.ContainsFunc(d.Reasons, func(r string) bool { return strings.HasPrefix(r, "newest") }) {
			continue
		}
		if !after[s].Keep {
			t.Errorf("seed %d: with %s %v is forgotten (%q), that was kept (%q)", seed, what, s.Start.Time(), after[s].Reasons, d.Reasons)
		}
	}
}

func randomPolicy(rng *rand.Rand) Policy {
	p := Policy{GroupBy: []Key{Series}}
	for _, n := range []*int{&p.Last, &p.Hourly, &p.Daily, &p.Weekly, &p.Monthly, &p.Yearly} {
		if rng.IntN(3) == 0 {
			*n = rng.IntN(5) // 0: none
		}
	}
	if rng.IntN(3) == 0 {
		p.WithinDaily = Span{Days: 1 + rng.IntN(20)}
	}
	if rng.IntN(4) == 0 {
		p.Tags = []string{"a"}
	}
	if rng.IntN(4) == 0 {
		p.Zone = time.FixedZone("", 3600*(rng.IntN(25)-12))
	}
	p.Incomplete = rng.IntN(2) == 0
	return p
}

func randomList(rng *rand.Rand, now time.Time) []*snapshot.Snapshot {
	list := make([]*snapshot.Snapshot, rng.IntN(40))
	for i := range list {
		at := now.Add(-time.Duration(rng.IntN(60*24*60)) * time.Minute)
		if rng.IntN(3) == 0 {
			at = at.AddDate(-rng.IntN(3), 0, 0)
		}
		if rng.IntN(12) == 0 {
			at = now.AddDate(0, rng.IntN(8), 1)
		}
		s := &snapshot.Snapshot{ID: chunk.ID{byte(i)}, Start: snapshot.TimeOf(at), End: snapshot.TimeOf(at.Add(time.Hour)),
			Series: string(rune('a' + rng.IntN(2))), ZoneOffset: 1800 * (rng.IntN(49) - 24), Pinned: rng.IntN(10) == 0, Incomplete: rng.IntN(6) == 0}
		s.Checkpoint = s.Incomplete && rng.IntN(2) == 0
		if rng.IntN(4) == 0 {
			s.Tags = []string{string(rune('a' + rng.IntN(3)))}
		}
		if rng.IntN(5) == 0 {
			s.Expires = snapshot.TimeOf(at.AddDate(0, 0, rng.IntN(40)))
		}
		list[i] = s
	}
	return list
}

func FuzzSpan(f *testing.F) {
	f.Add("1y2m3w4d5h6min7s")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpan(text)
		if err != nil {
			return
		}
		if again, err := ParseSpan(s.String()); err != nil && len(s.String()) < 20 || err == nil && again != s {
			t.Errorf("%q is %v, and that %v, %v", text, s, again, err)
		}
		at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		if !s.After(at).After(at) || !s.Before(at).Before(at) {
			t.Errorf("%q: %v and %v", text, s.Before(at), s.After(at))
		}
	})
}
