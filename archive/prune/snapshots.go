package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

// listSnapshots lists the snapshots on all members: for each, whether any has its mark.
func (g *Prune) listSnapshots(ctx context.Context) (map[chunk.ID]bool, error) {
	ids, marks := map[chunk.ID]bool{}, map[chunk.ID]bool{}
	err := g.list(ctx, "snapshots/", func(_ int, info remote.Info) {
		id, mark, ok := archive.ParseSnapshotName(info.Name)
		switch {
		case !ok:
		case mark:
			marks[id] = true
		default:
			ids[id] = false
		}
	})
	for id := range ids {
		ids[id] = marks[id]
	}
	for id := range marks {
		if _, ok := ids[id]; !ok && g.a.Forgotten(id) {
			ids[id] = true // its mark is left: deleted with it
		}
	}
	return ids, err
}

// readSnapshots lists the snapshots on all members and reads those that are new. A snapshot that vanishes while it is read was replaced, or
// forgotten: what took its place is found by listing again.
func (g *Prune) readSnapshots(ctx context.Context) ([]*snapshot.Snapshot, error) {
	var list []*snapshot.Snapshot
	for range maxListings {
		ids, err := g.listSnapshots(ctx)
		if err != nil {
			return nil, err
		}
		// Records come after the listing: who forgets publishes his record first.
		if _, err := g.a.Records(ctx); err != nil {
			return nil, err
		}
		fresh := map[chunk.ID]bool{}
		g.forgotten = g.forgotten[:0]
		for id, marked := range ids {
			switch {
			case g.a.Forgotten(id) || slices.Contains(g.o.Forget, id):
				g.forgotten = append(g.forgotten, id)
			case !g.walked(id, marked) && !slices.ContainsFunc(list, func(s *snapshot.Snapshot) bool { return s.ID == id }):
				fresh[id] = marked
			}
		}
		more, damaged, err := g.a.ReadSnapshots(ctx, fresh)
		if err != nil {
			return nil, err
		}
		if list = append(list, more...); len(damaged) == 0 {
			g.o.Progress.TotalSnapshots.Store(uint64(len(g.snapshots) + len(list)))
			return list, nil
		}
		for _, d := range damaged {
			if !errors.Is(d.Err, remote.ErrNotExist) {
				return nil, &DamageError{Err: fmt.Errorf("%w: nobody knows what it needs", d), Next: fmt.Sprintf("`cairn repair` heals it if another copy is good; if it is lost, `cairn forget %s` gives it up, and prune works again", d.ID)}
			}
		}
	}
	return nil, errors.New("snapshots vanish while they are read, again and again")
}

const maxListings = 16

// walked says whether a snapshot needs no other look. One that was incomplete and has its mark by now does.
func (g *Prune) walked(id chunk.ID, marked bool) bool {
	complete, ok := g.snapshots[id]
	return ok && (complete || !marked)
}
