package repair

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
)

// atOnce is how many packs are repaired at once: one is read while the other is hashed, rebuilt and written.
const atOnce = 2

// survey lists what all members hold.
func (r *run) survey(ctx context.Context) error {
	inv, err := r.a.Inventory(ctx)
	if err != nil {
		return err
	}
	r.inv = inv
	for _, p := range r.a.Placements() {
		r.layouts = append(r.layouts, layout{p, inv.Lineup(p)})
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
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, index := range []bool{true, false} {
		for name := range r.inv.Packs() {
			if groupCtx.Err() != nil {
				break
			}
			if name.Index == index && r.chosen(name) {
				group.Go(func() error { return r.pack(groupCtx, name) })
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// pack repairs one pack, if it needs it.
func (r *run) pack(ctx context.Context, name archive.PackName) error {
	defer r.o.Progress.Packs.Add(1)
	at, err := r.a.PlacementOf(ctx, name.ID, name.Kind())
	if err != nil {
		return r.unplaced(ctx, name, err)
	}
	if r.o.Missing && !r.suspects[name] && r.inv.Even(name) && r.listedWhole(name, at) {
		return nil
	}
	p, err := r.a.RepairPack(ctx, at, name.ID, name.Kind(), archive.RepairOptions{DryRun: r.o.DryRun})
	if err != nil {
		return err
	}
	if !vanished(p) {
		r.tell(name, at, p)
	}
	return nil
}

// unplaced is a pack none of whose shards has a header.
func (r *run) unplaced(ctx context.Context, name archive.PackName, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.looked(name)
	var few *stripe.TooFewError
	if errors.As(err, &few) {
		r.count(func(p *Report) { p.Undecided++ })
		r.found(Finding{Object: name.String(), Problem: "its layout cannot be told", Outcome: Left, Err: err})
		return nil
	}
	at := r.a.Placements()[0]
	r.setShort(name, short{Loss{Pack: name, Kind: name.Kind(), Need: at.Geometry.K}, at, 0, 0})
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
		r.setShort(name, short{Loss{Pack: name, Kind: p.Kind, Good: good, Need: k}, at, before, after})
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
	f := Finding{Object: name.String(), Member: s.Member, Problem: fmt.Sprintf("shard %d of a %s pack is %s", s.Shard, p.Kind, s.Before)}
	if s.Before == archive.ShardBad && s.Err != nil {
		text := s.Err.Error()
		if corrupt := (*pack.CorruptError)(nil); errors.As(s.Err, &corrupt) {
			text = corrupt.Brief()
		}
		f.Problem = fmt.Sprintf("shard %d of a %s pack: %s", s.Shard, p.Kind, text)
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

func (r *run) setShort(name archive.PackName, s short) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short[name] = s
}

// losses tells the packs that are lost from those whose upload was interrupted: a segment names the former.
func (r *run) losses(ctx context.Context) error {
	if len(r.short) == 0 {
		return nil
	}
	named, sure, err := r.named(ctx)
	if err != nil {
		return err
	}
	r.report.Unsure = !sure
	for name, s := range r.short {
		if !named[name] && sure {
			r.report.Unfinished++
			continue
		}
		r.tally(s.at, s.before, s.after)
		if r.report.LostCount++; len(r.report.Lost) < maxLosses {
			r.report.Lost = append(r.report.Lost, s.Loss)
		}
		r.found(Finding{Object: name.String(), Problem: fmt.Sprintf("%d of the %d shards that a %s pack needs are good", s.Good, s.Need, s.Kind), Outcome: Left})
	}
	return nil
}

// named says which packs index segments name. It is not sure without a key, nor when a segment cannot be read.
func (r *run) named(ctx context.Context) (named map[archive.PackName]bool, sure bool, err error) {
	if r.a.Keys() == nil {
		return nil, false, nil
	}
	named, sure = map[archive.PackName]bool{}, true
	err = r.a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if err != nil && !archive.Unfinished(err) {
			named[archive.NameOf(id, chunk.Index)] = true
			sure = false
		}
		for i := range columns {
			named[archive.NameOf(columns[i].Pack, columns[i].Kind)] = true
		}
		return nil
	})
	return named, sure, err
}
