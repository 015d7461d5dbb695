package perform

import (
	"errors"
	"os"
	"strings"
	"testing"

	"cairn/agent/source/restore"
)

// A directory does not come back through a link that leads elsewhere: with --delete that would empty whatever is there.
func TestNotThroughLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("app/data/sub/a", "a")
	w.write("other/precious", "keep")
	w.write("other/data/sub/b", "keep")
	const text = "source: app\nparts: [{tree: {path: DIR/app/data}}]"
	s := w.run(w.parse(text))
	for name, c := range map[string]struct{ link, file string }{
		"itself":     {"app/data", text},
		"on the way": {"app", text + "\nrestore: {roots: [DIR]}"},
	} {
		w.remove("app")
		check(t, os.MkdirAll(w.dir+"/app", 0o755))
		w.remove(c.link)
		early := w.plan(s, w.parse(c.file), restore.Options{Delete: true})
		check(t, os.Symlink(w.dir+"/other", w.dir+"/"+c.link))
		late := w.plan(s, w.parse(c.file), restore.Options{Delete: true, Compare: true})
		if r := late.Refusals(); len(r) != 1 || r[0].Override != "" || !strings.Contains(r[0].Text, w.dir+"/"+c.link+" is a link") {
			t.Errorf("%s: %+v", name, r)
		}
		var link *restore.LinkError
		if _, err := Execute(t.Context(), []*restore.Plan{early}, (&teller{}).tools(), nil); !errors.As(err, &link) || link.Path != w.dir+"/"+c.link {
			t.Errorf("%s, after the plan: %v", name, err)
		}
		if w.read("other/precious")+w.read("other/data/sub/b") != "keepkeep" {
			t.Fatalf("%s: what the link leads to was changed", name)
		}
	}
	// The link in the way to the root is the machine's own.
	w.remove("app")
	check(t, os.Symlink(w.dir+"/other", w.dir+"/app"))
	if r := w.plan(s, w.parse(text), restore.Options{}).Refusals(); len(r) != 0 {
		t.Errorf("%+v", r)
	}
}
