package archive

import (
	"errors"
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

	// Live finds, for each blob, a pack that is named and not condemned: what may be relied on. Zero: there is none.
	Live(t chunk.Type, ids []chunk.ID, out []pack.ID) error
	// Condemn notes a gc record and the packs that it condemns, for ever; the index need not know them. Twice is harmless.
	Condemn(record chunk.ID, packs []pack.ID) error
	Noted(record chunk.ID) (bool, error)
	Condemned(pack.ID) (bool, error)
	// Vanished notes that a condemned pack could not be read: nothing is found in it any more, for as long as the index is open.
	Vanished(pack.ID) error
	// Moved finds, for condemned packs, those of which a blob that was ever applied has no live copy, and the packs that have live copies of
	// the blobs of all the others.
	Moved(packs []pack.ID) (stranded []pack.ID, live map[pack.ID]chunk.Type, err error)
	// Waits says whether a pack that is condemned is named by a segment: a collector is at work, or was stopped.
	Waits() (bool, error)
	// Retire takes a segment back that is gone from the archive. What no other segment names is not found any more.
	Retire(segment pack.ID) error
	// Wasteful says whether most of what the index holds is not found any more: it is worth making anew.
	Wasteful() (bool, error)

	Drop() error
	Close() error
}

// ErrNoKey means that the operation needs a key and the archive was opened without one.
var ErrNoKey = errors.New("this needs the archive's password or key")

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
	if a.keys == nil {
		return nil, ErrNoKey
	}
	if s := a.sessions.get(w); s != nil {
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
