package crash

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/remote/local"
)

// left is what a Disk holds after a cut.
func left(t *testing.T, d *Disk, l Loss) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := d.Cut(dir, l, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil || e.IsDir() {
			found[relative] = "a directory"
			return err
		}
		data, err := os.ReadFile(name)
		found[relative] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestDisk: what one Put does, step by step, and what is left of it when the power goes after each.
func TestDisk(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Load(base)
	if err != nil {
		t.Fatal(err)
	}
	type state = map[string]string
	old := state{"old": "old"}
	with := func(more ...string) state {
		s := state{"old": "old"}
		for i := 0; i < len(more); i += 2 {
			s[more[i]] = more[i+1]
		}
		return s
	}
	for _, step := range []struct {
		change         local.Change
		least, content state
	}{
		{local.Change{Op: local.OpMkDir, Name: "a"}, old, with("a", "a directory")},
		{local.Change{Op: local.OpCreate, Name: "a/t"}, old, with("a", "a directory", "a/t", "")},
		{local.Change{Op: local.OpWrite, Name: "a/t", Data: []byte("new")}, old, with("a", "a directory", "a/t", "")},
		{local.Change{Op: local.OpSync, Name: "a/t"}, old, with("a", "a directory", "a/t", "new")},
		{local.Change{Op: local.OpRename, Name: "a/t", To: "a/x"}, old, with("a", "a directory", "a/x", "new")},
		{local.Change{Op: local.OpSyncDir, Name: "a"}, old, with("a", "a directory", "a/x", "new")},
		{local.Change{Op: local.OpSyncDir, Name: "."}, with("a", "a directory", "a/x", "new"), with("a", "a directory", "a/x", "new")},
		{local.Change{Op: local.OpLink, Name: "a/x", To: "a/y"}, with("a", "a directory", "a/x", "new"), with("a", "a directory", "a/x", "new", "a/y", "new")},
		{local.Change{Op: local.OpRemove, Name: "old"}, with("a", "a directory", "a/x", "new"), state{"a": "a directory", "a/x": "new", "a/y": "new"}},
	} {
		if err := d.Apply(step.change); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.least, left(t, d, Everything)); diff != "" {
			t.Errorf("after %s %s, everything lost: %s", step.change.Op, step.change.Name, diff)
		}
		if diff := cmp.Diff(step.content, left(t, d, Contents)); diff != "" {
			t.Errorf("after %s %s, contents lost: %s", step.change.Op, step.change.Name, diff)
		}
	}
	for _, wrong := range []local.Change{
		{Op: local.OpCreate, Name: "b/x"}, {Op: local.OpSync, Name: "gone"}, {Op: local.OpMkDir, Name: "a"}, {Op: "other", Name: "a"},
	} {
		if d.Apply(wrong) == nil {
			t.Errorf("%v is done", wrong)
		}
	}
}
