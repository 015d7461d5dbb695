package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
)

// target is a store that shall hold all mirrored objects.
type target struct {
	label string
	store remote.Store
}

// maxCopy is the largest mirrored object: a snapshot (docs/format.md §10).
const maxCopy = 64<<20 + 4096

// fillCopies brings to every target the key slots, snapshots, marks and collector's records that any member or target has: each
// from a copy that proves itself, read back after writing. It returns how many were written.
func fillCopies(ctx context.Context, a *archive.Archive, targets []target) (written int, err error) {
	sources := slices.Clone(targets)
	for _, m := range a.Members() {
		if m.Store != nil {
			sources = append(sources, target{m.Label, m.Store})
		}
	}
	f := &filler{a: a, sources: sources}
	for _, prefix := range []string{"keys/", "snapshots/", "gc/", "sessions/"} {
		n, err := f.below(ctx, prefix, targets)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// filler is one call of fillCopies.
type filler struct {
	a       *archive.Archive
	sources []target
}

// below brings the objects below a prefix to the targets: marks after all snapshots, because a mark alone is damage.
func (f *filler) below(ctx context.Context, prefix string, targets []target) (int, error) {
	have := make([]map[string]bool, len(f.sources)) // the targets are the first of them
	group, groupCtx := errgroup.WithContext(ctx)
	for i, s := range f.sources {
		have[i] = map[string]bool{}
		group.Go(func() error {
			for info, err := range s.store.List(groupCtx, prefix) {
				if err != nil && i >= len(targets) && groupCtx.Err() == nil {
					return nil // others have the same
				}
				if err != nil {
					return fmt.Errorf("%s: list %s: %w", s.label, prefix, err)
				}
				have[i][info.Name] = true
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	names := map[string]bool{}
	for _, h := range have {
		maps.Copy(names, h)
	}
	sortedNames := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		if ma, mb := strings.HasSuffix(a, ".ok"), strings.HasSuffix(b, ".ok"); ma != mb {
			if ma {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	written := 0
	for _, name := range sortedNames {
		var lacking []target
		for i := range targets {
			if !have[i][name] {
				lacking = append(lacking, targets[i])
			}
		}
		n, err := f.copy(ctx, name, lacking)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// copy brings one object to those that lack it. What no source has undamaged is left out: there is nothing to bring.
func (f *filler) copy(ctx context.Context, name string, lacking []target) (int, error) {
	if len(lacking) == 0 {
		return 0, nil
	}
	var data []byte
	found := false
	for _, s := range f.sources {
		var err error
		if data, err = remote.ReadAll(ctx, s.store, name, maxCopy); err == nil && f.proves(name, data) == nil {
			found = true
			break
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	if !found { // it was removed meanwhile, or all copies are damaged: check tells
		return 0, nil
	}
	for n, t := range lacking {
		if err := putBack(ctx, t.store, name, data); err != nil {
			return n, fmt.Errorf("%s: %w", t.label, err)
		}
	}
	return len(lacking), nil
}

// putBack writes an object and reads it back.
func putBack(ctx context.Context, s remote.Store, name string, data []byte) error {
	if err := s.Put(ctx, name, data); err != nil {
		return err
	}
	got, err := remote.ReadAll(ctx, s, name, int64(len(data)))
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("%s reads back differently", name)
	}
	return err
}

// proves says what is wrong with a copy, as far as its kind can be proved.
func (f *filler) proves(name string, data []byte) error {
	switch base := name[strings.LastIndexByte(name, '/')+1:]; {
	case strings.HasPrefix(name, "keys/"):
		s, err := seal.ParseSlot(data)
		if err == nil && (s.ID.String() != base || s.Archive != f.a.ID()) {
			err = errors.New("slot of another name")
		}
		return err
	case strings.HasSuffix(base, ".ok") && f.a.Keys() != nil:
		id, err := f.a.Keys().DecodeMark(data)
		if err == nil && chunk.ID(id).String()+".ok" != base {
			err = errors.New("mark of another snapshot")
		}
		return err
	case strings.HasPrefix(name, "snapshots/") && !strings.HasSuffix(base, ".ok"):
		if id, err := chunk.ParseID(base); err == nil && chunk.Sum(data) != id {
			return errors.New("content does not match its name")
		}
	}
	return nil
}
