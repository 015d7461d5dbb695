package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// Mover copies blobs, sealed as they are, into packs of the current layout and publishes those: what a change of the layout
// and a collection need. No blob is decrypted. It holds as much memory as a Writer.
//
// Add and Publish belong to one goroutine; packs are stored in the background. End must be called. A crash leaves packs that
// no segment names, at most those added since the last Publish.
type Mover struct {
	w    *Writer
	open map[chunk.Type][]*pack.Writer
	// twice says that two open packs may hold copies of one blob: they must not be joined, which would keep one.
	twice bool
}

// NewMover begins a session.
func (a *Archive) NewMover(ctx context.Context) (*Mover, error) {
	if a.keys == nil {
		return nil, ErrNoKey
	}
	if _, err := a.Index(ctx); err != nil { // published segments are entered there
		return nil, err
	}
	w, err := a.newWriter(ctx)
	if err != nil {
		return nil, err
	}
	return &Mover{w: w, open: map[chunk.Type][]*pack.Writer{}}, nil
}

// endWithin bounds what is tidied up at the end of a session that may have been interrupted.
const endWithin = 10 * time.Second

// Show puts the session's object on the members, as a Writer does when its first pack is stored (see SessionsAtWork).
func (m *Mover) Show(ctx context.Context) { m.w.show(ctx) }

// Session names the session: it is in the headers of all packs that the Mover makes.
func (m *Mover) Session() seal.SessionID { return m.w.session.ID() }

// Made returns the packs that were stored since it was asked last; after Publish, all that were begun.
func (m *Mover) Made() []pack.ID {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	made := slices.Collect(maps.Keys(m.w.relies))
	clear(m.w.relies)
	return made
}

// SetTarget sets the length aimed at for the columns of new packs, for tests; 0 is the default.
func (m *Mover) SetTarget(n int) { m.w.limits.target = n }

// Add copies the blob of an entry of column c; payload is that column, verified.
func (m *Mover) Add(ctx context.Context, c *pack.Column, e pack.Entry, payload []byte) error {
	if int64(e.Offset)+int64(e.Stored) > int64(len(payload)) {
		return fmt.Errorf("copy %s blob %s: it ends behind its column", c.Kind, e.ID.Short())
	}
	sealed, session := payload[e.Offset:e.Offset+e.Stored], c.SessionOf(e)
	for {
		if err := m.w.failure(); err != nil {
			return err
		}
		packs := m.open[c.Kind]
		want := openPacks
		if c.Kind == chunk.Tree {
			want = 1
		}
		for len(packs) < want {
			packs = append(packs, pack.NewWriter(m.w.a.keys, m.w.session, c.Kind, m.w.a.geom, m.w.limits.target))
		}
		m.open[c.Kind] = packs
		err := m.place(packs, c.Blob(e), sealed, &session)
		if err == nil {
			return nil
		}
		if !slices.ContainsFunc(packs, func(p *pack.Writer) bool { return filled(p) > 0 }) {
			return fmt.Errorf("%s blob %s of %d bytes fits into no pack", c.Kind, e.ID, e.Stored)
		}
		// ErrFull: the pack has no room for the blob or its session. ErrDuplicate: two packs held the blob, sealed anew in each. Both
		// copies are kept, because nobody has compared them.
		if !errors.Is(err, pack.ErrFull) && !errors.Is(err, pack.ErrDuplicate) {
			return err
		}
		if err := m.storeFullest(ctx, c.Kind); err != nil {
			return err
		}
	}
}

// place adds the blob to a random one of the packs that take it.
func (m *Mover) place(packs []*pack.Writer, b seal.Sealed, sealed []byte, s *pack.SessionWrap) error {
	var err error
	for _, p := range packs {
		m.twice = m.twice || p.Has(b.ID)
	}
	for _, i := range rand.Perm(len(packs)) {
		if _, err = packs[i].Add(b, sealed, s); err == nil {
			return nil
		}
		if !errors.Is(err, pack.ErrFull) && !errors.Is(err, pack.ErrDuplicate) {
			return err
		}
	}
	return err
}

// storeFullest stores one open pack.
func (m *Mover) storeFullest(ctx context.Context, t chunk.Type) error {
	packs := m.open[t]
	fullest := 0
	for i, p := range packs {
		if filled(p) > filled(packs[fullest]) {
			fullest = i
		}
	}
	if filled(packs[fullest]) > 0 {
		if err := m.w.acquire(ctx); err != nil {
			return err
		}
		go m.w.upload(packs[fullest])
	}
	packs[fullest] = packs[len(packs)-1]
	m.open[t] = packs[:len(packs)-1]
	return nil
}

// Publish stores the open packs, waits until all are, and names them in index segments. It returns the packs that lack a
// shard because a member did not take it.
func (m *Mover) Publish(ctx context.Context) (short []pack.ID, err error) {
	for t := range m.open {
		for m.twice && len(m.open[t]) > 0 {
			if err := m.storeFullest(ctx, t); err != nil {
				return nil, err
			}
		}
	}
	m.w.mu.Lock()
	for t, packs := range m.open {
		m.w.open[t] = append(m.w.open[t], packs...)
	}
	m.w.mu.Unlock()
	clear(m.open)
	m.twice = false
	if err := m.w.Flush(ctx); err != nil {
		return nil, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for id := range m.w.short {
		short = append(short, id)
	}
	return short, nil
}

// Name publishes index segments that name columns of packs which exist: those that a segment named which is about to be
// removed, or which no segment names.
func (m *Mover) Name(ctx context.Context, columns []pack.Column) error {
	if err := m.w.putSegments(ctx, columns); err != nil {
		return fmt.Errorf("publish index: %w", err)
	}
	return nil
}

// Stats tells what was put on the members so far.
func (m *Mover) Stats() WriterStats { return m.w.Stats() }

// End waits for what is under way and ends the session. What was added and not published is lost, and still where it was.
func (m *Mover) End() {
	m.w.cancel()
	_ = m.w.wait(context.Background()) // cannot fail: uploads end with the context that was cancelled
	m.w.end()
	late, stop := context.WithTimeout(context.Background(), endWithin)
	defer stop()
	m.w.finished(late, "", chunk.ID{})
}

// ReadPackAt is ReadPack for a pack whose layout is known.
func (a *Archive) ReadPackAt(ctx context.Context, p Placement, id pack.ID, kind chunk.Type) (*PackShards, error) {
	reads, err := a.readShards(ctx, p, id, kind)
	if err != nil {
		return nil, err
	}
	return a.wholePack(p, id, kind, reads)
}

// RemovePack removes a pack from every member of its layout that answers. It is an error when members with k shards of it or
// more do not: the pack would be there again when they are back. left counts the shards that stay.
func (a *Archive) RemovePack(ctx context.Context, p Placement, id pack.ID, kind chunk.Type) (left int, err error) {
	for _, m := range p.Set.Members() {
		if m.Store == nil {
			left++
		}
	}
	if left >= p.Geometry.K {
		return left, remote.WithHint(fmt.Errorf("remove pack %s: %d of its members are missing", id.Short(), left), "run the command again when all members are reachable")
	}
	result, err := p.Set.DeleteAll(ctx, id.Name(kind))
	if err != nil {
		return left, fmt.Errorf("remove pack %s: %w", id.Short(), err)
	}
	if left = p.Geometry.N() - result.Count(); left >= p.Geometry.K {
		return left, remote.WithHint(fmt.Errorf("remove pack %s: %d of its members do not answer", id.Short(), left), "run the command again when all members are reachable")
	}
	return left, nil
}

// MakeShard makes one shard of a pack from k others, the data shards first.
func (a *Archive) MakeShard(ctx context.Context, p Placement, id pack.ID, kind chunk.Type, shard int) ([]byte, error) {
	reads, err := a.readShards(ctx, p, id, kind)
	if err != nil {
		return nil, err
	}
	whole, err := a.wholePack(p, id, kind, reads)
	if err != nil {
		return nil, err
	}
	if err := a.verifySignature(whole.Header); err != nil {
		return nil, err
	}
	objects := make([][]byte, len(reads))
	for j, r := range reads {
		objects[j] = r.object
	}
	if objects, err = pack.RebuildShards(whole.Header, objects); err != nil {
		return nil, fmt.Errorf("rebuild pack %s: %w", id.Short(), err)
	}
	return objects[shard], nil
}
