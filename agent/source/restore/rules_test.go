package restore

import (
	"testing"

	"cairn/agent/source"
	"cairn/agent/source/paper"
)

// sourceFile parses a source file.
func sourceFile(t *testing.T, text string) *source.File {
	t.Helper()
	f, err := source.Parse("app.yaml", []byte(text), source.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func rulesFor(t *testing.T, then, now *source.File, o *Options, noted *paper.Run, place func(string) string) *rules {
	t.Helper()
	same := func(name string) string { return name }
	r := &rules{o: o, place: place}
	var err error
	if r.then, err = newRules(then, noted, same); err != nil {
		t.Fatal(err)
	}
	if r.now, err = newRules(now, noted, same); err != nil {
		t.Fatal(err)
	}
	return r
}

// A4, A7, D10: what is of class never or derived stays out, by the source file of then and by that of now, whatever the snapshot holds.
func TestClasses(t *testing.T) {
	t.Parallel()
	then := sourceFile(t, `
parts:
  - {name: repo, tree: {path: /old/repo, never: [queue, "/db/lock"], derived: ["/index"]}}
  - {name: data, class: derived, tree: {path: /old/data}}
  - {name: whole, tree: {path: /old/whole}}
`)
	now := sourceFile(t, `
parts:
  - {name: repo, tree: {path: /new/repo, never: ["/new/repo/mail", "spool/*", "!spool/keep"], exclude: ["*.tmp"]}}
  - {name: state, class: never, tree: {path: /new/whole/state}}
`)
	place := func(name string) string { return "/new" + name[len("/old"):] }
	for _, c := range []struct {
		path  string
		dir   bool
		never string // class, "" when it comes back
	}{
		{"/old/repo", true, ""}, {"/old/repo/a", false, ""}, {"/old/repo/a/queue", true, "never"}, {"/old/repo/db/lock", false, "never"}, {"/old/repo/x/db/lock", false, ""},
		{"/old/repo/index", true, "derived"}, {"/old/repo/a/index", true, ""}, {"/old/data", true, "derived"}, {"/old/data/x", false, "derived"},
		{"/old/repo/mail", true, "never"}, {"/old/repo/a/mail", true, ""}, {"/old/repo/spool/1", false, "never"}, {"/old/repo/spool/keep", false, ""},
		{"/old/whole", true, ""}, {"/old/whole/state", true, "never"}, {"/old/whole/state/j", false, "never"}, {"/old/whole/statement", true, ""}, {"/old/repo/x.tmp", false, ""},
	} {
		r := rulesFor(t, then, now, &Options{}, nil, place)
		if class, _ := r.classOf(c.path, c.dir); string(class) != c.never {
			t.Errorf("%s is of class %q, want %q", c.path, class, c.never)
		}
		if r.Match(c.path, c.dir) != (c.never != "") || r.leaves(c.path, c.dir) != (c.never != "") || len(r.out) > 0 != (c.never != "") {
			t.Errorf("%s is asked for differently", c.path)
		}
	}
	r := rulesFor(t, then, now, &Options{Delete: true}, nil, place)
	if !r.Match("/old/repo/x.tmp", false) || r.Match("/old/repo/x", false) {
		t.Error("with --delete: what the backup leaves out on purpose stays, and nothing else")
	}
}

// D10: only what was named comes back in spite of its class.
func TestForce(t *testing.T) {
	t.Parallel()
	f := sourceFile(t, `
parts:
  - {name: repo, tree: {path: /app/repo, never: [queue], derived: [index]}}
  - {name: state, class: never, tree: {path: /app/state}}
`)
	same := func(name string) string { return name }
	for _, c := range []struct {
		force Force
		out   string // stays out
		in    string
	}{
		{Force{source.Never, "/app/state/history"}, "/app/state/journal", "/app/state/history/1"},
		{Force{source.Never, "/app/state/history"}, "/app/repo/queue", "/app/state"}, // leads there
		{Force{source.Never, "state"}, "/app/repo/queue", "/app/state/journal"},
		{Force{source.Never, "/app/repo/queue/a"}, "/app/repo/queue/b", "/app/repo/queue/a/1"},
		{Force{source.Derived, "/app/repo"}, "/app/repo/queue", "/app/repo/index"},
		{Force{source.Derived, "state"}, "/app/state", "/app/repo/x"},
	} {
		r := rulesFor(t, nil, f, &Options{Force: []Force{c.force}}, nil, same)
		if !r.Match(c.out, false) || r.Match(c.in, true) {
			t.Errorf("%+v: %s is out: %v, %s is out: %v", c.force, c.out, r.Match(c.out, false), c.in, r.Match(c.in, true))
		}
	}
	r := rulesFor(t, nil, f, &Options{WithDerived: true}, nil, same)
	if r.Match("/app/repo/index", true) || !r.Match("/app/repo/queue", true) {
		t.Error("--with-derived is about derived only")
	}
}

// A7: the tree of a part that was a link lies elsewhere in the snapshot, and the patterns hold there, too.
func TestLinkedTree(t *testing.T) {
	t.Parallel()
	f := sourceFile(t, "parts: [{name: repo, tree: {path: /app/repo, never: [queue, /app/repo/x]}}]")
	noted := &paper.Run{Parts: []paper.Part{{Name: "repo", Paths: []string{"/app/repo", "/disk/repo"}}}}
	r := rulesFor(t, f, f, &Options{}, noted, func(name string) string { return name })
	for _, name := range []string{"/disk/repo/a/queue", "/disk/repo/x"} {
		if !r.Match(name, true) {
			t.Errorf("%s comes back", name)
		}
	}
	if r.Match("/disk/repo/a", true) || r.Match("/disk/other/queue", true) {
		t.Error("too much stays out")
	}
}
