package archive

import (
	"bytes"
	"context"
	"sync"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/snapshot"
)

// Load reads one blob, verified. It is meant for trees, which are small and lie near each other in their packs: it
// reads what lies around it and keeps that (see tileCache), so that a walk over a snapshot does not cost one request for
// each directory. It fails with a *MissingError or a *BlobDamage when the blob is lost.
func (a *Archive) Load(ctx context.Context, t chunk.Type, id chunk.ID) ([]byte, error) {
	l, hinted := a.tiles.take(id)
	if !hinted || l.Kind != t {
		locs, err := a.locate(ctx, t, []chunk.ID{id}, a.refreshStale)
		if err != nil {
			return nil, err
		}
		l = locs[0]
	}
	for moves := 0; ; moves++ {
		plain, damage, err := a.loadAt(ctx, t, id, l)
		if damage == nil {
			return plain, err
		}
		if moves == maxMoves {
			return nil, damage
		}
		next, err := a.movedTo(ctx, t, id, l.Pack)
		if err != nil {
			return nil, err
		}
		if absent(next) {
			return nil, damage
		}
		l = next
	}
}

// maxVain is how often in a row Load may read the index again for a pack that is gone and turn out not to have been moved. From
// then on it does so every staleAfter only: in an archive that lost packs a walk meets thousands of them.
const maxVain = 8

// movedTo returns where a blob lies that could not be read from a pack, if that is elsewhere: the place that was asked may have been
// a hint, which is older than the index, or the index may be older than what another machine moved.
func (a *Archive) movedTo(ctx context.Context, t chunk.Type, id chunk.ID, from pack.ID) (pack.Location, error) {
	if err := a.vanished(ctx, from); err != nil {
		return pack.Location{}, err
	}
	for _, refresh := range []func(context.Context) error{nil, a.refreshGone} {
		if refresh != nil {
			if err := a.refreshFor(ctx, refresh); err != nil {
				return pack.Location{}, err
			}
		}
		locs, err := a.lookup(ctx, t, []chunk.ID{id})
		if err != nil {
			return pack.Location{}, err
		}
		if locs[0].Found() && locs[0].Pack != from {
			a.leave(from, t)
			a.tiles.searched(true)
			return locs[0], nil
		}
	}
	a.tiles.searched(false)
	return pack.Location{}, nil
}

// vanished takes note that packs could not be read: of one that is condemned nothing is expected any more, and its blobs are looked for in others.
func (a *Archive) vanished(ctx context.Context, packs ...pack.ID) error {
	idx, err := a.Index(ctx)
	for i := 0; err == nil && i < len(packs); i++ {
		err = idx.Vanished(packs[i])
	}
	return err
}

// refreshGone is Refresh for who found a pack gone that the index names, unless that was in vain too often.
func (a *Archive) refreshGone(ctx context.Context) error {
	if a.tiles.hopeful() {
		return a.Refresh(ctx)
	}
	return a.refreshStale(ctx)
}

// loadAt reads a blob from one place.
func (a *Archive) loadAt(ctx context.Context, t chunk.Type, id chunk.ID, l pack.Location) ([]byte, *BlobDamage, error) {
	if absent(l) {
		return nil, nil, a.missing(t, id)
	}
	if err := a.plausible(t, &l); err != nil {
		return nil, &BlobDamage{t, id, l.Pack, err}, nil
	}
	w := wanted{id, l}
	sealed, err := a.tiles.read(ctx, a, w)
	if a.Stops(ctx, err) {
		return nil, nil, err
	}
	plain, err := a.openBlob(ctx, nil, w, sealed)
	if err != nil && !a.Stops(ctx, err) {
		return nil, &BlobDamage{t, id, w.Pack, err}, nil
	}
	return plain, nil, err
}

// LoadTree is Load for trees, as the functions of package snapshot want it.
func (a *Archive) LoadTree(ctx context.Context, id chunk.ID) ([]byte, error) {
	return a.Load(ctx, chunk.Tree, id)
}

// Walker walks over the trees of the archive, reading ahead.
func (a *Archive) Walker() snapshot.Walker {
	return snapshot.Walker{Load: a.LoadTree, Ahead: a.Ahead}
}

// sessionCache keeps opened session keys by their wraps, about 3 KB each: one backup makes one session. A session's id
// alone is no key: a hostile writer may publish the id of another one's session with a wrap of his own.
type sessionCache struct {
	mu   sync.Mutex
	open map[seal.SessionID][]*seal.Session
	n    int
}

// maxSessions bounds the cache at 12 MB; opening one anew takes 0.1 ms at most.
const maxSessions = 4096

func (c *sessionCache) get(w pack.SessionWrap) *seal.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.open[w.ID] {
		if have := s.Wrap(); bytes.Equal(have.HPKE, w.Wrap.HPKE) && bytes.Equal(have.Root, w.Wrap.Root) {
			return s
		}
	}
	return nil
}

func (c *sessionCache) put(s *seal.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil || c.n >= maxSessions {
		c.open, c.n = map[seal.SessionID][]*seal.Session{}, 0
	}
	c.open[s.ID()] = append(c.open[s.ID()], s)
	c.n++
}
