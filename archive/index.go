package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// Index is what the archive needs of a local index. index.Index (Badger) and index.Map satisfy it. It is a cache: it
// holds what published segments say and may be dropped at any time.
type Index interface {
	// Apply adds the columns of a segment and then marks the segment as applied; doing it twice is harmless.
	Apply(segment pack.ID, columns []pack.Column) error
	Applied(segment pack.ID) (bool, error)
	Segments() iter.Seq2[pack.ID, error]
	// Lookup finds blobs; a location with a zero Pack means that the blob is not known.
	Lookup(t chunk.Type, ids []chunk.ID, out []pack.Location) error
	Has(t chunk.Type, ids []chunk.ID, out []bool) error
	Drop() error
	Close() error
}

// ErrNoKey means that the operation needs a key and the archive was opened without one.
var ErrNoKey = errors.New("this needs the archive's password or key")

// Index opens the local index on first use and brings it up to date with the archive.
func (a *Archive) Index(ctx context.Context) (Index, error) {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	if a.index != nil {
		return a.index, nil
	}
	if a.keys == nil {
		return nil, ErrNoKey
	}
	idx, err := a.opts.OpenIndex(a.id)
	if err != nil {
		return nil, err
	}
	if err := a.sync(ctx, idx); err != nil {
		return nil, errors.Join(err, idx.Close())
	}
	a.index = idx
	return idx, nil
}

// Refresh reads what other writers have published since the index was opened.
func (a *Archive) Refresh(ctx context.Context) error {
	idx, err := a.Index(ctx)
	if err != nil {
		return err
	}
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	return a.sync(ctx, idx)
}

// sync applies the segments that the index does not know. When one that it knows is gone from the archive, its
// entries may be gone too, and the index is dropped and built again: it must never know more than the archive.
func (a *Archive) sync(ctx context.Context, idx Index) error {
	listed := map[pack.ID]struct{}{}
	for info, err := range a.set.List(ctx, "index/") {
		if err != nil {
			return fmt.Errorf("list index segments: %w", err)
		}
		if id, kind, ok := pack.ParseName(info.Name); ok && kind == chunk.Index {
			listed[id] = struct{}{}
		}
	}
	for id, err := range idx.Segments() {
		if err != nil {
			return err
		}
		if _, ok := listed[id]; !ok {
			a.opts.Notice("index segments are gone from the archive: the local index is made anew")
			if err := idx.Drop(); err != nil {
				return err
			}
			break
		}
	}
	for id := range listed {
		done, err := idx.Applied(id)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		if err := a.applySegment(ctx, idx, id); err != nil {
			if tooFew(err) || ctx.Err() != nil {
				return err
			}
			a.opts.Notice(fmt.Sprintf("%v (`cairn index rebuild` reads the same from the packs)", err))
		}
	}
	return nil
}

func (a *Archive) applySegment(ctx context.Context, idx Index, id pack.ID) error {
	columns, err := a.ReadSegment(ctx, id)
	if err != nil {
		return fmt.Errorf("index segment %s: %w", id.Short(), err)
	}
	return idx.Apply(id, columns)
}

// ReadSegment reads one index pack whole, from any k of its shards, and returns the columns that it describes.
func (a *Archive) ReadSegment(ctx context.Context, id pack.ID) ([]pack.Column, error) {
	shards, err := a.ReadPack(ctx, id, chunk.Index)
	if err != nil {
		return nil, err
	}
	if err := shards.Header.VerifySignature(a.keys); err != nil {
		return nil, err
	}
	session := a.keys.IndexSession(shards.Header.Session.ID)
	var all []pack.Column
	for c := range shards.Header.Geometry.K {
		column, err := shards.Directory(a.keys, c)
		if err != nil {
			return nil, err
		}
		for _, e := range column.Entries {
			b := seal.Sealed{ID: e.ID, Type: chunk.Index, Compression: e.Compression, Plain: e.Plain, Session: session.ID()}
			plain, err := session.Open(nil, b, shards.Payload(c)[e.Offset:e.Offset+e.Stored])
			if err != nil {
				return nil, err
			}
			columns, err := pack.DecodeSegment(plain)
			if err != nil {
				return nil, err
			}
			all = append(all, columns...)
		}
	}
	return all, nil
}

func tooFew(err error) bool {
	var t *stripe.TooFewError
	return errors.As(err, &t)
}

// object tells the stripe where the shards of a pack are.
func object(id pack.ID, kind chunk.Type, g pack.Geometry, length int64) stripe.Object {
	return stripe.Object{Name: id.Name(kind), K: g.K, M: g.M, Rotation: int(id.First() % uint32(g.N())), Base: pack.HeaderSize, Length: length}
}

// session opens the session key of a blob, from the wrap that the index holds.
func (a *Archive) session(w pack.SessionWrap) (*seal.Session, error) {
	if s := a.sessions.get(w.ID); s != nil {
		return s, nil
	}
	s, err := a.keys.OpenSession(w.ID, w.Wrap)
	if errors.Is(err, seal.ErrNoReadKey) {
		return nil, remote.WithHint(err, "this is a writer key; use the password or a full key to read")
	}
	if err != nil {
		return nil, err
	}
	a.sessions.put(s)
	return s, nil
}
