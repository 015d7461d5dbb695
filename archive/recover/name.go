package recover

import (
	"context"
	"fmt"

	"cairn/chunk"
	"cairn/snapshot"
)

// Incomplete is a file or directory of which something is lost.
type Incomplete struct {
	Snapshot chunk.ID // zero for a root that a dry run would recover
	Path     string
	Dir      bool // entries of the directory are lost, and with them everything below those
	Err      error

	// Of a file:
	Size, Missing uint64           // in bytes
	Ranges        []snapshot.Range // what is lost, at most 64
	Exact         bool             // Ranges are lost wholly; otherwise parts of them can be read
}

func (i *Incomplete) String() string {
	switch {
	case i.Dir:
		return fmt.Sprintf("%q: entries of this directory are lost, and what is below them", i.Path)
	case len(i.Ranges) == 0: // the size that was recorded is not that of the content
		return fmt.Sprintf("%q: %d of %d bytes are lost", i.Path, i.Missing, i.Size)
	}
	text := fmt.Sprintf("%q: %d of %d bytes are lost", i.Path, i.Missing, i.Size)
	first, last := i.Ranges[0], i.Ranges[len(i.Ranges)-1]
	switch {
	case !i.Exact:
		return fmt.Sprintf("%s, somewhere from %d to %d", text, first.Offset, last.Offset+last.Length-1)
	case len(i.Ranges) > 1:
		return fmt.Sprintf("%s: %d to %d, and %d more", text, first.Offset, first.Offset+first.Length-1, len(i.Ranges)-1)
	}
	return fmt.Sprintf("%s: %d to %d", text, first.Offset, first.Offset+first.Length-1)
}

// name tells of everything incomplete below a directory. What is whole is not entered.
func (f *finder) name(ctx context.Context, path string, r snapshot.Root, level int, tell func(*Incomplete)) error {
	bad := func(err error) { tell(&Incomplete{Path: orSlash(path), Dir: true, Err: err}) }
	if level > snapshot.MaxPathDepth || len(path) > snapshot.MaxPathBytes {
		bad(errDeep)
		return nil
	}
	for id, err := range snapshot.Content(ctx, f.a.LoadTree, r.Content, r.Depth) {
		if err != nil {
			if f.fatal(ctx, err) {
				return err
			}
			bad(err)
			return nil
		}
		sum, err := f.piece(ctx, id, level)
		if f.fatal(ctx, err) {
			return err
		}
		if err != nil {
			bad(err)
			continue
		}
		if sum.wrong == 0 {
			continue
		}
		if err := f.namePiece(ctx, path, id, level, tell); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) namePiece(ctx context.Context, path string, id chunk.ID, level int, tell func(*Incomplete)) error {
	nodes, err := f.nodes(ctx, id)
	if err != nil {
		if f.fatal(ctx, err) {
			return err
		}
		tell(&Incomplete{Path: orSlash(path), Dir: true, Err: err})
		return nil
	}
	for i := range nodes {
		n := &nodes[i]
		below := path + "/" + n.Name
		switch n.Type {
		case snapshot.Dir:
			if err := f.name(ctx, below, n.Root(), level+1, tell); err != nil {
				return err
			}
		case snapshot.File:
			m, err := f.file(ctx, n)
			if err != nil {
				return err
			}
			if m.wrong {
				tell(&Incomplete{Path: below, Size: n.Size, Missing: m.missing, Ranges: m.ranges, Exact: m.exact})
			}
		}
	}
	return nil
}

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}
