package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// ReplaceOptions say how Replace works.
type ReplaceOptions struct {
	// Reopen opens the archive with these members: after the cards were written.
	Reopen   func(ctx context.Context, members []archive.Member) (*archive.Archive, error)
	DryRun   bool         // count only
	Progress *Progress    // may be nil
	Notice   func(string) // may be nil
}

// ReplaceReport tells what Replace did, counted by what was read back.
type ReplaceReport struct {
	Old      archive.MemberInfo
	OldReads bool   // the old member answered
	ID       string // of the new member
	// Expected is how many shards belong on the new member, Present how many of them are there and proved themselves when they were
	// read back: Kept were there already (a run that was interrupted), Copied come from the old member, Rebuilt from the others.
	Expected, Present     int
	Kept, Copied, Rebuilt int
	Bytes                 int64 // of all shards that belong there
	Copies                int   // mirrored objects written
	// Failed are packs whose shard could not be made, with the reason.
	Failed map[pack.ID]error
	// Weak counts packs with fewer than k shards, from which nothing can be made: cut-short uploads, or lost.
	Weak  int
	Cards []archive.CardWrite
}

// buildAtOnce packs are rebuilt at the same time: each takes up to n shards of memory, 48 MiB with 4+2.
const buildAtOnce = 3

// maxPasses bounds how often the listings are compared while others write: each pass finds less than the one before.
const maxPasses = 100

// Replace puts a new, empty member into the place of an old one, which may be gone. The new one gets all mirrored objects
// and every shard that belongs there: copied from the old member where that has one that proves itself, made from k others
// otherwise. When a listing shows nothing more, the cards are written, the new member's first; then what others wrote
// meanwhile is brought as well. It returns the archive as it is now, for the caller to close.
//
// Interrupted at any point it can be run again: shards that are on the new member are read, proved and kept.
func Replace(ctx context.Context, a *archive.Archive, old string, m archive.Member, o ReplaceOptions) (*ReplaceReport, *archive.Archive, error) {
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	m.Store = a.Guarded(m.Store)
	r := &replacer{a: a, o: o, to: m, copies: copier{notice: o.Notice}, done: map[pack.ID]bool{}, failed: map[pack.ID]error{}, report: &ReplaceReport{}}
	joined, err := newcomer(ctx, a, m)
	if err != nil {
		return r.report, nil, err
	}
	info, findErr := Find(a, old)
	if joined != "" {
		if findErr == nil && info.ID != joined {
			return r.report, nil, fmt.Errorf("%s is a member of the archive already, and not in the place of %s", m.URL, old)
		}
		r.report.Old = info // what is left of it: its cards name the new one
		b, err := r.finish(ctx, joined)
		return r.report, b, err
	}
	if findErr != nil {
		return r.report, nil, findErr
	}
	r.report.Old, r.old = info, info.Store
	change, err := a.PlanReplace(info.ID)
	if err != nil {
		return r.report, nil, err
	}
	r.id = change.New()[0]
	r.report.ID = r.id
	r.places = placesOf(change.Layouts(), change.Placements(map[string]remote.Store{r.id: m.Store}), r.id)
	if o.DryRun {
		_, err := r.survey(ctx)
		return r.report, nil, err
	}
	if err := r.fill(ctx); err != nil {
		return r.report, nil, err
	}
	if r.report.Cards, err = a.WriteCards(ctx, change, map[string]remote.Store{r.id: m.Store}); err != nil {
		return r.report, nil, err
	}
	b, err := r.finish(ctx, r.id)
	return r.report, b, err
}

// Find finds the member that is meant: by number, id, or address, also that of a member which is not there.
func Find(a *archive.Archive, name string) (archive.MemberInfo, error) {
	var found []archive.MemberInfo
	for _, m := range a.Members() {
		if name == m.ID || name == m.URL && name != "" || name == m.Label || m.Number >= 0 && name == strconv.Itoa(m.Number) {
			found = append(found, m)
		}
	}
	const hint = "`cairn member list` shows the members with their numbers and ids"
	switch {
	case len(found) == 0:
		return archive.MemberInfo{}, remote.WithHint(fmt.Errorf("no member of the archive is called %q", name), hint)
	case len(found) > 1:
		return archive.MemberInfo{}, remote.WithHint(fmt.Errorf("%q may mean %d members", name, len(found)), hint)
	}
	// The address of a member that is not there is a guess as soon as several are missing.
	missing := 0
	for _, m := range a.Members() {
		if m.Store == nil {
			missing++
		}
	}
	if m := found[0]; m.Store == nil && missing > 1 && name != m.ID && name != strconv.Itoa(m.Number) {
		return m, remote.WithHint(fmt.Errorf("%d members are missing, and nothing tells which of them was at %s", missing, name), "name it by its number; "+hint)
	}
	return found[0], nil
}

// replacer is one call of Replace.
type replacer struct {
	a      *archive.Archive
	o      ReplaceOptions
	to     archive.Member
	id     string
	old    remote.Store // nil when it is gone
	places []newPlace
	copies copier
	report *ReplaceReport

	mu       sync.Mutex
	oldFails int
	done     map[pack.ID]bool // shards that were read back from the new member
	failed   map[pack.ID]error
}

// newPlace is a layout in which the new member has a place.
type newPlace struct {
	archive.Placement
	number int // of the new member; -1: none
}

func placesOf(layouts []archive.Layout, placements []archive.Placement, id string) []newPlace {
	var list []newPlace
	for i, p := range placements {
		list = append(list, newPlace{p, slices.Index(layouts[i].Members, id)})
	}
	return list
}

// finish opens the archive with its new member and brings there what others wrote meanwhile.
func (r *replacer) finish(ctx context.Context, id string) (*archive.Archive, error) {
	members := []archive.Member{r.to}
	for _, m := range r.a.Members() {
		if m.Store != nil && m.ID != id && m.ID != r.report.Old.ID {
			members = append(members, archive.Member{URL: m.URL, Store: m.Store})
		}
	}
	b, err := r.o.Reopen(ctx, members)
	if err != nil {
		return nil, fmt.Errorf("open the archive with its new member: %w", err)
	}
	if err := r.renewCards(ctx, b); err != nil {
		return b, err
	}
	r.a, r.id, r.report.ID = b, id, id
	r.places = nil
	for _, p := range b.Placements() {
		r.places = append(r.places, newPlace{p, slices.IndexFunc(p.Set.Members(), func(m stripe.Member) bool { return m.Label == r.to.URL })})
	}
	return b, r.fill(ctx)
}

// renewCards writes the cards that an interrupted run did not come to.
func (r *replacer) renewCards(ctx context.Context, b *archive.Archive) error {
	list, err := b.RenewCards(ctx, false)
	for _, c := range list {
		if c.Err != nil {
			r.o.Notice(fmt.Sprintf("card of %s: %v", c.Member, c.Err))
		}
	}
	return err
}

// fill brings copies and shards until a pass finds nothing to do but what cannot be done.
func (r *replacer) fill(ctx context.Context) error {
	r.failed = map[pack.ID]error{}
	r.report.Failed = r.failed
	for range maxPasses {
		n := 0
		if at := r.places[0]; at.number >= 0 { // members of the current layout have copies
			var err error
			n, err = r.copies.fill(ctx, r.a, at.Placement, at.Set.Members()[at.number].Label)
			r.report.Copies += n
			if err != nil {
				return err
			}
		}
		todo, err := r.survey(ctx)
		if err != nil {
			return err
		}
		if len(todo) == 0 && n == 0 {
			return nil
		}
		if err := r.build(ctx, todo); err != nil {
			return err
		}
	}
	return errors.New("others write faster than the new member can be filled: run the command again later")
}

// task is a shard that belongs on the new member and is not known to be there.
type task struct {
	id    pack.ID
	kind  chunk.Type
	at    archive.Placement
	shard int
	size  int64
}

// survey compares the listings: which shards belong on the new member, and which of those are still to be made.
func (r *replacer) survey(ctx context.Context) ([]task, error) {
	packs, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	rep := r.report
	rep.Expected, rep.Present, rep.Bytes, rep.Weak = 0, 0, 0, 0
	var todo []task
	var bytes int64
	for id, p := range packs {
		at, err := r.placeOf(ctx, id, p.kind)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			rep.Weak++ // nobody has a header of it
			continue
		}
		if at.number < 0 {
			continue
		}
		size := rightSize(p.at)
		good := 0
		for _, s := range p.at {
			if s.size == size {
				good++
			}
		}
		if good < at.Geometry.K && !r.done[id] {
			rep.Weak++
			continue
		}
		rep.Expected++
		rep.Bytes += size
		if r.done[id] {
			rep.Present++
		} else if _, failed := r.failed[id]; !failed {
			todo = append(todo, task{id, p.kind, at.Placement, pack.ShardOn(id, at.number, at.Geometry.N()), size})
			bytes += size
		}
	}
	rep.OldReads = r.old != nil
	pr := r.o.Progress
	pr.TotalPacks.Store(pr.Packs.Load() + uint64(len(todo)))
	pr.TotalBytes.Store(pr.Bytes.Load() + uint64(bytes))
	slices.SortFunc(todo, func(a, b task) int { return slices.Compare(a.id[:], b.id[:]) })
	return todo, nil
}
