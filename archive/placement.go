package archive

import (
	"context"
	"fmt"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
)

// Placement is one layout of the archive: how the packs of its epoch are spread over which members. An archive has
// one, and after its layout was changed the former ones too, as long as packs of theirs may exist.
type Placement struct {
	Geometry pack.Geometry
	Set      *stripe.Set // in the layout's order: shard j of a pack is on member pack.Member(id, j, n)
}

// MemberOf names the member on which shard j of a pack lies.
func (p Placement) MemberOf(id pack.ID, j int) string {
	return p.Set.Members()[pack.Member(id, j, p.Geometry.N())].Label
}

// Placements returns all layouts, the current one, which new packs have, first.
func (a *Archive) Placements() []Placement { return a.placements }

// placement finds the layout that packs of a geometry have.
func (a *Archive) placement(g pack.Geometry) (Placement, bool) {
	for _, p := range a.placements {
		if p.Geometry == g {
			return p, true
		}
	}
	return Placement{}, false
}

// has says whether packs of a geometry can be in this archive.
func (a *Archive) has(g pack.Geometry) bool {
	_, ok := a.placement(g)
	return ok
}

// setOf returns the members in the order of a geometry that the archive has (see plausible).
func (a *Archive) setOf(g pack.Geometry) *stripe.Set {
	if p, ok := a.placement(g); ok {
		return p.Set
	}
	return a.set
}

// PlacementOf finds out which layout a pack has. As long as there is only one, that costs nothing; otherwise the header
// of a shard is read, whichever member has one.
func (a *Archive) PlacementOf(ctx context.Context, id pack.ID, kind chunk.Type) (Placement, error) {
	if len(a.placements) == 1 {
		return a.placements[0], nil
	}
	h, err := a.findHeader(ctx, id, kind)
	if err != nil {
		return Placement{}, err
	}
	p, ok := a.placement(h.Geometry)
	if !ok {
		return Placement{}, fmt.Errorf("pack %s has layout %d (%d+%d), which this archive does not have", id.Short(), h.Geometry.Epoch, h.Geometry.K, h.Geometry.M)
	}
	return p, nil
}
