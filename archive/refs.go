package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/snapshot"
)

// refSuffix ends the names of references. They stand in the folder of the snapshots, so that the listing which tells the snapshots tells them,
// too, and costs no request more; who does not know them leaves them alone (docs/format.md §1).
const refSuffix = ".ref"

// maxRefs bounds the records that are read; see also keptRefs.
const maxRefs = 1 << 14

// refState is what is known of the records of references. They are immutable: each is read once.
type refState struct {
	mu     sync.Mutex
	known  map[chunk.ID]*Ref
	forged map[chunk.ID]struct{} // told of
	unread map[chunk.ID]error    // of those listed last
}

// ParseRefName takes the name of a reference's record apart.
func ParseRefName(name string) (chunk.ID, bool) {
	base, ok := strings.CutPrefix(name, snapshotPrefix)
	if !ok {
		return chunk.ID{}, false
	}
	if base, ok = strings.CutSuffix(base, refSuffix); !ok {
		return chunk.ID{}, false
	}
	id, err := chunk.ParseID(base)
	return id, err == nil
}

// Refs reads the records of all references, by name, the one that holds last. Those that are not the root's are left out, with a notice, and so
// are those that cannot be read (AllRefs).
func (a *Archive) Refs(ctx context.Context) ([]*Ref, error) {
	if err := a.needReadKey(); err != nil {
		return nil, err
	}
	names, _, err := a.listCopies(ctx, snapshotPrefix)
	if err != nil {
		return nil, fmt.Errorf("list references: %w", err)
	}
	return a.readRefs(ctx, names)
}

// Holding returns of the records of each name the one that holds. It may be one that takes the name away.
func Holding(list []*Ref) map[string]*Ref {
	holds := map[string]*Ref{}
	for _, r := range list {
		if h := holds[r.Name]; h == nil || h.compare(r) < 0 {
			holds[r.Name] = r
		}
	}
	return holds
}

// AllRefs fails if there are records of references that could not be read when they were listed last: who forgets must know all that is held.
func (a *Archive) AllRefs() error {
	a.references.mu.Lock()
	defer a.references.mu.Unlock()
	for _, id := range sortedIDs(maps.Keys(a.references.unread)) {
		name := snapshotPrefix + id.String() + refSuffix
		return remote.WithHint(fmt.Errorf("a reference, %s, cannot be read: %w", name, a.references.unread[id]),
			"`cairn repair` writes it again from a good copy; if no member has one, remove that object from all members, and promote anew")
	}
	return nil
}

// readRefs reads the records among listed names.
func (a *Archive) readRefs(ctx context.Context, names map[string]memberMask) ([]*Ref, error) {
	a.references.mu.Lock()
	defer a.references.mu.Unlock()
	var listed []chunk.ID
	for name := range names {
		if id, ok := ParseRefName(name); ok {
			listed = append(listed, id)
		}
	}
	if len(listed) > maxRefs {
		return nil, fmt.Errorf("there are %d records of references, more than %d", len(listed), maxRefs)
	}
	a.dropRefs(listed)
	st := &a.references
	if st.unread = nil; st.known == nil {
		st.known, st.forged = map[chunk.ID]*Ref{}, map[chunk.ID]struct{}{}
	}
	if err := a.readNewRefs(ctx, listed); err != nil {
		return nil, err
	}
	var list []*Ref
	for _, id := range listed {
		if r := st.known[id]; r != nil {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(x, y *Ref) int {
		if x.Name != y.Name {
			return strings.Compare(x.Name, y.Name)
		}
		return x.compare(y)
	})
	return list, nil
}

// readNewRefs reads those that are not known. The caller holds the lock.
func (a *Archive) readNewRefs(ctx context.Context, listed []chunk.ID) error {
	st := &a.references
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(snapshotReads)
	for _, id := range listed {
		mu.Lock()
		_, told := st.forged[id]
		skip := st.known[id] != nil || told
		mu.Unlock()
		if skip {
			continue
		}
		group.Go(func() error {
			r, err := a.readRef(groupCtx, id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case groupCtx.Err() != nil:
				return groupCtx.Err()
			case errors.Is(err, remote.ErrNotExist): // superseded long ago, and removed since
			case errors.Is(err, errForgedRecord):
				st.forged[id] = struct{}{}
				a.opts.Notice(fmt.Sprintf("reference %s is left out: %v", id.Short(), err))
			case err != nil:
				if st.unread == nil {
					st.unread = map[chunk.ID]error{}
				}
				st.unread[id] = err
				a.opts.Notice(fmt.Sprintf("reference %s cannot be read: %v", id.Short(), err))
			default:
				st.known[id] = r
			}
			return nil
		})
	}
	return group.Wait()
}

// readRef reads one record, from the cache or the first member whose copy proves itself.
func (a *Archive) readRef(ctx context.Context, id chunk.ID) (*Ref, error) {
	if a.dir != "" {
		if data, err := os.ReadFile(a.refFile(id)); err == nil && verifyNamed(id, data) == nil {
			return a.openRef(id, data)
		}
	}
	object, err := a.all.GetVerified(ctx, snapshotPrefix+id.String()+refSuffix, func(data []byte) error { return verifyNamed(id, data) })
	if err != nil {
		return nil, err
	}
	r, err := a.openRef(id, object)
	if err == nil {
		a.cacheRef(id, object)
	}
	return r, err
}

// openRef verifies and decodes a record whose bytes are what its name says.
func (a *Archive) openRef(id chunk.ID, object []byte) (*Ref, error) {
	body, err := a.keys.DecodeRef(object)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errForgedRecord, err)
	}
	r, err := decodeRef(body)
	if err != nil {
		return nil, err
	}
	r.ID = id
	return r, nil
}

// verifyRef says what is wrong with a copy: without a key it proves itself by its name and its own signature.
func (a *Archive) verifyRef(id chunk.ID, data []byte) error {
	err := verifyNamed(id, data)
	if err == nil {
		_, err = seal.CheckRef(a.id, data)
	}
	if err == nil && a.keys != nil {
		_, err = a.openRef(id, data)
	}
	return err
}

func (a *Archive) refFile(id chunk.ID) string {
	return filepath.Join(a.snapshotCache(), id.String()+refSuffix)
}

// cacheRef keeps a record. An error costs what a lost cache costs.
func (a *Archive) cacheRef(id chunk.ID, object []byte) {
	if a.dir != "" {
		_ = writeCache(a.refFile(id), object)
	}
}

// dropRefs removes from the cache what the archive does not list any more.
func (a *Archive) dropRefs(listed []chunk.ID) {
	if a.dir == "" {
		return
	}
	entries, err := os.ReadDir(a.snapshotCache())
	if err != nil {
		return
	}
	for _, e := range entries {
		id, ok := ParseRefName(snapshotPrefix + e.Name())
		if ok && !slices.Contains(listed, id) {
			_ = os.Remove(a.refFile(id))
		}
	}
}

// nameRefs sets the Refs of the snapshots in a list by the records that hold.
func nameRefs(list []*snapshot.Snapshot, refs []*Ref) {
	for _, s := range list {
		s.Refs = nil
	}
	holds := Holding(refs)
	for _, name := range slices.Sorted(maps.Keys(holds)) {
		if s := holds[name].Find(list); s != nil {
			s.Refs = append(s.Refs, name)
		}
	}
}

// Find returns the snapshot of a list that the record names, nil if it is not there. A snapshot whose tags were changed since is another
// object with the same tree; one that was rewritten has another tree, and stands in if there is no other.
func (r *Ref) Find(list []*snapshot.Snapshot) *snapshot.Snapshot {
	if r.Demotes() {
		return nil
	}
	var found *snapshot.Snapshot
	best := -1
	for _, s := range list {
		if s.Incomplete || s.ID != r.Snapshot && firstOf(s) != r.First {
			continue
		}
		rank := 0
		switch {
		case s.ID == r.Snapshot:
			rank = 2
		case treeOf(s) == r.Tree:
			rank = 1
		}
		if rank > best || rank == best && found.Compare(s) < 0 {
			found, best = s, rank
		}
	}
	return found
}
