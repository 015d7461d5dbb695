package variable

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/document"
)

// expand reads a text and writes it with its variables put in.
func expand(t *testing.T, text string, given map[string]string) (string, error) {
	t.Helper()
	var p document.Problems
	root := document.Parse("x.yaml", []byte(text), &p)
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	s := New(root.Clone(), root, nil, given, &p)
	merged := root.Clone()
	out := s.File(merged)
	if out == nil {
		return "", p.Err()
	}
	return string(out.Encode()), p.Err()
}

func TestExpand(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"vars: {a: b}\nx: '${a}-${a}'":                                         "x: b-b\n",
		"vars: {a: 1}\nx: '$${a}${a}$a$1$$'":                                   "x: \"${a}1$a$1$$\"\n",
		"vars: {a: '${b}/c', b: /d}\nx: '${a}'":                                "x: /d/c\n",
		"vars: {l: [b, c]}\nx: [a, '${l}', d]\nw: '${l}'":                      "x: [a, b, c, d]\nw: [b, c]\n",
		"vars: {l: [b, c]}\nparts:\n- each: l\n  x: [\"${item}\"]\n- w":        "parts:\n  - x: [b]\n  - x: [c]\n  - w\n",
		"vars: {l: [{k: 1}]}\nparts: [{each: l, x: '${item.k}'}]":              "parts:\n  - x: \"1\"\n",
		"vars: {l: [], m: x}\nparts: [{each: l, x: '${item}${m}'}]\nz: '${l}'": "parts: []\nz: []\n",
		"vars: {a: x}\nsource: '${a}'\nw: '${a}'":                              "source: \"${a}\"\nw: x\n",
	} {
		got, err := expand(t, text, nil)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v -want +got\n%s", text, err, d)
		}
	}
	if got, err := expand(t, "vars: {a: b}\nx: '${a}'", map[string]string{"a": "${a}"}); err == nil {
		t.Errorf("a given value that refers to itself: %s", got)
	}
	if got, err := expand(t, "vars: {a: b}\nx: '${a}'", map[string]string{"a": "given"}); err != nil || got != "x: given\n" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestCaret(t *testing.T) {
	t.Parallel()
	_, err := expand(t, "vars: {a: b}\nx: |\n  ${a}\n  é ${c}\n", nil)
	if err == nil || !strings.Contains(err.Error(), "x.yaml:4:5: unknown variable \"c\"") || !strings.Contains(err.Error(), ">   4 |   é ${c}\n            ^") {
		t.Errorf("got %v", err)
	}
}
