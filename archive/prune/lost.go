package prune

import (
	"context"
	"errors"
	"fmt"

	"cairn/chunk"
	"cairn/snapshot"
)

// DamageError means that nothing was deleted, because something that snapshots need is not there: what is thought to be garbage may
// be all that is left of it.
type DamageError struct {
	Err   error
	Files []Place // that are affected, as far as they were looked for
	More  bool    // there are more
	Next  string  // the operator's next step
}

// Place is a file or directory of a snapshot.
type Place struct {
	Snapshot chunk.ID
	Path     string
	Problem  string
}

func (p Place) String() string {
	return fmt.Sprintf("snapshot %s: %q: %s", p.Snapshot.Short(), p.Path, p.Problem)
}

func (e *DamageError) Error() string { return e.Err.Error() }
func (e *DamageError) Unwrap() error { return e.Err }

// Hint names the operator's next step.
func (e *DamageError) Hint() string { return e.Next }

// maxPlaces bounds the files that are named.
const maxPlaces = 100

// refuse makes the error that names what is lost: n blobs, of which some are given.
func (g *Prune) refuse(ctx context.Context, lost []loss, n int) error {
	if _, err := g.a.Records(ctx); err != nil {
		return err
	}
	for id := range g.snapshots {
		if g.a.Forgotten(id) {
			return errOvertaken
		}
	}
	e := &DamageError{
		Err:  fmt.Errorf("%d blobs that snapshots need are missing, the first: %s blob %s: %w; nothing was deleted", n, lost[0].kind, lost[0].id.Short(), lost[0].err),
		Next: "`cairn check` names every file; `cairn repair` heals what can be healed; after `cairn repair --lost` the next backup stores anew what its source still has; then prune again, or give up the snapshots that are listed with `cairn forget`",
	}
	ids := map[chunk.ID]bool{}
	for id, complete := range g.snapshots {
		if complete {
			ids[id] = true
		}
	}
	list, _, err := g.a.ReadSnapshots(ctx, ids)
	if err != nil {
		return errors.Join(e, err)
	}
	f := &finder{g: g, e: e, lost: map[blobKey]error{}, clean: map[chunk.ID]bool{}}
	for _, l := range lost {
		f.lost[blobKey{l.kind, l.id}] = l.err
	}
	for i := len(list) - 1; i >= 0 && !e.More; i-- { // the newest first
		if err := f.snapshot(ctx, list[i]); err != nil {
			return err
		}
	}
	return e
}

type blobKey struct {
	kind chunk.Type
	id   chunk.ID
}

// finder names the files that need lost blobs. It is slow and takes 50 bytes for each distinct directory, and runs only when something is lost.
type finder struct {
	g     *Prune
	e     *DamageError
	lost  map[blobKey]error
	clean map[chunk.ID]bool // first piece or list of directories in which nothing is lost
}

var errEnough = errors.New("enough")

func (f *finder) snapshot(ctx context.Context, s *snapshot.Snapshot) error {
	_, err := f.dir(ctx, s, "/", s.Content, s.Depth, 0)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (f *finder) found(s *snapshot.Snapshot, path string, err error) error {
	if len(f.e.Files) == maxPlaces {
		f.e.More = true
		return errEnough
	}
	f.e.Files = append(f.e.Files, Place{s.ID, path, err.Error()})
	return nil
}

// dir looks through a directory and says whether nothing in it is lost.
func (f *finder) dir(ctx context.Context, s *snapshot.Snapshot, path string, content []chunk.ID, depth uint8, level int) (clean bool, err error) {
	if len(content) == 0 || len(content) == 1 && f.clean[content[0]] {
		return true, nil
	}
	if level > snapshot.MaxPathDepth {
		return false, f.found(s, path, fmt.Errorf("path of more than %d elements", snapshot.MaxPathDepth))
	}
	clean = true
	for n, err := range snapshot.Nodes(ctx, f.load, content, depth) {
		if err != nil {
			if f.g.a.Stops(ctx, err) {
				return false, err
			}
			return false, f.found(s, path, err)
		}
		below := path + n.Name
		if n.Type == snapshot.Dir {
			ok, err := f.dir(ctx, s, below+"/", n.Content, n.Depth, level+1)
			if err != nil {
				return false, err
			}
			clean = clean && ok
			continue
		}
		if lost := f.file(ctx, n); lost != nil {
			if f.g.a.Stops(ctx, lost) {
				return false, lost
			}
			clean = false
			if err := f.found(s, below, lost); err != nil {
				return false, err
			}
		}
	}
	if clean && len(content) == 1 {
		f.clean[content[0]] = true
	}
	return clean, nil
}

func (f *finder) file(ctx context.Context, n *snapshot.Node) error {
	for id, err := range snapshot.Content(ctx, f.load, n.Content, n.Depth) {
		if err != nil {
			return err
		}
		if err := f.lost[blobKey{chunk.Data, id}]; err != nil {
			return fmt.Errorf("blob %s: %w", id.Short(), err)
		}
	}
	return nil
}

func (f *finder) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	if err := f.lost[blobKey{chunk.Tree, id}]; err != nil {
		return nil, fmt.Errorf("tree blob %s: %w", id.Short(), err)
	}
	return f.g.a.LoadTree(ctx, id)
}
