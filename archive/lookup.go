package archive

import (
	"context"
	"errors"
	"slices"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// Has says of each blob whether the local index knows it.
func (a *Archive) Has(ctx context.Context, t chunk.Type, ids []chunk.ID, out []bool) error {
	idx, err := a.Index(ctx)
	if err != nil {
		return err
	}
	return idx.Has(t, ids, out)
}

// live finds packs that may be relied on.
func (a *Archive) live(ctx context.Context, t chunk.Type, ids []chunk.ID, out []pack.ID) error {
	idx, err := a.Index(ctx)
	if err != nil {
		return err
	}
	return idx.Live(t, ids, out)
}

func (a *Archive) lookup(ctx context.Context, t chunk.Type, ids []chunk.ID) ([]pack.Location, error) {
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	locs := make([]pack.Location, len(ids))
	return locs, idx.Lookup(t, ids, locs)
}

// missing is the error of a blob that the index does not have.
func (a *Archive) missing(t chunk.Type, id chunk.ID) *MissingError {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	for _, err := range a.synced.bad {
		if tooFew(err) {
			return &MissingError{t, id, err}
		}
	}
	return &MissingError{t, id, nil}
}

// locate finds blobs, reading the archive's index once more (refresh) before it calls one missing: another machine may
// have stored or moved it.
func (a *Archive) locate(ctx context.Context, t chunk.Type, ids []chunk.ID, refresh func(context.Context) error) ([]pack.Location, error) {
	locs, err := a.lookup(ctx, t, ids)
	if err != nil || !slices.ContainsFunc(locs, absent) {
		return locs, err
	}
	if err := refresh(ctx); err != nil {
		return nil, err
	}
	return a.lookup(ctx, t, ids)
}

func absent(l pack.Location) bool { return !l.Found() }

// errIndexWrong means that a location cannot be right: a damaged cache.
var errIndexWrong = remote.WithHint(errors.New("the local index names a place that cannot be"), "run `cairn index drop`: the next command makes it anew")

// plausible refuses, before anything is computed or allocated by it, a location that no pack of this archive can have.
func (a *Archive) plausible(t chunk.Type, l *pack.Location) error {
	if l.Kind != t || !a.has(l.Geometry) || l.Column < 0 || l.Column >= l.Geometry.K || l.L <= 0 || l.L > pack.MaxColumn ||
		l.Stored == 0 || int64(l.Offset)+int64(l.Stored) > l.L || l.Plain == 0 || l.Plain > chunk.MaxPlain {
		return errIndexWrong
	}
	return nil
}
