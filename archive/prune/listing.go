package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// smallRequests is how many requests without much content are under way at once.
const smallRequests = 8

// everyMember is the hint for a collector that lacks a member.
const everyMember = "prune needs every member, because one that is away may have a snapshot that needs what would be deleted: bring it back, or replace it with `cairn member replace`"

// allThere fails unless every member is. One that only former layouts have may be gone for good, when nothing lies in them any more.
func (g *Prune) allThere() error {
	members := g.a.Members()
	errs := make([]error, len(members))
	for i, m := range members {
		if m.Store != nil {
			continue
		}
		former, err := g.former(i)
		if err != nil {
			return err
		}
		if former {
			g.gone[i] = true
			continue
		}
		if errs[i] = m.Err; m.Err == nil {
			errs[i] = errors.New("it was not named")
		}
	}
	return g.lacking("prune", errs)
}

// former says whether a member is in former layouts only, and no pack is in those.
func (g *Prune) former(member int) (bool, error) {
	if g.a.Members()[member].Number >= 0 {
		return false, nil
	}
	for info, err := range g.idx.Packs() {
		if err != nil {
			return false, err
		}
		if at, ok := g.placementOf(info.Geometry); ok && info.Columns != 0 && slices.Contains(g.a.Lineup(at), member) {
			return false, nil
		}
	}
	return true, nil
}

// lacking is the error that some members could not do something, or nil. errs is by member.
func (g *Prune) lacking(what string, errs []error) error {
	few := &stripe.TooFewError{}
	for i, err := range errs {
		if g.gone[i] {
			continue
		}
		if few.Need++; err == nil {
			few.Have++
			continue
		}
		label := g.a.Members()[i].Label
		few.Missing = append(few.Missing, label)
		few.Causes = append(few.Causes, fmt.Errorf("%s: %w", label, err))
	}
	if len(few.Missing) == 0 {
		return nil
	}
	return remote.WithHint(fmt.Errorf("%s: %w", what, few), everyMember)
}

// onAll calls fn for each member at once.
func (g *Prune) onAll(ctx context.Context, what string, fn func(ctx context.Context, i int, m archive.MemberInfo) error) error {
	members := g.a.Members()
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		if m.Store == nil {
			errs[i] = errors.New("it is not there any more")
			continue
		}
		wg.Go(func() { errs[i] = fn(ctx, i, m) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return g.lacking(what, errs)
}

// list lists a prefix on all members. fn is called by one goroutine at a time.
func (g *Prune) list(ctx context.Context, prefix string, fn func(member int, info remote.Info)) error {
	var mu sync.Mutex
	return g.onAll(ctx, "list "+prefix, func(ctx context.Context, i int, m archive.MemberInfo) error {
		for info, err := range m.Store.List(ctx, prefix) {
			if err != nil {
				return err
			}
			mu.Lock()
			fn(i, info)
			mu.Unlock()
		}
		return nil
	})
}

// listPacks makes the one listing of packs, index packs, sessions and records.
func (g *Prune) listPacks(ctx context.Context) error {
	g.packs, g.segments = map[pack.ID]*packUse{}, map[pack.ID]listed{}
	errs, err := g.a.ListPacks(ctx, "binaries/", func(l *archive.PackListing) error {
		g.packs[l.Pack] = &packUse{id: l.Pack, state: unnamed, shards: uint32(len(l.Shards)), listed: bytesOf(l)}
		return nil
	})
	if err == nil {
		err = g.lacking("list binaries/", errs)
	}
	if err != nil {
		return err
	}
	errs, err = g.a.ListPacks(ctx, "index/", func(l *archive.PackListing) error {
		size := int64(0)
		for _, s := range l.Shards {
			size = max(size, s.Size)
		}
		g.segments[l.Pack] = listed{size, len(l.Shards), bytesOf(l)}
		return nil
	})
	if err == nil {
		err = g.lacking("list index/", errs)
	}
	if err != nil {
		return err
	}
	if g.atWork, err = g.sessions(ctx); err != nil {
		return err
	}
	g.report.SessionsAtWork = len(g.atWork)
	return g.listRecords(ctx)
}

func bytesOf(l *archive.PackListing) (n int64) {
	for _, s := range l.Shards {
		n += s.Size
	}
	return n
}

// sessions finds the sessions at work. A dry run has none of its own whose time it could compare, and takes the local clock.
func (g *Prune) sessions(ctx context.Context) (map[seal.SessionID]bool, error) {
	if g.mover != nil {
		atWork, dead, err := g.a.SessionsAtWork(ctx, g.mover.Session(), g.o.SessionAge)
		for _, id := range dead {
			_ = g.a.RemoveSession(ctx, id) // a store may refuse it; they are small
		}
		return atWork, err
	}
	atWork := map[seal.SessionID]bool{}
	err := g.list(ctx, "sessions/", func(_ int, info remote.Info) {
		id, err := seal.ParseSessionID(strings.TrimPrefix(info.Name, "sessions/"))
		if err == nil && time.Since(info.Modified) < g.o.SessionAge {
			atWork[id] = true
		}
	})
	return atWork, err
}

// listRecords finds out which packs are condemned by records that all members have: those need not be condemned once more.
func (g *Prune) listRecords(ctx context.Context) error {
	members := len(g.a.Members()) - len(g.gone)
	on := map[chunk.ID]int{}
	if err := g.list(ctx, "gc/", func(_ int, info remote.Info) {
		if id, ok := archive.ParseRecordName(info.Name); ok {
			on[id]++
		}
	}); err != nil {
		return err
	}
	records, err := g.a.Records(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(records, func(r *archive.Record) bool { return on[r.ID] < members }) {
		if err := g.mirror(ctx); err != nil {
			return err
		}
	}
	g.settled = map[pack.ID]bool{}
	for _, r := range records {
		if on[r.ID] != members {
			continue
		}
		for _, id := range r.Packs {
			_, listed := g.packs[id]
			if _, segment := g.segments[id]; listed || segment {
				g.settled[id] = true
			}
		}
	}
	return nil
}

// mirror completes records that a collector which was stopped, or somebody who forgot snapshots while a member was away, put on some members only.
func (g *Prune) mirror(ctx context.Context) error {
	if g.mover == nil {
		return nil
	}
	r, err := g.a.Mirror(ctx, g.a.Placements()[0])
	if err == nil {
		err = errors.Join(r.Errs...)
	}
	if err != nil {
		return fmt.Errorf("copy to the members what all of them must have: %w", err)
	}
	return nil
}

// describePacks completes what the listing says of packs with what the index says, and asks the headers of those that it does not name.
func (g *Prune) describePacks(ctx context.Context) error {
	var late []*packUse
	g.byNumber = nil
	for info, err := range g.idx.Packs() {
		if err != nil {
			return err
		}
		for uint32(len(g.byNumber)) <= info.Number {
			g.byNumber = append(g.byNumber, nil)
		}
		p := g.packs[info.ID]
		if p == nil {
			if info.Segments == 0 && info.Columns == 0 {
				continue // neither listed nor named: gone
			}
			p = &packUse{id: info.ID}
			g.packs[info.ID] = p
		}
		p.number, p.kind, p.geometry, p.length = info.Number, info.Kind, info.Geometry, info.L
		p.state = stateOf(&info)
		p.busy = p.state != condemned && (p.late || g.atWork[info.Session.ID])
		if g.byNumber[info.Number] = p; !p.whole() {
			late = append(late, p)
		}
	}
	if err := g.askLate(ctx, late); err != nil {
		return err
	}
	return g.judgeUnnamed(ctx)
}

// askLate asks for packs that are named and were not listed with enough shards: they came while the listing was made, or they are lost.
func (g *Prune) askLate(ctx context.Context, late []*packUse) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(smallRequests)
	for _, p := range late {
		group.Go(func() error {
			at, ok := g.placementOf(p.geometry)
			if !ok {
				return nil
			}
			p.shards, p.listed = 0, 0
			for _, m := range at.Set.Members() {
				info, err := m.Store.Stat(groupCtx, p.id.Name(p.kind))
				switch {
				case errors.Is(err, remote.ErrNotExist):
				case err != nil:
					return remote.WithHint(fmt.Errorf("look for pack %s on %s: %w", p.id.Short(), m.Label, err), everyMember)
				default:
					p.shards++
					p.listed += info.Size
				}
			}
			p.late = p.whole() // it is new: not ours to judge yet
			p.busy = p.busy || p.late && p.state != condemned
			return nil
		})
	}
	return group.Wait()
}

func (g *Prune) placementOf(geom pack.Geometry) (archive.Placement, bool) {
	for _, p := range g.a.Placements() {
		if p.Geometry == geom {
			return p, true
		}
	}
	return archive.Placement{}, false
}

// judgeUnnamed finds out of the packs that nobody names whether they are condemned and, if anybody is at work, whose they are.
func (g *Prune) judgeUnnamed(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(smallRequests)
	for _, p := range g.packs {
		if p.state != unnamed || p.kind == chunk.Index {
			continue
		}
		is, err := g.idx.Condemned(p.id)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		if is {
			p.state = condemned
			continue
		}
		if len(g.atWork) == 0 {
			continue
		}
		group.Go(func() error {
			h, err := g.a.PackHeader(groupCtx, p.id, chunk.Data)
			if groupCtx.Err() != nil {
				return groupCtx.Err()
			}
			p.busy = err != nil || g.atWork[h.Session.ID]
			return nil
		})
	}
	return group.Wait()
}
