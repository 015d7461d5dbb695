package prune

import "cairn/chunk"

// tally puts what was decided into the report.
func (g *Prune) tally(d decision) {
	r := g.report
	for _, p := range g.packs {
		r.Total.add(p)
		if p.busy {
			r.Busy.add(p)
		}
	}
	for _, s := range g.segments {
		r.Index.Packs++
		r.Index.Bytes += s.bytes
	}
	for _, p := range d.condemn {
		switch p.state {
		case unnamed:
			r.Orphans.add(p)
		case condemned:
			r.Zombies.add(p)
		default:
			r.Unneeded.add(p)
		}
	}
	var used [chunk.Tree + 1]int64
	for _, p := range d.repack {
		r.Repacked.add(p)
		used[p.kind] += p.used
	}
	r.Unused, r.Bounded = d.left, d.bounded
	if g.o.DryRun {
		for _, p := range d.repack {
			r.Copied += uint64(p.usedBlobs)
			r.CopiedBytes += p.used
		}
		m := g.measure()
		r.Estimate = r.Unneeded.Bytes + r.Orphans.Bytes + r.Zombies.Bytes + r.Repacked.Bytes - m.cost(used[chunk.Data]) - m.cost(used[chunk.Tree])
	}
}

func (a *Amount) sub(p *packUse) {
	a.Packs--
	a.Bytes -= p.listed
}

// condemned says whether a record was published.
func (r *Report) condemned() bool { return r.Records > 0 }
