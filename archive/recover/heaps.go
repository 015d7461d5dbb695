package recover

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// Heap is a store that is, or may be, a member without a card.
type Heap struct {
	URL    string
	Shards int // objects that are named as shards
	// Number is the member's number in the current layout; -1 when it holds no shard of it.
	Number int
	// Foreign counts the shards, of those that were asked, which do not belong on this member.
	Foreign, Asked int

	store   remote.Store
	mu      sync.Mutex                    // of votes and headers while shards are asked
	votes   map[pack.Geometry]map[int]int // by layout and number: how many of the shards asked belong there
	headers int
}

const (
	// asked is how many shards of a heap are asked where they belong. A layout, or a stranger, that one shard in a hundred has is
	// overlooked with a chance of 0.99^1024 = 0.00003.
	asked = 1024
	// askers at once: requests of 4 KiB that mostly wait.
	askers = 8
)

// survey finds out which member a heap is. Its shards are named, and each says in its header which one of its pack it is.
func survey(ctx context.Context, m archive.Member, keys *seal.Keys) (*Heap, error) {
	h := &Heap{URL: m.URL, Number: -1, store: m.Store, votes: map[pack.Geometry]map[int]int{}}
	names, err := h.sample(ctx)
	if err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(askers)
	for _, name := range names {
		group.Go(func() error { return h.ask(groupCtx, name, keys) })
	}
	return h, group.Wait()
}

// sample chooses shards at random, each with the same chance, in one listing.
func (h *Heap) sample(ctx context.Context) ([]string, error) {
	var names []string
	rng := rand.New(rand.NewPCG(1, 2)) // the same ones each time: who asks twice wants one answer
	for _, prefix := range []string{"index/", "binaries/"} {
		for info, err := range h.store.List(ctx, prefix) {
			if err != nil {
				return nil, fmt.Errorf("%s: %w", h.URL, err)
			}
			if _, _, ok := pack.ParseName(info.Name); !ok {
				continue
			}
			if h.Shards++; len(names) < asked {
				names = append(names, info.Name)
			} else if i := rng.IntN(h.Shards); i < asked {
				names[i] = info.Name
			}
		}
	}
	return names, nil
}

// ask reads the header of one shard. What does not prove itself has no vote.
func (h *Heap) ask(ctx context.Context, name string, keys *seal.Keys) error {
	id, _, _ := pack.ParseName(name)
	for _, from := range []int64{0, -pack.HeaderSize} {
		data, err := h.store.Get(ctx, name, from, pack.HeaderSize, nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			continue
		}
		header, err := pack.ParseHeader(data)
		if err != nil || header.ID != id {
			continue
		}
		if header.Archive != keys.Archive() {
			return fmt.Errorf("%s holds shards of archive %.8s, the key is of archive %.8s", h.URL, header.Archive, keys.Archive())
		}
		if header.VerifySignature(keys) != nil {
			continue
		}
		g := header.Geometry
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.votes[g] == nil {
			h.votes[g] = map[int]int{}
		}
		h.votes[g][pack.Member(id, header.Shard, g.N())]++
		h.headers++
		return nil
	}
	return nil
}

// elect returns the number with most votes in a layout, and how many votes others got.
func (h *Heap) elect(g pack.Geometry) (number, against int) {
	number = -1
	for _, n := range slices.Sorted(maps.Keys(h.votes[g])) {
		against += h.votes[g][n]
		if number < 0 || h.votes[g][n] > h.votes[g][number] {
			number = n
		}
	}
	return number, against - h.votes[g][max(number, 0)]
}

// archiveOf finds the archive's id in the header of the first shard of a heap that has one, for when there are key slots and no card.
func archiveOf(ctx context.Context, m archive.Member) (seal.ArchiveID, bool, error) {
	for _, prefix := range []string{"index/", "binaries/"} {
		for info, err := range m.Store.List(ctx, prefix) {
			if err != nil {
				return seal.ArchiveID{}, false, fmt.Errorf("%s: %w", m.URL, err)
			}
			id, _, ok := pack.ParseName(info.Name)
			if !ok {
				continue
			}
			data, err := m.Store.Get(ctx, info.Name, 0, pack.HeaderSize, nil)
			if ctx.Err() != nil {
				return seal.ArchiveID{}, false, ctx.Err()
			}
			if err != nil {
				continue
			}
			if h, err := pack.ParseHeader(data); err == nil && h.ID == id && h.Kind.Valid() && h.Kind != chunk.Type(0) {
				return h.Archive, true, nil
			}
		}
	}
	return seal.ArchiveID{}, false, nil
}
