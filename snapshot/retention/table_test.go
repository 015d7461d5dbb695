package retention

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tables must not depend on what the machine knows of zones

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"cairn/chunk"
	"cairn/snapshot"
)

var update = flag.Bool("update", false, "write what is decided into the tables")

// TestTables applies the policies of testdata/*.txtar to the snapshots beside them. Each file of an archive is one table: lines
// "keep: RULE VALUE …", "now: TIME", "zone: NAME", "group: KEYS", "only: series=NAME" or "with: incomplete allow-empty", then one line
// a snapshot, behind whose bar stands what becomes of it. Other lines are remarks.
// Rows B18, D9.
func TestTables(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range archive.Files {
			f := &archive.Files[i]
			want := string(f.Data)
			got := newTable(t, want).render(t)
			if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" && !*update {
				t.Errorf("%s: %s: (-table +decided)\n%s", name, f.Name, d)
			}
			f.Data = []byte(got)
		}
		if *update {
			if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// table is one parsed table.
type table struct {
	p     Policy
	now   time.Time
	lines []string
	at    map[int]*snapshot.Snapshot // by line
	list  []*snapshot.Snapshot
}

func newTable(t *testing.T, text string) *table {
	t.Helper()
	tab := &table{lines: strings.Split(text, "\n"), at: map[int]*snapshot.Snapshot{}, p: Policy{GroupBy: []Key{Series}, Arrived: map[chunk.ID]time.Time{}}}
	for i, line := range tab.lines {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		var err error
		switch {
		case key == "keep":
			words := strings.Fields(value)
			for w := 0; w+1 < len(words) && err == nil; w += 2 {
				err = tab.p.Set(words[w], words[w+1])
			}
		case key == "now":
			tab.now = when(t, value)
		case key == "zone":
			tab.p.Zone, err = time.LoadLocation(value)
		case key == "group":
			tab.p.GroupBy, err = ParseGroupBy(value)
		case key == "only":
			tab.p.Only.Series = strings.TrimPrefix(value, "series=")
		case key == "with":
			tab.p.Incomplete, tab.p.AllowEmpty = strings.Contains(value, "incomplete"), strings.Contains(value, "allow-empty")
		case strings.Contains(line, "|"):
			tab.at[i] = tab.snapshot(t, line)
			tab.list = append(tab.list, tab.at[i])
		}
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if tab.now.IsZero() || len(tab.list) == 0 {
		t.Fatalf("no time or no snapshots in the table:\n%s", text)
	}
	return tab
}

// when reads a time with its zone, seconds left out.
func when(t *testing.T, text string) time.Time {
	t.Helper()
	for _, layout := range []string{"2006-01-02T15:04Z07:00", time.RFC3339} {
		if got, err := time.Parse(layout, text); err == nil {
			return got
		}
	}
	t.Fatalf("%q is no time", text)
	return time.Time{}
}

// snapshot reads "TIME [PROPERTY…] | …". Its id is its place in the table.
func (tab *table) snapshot(t *testing.T, line string) *snapshot.Snapshot {
	t.Helper()
	words := strings.Fields(line[:strings.Index(line, "|")])
	start := when(t, words[0])
	s := &snapshot.Snapshot{ID: chunk.ID{byte(len(tab.list) + 1)}, Series: "a", Start: snapshot.TimeOf(start), End: snapshot.TimeOf(start.Add(time.Minute))}
	_, s.ZoneOffset = start.Zone()
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "series":
			s.Series = value
		case "host":
			s.Host = value
		case "tags":
			s.Tags = strings.Split(value, ",")
		case "paths":
			s.Paths = strings.Split(value, ",")
		case "ends":
			s.End = snapshot.TimeOf(when(t, value))
		case "expires":
			s.Expires = snapshot.TimeOf(when(t, value))
		case "arrived":
			tab.p.Arrived[s.ID] = when(t, value)
		case "pinned":
			s.Pinned = true
		case "ref":
			s.Refs = append(s.Refs, value)
		case "checkpoint":
			s.Checkpoint, s.Incomplete = true, true
		case "incomplete":
			s.Incomplete = true
		default:
			t.Fatalf("%q: what is %q?", line, word)
		}
	}
	return s
}

// render writes the table with what is decided, and holds what is true of all tables against it.
func (tab *table) render(t *testing.T) string {
	t.Helper()
	decisions := tab.decide(t, tab.list)
	width := 0
	for i := range tab.at {
		width = max(width, len(strings.TrimRight(before(tab.lines[i]), " ")))
	}
	lines := slices.Clone(tab.lines)
	for i, s := range tab.at {
		what := "is not decided on"
		if d, ok := decisions[s]; ok {
			what = "forget: "
			if d.Keep {
				what = "keep: "
			}
			what += strings.Join(d.Reasons, ", ")
		}
		lines[i] = fmt.Sprintf("%-*s | %s", width, strings.TrimRight(before(lines[i]), " "), what)
	}
	tab.laws(t, decisions)
	return strings.Join(lines, "\n")
}

func before(line string) string { return line[:strings.Index(line, "|")] }

func (tab *table) decide(t *testing.T, list []*snapshot.Snapshot) map[*snapshot.Snapshot]Decision {
	t.Helper()
	plan, err := Decide(list, tab.p, tab.now)
	if err != nil {
		t.Fatal(err)
	}
	all := map[*snapshot.Snapshot]Decision{}
	for _, g := range plan.Groups {
		for _, d := range g.Decisions {
			all[d.Snapshot] = d
		}
	}
	return all
}

// laws checks what holds for every policy and list.
func (tab *table) laws(t *testing.T, decisions map[*snapshot.Snapshot]Decision) {
	t.Helper()
	shuffled := slices.Clone(tab.list)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if d := cmp.Diff(decisions, tab.decide(t, shuffled)); d != "" {
		t.Errorf("the order of the list matters:\n%s", d)
	}
	var kept []*snapshot.Snapshot
	left := map[string]bool{}
	for _, s := range tab.list {
		d, decided := decisions[s]
		if decided && len(d.Reasons) == 0 {
			t.Errorf("%v has no reason", s.Start.Time())
		}
		if !decided || d.Keep {
			kept = append(kept, s)
			left[s.Series] = left[s.Series] || !s.Incomplete
		}
		if decided && !d.Keep && s.Pinned {
			t.Errorf("%v is pinned and forgotten", s.Start.Time())
		}
	}
	for s, d := range tab.decide(t, kept) {
		if !d.Keep && !tab.p.AllowEmpty {
			t.Errorf("%v is kept and then forgotten: %q", s.Start.Time(), d.Reasons)
		}
	}
	for _, s := range tab.list {
		if !s.Incomplete && !left[s.Series] && !tab.p.AllowEmpty {
			t.Errorf("nothing is left of series %q", s.Series)
		}
	}
}
