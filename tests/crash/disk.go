// Package crash is what the crash tests of the program share: a Disk that loses its power, and a Survey of what an archive's
// directories hold that nothing needs.
package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"

	"cairn/remote/local"
)

// Disk is a directory as a file system without a journal may keep it: what was written to a file is there for certain once the file
// was synced, and a name once its directory was, a directory's own name once its parent was. Everything else may or may not have
// reached the disk when the power goes, each piece for itself.
//
// This is stricter than ext4 or xfs, which keep the order of renames and write a new file's name along with its content.
type Disk struct{ root *node }

// node is a file or a directory.
type node struct {
	dir     bool
	data    []byte           // of a file, as processes see it
	synced  []byte           // and as it is on the disk for certain
	isSaved bool             // data and synced are the same
	now     map[string]*node // of a directory: its entries
	saved   map[string]*node
	pending []entry // what was done to them since they were synced
}

// entry is one change of a directory's entries.
type entry struct {
	name string
	node *node  // nil: removed
	from string // the former name, if there is one
}

func newDir() *node { return &node{dir: true, now: map[string]*node{}, saved: map[string]*node{}} }

// do changes the entries of a directory.
func (n *node) do(e entry) {
	e.in(n.now)
	n.pending = append(n.pending, e)
}

func (e entry) in(entries map[string]*node) {
	if e.from != "" {
		delete(entries, e.from)
	}
	if e.node == nil {
		delete(entries, e.name)
	} else {
		entries[e.name] = e.node
	}
}

// Load reads a directory, all of which is on the disk.
func Load(dir string) (*Disk, error) {
	root, err := load(dir)
	return &Disk{root}, err
}

func load(dir string) (*node, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	n := newDir()
	for _, e := range list {
		child := &node{isSaved: true}
		if e.IsDir() {
			child, err = load(filepath.Join(dir, e.Name()))
		} else {
			child.data, err = os.ReadFile(filepath.Join(dir, e.Name()))
			child.synced = child.data
		}
		if err != nil {
			return nil, err
		}
		n.now[e.Name()], n.saved[e.Name()] = child, child
	}
	return n, nil
}

// find returns what has a name, or nil.
func (d *Disk) find(name string) *node {
	if name == "." {
		return d.root
	}
	parent := d.find(path.Dir(name))
	if parent == nil {
		return nil
	}
	return parent.now[path.Base(name)]
}

// Apply does what a process did.
func (d *Disk) Apply(c local.Change) error {
	parent, it := d.find(path.Dir(c.Name)), d.find(c.Name)
	adds := c.Op == local.OpMkDir || c.Op == local.OpCreate
	if parent == nil || adds == (it != nil) {
		return fmt.Errorf("%s %s: there is no such directory, or the name is wrong", c.Op, c.Name)
	}
	base := path.Base(c.Name)
	switch c.Op {
	case local.OpMkDir:
		parent.do(entry{name: base, node: newDir()})
	case local.OpCreate:
		parent.do(entry{name: base, node: &node{isSaved: true}})
	case local.OpWrite:
		it.data, it.isSaved = append(slices.Clip(it.data), c.Data...), false
	case local.OpSync:
		it.synced, it.isSaved = it.data, true
	case local.OpSyncDir:
		it.saved, it.pending = maps.Clone(it.now), nil
	case local.OpRemove:
		parent.do(entry{name: base})
	case local.OpRename, local.OpLink:
		if path.Dir(c.To) != path.Dir(c.Name) {
			return fmt.Errorf("%s %s to another directory, %s", c.Op, c.Name, c.To)
		}
		e := entry{name: path.Base(c.To), node: it}
		if c.Op == local.OpRename {
			e.from = base
		}
		parent.do(e)
	default:
		return errors.New("unknown change " + c.Op)
	}
	return nil
}

// Loss says how much of what is not certain a power cut takes.
type Loss uint8

// The losses.
const (
	Everything Loss = iota // nothing that was not synced has reached the disk
	Contents               // all names have, and no content
	Something              // each piece may have, at random
	Nothing                // all has: the machine had time
)

func (l Loss) String() string {
	return [...]string{"everything", "contents", "something", "nothing"}[l]
}

// Losses are all of them.
func Losses() []Loss { return []Loss{Everything, Contents, Something, Nothing} }

// Cut writes into a new directory what is on the disk after the power was cut. The Disk stays as it is.
func (d *Disk) Cut(to string, l Loss, r *rand.Rand) error { return d.root.cut(to, l, r) }

func (n *node) cut(to string, l Loss, r *rand.Rand) error {
	if !n.dir {
		return os.WriteFile(to, n.left(l, r), 0o600)
	}
	entries := maps.Clone(n.saved)
	for _, e := range n.pending {
		if l == Contents || l == Nothing || l == Something && r.IntN(2) == 0 {
			e.in(entries)
		}
	}
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := entries[name].cut(filepath.Join(to, name), l, r); err != nil {
			return err
		}
	}
	return nil
}

// left is what a file holds after the power was cut.
func (n *node) left(l Loss, r *rand.Rand) []byte {
	switch {
	case n.isSaved || l == Nothing:
		return n.data
	case l != Something:
		return n.synced
	}
	torn := append([]byte(nil), n.data[:r.IntN(len(n.data)+1)]...)
	if r.IntN(2) == 0 { // its length was written, and not all of its blocks
		torn = append(torn, make([]byte, len(n.data)-len(torn))...)
	}
	return torn
}
