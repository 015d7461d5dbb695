package archive

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// PackName names the shard objects of a pack: all of them have this name, each on its member.
type PackName struct {
	ID    pack.ID
	Index bool // below index/, not below binaries/
}

// NameOf returns the name of a pack of some kind.
func NameOf(id pack.ID, kind chunk.Type) PackName { return PackName{id, kind == chunk.Index} }

// Kind is chunk.Index, or chunk.Data, which stands for trees as well: their packs lie in one folder.
func (n PackName) Kind() chunk.Type {
	if n.Index {
		return chunk.Index
	}
	return chunk.Data
}

func (n PackName) String() string { return n.ID.Name(n.Kind()) }

// Inventory is what the members say that they hold of packs: one listing of each member of every layout. It is not of one
// moment, and lengths are all that it knows of content. It takes about 130 bytes for each pack.
type Inventory struct {
	members []stripe.Member
	errs    []error // by member: why it could not be listed
	packs   map[PackName]stock
	odd     map[PackName]map[int]int64 // lengths that are not stock.size
	bytes   int64
}

// stock is what is listed of one pack.
type stock struct {
	on   memberMask
	size int64 // of the shard that was listed first: all shards of a pack are equally long
}

// Inventory lists all members. Those that cannot be listed are no error as long as one can (see Unlisted).
func (a *Archive) Inventory(ctx context.Context) (*Inventory, error) {
	v := &Inventory{members: a.all.Members(), packs: map[PackName]stock{}, odd: map[PackName]map[int]int64{}}
	v.errs = make([]error, len(v.members))
	for _, prefix := range []string{"binaries/", "index/"} {
		errs, err := a.all.ListEach(ctx, prefix, func(member int, info remote.Info) error {
			if id, kind, ok := pack.ParseName(info.Name); ok {
				v.add(NameOf(id, kind), member, info.Size)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		for i, err := range errs {
			if v.errs[i] == nil {
				v.errs[i] = err
			}
		}
	}
	return v, nil
}

func (v *Inventory) add(n PackName, member int, size int64) {
	s, ok := v.packs[n]
	if !ok {
		s.size = size
	}
	if s.size != size {
		if v.odd[n] == nil {
			v.odd[n] = map[int]int64{}
		}
		v.odd[n][member] = size
	}
	s.on.set(member)
	v.packs[n] = s
	v.bytes += size
}

// Members are those of all layouts, each once, in the order of Archive.Members.
func (v *Inventory) Members() []stripe.Member { return v.members }

// Unlisted says why nothing is known of what a member holds, or returns nil.
func (v *Inventory) Unlisted(member int) error {
	if m := v.members[member]; m.Store == nil {
		return fmt.Errorf("%s: %w", m.Label, errNotOpened)
	}
	return v.errs[member]
}

// Packs yields the packs that any member holds something of, in no particular order.
func (v *Inventory) Packs() iter.Seq[PackName] { return maps.Keys(v.packs) }

// Has says whether any member holds something of a pack.
func (v *Inventory) Has(n PackName) bool { _, ok := v.packs[n]; return ok }

// Len is the number of packs, Bytes the length of all their shards.
func (v *Inventory) Len() int     { return len(v.packs) }
func (v *Inventory) Bytes() int64 { return v.bytes }

// Size returns the length of what a member holds of a pack; false if it lists nothing of it.
func (v *Inventory) Size(n PackName, member int) (int64, bool) {
	s, ok := v.packs[n]
	if !ok || !s.on.has(member) {
		return 0, false
	}
	if size, ok := v.odd[n][member]; ok {
		return size, true
	}
	return s.size, true
}

// PackBytes is the length of all shards of a pack that are listed.
func (v *Inventory) PackBytes(n PackName) (total int64) {
	for i := range v.members {
		size, _ := v.Size(n, i)
		total += size
	}
	return total
}

// Even says whether all shards of a pack that are listed are equally long, as they must be.
func (v *Inventory) Even(n PackName) bool { return len(v.odd[n]) == 0 }

// Lineup gives the places in Members of the members of a layout, in the layout's order.
func (a *Archive) Lineup(p Placement) []int {
	var lineup []int
	for i, l := range a.card.layouts() {
		if a.placements[i].Geometry == p.Geometry {
			for _, id := range l.Members {
				lineup = append(lineup, slices.Index(a.ids, id))
			}
			return lineup
		}
	}
	return nil // not reached: p is one of the archive's
}
