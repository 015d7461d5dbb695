package restore

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/snapshot"
)

func find(t *testing.T, f *fake, root Root, path string) *snapshot.Node {
	t.Helper()
	n, err := snapshot.Find(t.Context(), func(ctx ctxT, id chunk.ID) ([]byte, error) { return f.Load(ctx, chunk.Tree, id) }, root.Content, root.Depth, path)
	must(t, err)
	return n
}

func TestDumpFile(t *testing.T) {
	t.Parallel()
	zero := strings.Repeat("\x00", 100000)
	kids := tree{
		file_("empty", ""),
		file_("big", text("big", 40<<20)),
		file_("holes", zero+"middle"+zero+text("end", 3000)+zero, hole(0, 100000), hole(100006, 100000), hole(203006, 100000)),
		file_("all hole", zero, hole(0, 100000)),
		file_("repeats", strings.Repeat(text("r", chunkSize), 50)),
		file_("unread", "", func(n *snapshot.Node) { n.Error = "denied" }),
		file_("lost", "lost"),
		file_("short", "abc", func(n *snapshot.Node) { n.Size = 5 }),
		dir_("dir", nil),
	}
	f := newFake()
	f.chunk = 10 * chunkSize
	root := f.put(t, kids)
	f.damaged[chunk.Sum([]byte("lost"))] = true
	for _, e := range kids {
		var out bytes.Buffer
		err := DumpFile(t.Context(), f, find(t, f, root, "/"+e.Name), &out)
		switch e.Name {
		case "unread", "lost", "dir", "short":
			if err == nil || !strings.Contains(err.Error(), e.Name) {
				t.Errorf("%s: got %v", e.Name, err)
			}
			continue
		}
		if err != nil || out.String() != e.data {
			t.Errorf("%s: %d of %d bytes, %v", e.Name, out.Len(), len(e.data), err)
		}
	}
	if err := DumpFile(t.Context(), f, find(t, f, root, "/big"), brokenPipe{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("broken pipe: %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestDumpTar(t *testing.T) {
	t.Parallel()
	f := newFake()
	kids := append(sample(), file_("hole", strings.Repeat("\x00", 70000)+"x", hole(0, 70000)))
	kids = append(kids, node_("dev", snapshot.CharDevice, func(n *snapshot.Node) { n.Device = &snapshot.Device{Major: 1, Minor: 3} }, owner(3000000, 5)))
	root := f.put(t, kids)
	var out bytes.Buffer
	must(t, DumpTar(t.Context(), f, find(t, f, root, "/"), "", &out))
	raw := bytes.Clone(out.Bytes())
	got := map[string]string{}
	tr := tar.NewReader(&out)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		b, err := io.ReadAll(tr)
		must(t, err)
		got[h.Name] = fmt.Sprintf("%c %04o %d:%d %d.%09d %d:%d %s %q %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.ModTime.Nanosecond(),
			h.Devmajor, h.Devminor, h.Linkname, h.PAXRecords["SCHILY.xattr.user.b"], short(string(b)))
	}
	wanted := map[string]string{}
	wantTar(kids, "", map[snapshot.LinkID]string{}, wanted)
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	t.Run("GNU tar", func(t *testing.T) {
		if _, err := exec.LookPath("tar"); err != nil || uid != 0 {
			t.Skip("needs tar and root: owners are compared")
		}
		target := tempDir(t)
		cmd := exec.Command("tar", "-xp", "--xattrs", "--xattrs-include=*", "-C", target)
		cmd.Stdin = bytes.NewReader(raw)
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		must(t, os.MkdirAll(filepath.Join(target, "srv"), 0o700))
		compareTree(t, target, withoutSockets(kids))
	})
}

func withoutSockets(kids tree) tree {
	var out tree
	for _, e := range kids {
		if e.Type != snapshot.Socket {
			e.kids = withoutSockets(e.kids)
			out = append(out, e)
		}
	}
	return out
}

func wantTar(kids tree, prefix string, seen map[snapshot.LinkID]string, out map[string]string) {
	for _, e := range sortedTree(kids) {
		flags := map[snapshot.NodeType]byte{snapshot.File: '0', snapshot.Dir: '5', snapshot.Symlink: '2', snapshot.Fifo: '6', snapshot.CharDevice: '3'}
		flag, ok := flags[e.Type]
		if !ok {
			continue
		}
		path, target, data, x := prefix+e.Name, e.Target, e.data, ""
		if e.Type == snapshot.Dir {
			path += "/"
		}
		for _, a := range e.Xattrs {
			if a.Name == "user.b" {
				x = string(a.Value)
			}
		}
		if e.Link != nil {
			if first, ok := seen[*e.Link]; ok {
				flag, target, data = '1', first, ""
			} else {
				seen[*e.Link] = path
			}
		}
		dev := snapshot.Device{}
		if e.Device != nil {
			dev = *e.Device
		}
		out[path] = fmt.Sprintf("%c %04o %d:%d %d.%09d %d:%d %s %q %s", flag, e.Mode, e.UID, e.GID, e.Mtime.Sec, e.Mtime.Nsec,
			dev.Major, dev.Minor, target, x, short(data))
		wantTar(e.kids, path, seen, out)
	}
}

func TestDumpZip(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, sample())
	var out bytes.Buffer
	must(t, DumpZip(t.Context(), f, find(t, f, root, "/srv/a"), "a", &out))
	zr, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	must(t, err)
	got := map[string]string{}
	for _, e := range zr.File {
		r, err := e.Open()
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, err)
		got[e.Name] = fmt.Sprintf("%v %d %s", e.Mode(), e.Modified.Unix(), short(string(b)))
	}
	for name, want := range map[string]string{
		"a/":                "drwxr-x--x",
		"a/setuid":          "urwxr-xr-x",
		"a/hard 2":          "-rw-r-----",
		"a/symlink":         "Lrwxrwxrwx",
		"a/z/hard 3":        "-rw-r-----",
		"a/empty dir/":      "dtrwxrwxrwx",
		"a/read only/in it": "-rw-r-----",
	} {
		if !strings.HasPrefix(got[name], want) {
			t.Errorf("%s: %q", name, got[name])
		}
	}
	if want := fmt.Sprintf("%v %d %s", fs.FileMode(0o640), late.Sec, short(text("hard", 2500))); got["a/hard 2"] != want {
		t.Errorf("hard 2: %s, want %s", got["a/hard 2"], want)
	}
	if _, ok := got["a/fifo"]; ok {
		t.Error("a fifo in a zip")
	}
}

func TestDumpTreeDamage(t *testing.T) {
	t.Parallel()
	f := newFake()
	root := f.put(t, tree{
		file_("a", "a"), file_("unread", "", func(n *snapshot.Node) { n.Error = "denied" }), file_("z", "z"),
	})
	var out bytes.Buffer
	var left *IncompleteError
	err := DumpTar(t.Context(), f, find(t, f, root, "/"), "", &out)
	if !errors.As(err, &left) || left.Count != 1 || left.Paths[0] != "unread" {
		t.Errorf("got %v", err)
	}
	if names := tarNames(t, &out); names != "a z" {
		t.Errorf("got %q", names)
	}
	f.damaged[chunk.Sum([]byte("z"))] = true
	if err := DumpTar(t.Context(), f, find(t, f, root, "/"), "", io.Discard); err == nil || !strings.HasPrefix(err.Error(), "z: ") {
		t.Errorf("got %v", err)
	}
	out.Reset()
	must(t, DumpTar(t.Context(), f, find(t, f, root, "/a"), "", &out))
	if names := tarNames(t, &out); names != "a" {
		t.Errorf("got %q", names)
	}
}

func tarNames(t *testing.T, r io.Reader) string {
	t.Helper()
	var names []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return strings.Join(names, " ")
		}
		must(t, err)
		names = append(names, h.Name)
	}
}
