package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// ChangeKind says what became of a path.
type ChangeKind uint8

const (
	Added       ChangeKind = iota + 1
	Removed                // only the old tree has it
	Modified               // content, size, holes, link target or device number
	TypeChanged            // a file became a directory, for example
	MetaChanged            // only mode, owner, mtime, extended attributes, error, or whether it has several names
)

func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Removed:
		return "removed"
	case Modified:
		return "modified"
	case TypeChanged:
		return "type"
	case MetaChanged:
		return "meta"
	}
	return fmt.Sprintf("change %d", uint8(k))
}

// Change is a difference between two trees.
type Change struct {
	Path string
	Kind ChangeKind
	A, B *Node // nil where the path is not there
}

// Diff calls fn for each path whose node differs between a, the older, and b, in the order of a walk.
// What is below an added or removed directory is reported too, unless fn returns SkipDir for it;
// SkipAll ends the comparison. ctime, atime, inode and the numbers in Link, which a restored copy cannot
// keep, are not compared. Equal directories and equal pieces of large ones are not loaded.
func Diff(ctx context.Context, load LoadFunc, a, b Root, fn func(Change) error) error {
	d := differ{h: newHolder(load), w: Walker{Load: load}, fn: fn}
	err := d.dirs(ctx, "", 0, a, b)
	if errors.Is(err, SkipAll) {
		return nil
	}
	return err
}

type differ struct {
	h  *holder
	w  Walker
	fn func(Change) error
}

// dirs compares two directories at the path prefix, which has level elements.
func (d *differ) dirs(ctx context.Context, prefix string, level int, a, b Root) error {
	if a.equal(b) {
		return nil
	}
	if level >= MaxPathDepth || len(prefix) > MaxPathBytes {
		return fmt.Errorf("directory %.1000s: path of more than %d elements or %d bytes", prefix, MaxPathDepth, MaxPathBytes)
	}
	ea, err := d.h.enter(a)
	if err != nil {
		return fmt.Errorf("directory %.1000s/: %w", prefix, err)
	}
	defer ea.leave()
	eb, err := d.h.enter(b)
	if err != nil {
		return fmt.Errorf("directory %.1000s/: %w", prefix, err)
	}
	defer eb.leave()
	for {
		na, nb, err := nextPair(ctx, ea, eb)
		if err != nil {
			return fmt.Errorf("directory %.1000s/: %w", prefix, err)
		}
		if na == nil && nb == nil {
			return nil
		}
		if err := d.pair(ctx, prefix, level, na, nb); err != nil {
			return err
		}
	}
}

// nextPair returns the nodes of the next name, one of them nil when only one side has it, both at
// the end. Pieces that both sides have are passed over: as names are unique in a directory, their
// nodes can have no counterpart elsewhere.
func nextPair(ctx context.Context, ea, eb *entries) (*Node, *Node, error) {
	var na, nb *Node
	var err error
	wantA, wantB := true, true
	for {
		ia, okA, errA := ea.upcoming(ctx)
		ib, okB, errB := eb.upcoming(ctx)
		if err := errors.Join(errA, errB); err != nil {
			return nil, nil, err
		}
		if !okA || !okB || ia != ib {
			break
		}
		if ea.drained() && eb.drained() {
			ea.skip()
			eb.skip()
			continue
		}
		// What is left of the one side's piece sorts before the shared piece, which need not be loaded.
		wantA, wantB = !ea.drained(), !eb.drained()
		break
	}
	if wantA {
		if na, err = ea.node(ctx); err != nil {
			return nil, nil, err
		}
	}
	if wantB {
		if nb, err = eb.node(ctx); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case na != nil && nb != nil && na.Name < nb.Name:
		nb = nil
	case na != nil && nb != nil && na.Name > nb.Name:
		na = nil
	}
	if na != nil {
		ea.advance()
	}
	if nb != nil {
		eb.advance()
	}
	return na, nb, nil
}

// pair reports the difference of two nodes of one name and goes below them.
func (d *differ) pair(ctx context.Context, prefix string, level int, na, nb *Node) error {
	switch {
	case nb == nil:
		return d.side(ctx, prefix+"/"+na.Name, level+1, na, Removed)
	case na == nil:
		return d.side(ctx, prefix+"/"+nb.Name, level+1, nb, Added)
	}
	path := prefix + "/" + na.Name
	if kind := compare(na, nb); kind != 0 {
		if err := d.fn(Change{path, kind, na, nb}); errors.Is(err, SkipDir) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if na.Type == Dir && nb.Type == Dir {
		return d.dirs(ctx, path, level+1, na.Root(), nb.Root())
	}
	if na.Type == Dir {
		return d.below(ctx, path, level+1, na, Removed)
	}
	if nb.Type == Dir {
		return d.below(ctx, path, level+1, nb, Added)
	}
	return nil
}

// side reports a node that only one tree has, with all below it.
func (d *differ) side(ctx context.Context, path string, level int, n *Node, kind ChangeKind) error {
	if err := d.fn(oneSided(path, kind, n)); errors.Is(err, SkipDir) {
		return nil
	} else if err != nil {
		return err
	}
	return d.below(ctx, path, level, n, kind)
}

func (d *differ) below(ctx context.Context, path string, level int, n *Node, kind ChangeKind) error {
	if n.Type != Dir || len(n.Content) == 0 {
		return nil
	}
	return d.w.walk(ctx, d.h, path, level, n.Root(), func(path string, n *Node) error {
		err := d.fn(oneSided(path, kind, n))
		if errors.Is(err, SkipDir) && n.Type != Dir {
			return nil // there is nothing below it, and the rest of its directory counts
		}
		return err
	})
}

func oneSided(path string, kind ChangeKind, n *Node) Change {
	if kind == Removed {
		return Change{Path: path, Kind: kind, A: n}
	}
	return Change{Path: path, Kind: kind, B: n}
}

// compare returns how two nodes of one path differ, 0 for not at all. The entries of directories are
// not its subject.
func compare(a, b *Node) ChangeKind {
	if a.Type != b.Type {
		return TypeChanged
	}
	if a.Target != b.Target || a.Size != b.Size || !slices.Equal(a.Holes, b.Holes) || !sameDevice(a.Device, b.Device) {
		return Modified
	}
	if a.Type == File && !a.Root().equal(b.Root()) {
		return Modified
	}
	if a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.User != b.User || a.Group != b.Group ||
		a.Mtime != b.Mtime || a.Error != b.Error || (a.Link == nil) != (b.Link == nil) ||
		!slices.EqualFunc(a.Xattrs, b.Xattrs, sameXattr) {
		return MetaChanged
	}
	return 0
}

func sameDevice(a, b *Device) bool { return a == b || a != nil && b != nil && *a == *b }

func sameXattr(a, b Xattr) bool { return a.Name == b.Name && bytes.Equal(a.Value, b.Value) }
