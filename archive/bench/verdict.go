package bench

import (
	"cmp"
	"slices"
)

// Limit is something that no more can go through.
type Limit struct {
	Name string  // a stage, or the label of a member; "processor" for all stages together
	Rate float64 // bytes of files a second
	// Stage is what takes most of the processor's time.
	Stage *Stage
	// Member is set if it is one.
	Member *Member
}

// Work is something that an archive does, with what limits it: the lowest limit first.
type Work struct {
	Name   string
	What   string // for people
	Limits []Limit
}

// Rate is how fast the work goes; 0 when nothing is known.
func (w *Work) Rate() float64 {
	if len(w.Limits) == 0 {
		return 0
	}
	return w.Limits[0].Rate
}

// Processor is the name of the limit that all stages together are.
const Processor = "processor"

// share is how many bytes a stage works on for each byte of files.
type share struct {
	stage string
	share float64
}

// Verdict says how fast an archive works here, and why not faster. All steps use the same cores, so their times add up, while the
// members work beside them. A member takes 1/k of what is stored, since it gets one shard of each pack (all n, if it is the only one); reading
// asks all in turn.
func (r *Report) Verdict() []Work {
	ratio, restored := r.Ratio, "a restore of data like the sample"
	if ratio == 0 { // the machine was left out
		ratio, restored = 1, "a restore of data that does not compress"
	}
	members := float64(len(r.Members))
	put := float64(r.Geometry.K) * members / float64(max(1, r.Geometry.N()))
	works := []struct {
		name, what string
		stages     []share
		member     func(*Member) float64 // bytes of its own a second
		spread     float64               // bytes of files for each of them
	}{
		{"backup-new", "a backup of new data like the sample", []share{{Cut, 1}, {Hash, 1}, {Seal, 1}, {Pack, 1 / ratio}},
			func(m *Member) float64 { return m.PutRate }, put * ratio},
		{"backup-random", "a backup of new data that does not compress", []share{{Cut, 1}, {Hash, 1}, {Encrypt, 1}, {Pack, 1}},
			func(m *Member) float64 { return m.PutRate }, put},
		{"backup-known", "reading data that the archive has", []share{{Cut, 1}, {Hash, 1}}, nil, 0},
		{"restore", restored, []share{{Open, 1}},
			func(m *Member) float64 { return m.GetRate }, members * ratio},
	}
	var list []Work
	for _, w := range works {
		if r.Ratio == 0 && w.name == "backup-new" {
			continue
		}
		work := Work{Name: w.name, What: w.what}
		if l, ok := r.processor(w.stages); ok {
			work.Limits = append(work.Limits, l)
		}
		for _, m := range r.Members {
			if w.member != nil && w.member(m) > 0 {
				work.Limits = append(work.Limits, Limit{Name: m.Label, Rate: w.member(m) * w.spread, Member: m})
			}
		}
		slices.SortStableFunc(work.Limits, func(a, b Limit) int { return cmp.Compare(a.Rate, b.Rate) })
		if len(work.Limits) > 0 {
			list = append(list, work)
		}
	}
	return list
}

// processor adds up what a byte costs in all stages.
func (r *Report) processor(stages []share) (Limit, bool) {
	l := Limit{Name: Processor}
	seconds, most := 0.0, 0.0
	for _, s := range stages {
		stage := r.Stage(s.stage)
		if stage == nil || stage.Best() == 0 {
			return l, false
		}
		took := s.share / stage.Best()
		seconds += took
		if took > most {
			most, l.Stage = took, stage
		}
	}
	l.Rate = 1 / seconds
	return l, true
}
