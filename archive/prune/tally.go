package prune

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
	n := g.a.Geometry()
	freed := float64(0)
	for _, p := range d.repack {
		r.Repacked.add(p)
		freed -= float64(p.used) * float64(n.N()) / float64(n.K)
	}
	r.Unused, r.Bounded = d.left, d.bounded
	if g.o.DryRun {
		for _, p := range d.repack {
			r.Copied += uint64(p.usedBlobs)
			r.CopiedBytes += p.used
		}
		r.Estimate = freed + float64(r.Unneeded.Bytes+r.Orphans.Bytes+r.Zombies.Bytes+r.Repacked.Bytes)
	}
}

func (a *Amount) sub(p *packUse) {
	a.Packs--
	a.Bytes -= p.listed
}

// condemned says whether a record was published.
func (r *Report) condemned() bool { return r.Records > 0 }
