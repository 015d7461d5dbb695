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

// packs looks at all packs that any member lists: index packs first, because they are few and every reader needs them.
func (r *run) packs(ctx context.Context) error {
	inv, err := r.a.Inventory(ctx)
	if err != nil {
		return err
	}
	r.inv, r.lineups = inv, map[int][]int{}
	for i, p := range r.a.Placements() {
		r.lineups[i] = inv.Lineup(p)
	}
	for i, m := range inv.Members() {
		if err := inv.Unlisted(i); err != nil && m.Store != nil {
			r.found(Finding{Object: "binaries/", Member: m.Label, Problem: "it cannot be listed", Outcome: Left, Err: err})
		}
	}
	for s := range r.a.Suspects() {
		r.suspects[archive.NameOf(s.Pack, s.Kind)] = true
	}
	r.o.Progress.TotalPacks.Store(uint64(inv.Len()))
	if !r.o.Missing {
		r.o.Progress.TotalBytes.Store(uint64(inv.Bytes()))
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, index := range []bool{true, false} {
		for name := range inv.Packs() {
			if name.Index != index || r.o.Choose != nil && !r.o.Choose(name.ID, uint64(inv.Bytes())) {
				continue
			}
			if groupCtx.Err() != nil {
				break
			}
			group.Go(func() error { return r.pack(groupCtx, name) })
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
	r.count(func(p *Report) {
		if name.Index {
			p.Segments++
		} else {
			p.Packs++
		}
	})
	at, err := r.a.PlacementOf(ctx, name.ID, name.Kind())
	if err != nil {
		return r.unplaced(ctx, name, err)
	}
	if r.o.Missing && !r.suspects[name] && r.inv.Even(name) {
		if lacking, missing := r.listed(name, at); missing == 0 {
			r.tally(at, lacking, lacking)
			return nil
		}
	}
	repaired, err := r.a.RepairPack(ctx, at, name.ID, name.Kind(), archive.RepairOptions{DryRun: r.o.DryRun})
	if err != nil {
		return err
	}
	if vanished(repaired) && r.inv.Has(name) {
		return nil // it was removed since it was listed
	}
	r.tell(name, at, repaired)
	return nil
}

// unplaced is a pack none of whose shards has a header.
func (r *run) unplaced(ctx context.Context, name archive.PackName, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f := Finding{Object: name.String(), Problem: "its layout cannot be told", Outcome: Left, Err: err}
	var few *stripe.TooFewError
	if errors.As(err, &few) {
		r.count(func(p *Report) { p.Undecided++ })
	} else {
		r.setShort(name, Loss{Pack: name, Kind: name.Kind(), Need: r.a.Geometry().K})
	}
	r.found(f)
	return nil
}

// listed counts, by the listings, the shards that a pack lacks, and those of them whose members are there.
func (r *run) listed(name archive.PackName, at archive.Placement) (lacking, missing int) {
	for i, p := range r.a.Placements() {
		if p.Geometry != at.Geometry {
			continue
		}
		for _, member := range r.lineups[i] {
			if _, ok := r.inv.Size(name, member); ok {
				continue
			}
			lacking++
			if r.inv.Unlisted(member) == nil {
				missing++
			}
		}
	}
	return lacking, missing
}

// vanished says whether all shards are missing.
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
	n, k := at.Geometry.N(), at.Geometry.K
	planned := 0
	away := 0
	for i := range p.Shards {
		s := &p.Shards[i]
		f := Finding{Object: name.String(), Member: s.Member, Problem: fmt.Sprintf("shard %d of a %s pack is %s", s.Shard, p.Kind, s.Before)}
		if s.Err != nil {
			f.Problem = fmt.Sprintf("shard %d of a %s pack: %v", s.Shard, p.Kind, s.Err)
		}
		switch {
		case s.Before == archive.ShardGood:
			continue
		case s.Before == archive.ShardAway:
			away++
			continue
		case s.After == archive.ShardGood:
			f.Outcome = Healed
		case p.Lost == nil && r.o.DryRun && before+away >= k && before > 0:
			f.Outcome = Planned
			planned++
		default:
			f.Outcome, f.Err = Left, s.WriteErr
		}
		r.found(f)
	}
	r.count(func(rep *Report) {
		rep.Read++
		rep.Shards += p.Healed() + planned
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
			if s.After != archive.ShardGood {
				rep.Lacking[s.Member]++
			}
		}
	})
	switch {
	case p.Lost != nil:
		good := before
		var damage *archive.PackDamage
		if errors.As(p.Lost, &damage) {
			good = damage.Good
		}
		r.setShort(name, Loss{Pack: name, Kind: p.Kind, Good: good, Need: k})
	case after < k && !r.o.DryRun, before+away < n && before < k && away > 0:
		r.count(func(rep *Report) { rep.Undecided++ })
		r.found(Finding{Object: name.String(), Problem: fmt.Sprintf("%d of its %d shards are good, %d are needed, and the members of %d are away", before, n, k, away), Outcome: Left})
	}
	r.tally(at, n-before, n-after)
}

// tally counts a pack by the shards that it lacked and lacks.
func (r *run) tally(at archive.Placement, before, after int) {
	r.count(func(p *Report) {
		for _, c := range []struct {
			list *[]int
			lack int
		}{{&p.Before, before}, {&p.After, after}} {
			for len(*c.list) <= c.lack {
				*c.list = append(*c.list, 0)
			}
			(*c.list)[c.lack]++
		}
		if after > 0 && after <= at.Geometry.M {
			p.Degraded++
		}
	})
}

func (r *run) setShort(name archive.PackName, l Loss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short[name] = l
}

// losses tells the packs that are lost from those whose upload was interrupted: a segment names the former.
func (r *run) losses(ctx context.Context) error {
	if len(r.short) == 0 {
		return nil
	}
	named := map[archive.PackName]bool{}
	unsure := r.a.Keys() == nil
	if !unsure {
		err := r.a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error {
			if err != nil && !archive.Unfinished(err) {
				named[archive.NameOf(id, chunk.Index)] = true
				unsure = true // nobody knows what it names
			}
			for i := range columns {
				named[archive.NameOf(columns[i].Pack, columns[i].Kind)] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	r.report.Unsure = unsure
	for name, l := range r.short {
		if !named[name] && !unsure {
			r.report.Unfinished++
			continue
		}
		if r.report.LostCount++; len(r.report.Lost) < maxLosses {
			r.report.Lost = append(r.report.Lost, l)
		}
		r.found(Finding{Object: name.String(), Problem: fmt.Sprintf("%d of the %d shards that a %s pack needs are good", l.Good, l.Need, l.Kind), Outcome: Left})
	}
	return nil
}
