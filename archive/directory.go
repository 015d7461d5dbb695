package archive

import (
	"context"
	"errors"
	"fmt"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// firstTail is how much of a shard's end is read for its directory: the header's copy, the checksums of a 16 MiB column,
// and a directory of about 1400 blobs.
const firstTail = 64 << 10

// ReadDirectory reads the directory of one data column: from the end of its shard, or by what another shard's header says of
// it, from its own column or from the others'.
func (a *Archive) ReadDirectory(ctx context.Context, id pack.ID, column int) (*pack.Column, error) {
	at, err := a.PlacementOf(ctx, id, chunk.Data)
	if err != nil {
		return nil, err
	}
	c, tailErr := a.tailDirectory(ctx, at, id, column)
	if tailErr == nil || ctx.Err() != nil {
		return c, tailErr
	}
	h, err := a.findHeader(ctx, id, chunk.Data)
	if err != nil {
		return nil, errors.Join(tailErr, err)
	}
	for _, avoid := range [][]int{nil, {column}} {
		if c, err = a.rangeDirectory(ctx, at, h, column, avoid); err == nil || ctx.Err() != nil || at.Geometry.M == 0 {
			break
		}
	}
	if err == nil && !a.lacks(at.Geometry, id, column) {
		a.Suspect(id, chunk.Data, column)
	}
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	a.whole.Lock()
	defer a.whole.Unlock()
	payload, err := a.columnData(ctx, at, id, h.Kind, column)
	if payload == nil {
		return nil, errors.Join(tailErr, err)
	}
	c, openErr := pack.OpenDirectory(a.keys, h, column, payload[len(payload)-int(h.DirLen[column]):])
	if openErr != nil && err != nil { // parts of the payload are not what was stored: that says more
		return nil, errors.Join(tailErr, err)
	}
	return c, openErr
}

// findHeader reads the header of a pack from the first shard that has it.
func (a *Archive) findHeader(ctx context.Context, id pack.ID, kind chunk.Type) (*pack.Header, error) {
	var errs []error
	for _, at := range a.placements {
		h, err := a.findHeaderAt(ctx, at, id, kind)
		if h != nil || ctx.Err() != nil {
			return h, err
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no shard of pack %s has a header: %w", id.Short(), errors.Join(errs...))
}

// findHeaderAt looks where the shards lie if the pack has this layout.
func (a *Archive) findHeaderAt(ctx context.Context, at Placement, id pack.ID, kind chunk.Type) (*pack.Header, error) {
	var errs []error
	for j := range at.Geometry.N() {
		for _, from := range []int64{-pack.HeaderSize, 0} {
			b, err := at.Set.GetShard(ctx, object(id, kind, at.Geometry, 0), j, from, pack.HeaderSize, nil)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			var h *pack.Header
			if err == nil {
				h, err = pack.ParseHeader(b)
			}
			if err == nil && (h.ID != id || !a.has(h.Geometry)) {
				err = fmt.Errorf("this is a shard of pack %s", h.ID.Short())
			}
			if err == nil {
				err = a.verifySignature(h)
			}
			if err == nil {
				return h, nil
			}
			errs = append(errs, err)
			if errors.Is(err, remote.ErrNotExist) {
				break
			}
		}
	}
	return nil, errors.Join(errs...)
}

// verifySignature checks who made a pack, if the keys are open.
func (a *Archive) verifySignature(h *pack.Header) error {
	if a.keys == nil {
		return nil
	}
	return h.VerifySignature(a.keys)
}

// rangeDirectory reads a directory whose place is known.
func (a *Archive) rangeDirectory(ctx context.Context, at Placement, h *pack.Header, column int, avoid []int) (*pack.Column, error) {
	n := int64(h.DirLen[column])
	sealed, err := at.Set.Read(ctx, object(h.ID, h.Kind, at.Geometry, h.L), column, h.L-n, n, nil, avoid)
	if err != nil {
		return nil, err
	}
	return pack.OpenDirectory(a.keys, h, column, sealed)
}

func (a *Archive) tailDirectory(ctx context.Context, at Placement, id pack.ID, column int) (*pack.Column, error) {
	o := object(id, chunk.Data, at.Geometry, 0)
	n := int64(firstTail)
	for {
		tail, err := at.Set.GetShard(ctx, o, column, -n, -1, nil)
		if err != nil {
			return nil, err
		}
		c, need, err := pack.ReadTail(a.keys, id, tail)
		if err != nil {
			return nil, err
		}
		if c != nil {
			if c.Number != column || c.Geometry != at.Geometry {
				return nil, fmt.Errorf("this is shard %d of layout %d+%d", c.Number, c.K, c.M)
			}
			return c, nil
		}
		if need <= n {
			return nil, fmt.Errorf("shard ends before its directory does")
		}
		n = need
	}
}
