package repair

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
)

// atOnce packs are repaired at once, as long as their shards take no more than budget bytes together: two with 4+2 (6 × 8 MiB),
// where one is read while the other is hashed, one with 10+4 (14 × 7.5 MiB), four of small ones, which wait for the members.
const (
	atOnce = 4
	budget = 112 << 20
)

// survey lists what all members hold.
func (r *run) survey(ctx context.Context) error {
	inv, err := r.a.Inventory(ctx)
	if err != nil {
		return err
	}
	r.inv = inv
	for _, p := range r.a.Placements() {
		r.layouts = append(r.layouts, layout{p, r.a.Lineup(p)})
	}
	for i, m := range inv.Members() {
		if inv.Unlisted(i) != nil && m.Store != nil {
			r.away(m.Label)
		}
	}
	for s := range r.a.Suspects() {
		r.suspects[archive.NameOf(s.Pack, s.Kind)] = true
	}
	for name := range inv.Packs() {
		if r.chosen(name) {
			r.o.Progress.TotalPacks.Add(1)
			if !r.o.Missing {
				r.o.Progress.TotalBytes.Add(uint64(inv.PackBytes(name)))
			}
		}
	}
	return nil
}

func (r *run) chosen(name archive.PackName) bool {
	return r.o.Choose == nil || r.o.Choose(name.ID, uint64(r.inv.Bytes()))
}

// packs looks at all packs that any member lists: index packs first, because they are few and every reader needs them.
func (r *run) packs(ctx context.Context) error {
	for _, index := range []bool{true, false} {
		chosen := func(yield func(archive.PackName) bool) {
			for name := range r.inv.Packs() {
				if name.Index == index && r.chosen(name) && !yield(name) {
					return
				}
			}
		}
		if err := r.each(ctx, chosen); err != nil {
			return err
		}
	}
	return nil
}

// each repairs packs, some at once.
func (r *run) each(ctx context.Context, names iter.Seq[archive.PackName]) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for name := range names {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return r.pack(groupCtx, name) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// pack repairs one pack, if it needs it. One that has too few shards is not judged before losses has asked the index.
func (r *run) pack(ctx context.Context, name archive.PackName) error {
	if !r.last {
		defer r.o.Progress.Packs.Add(1)
	}
	if condemned, err := r.a.Condemned(ctx, name.ID); err != nil || condemned {
		if condemned {
			r.count(func(p *Report) { p.Condemned++ })
		}
		return err
	}
	at, err := r.a.PlacementOf(ctx, name.ID, name.Kind())
	if err != nil {
		return r.unplaced(ctx, name, err)
	}
	if r.o.Missing && !r.last && !r.suspects[name] && r.inv.Even(name) && r.listedWhole(name, at) {
		return nil
	}
	weight := r.weight(name, at)
	if err := r.memory.Acquire(ctx, weight); err != nil {
		return err
	}
	p, err := r.a.RepairPack(ctx, at, name.ID, name.Kind(), archive.RepairOptions{DryRun: r.o.DryRun})
	r.memory.Release(weight)
	switch {
	case err != nil:
		return err
	case p.Condemned:
		r.count(func(rep *Report) { rep.Condemned++ })
	case p.Leaving:
		r.count(func(rep *Report) { rep.Unfinished++ })
	case p.Lost == nil:
		r.tell(name, at, p)
	case r.last:
		r.hold(name, func() { r.tell(name, at, p) })
	case !vanished(p):
		r.setShort(name)
	}
	return nil
}

// weight is what the shards of a pack take, or all of the budget.
func (r *run) weight(name archive.PackName, at archive.Placement) int64 {
	longest := int64(0)
	for i := range r.inv.Members() {
		size, _ := r.inv.Size(name, i)
		longest = max(longest, size)
	}
	return min(budget, longest*int64(at.Geometry.N()))
}

// unplaced is a pack none of whose shards has a header.
func (r *run) unplaced(ctx context.Context, name archive.PackName, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var few *stripe.TooFewError
	switch {
	case errors.As(err, &few):
		r.looked(name)
		r.count(func(p *Report) { p.Undecided++ })
		r.found(Finding{Object: name.String(), Problem: "its layout cannot be told", Outcome: Left, Err: err})
	case r.last:
		r.hold(name, func() {
			r.looked(name)
			at := r.a.Placements()[0]
			r.lost(Loss{Pack: name, Kind: name.Kind(), Need: at.Geometry.K})
			r.tally(at, 0, 0)
		})
	default:
		r.setShort(name)
	}
	return nil
}

func (r *run) looked(name archive.PackName) {
	r.count(func(p *Report) {
		if name.Index {
			p.Segments++
		} else {
			p.Packs++
		}
	})
}

// listedWhole says whether all members of a pack that are there list a shard of it. If so, it is counted: what lies on others is
// lacking.
func (r *run) listedWhole(name archive.PackName, at archive.Placement) bool {
	var lacking []string
	for _, l := range r.layouts {
		if l.Geometry != at.Geometry {
			continue
		}
		for _, member := range l.lineup {
			if _, ok := r.inv.Size(name, member); ok {
				continue
			}
			if r.inv.Unlisted(member) == nil {
				return false
			}
			lacking = append(lacking, r.inv.Members()[member].Label)
		}
	}
	g := at.Geometry
	if len(lacking) > g.M {
		return false
	}
	r.looked(name)
	r.tally(at, g.N()-len(lacking), g.N()-len(lacking))
	r.lacks(lacking...)
	return true
}

// vanished says whether no shard is there any more: the pack was removed since it was listed.
func vanished(p *archive.PackRepair) bool {
	for i := range p.Shards {
		if s := p.Shards[i].Before; s != archive.ShardMissing && s != archive.ShardAway {
			return false
		}
	}
	return p.Lost != nil
}

// tell records what became of one pack.
func (r *run) tell(name archive.PackName, at archive.Placement, p *archive.PackRepair) {
	before, after := p.Good()
	k, n := at.Geometry.K, at.Geometry.N()
	r.looked(name)
	r.measure(p)
	can := rebuildable(p, k)
	for i := range p.Shards {
		r.tellShard(name, p, &p.Shards[i], can)
	}
	if p.Lost != nil {
		good := before
		var damage *archive.PackDamage
		if errors.As(p.Lost, &damage) {
			good = damage.Good
		}
		r.lost(Loss{Pack: name, Kind: p.Kind, Good: good, Need: k})
		r.tally(at, before, after)
		return
	}
	if !can {
		r.count(func(rep *Report) { rep.Undecided++ })
		r.found(Finding{Object: name.String(), Problem: fmt.Sprintf("%d of its %d shards are good, %d are needed, and too many members are away", before, n, k), Outcome: Left})
	}
	r.tally(at, before, after)
	for i := range p.Shards {
		if p.Shards[i].After != archive.ShardGood {
			r.lacks(p.Shards[i].Member)
		}
	}
}

// rebuildable says whether the shards of a pack could be made.
func rebuildable(p *archive.PackRepair, k int) bool {
	if p.Lost != nil || p.Salvaged {
		return p.Lost == nil
	}
	good := 0
	for i := range p.Shards {
		if s := &p.Shards[i]; s.Before == archive.ShardGood || s.Before == archive.ShardBad && archive.PayloadGood(s.Err) {
			good++
		}
	}
	return good >= k
}

// tellShard records what became of one shard. The missing ones of a pack that cannot be made are one finding, in losses.
func (r *run) tellShard(name archive.PackName, p *archive.PackRepair, s *archive.ShardRepair, can bool) {
	f := Finding{Object: name.String(), Member: s.Member, Problem: fmt.Sprintf("shard %d of %s pack is %s", s.Shard, article(p.Kind), s.Before)}
	if s.Before == archive.ShardBad && s.Err != nil {
		text := s.Err.Error()
		if corrupt := (*pack.CorruptError)(nil); errors.As(s.Err, &corrupt) {
			text = corrupt.Brief()
		}
		f.Problem = fmt.Sprintf("shard %d of %s pack: %s", s.Shard, article(p.Kind), text)
	}
	switch {
	case s.Before == archive.ShardGood, s.Before == archive.ShardAway, !can && s.Before == archive.ShardMissing:
		return
	case s.After == archive.ShardGood:
		f.Outcome = Healed
	case can && r.o.DryRun:
		f.Outcome = Planned
	default:
		f.Outcome, f.Err = Left, s.WriteErr
	}
	if f.Outcome != Left {
		r.count(func(rep *Report) { rep.Shards++ })
	}
	r.found(f)
}

// measure counts bytes.
func (r *run) measure(p *archive.PackRepair) {
	r.count(func(rep *Report) {
		rep.Read++
		for i := range p.Shards {
			s := &p.Shards[i]
			if s.Before == archive.ShardGood || s.Before == archive.ShardBad {
				rep.BytesRead += uint64(p.Size)
				r.o.Progress.Bytes.Add(uint64(p.Size))
			}
			if s.Written {
				rep.BytesWritten += uint64(p.Size)
				rep.BytesRead += uint64(p.Size)
			}
		}
	})
}

// tally counts a pack by the shards that it lacked and lacks.
func (r *run) tally(at archive.Placement, before, after int) {
	n := at.Geometry.N()
	r.count(func(p *Report) {
		p.Before = increment(p.Before, n-before)
		p.After = increment(p.After, n-after)
		if after < n && after >= at.Geometry.K {
			p.Degraded++
		}
	})
}

func increment(list []int, i int) []int {
	for len(list) <= i {
		list = append(list, 0)
	}
	list[i]++
	return list
}

func (r *run) lacks(members ...string) {
	r.count(func(p *Report) {
		for _, m := range members {
			p.Lacking[m]++
		}
	})
}

func (r *run) setShort(name archive.PackName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short[name] = true
}

func (r *run) lost(l Loss) {
	r.count(func(p *Report) {
		if p.LostCount++; len(p.Lost) < maxLosses {
			p.Lost = append(p.Lost, l)
		}
	})
	r.found(Finding{Object: l.Pack.String(), Problem: fmt.Sprintf("%d of the %d shards that %s pack needs are good", l.Good, l.Need, article(l.Kind)), Outcome: Left})
}

func article(kind chunk.Type) string {
	if kind == chunk.Index {
		return "an " + kind.String()
	}
	return "a " + kind.String()
}
