package replicate

import (
	"context"

	"cairn/archive"
	"cairn/chunk"
)

// dryRun is a session that stores nothing. It does not remember what it was given: what several snapshots miss is counted for each, unless they
// are compared with each other.
type dryRun struct {
	ctx context.Context // of Known, which gets none
	to  *archive.Archive
}

func (d dryRun) Save(ctx context.Context, t chunk.Type, plain []byte) (archive.Saved, error) {
	saved := archive.Saved{ID: chunk.Sum(plain)}
	var has [1]bool
	err := d.to.Has(ctx, t, []chunk.ID{saved.ID}, has[:])
	saved.New = !has[0]
	return saved, err
}

func (d dryRun) Known(t chunk.Type, ids []chunk.ID) (bool, error) {
	has := make([]bool, len(ids))
	if err := d.to.Has(d.ctx, t, ids, has); err != nil {
		return false, err
	}
	for _, ok := range has {
		if !ok {
			return false, nil
		}
	}
	return true, nil
}
