package archive

import (
	"context"
	"sync"

	"cairn/chunk"
	"cairn/pack"
)

// condemnedCache is the packs that the records condemn, for who asks pack by pack: about 60 bytes each.
type condemnedCache struct {
	mu         sync.Mutex
	generation int
	packs      map[pack.ID]struct{}
}

// Condemned says whether a record condemns a pack: it is garbage, of which anything may be missing at any time. The records are listed
// again when that was not done in the last two seconds. Without a key they are believed as far as their own signature goes.
func (a *Archive) Condemned(ctx context.Context, id pack.ID) (bool, error) {
	if err := a.readRecordsLately(ctx); err != nil {
		return false, err
	}
	c := &a.condemnedPacks
	c.mu.Lock()
	defer c.mu.Unlock()
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	if c.packs == nil || c.generation != a.gc.generation {
		c.packs, c.generation = map[pack.ID]struct{}{}, a.gc.generation
		for _, r := range a.gc.records {
			for _, id := range r.Packs {
				c.packs[id] = struct{}{}
			}
		}
	}
	_, ok := c.packs[id]
	return ok, nil
}

// ForgottenLately is Forgotten, by records that are listed again when that was not done in the last two seconds.
func (a *Archive) ForgottenLately(ctx context.Context, id chunk.ID) (bool, error) {
	err := a.readRecordsLately(ctx)
	return err == nil && a.Forgotten(id), err
}
