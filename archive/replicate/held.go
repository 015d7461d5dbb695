package replicate

import (
	"context"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// held is what a target has of other archives' snapshots.
type held struct {
	to       *archive.Archive
	source   [16]byte
	byOrigin map[snapshot.Origin]*snapshot.Snapshot // complete ones
	byID     map[chunk.ID]*snapshot.Snapshot        // complete ones
	marked   map[chunk.ID]bool                      // for a target that cannot be read: what it lists

	remembered map[chunk.ID]chunk.ID // what this machine copied: of each source's snapshot the last copy
}

// copied is the copy of a snapshot in the target.
type copied struct {
	id   chunk.ID
	root *snapshot.Root // nil: not known, but the same as the source's
}

// newHeld lists the target. With a writer key its snapshots cannot be read: then this machine's memory tells which are copies.
func newHeld(ctx context.Context, to *archive.Archive, source [16]byte) (*held, error) {
	h := &held{to: to, source: source, byOrigin: map[snapshot.Origin]*snapshot.Snapshot{}, byID: map[chunk.ID]*snapshot.Snapshot{}, remembered: to.Copies(source)}
	if to.Keys() == nil {
		return nil, archive.ErrNoKey
	}
	if !to.Keys().CanRead() {
		var err error
		h.marked, err = to.SnapshotIDs(ctx)
		return h, err
	}
	list, _, err := to.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Incomplete {
			continue
		}
		h.byID[s.ID] = s
		if !s.Origin.IsZero() {
			h.byOrigin[s.Origin] = s
		}
	}
	return h, nil
}

func (h *held) origin(s *snapshot.Snapshot) snapshot.Origin {
	return snapshot.Origin{Archive: h.source, Snapshot: s.ID}
}

// find returns the copy of a source's snapshot, or nil. A snapshot that was itself copied from the target, or from where the target has it from,
// is there as well.
func (h *held) find(s *snapshot.Snapshot) *copied {
	o := h.origin(s)
	if h.marked != nil {
		if id, ok := h.remembered[s.ID]; ok && h.marked[id] {
			return &copied{id: id}
		}
		return nil
	}
	there := h.byOrigin[o]
	if there == nil && !s.Origin.IsZero() {
		if there = h.byOrigin[s.Origin]; there == nil && s.Origin.Archive == [16]byte(h.to.ID()) {
			there = h.byID[s.Origin.Snapshot]
		}
	}
	if there == nil {
		return nil
	}
	root := there.Root()
	return &copied{there.ID, &root}
}

// made notes a copy that was just committed.
func (h *held) made(from, to *snapshot.Snapshot) {
	if h.marked != nil {
		h.marked[to.ID] = true
	}
	h.remembered[from.ID] = to.ID
	h.byOrigin[h.origin(from)], h.byID[to.ID] = to, to
	_ = h.to.RememberCopy(to.Origin, to.ID) // see archive.Copies for what it costs to lose that
}

// exact says whether the copy holds the same tree: paths may have been taken out of it since.
func (c *copied) exact(s *snapshot.Snapshot) bool {
	return c.root == nil || c.root.Depth == s.Depth && slices.Equal(c.root.Content, s.Content)
}
