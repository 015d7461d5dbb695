package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"cairn/archive"
	"cairn/pack"
	"cairn/remote/stripe"
)

// run is one call of Run.
type run struct {
	a *archive.Archive
	o Options

	mu     sync.Mutex
	report Report

	inv      *archive.Inventory
	layouts  []layout
	suspects map[archive.PackName]bool
	short    map[archive.PackName]bool      // packs with too few good shards: lost, or left by an interrupted upload
	last     bool                           // losses: what is short now is lost
	named    map[archive.PackName][]pack.ID // packs that are short, or that no member lists: the segments that name them
	segments map[pack.ID]bool               // that were read
	held     map[archive.PackName]func()    // tells of a pack that is lost, if it is still wanted
	memory   *semaphore.Weighted
}

// layout is a placement with the inventory's numbers of its members.
type layout struct {
	archive.Placement
	lineup []int
}

// Run repairs. The report is as far as it came, also with an error; a *stripe.TooFewError means that fewer members are there
// than the current layout needs.
func Run(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	r := newRun(a, o)
	if err := r.enough(); err != nil {
		return &r.report, err
	}
	for _, step := range []func(context.Context) error{r.cards, r.copies, r.survey, r.packs, r.losses} {
		if err := step(ctx); err != nil {
			return &r.report, err
		}
		if err := ctx.Err(); err != nil {
			return &r.report, err
		}
		if r.report.Reopen {
			break
		}
	}
	return &r.report, nil
}

func newRun(a *archive.Archive, o Options) *run {
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	r := &run{a: a, o: o, suspects: map[archive.PackName]bool{}, short: map[archive.PackName]bool{}, memory: semaphore.NewWeighted(budget),
		named: map[archive.PackName][]pack.ID{}, segments: map[pack.ID]bool{}, held: map[archive.PackName]func(){}}
	r.report.Lacking = map[string]int{}
	return r
}

// enough notes the members that are away, and fails at once if too few are left to repair anything.
func (r *run) enough() error {
	g := r.a.Geometry()
	few := &stripe.TooFewError{Need: g.K}
	for _, m := range r.a.Set().Members() {
		if m.Store != nil {
			few.Have++
			continue
		}
		r.away(m.Label)
		few.Missing = append(few.Missing, m.Label)
		few.Causes = append(few.Causes, fmt.Errorf("%s: %w", m.Label, m.Err))
	}
	if few.Have < g.K {
		return few
	}
	return nil
}

// away notes a member of whose shards and copies nothing is known.
func (r *run) away(label string) {
	if !slices.Contains(r.report.Away, label) {
		r.report.Away = append(r.report.Away, label)
	}
}

// found records a finding.
func (r *run) found(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch f.Outcome {
	case Healed:
		r.o.Progress.Healed.Add(1)
	case Left:
		if f.Member != "" && f.Err != nil {
			r.report.Unwritten++
		}
	}
	if r.o.Found != nil {
		r.o.Found(f)
	}
}

func (r *run) count(add func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add(&r.report)
}

// cards renews the cards of the members that are there. One that was left out for its card can be used from now on, by an
// archive that is opened anew.
func (r *run) cards(ctx context.Context) error {
	if r.a.Keys() == nil {
		for _, bad := range r.a.BadCards() {
			r.found(Finding{Object: "cairn.json", Member: bad.Member, Problem: bad.Err.Error(), Outcome: Left, Err: errors.New("a key is needed to make a card")})
		}
		return nil
	}
	used := map[string]bool{}
	for _, m := range r.a.Set().Members() {
		used[m.Label] = m.Store != nil
	}
	renewals, err := r.a.RenewCards(ctx, r.o.DryRun)
	if err != nil {
		return err
	}
	for _, c := range renewals {
		f := Finding{Object: "cairn.json", Member: c.Member, Problem: c.Was, Err: c.Err}
		switch {
		case c.Err != nil:
			f.Outcome = Left
		case r.o.DryRun:
			f.Outcome = Planned
		default:
			r.report.Reopen = r.report.Reopen || !used[c.Member]
		}
		if c.Err == nil {
			r.count(func(p *Report) { p.Cards++ })
		}
		r.found(f)
	}
	return nil
}
