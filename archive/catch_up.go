package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
	"cairn/snapshot"
)

// CatchUpReport tells what CatchUp found lacking and healed. Members are named by their addresses.
type CatchUpReport struct {
	Copied map[string]int // by member: key slots, snapshots and marks that it lacked and has now
	Shards map[string]int // by member: shards that it lacked, or that were bad, and that were read back good
	// Lacking names the members that are not there, or that still lack something that was looked at.
	Lacking []string
	Whole   map[pack.ID]bool // packs that were short or suspected, and have all their shards
	Lost    []*PackRepair    // packs with too few good shards to heal
	Left    int              // packs that were not looked at, because there are too many: for `cairn repair`
	Kept    []string         // sentences about what only the operator can decide
	Errs    []error          // what kept something from being healed
}

// Healed counts what was lacking and is not any more.
func (r *CatchUpReport) Healed() (n int) {
	for _, list := range []map[string]int{r.Copied, r.Shards} {
		for _, i := range list {
			n += i
		}
	}
	return n
}

// maxCatchUp bounds the packs that one CatchUp reads: a backup is not held up for hours by a member that was away for weeks.
// 256 packs of 4+2 are 12 GiB.
const maxCatchUp = 256

// CatchUp heals, after a backup, what members that were away before lack by now: it copies key slots, snapshots and marks,
// completes index packs, and makes the shards again that were noted by this machine (Suspects) or that the given
// snapshots list as degraded. What other machines left short in data packs is for `cairn repair`. It works from the
// listings that the backup made anyway, so that it costs one listing of keys/ when nothing is lacking. Nothing it
// cannot do is an error of the backup: it is in the report.
//
// Memory: one pack (see RepairPack). It may be ended at any moment, and goes on in the next run.
func (a *Archive) CatchUp(ctx context.Context, series []*snapshot.Snapshot) *CatchUpReport {
	c := &catchUp{a: a, report: &CatchUpReport{}, mirror: mirror{a: a, members: a.set.Members(), failed: map[int]bool{}},
		lacking: map[string]bool{}, alive: map[string]bool{}, seen: map[pack.ID]bool{}}
	c.mirror.answers = c.answers
	c.copies(ctx, keyPrefix)
	c.copies(ctx, recordPrefix)
	c.copies(ctx, snapshotPrefix)
	c.written(ctx)
	c.index(ctx)
	c.suspects(ctx)
	for _, s := range series {
		c.degraded(ctx, s)
	}
	c.finish(ctx)
	return c.report
}

// catchUp is one call of CatchUp.
type catchUp struct {
	a       *Archive
	report  *CatchUpReport
	mirror  mirror
	lacking map[string]bool
	alive   map[string]bool // by member: whether it answered when it was asked for the first time
	seen    map[pack.ID]bool
	packs   int
}

func (c *catchUp) fail(err error) { c.report.Errs = append(c.report.Errs, err) }

// listing returns what is lacking below a prefix: from the listing that was made in this run, or else from one made now.
func (c *catchUp) listing(ctx context.Context, prefix string) *lacking {
	seen := c.a.listings.take(prefix)
	if seen != nil {
		return seen
	}
	var err error
	if prefix == indexPrefix {
		_, err = c.a.listSegments(ctx)
	} else {
		_, _, err = c.a.listCopies(ctx, prefix)
	}
	if err != nil {
		c.fail(err)
		return &lacking{}
	}
	return c.a.listings.take(prefix)
}

// copies heals the mirrored objects below a prefix.
func (c *catchUp) copies(ctx context.Context, prefix string) {
	seen := c.listing(ctx, prefix)
	for _, name := range inOrder(maps.Keys(seen.objects)) {
		on := seen.objects[name]
		have := on
		for i := range have {
			have[i] |= seen.unlisted[i] // nothing is known of those
		}
		c.mirror.object(ctx, name, on, have, seen.uneven[name])
	}
}

// written heals what this run wrote to some members only: one may have been away for a moment.
func (c *catchUp) written(ctx context.Context) {
	short := c.a.listings.takeShort()
	for _, name := range inOrder(maps.Keys(short)) {
		c.mirror.object(ctx, name, short[name], short[name], false)
	}
}

// index completes the index packs that lack shards and have enough: with fewer than k, an upload was cut short, and they hold
// nothing.
func (c *catchUp) index(ctx context.Context) {
	seen := c.listing(ctx, indexPrefix)
	for _, name := range slices.Sorted(maps.Keys(seen.objects)) {
		id, kind, ok := pack.ParseName(name)
		if !ok || ctx.Err() != nil {
			continue
		}
		p, err := c.a.PlacementOf(ctx, id, kind)
		if err != nil {
			continue // the listing of the index told of it, or the check will
		}
		lack := c.a.lackOf(p, id, seen.objects[name], seen.unlisted)
		if p.Geometry.N()-len(lack) >= p.Geometry.K {
			c.pack(ctx, p, id, kind, lack)
		}
	}
}

// lackOf returns the shards of a pack that were not listed on their member, although that was listed.
func (a *Archive) lackOf(p Placement, id pack.ID, on, unlisted memberMask) (lack []int) {
	for j := range p.Geometry.N() {
		if i := a.memberIndex(p, id, j); !on.has(i) && !unlisted.has(i) {
			lack = append(lack, j)
		}
	}
	return lack
}

// memberIndex gives the place in Members of the member on which a shard lies.
func (a *Archive) memberIndex(p Placement, id pack.ID, shard int) int {
	for n, l := range a.card.layouts() {
		if a.placements[n].Geometry == p.Geometry {
			return slices.Index(a.ids, l.Members[pack.Member(id, shard, len(l.Members))])
		}
	}
	return 0 // not reached: p is one of the archive's
}

// suspects heals the packs of the shards that were noted.
func (c *catchUp) suspects(ctx context.Context) {
	byPack := map[Suspect][]int{} // by shard 0
	for s := range c.a.Suspects() {
		at := Suspect{s.Pack, s.Kind, 0}
		byPack[at] = append(byPack[at], s.Shard)
	}
	for _, s := range slices.SortedFunc(maps.Keys(byPack), func(a, b Suspect) int { return strings.Compare(string(a.Pack[:]), string(b.Pack[:])) }) {
		if ctx.Err() != nil {
			return
		}
		p, err := c.a.PlacementOf(ctx, s.Pack, s.Kind)
		var damage *PackDamage
		if errors.As(err, &damage) && Unfinished(err) { // it was removed, or never stored
			c.a.forget(s, byPack[s])
			continue
		}
		if err != nil {
			c.fail(err)
			continue
		}
		c.pack(ctx, p, s.Pack, s.Kind, slices.DeleteFunc(byPack[s], func(j int) bool { return j >= p.Geometry.N() }))
	}
}

// forget takes the shards of a pack that is nowhere off the list.
func (a *Archive) forget(of Suspect, shards []int) {
	var gone []Suspect
	for _, j := range shards {
		gone = append(gone, Suspect{of.Pack, of.Kind, j})
	}
	a.repairs.drop(gone)
}

// degraded heals the packs that a snapshot lists as stored with fewer than n shards. A snapshot whose packs are all whole, or
// gone, is not looked at again on this machine.
func (c *catchUp) degraded(ctx context.Context, s *snapshot.Snapshot) {
	if len(s.Degraded) == 0 || c.a.knownWhole(s.ID) {
		return
	}
	all := true
	for _, raw := range s.Degraded {
		id := pack.ID(raw)
		if ctx.Err() != nil {
			return
		}
		if c.seen[id] { // with the suspects
			all = false
			continue
		}
		if c.packs >= maxCatchUp {
			c.report.Left++
			all = false
			continue
		}
		all = c.degradedPack(ctx, id) && all
	}
	if all && len(c.lacking) == 0 {
		c.a.noteWhole(s.ID)
	}
}

// degradedPack asks all members for a pack's shards, and heals it when one lacks its own. It says whether the pack is whole, or
// gone from all.
func (c *catchUp) degradedPack(ctx context.Context, id pack.ID) bool {
	gone := 0
	for _, kind := range []chunk.Type{chunk.Data, chunk.Index} {
		p, err := c.a.PlacementOf(ctx, id, kind)
		if Unfinished(err) {
			gone++
			continue
		}
		if err != nil {
			c.fail(err)
			return false
		}
		lack := c.absentShards(ctx, p, id, kind)
		if len(lack) == p.Geometry.N() {
			gone++
			continue
		}
		if len(lack) == 0 {
			return true
		}
		return c.pack(ctx, p, id, kind, lack)
	}
	return gone == 2
}

// absentShards asks for each shard. One whose member does not answer is absent.
func (c *catchUp) absentShards(ctx context.Context, p Placement, id pack.ID, kind chunk.Type) []int {
	members, errs := p.Set.Members(), make([]error, p.Geometry.N())
	for j := range errs {
		if !c.answers(ctx, members[pack.Member(id, j, len(errs))]) {
			errs[j] = errNotOpened
		}
	}
	eachShard(len(errs), func(j int) {
		if errs[j] == nil {
			_, errs[j] = members[pack.Member(id, j, len(errs))].Store.Stat(ctx, id.Name(kind))
		}
	})
	var lack []int
	for j, err := range errs {
		if err != nil {
			lack = append(lack, j)
		}
	}
	return lack
}

// pack heals one pack of which some shards are thought missing or bad, if a member of one of those is there. It says whether
// the pack is whole now.
func (c *catchUp) pack(ctx context.Context, p Placement, id pack.ID, kind chunk.Type, shards []int) bool {
	if c.seen[id] {
		return false
	}
	c.seen[id] = true
	there := false
	for _, j := range shards {
		m := p.Set.Members()[pack.Member(id, j, p.Geometry.N())]
		if c.answers(ctx, m) {
			there = true
		} else {
			c.lacking[m.Label] = true
		}
	}
	if !there {
		return false
	}
	if c.packs++; c.packs > maxCatchUp {
		c.report.Left++
		for _, j := range shards {
			c.lacking[p.MemberOf(id, j)] = true
		}
		return false
	}
	r, err := c.a.RepairPack(ctx, p, id, kind, RepairOptions{})
	if err != nil {
		if ctx.Err() == nil {
			c.fail(err)
		}
		return false
	}
	if !slices.ContainsFunc(r.Shards, func(s ShardRepair) bool { return s.Before != ShardMissing }) || r.Lost != nil {
		// Removed, or lost: that is told once, and again when somebody reads it. To read what is left of it after each
		// backup would help nobody.
		c.a.forget(suspect(id, kind, 0), shards)
	}
	c.note(r)
	return r.Whole()
}

// note takes over what became of a pack.
func (c *catchUp) note(r *PackRepair) {
	if r.Lost != nil {
		if slices.ContainsFunc(r.Shards, func(s ShardRepair) bool { return s.Before != ShardMissing }) {
			c.report.Lost = append(c.report.Lost, r)
		}
		return
	}
	if r.Whole() {
		if c.report.Whole == nil {
			c.report.Whole = map[pack.ID]bool{}
		}
		c.report.Whole[r.Pack] = true
	}
	for i := range r.Shards {
		s := &r.Shards[i]
		switch {
		case s.Healed():
			if c.report.Shards == nil {
				c.report.Shards = map[string]int{}
			}
			c.report.Shards[s.Member]++
		case s.After != ShardGood:
			c.lacking[s.Member] = true
			if s.WriteErr != nil {
				c.alive[s.Member] = false // it is full, say: what it lacks besides is for the next run
				c.fail(fmt.Errorf("shard %d of pack %s on %s: %w", s.Shard, r.Pack.Short(), s.Member, s.WriteErr))
			}
		}
	}
}

// answerWithin bounds the wait for a member that is asked whether it is there, and benchedWithin for one that the backup went on
// without: one that was away for a moment is back, and one that hangs was waited for once already.
const (
	answerWithin  = 5 * time.Second
	benchedWithin = time.Second
)

// answers says whether a member is there: it is asked for its card, once.
func (c *catchUp) answers(ctx context.Context, m stripe.Member) bool {
	if m.Store == nil {
		return false
	}
	ok, known := c.alive[m.Label]
	if !known {
		within := answerWithin
		if m.Benched {
			within = benchedWithin
		}
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		_, err := m.Store.Stat(ctx, cardName)
		ok = err == nil || errors.Is(err, remote.ErrNotExist)
		c.alive[m.Label] = ok
	}
	return ok
}

// finish puts the report together.
func (c *catchUp) finish(ctx context.Context) {
	r, m := c.report, &c.mirror.report
	r.Copied, r.Kept = m.Copied, m.Kept
	r.Errs = append(r.Errs, m.Errs...)
	for i, member := range c.mirror.members {
		if member.Store == nil || c.mirror.failed[i] {
			c.lacking[member.Label] = true
		}
	}
	r.Lacking = slices.Sorted(maps.Keys(c.lacking))
	if err := ctx.Err(); err != nil {
		c.fail(err)
	}
}
