package document

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// content compares nodes by what they say.
var content = cmp.Options{cmpopts.IgnoreFields(Node{}, "Place"), cmpopts.IgnoreFields(Entry{}, "Place", "Comment"), cmpopts.EquateEmpty()}

func parse(t *testing.T, text string) *Node {
	t.Helper()
	var p Problems
	n := Parse("x.yaml", []byte(text), &p)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParse(t *testing.T) {
	t.Parallel()
	n := parse(t, `# about the file

# the name
name: "a: b"   # said twice
count: 0x10
on: true
none:
empty: ""
list:
  - x
  -   - y
      - {k: v, "quoted key": 'it''s'}
text: |
  one
   two

  three
folded: >-
  one
  two
1: number
`)
	want := &Node{Kind: Map, Entries: []Entry{
		{Key: "name", Value: NewText("a: b")},
		{Key: "count", Value: &Node{Kind: Plain, Text: "0x10"}},
		{Key: "on", Value: &Node{Kind: Plain, Text: "true"}},
		{Key: "none", Value: &Node{}},
		{Key: "empty", Value: NewText("")},
		{Key: "list", Value: &Node{Kind: List, Items: []*Node{
			NewText("x"),
			{Kind: List, Items: []*Node{NewText("y"), {Kind: Map, Entries: []Entry{{Key: "k", Value: NewText("v")}, {Key: "quoted key", Value: NewText("it's")}}}}},
		}}},
		{Key: "text", Value: NewText("one\n two\n\nthree\n")},
		{Key: "folded", Value: NewText("one two")},
		{Key: "1", Value: NewText("number")},
	}}
	if d := cmp.Diff(want, n, content); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if got := n.Entries[0].Comment; !strings.Contains(got, "the name") || !strings.Contains(got, "said twice") {
		t.Errorf("comment %q", got)
	}
	if at := n.Entries[5].Value.Items[1].Items[0].Place; at.Line != 11 || at.Column != 9 {
		t.Errorf("y is at %d:%d", at.Line, at.Column)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	deep := func(n int) string {
		return "a: " + strings.Repeat("[", n) + strings.Repeat("]", n)
	}
	for name, c := range map[string]struct{ text, want string }{
		"syntax":      {"a: [b", "x.yaml:1:4: "},
		"tab":         {"a:\n\tb: c", "x.yaml:2:"},
		"twice":       {"a: 1\nb: 2\na: 3", `x.yaml:3:1: `},
		"anchor":      {"a: &x 1\nb: *x", "anchors and aliases are not understood"},
		"merge":       {"a: {b: 1}\nc:\n  <<: {d: 1}", "merge keys are not understood"},
		"tag":         {"a: !!binary eA==", "tags are not understood"},
		"documents":   {"a: 1\n---\nb: 2", "x.yaml:3:"},
		"control":     {"a: \x1b[31m", "x.yaml:1:4: a control character (U+001B)"},
		"zero":        {"a: \x00", "a control character"},
		"not UTF-8":   {"a: \xff", "not UTF-8"},
		"brackets":    {"a: " + strings.Repeat("[", 5000), "nested too deeply"},
		"dashes":      {strings.Repeat("- ", 5000) + "x", "nested too deeply"},
		"deep":        {deep(40), "nested too deeply"},
		"large":       {strings.Repeat("# x\n", MaxSize), "are the most"},
		"complex key": {"? [a, b]\n: c", "x.yaml:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p Problems
			Parse("x.yaml", []byte(c.text), &p)
			if err := p.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if strings.Contains(fmt.Sprint(p.Err()), "\x1b") {
				t.Error("the excerpt speaks to the terminal")
			}
		})
	}
	if n := parse(t, deep(20)); n.Get("a").Kind != List {
		t.Error("twenty levels are not too many")
	}
}

// TestConceal: excerpts go to logs, and people write passwords in all kinds of wrong places.
func TestConceal(t *testing.T) {
	t.Parallel()
	for line, shown := range map[string]bool{
		`password: hunter2`:                               false,
		`  db_password: "hunter2"`:                        false,
		`{user: a, password: hunter2, port: 1}`:           false,
		`{"api-key": "hunter2"}`:                          false,
		`Authorization: Basic hunter2`:                    false,
		`args: [x, --password=hunter2]`:                   false,
		`args: [x, --password, hunter2]`:                  false,
		`url: https://me:hunter2@example.org/x`:           false,
		`MYSQL_PWD: hunter2`:                              false,
		`password: {file: /hunter2}`:                      true,
		`secrets: {A_TOKEN: {env: X}, PASSWORD: hunter2}`: false,
		`description: hunter2`:                            true,
		`passwords:`:                                      true,
	} {
		if got := conceal(line); strings.Contains(got, "hunter2") != (shown && strings.Contains(line, "hunter2")) {
			t.Errorf("%s is shown as %s", line, got)
		}
	}
}

type server struct {
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
}

type shape struct {
	server  `yaml:",inline"`
	Length  time.Duration     `yaml:"length"`
	On      *bool             `yaml:"on"`
	Names   []string          `yaml:"names"`
	Args    []string          `yaml:"args"`
	Headers map[string]string `yaml:"headers"`
	Inner   *server           `yaml:"inner"`
	List    []server          `yaml:"list"`
	Any     map[string]any    `yaml:"any"`
	Hidden  string            `yaml:"-"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var p Problems
	d := &Decoder{Problems: &p, Words: []string{"args"}}
	var got shape
	d.Decode(parse(t, `
host: h
port: 17
length: 1h30m
on: false
names: one
args: [a, "1", 2]
headers: {A: b}
inner: {port: 3}
list: [{host: x}, {}]
any: {a: [1, {b: c}]}
`), &got)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	no := false
	want := shape{server: server{"h", 17}, Length: 90 * time.Minute, On: &no, Names: []string{"one"}, Args: []string{"a", "1", "2"}, Headers: map[string]string{"A": "b"},
		Inner: &server{Port: 3}, List: []server{{Host: "x"}, {}}, Any: map[string]any{"a": []any{"1", map[string]any{"b": "c"}}}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(shape{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if at := d.At(&got.Inner.Port); at.Line != 9 || at.Column != 15 {
		t.Errorf("inner.port is at %d:%d", at.Line, at.Column)
	}
	if at := d.At(&got.List[1].Port, &got.List[1]); at.Line != 10 {
		t.Errorf("a key that is not there is at %d:%d, not where its map is", at.Line, at.Column)
	}
	// And back: what FromValue writes is read as the same.
	var again shape
	d2 := &Decoder{Problems: &p, Words: []string{"args"}}
	d2.Decode(parse(t, string(FromValue(got).Encode())), &again)
	if d := cmp.Diff(got, again, cmp.AllowUnexported(shape{})); d != "" || p.Len() > 0 {
		t.Errorf("%v\n%s", p.Err(), d)
	}
}

// TestDecodeAll: one reading tells everything.
func TestDecodeAll(t *testing.T) {
	t.Parallel()
	var p Problems
	d := &Decoder{Problems: &p, Words: []string{"args"}}
	d.Decode(parse(t, `
hots: h
port: many
length: 5
on: yes
names: {a: b}
args: ls -l
headers: [x]
inner: 7
list: [{prot: 1}, null]
hidden: x
`), new(shape))
	var all *Error
	if err := p.Err(); !errors.As(err, &all) {
		t.Fatal(err)
	}
	want := []string{
		`2:1: unknown key "hots"; did you mean host?`, `3:7: port is a whole number`, `4:9: length: a length of time is written like 90s, 10m, 1h30m or 2d`,
		`5:5: on is true or false`, `6:9: want a list, found map`, `7:7: want a list: [program, argument, …]; no shell takes a text apart`,
		`8:10: want a map, found list`, `9:8: want a map, found number or true/false`, `10:9: unknown key "prot"; did you mean port?`, `10:19: an empty item`,
		`11:1: unknown key "hidden"; there are any, args, headers, host, inner, length, list, names, on, port`,
	}
	var got []string
	for _, p := range all.Problems {
		got = append(got, fmt.Sprintf("%d:%d: %s", p.Place.Line, p.Place.Column, p.Message))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestMany(t *testing.T) {
	t.Parallel()
	var p Problems
	for i := range 80 {
		p.Add(Place{}, "problem %d", i)
		p.Add(Place{}, "problem %d", i/10) // noted before: once is enough
	}
	if text := p.Err().Error(); !strings.HasSuffix(text, "and 30 more") || strings.Count(text, "\n") != maxProblems {
		t.Errorf("%d problems: %s", p.Len(), text)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "0": 0, "1.5h": 90 * time.Minute} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if back, err := ParseDuration(FormatDuration(got)); err != nil || back != got {
			t.Errorf("%v is written as %s", got, FormatDuration(got))
		}
	}
	for _, text := range []string{"", "5", "-1m", "1w", "d", "99999999999d", "1.5d", "ten"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	known := []string{"exclude", "derived", "never"}
	for name, want := range map[string]string{"exlude": "did you mean exclude?", "NEVER": "did you mean never?", "xyz": "there are exclude, derived, never", strings.Repeat("x", 1<<20): "there are"} {
		if got := Suggest(name, known); !strings.Contains(got, want) {
			t.Errorf("%.20s: %s", name, got)
		}
	}
}

// FuzzParse: no text makes Parse panic or run away, and what it understands is written so that it is read back.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"a: b\nc: [d, {e: f}]\n", "a: |\n  x\n  y\n", "- - - a", "a: \"\\x41\\u00e9\\n\"", "? a\n: b", "a: !!str 1", "a: &b c\nd: *b", "#c\na: # d\n  b\n",
		"a: 'x'\nb: >-\n  c\n\n  d", "{a: b, c}", "a: 0o17\nb: .inf\nc: 1e3\nd: ~\n", "%YAML 1.2\n---\na: b\n...\n", "a: |2-\n   x\n", "\ufeffa: b", "a: - b",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Problems
		n := Parse("x", data, &p)
		_ = fmt.Sprint(p.Err())
		if n == nil || p.Len() > 0 {
			return
		}
		text := n.Encode()
		again := Parse("y", text, &p)
		if err := p.Err(); err != nil {
			t.Fatalf("%q is written as %q: %v", data, text, err)
		}
		if d := cmp.Diff(n, again, content); d != "" {
			t.Fatalf("%q is written as %q\n%s", data, text, d)
		}
	})
}
