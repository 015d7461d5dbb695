// Package nasty builds a directory tree that holds whatever a Unix file system can hold and a backup program
// can get wrong: names that are not text, paths longer than PATH_MAX, holes, hard links to symlinks, devices,
// directories nobody may enter, times before 1970 and after 2038, ACLs, attributes that are not text.
//
// The tree is the same for the same seed and options, up to inode numbers, ctimes and what the file system
// or a normal user is not allowed; the latter is listed in the Report and never an error.
//
// Everything is made through open directories: the tree holds paths that no single system call can take.
package nasty

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Options chooses the tree. The zero value makes everything except the file that needs 4 GiB of disk: about
// 100 MiB of data and 21 000 names in some seconds.
type Options struct {
	Seed    uint64
	Entries int  // files in the large directory; default 20000
	Big     bool // a file of more than 4 GiB without holes
	Small   bool // leave out what takes long: the large directory has 300 entries, no file is over 10 MiB of data
}

func (o Options) applyDefaults() Options {
	if o.Entries == 0 {
		o.Entries = 20000
		if o.Small {
			o.Entries = 300
		}
	}
	return o
}

// Report tells what was made.
type Report struct {
	Names   int      // files, directories and all else below the top
	Skipped []string // what could not be made, each with its reason
}

// Build makes the tree in dir, which must not exist or be empty.
func Build(dir string, o Options) (Report, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Report{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, err
	}
	defer root.Close()
	t := &tree{o: o.applyDefaults(), root: root, pinned: map[string]unix.Timespec{}}
	if f, err := root.Open("."); err != nil {
		return Report{}, err
	} else if names, err := f.Readdirnames(1); len(names) > 0 {
		return Report{}, fmt.Errorf("%s is not empty: %w", dir, errors.Join(err, f.Close(), os.ErrExist))
	} else {
		f.Close()
	}
	for _, plant := range []func(){
		t.names, t.deep, t.sizes, t.sparse, t.duplicates, t.many, t.cacheTag,
		t.hardLinks, t.symlinks, t.special, t.modes, t.owners, t.xattrs, t.acls, t.times,
	} {
		plant()
	}
	t.setTimes()
	t.lock()
	slices.Sort(t.skipped)
	return Report{t.made, t.skipped}, t.err
}

// tree is one Build at work. Its first error sticks; what follows does nothing.
type tree struct {
	o       Options
	root    *os.Root
	err     error
	made    int
	skipped []string
	pinned  map[string]unix.Timespec // times that a plant chose; all others follow from seed and path
	locked  []lock                   // modes that would be in the way, set at the very end
}

type lock struct {
	path string
	mode uint32
}

func (t *tree) fail(what, name string, err error) {
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s %q: %w", what, name, err)
	}
}

// try notes what could not be made and says whether it was.
func (t *tree) try(what string, err error) bool {
	if err != nil {
		t.skipped = append(t.skipped, fmt.Sprintf("%s: %v", what, err))
	}
	return err == nil
}

// random is a stream that depends on the seed and a path alone.
func (t *tree) random(name string) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256(append(binary.LittleEndian.AppendUint64(nil, t.o.Seed), name...)))
}

func (t *tree) bytes(name string, n int) []byte {
	b := make([]byte, n)
	t.random(name).Read(b) // never fails
	return b
}

func (t *tree) dir(name string) {
	if t.err == nil {
		t.made++
		t.fail("mkdir", name, t.root.Mkdir(name, 0o755))
	}
}

func (t *tree) file(name string, content []byte) {
	if t.err == nil {
		t.made++
		t.fail("write", name, t.root.WriteFile(name, content, 0o644))
	}
}

// at opens the directory of a path and calls f with it and the path's last element.
func (t *tree) at(name string, f func(dir int, base string) error) error {
	if t.err != nil {
		return nil
	}
	d, err := t.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	return f(int(d.Fd()), path.Base(name))
}

// chmod sets all twelve bits; os.Root.Chmod takes another form of them.
func (t *tree) chmod(name string, mode uint32) error {
	return t.at(name, func(dir int, base string) error { return unix.Fchmodat(dir, base, mode, 0) })
}

// lockLater gives a mode after everything is in place: a directory of mode 0 lets nobody but root in.
func (t *tree) lockLater(name string, mode uint32) {
	t.locked = append(t.locked, lock{name, mode})
}

func (t *tree) lock() {
	for _, l := range t.locked {
		t.fail("chmod", l.path, t.chmod(l.path, l.mode))
	}
}
