package prune

import (
	"context"
	"fmt"
	"maps"

	"cairn/archive"
	"cairn/chunk"
	"cairn/index"
	"cairn/pack"
)

// countStranded finds the blobs of lost packs that have no live copy elsewhere, and those of them that can be had. Another collector may have
// condemned a pack with a copy that it took for superfluous, because it relied on the lost one: what is in such packs is copied, too.
func (s *surrender) countStranded(ctx context.Context) error {
	lost, ids := map[uint32]bool{}, map[uint32]pack.ID{}
	for info, err := range s.idx.Packs() {
		if err != nil {
			return err
		}
		if s.doomed[info.ID] {
			lost[info.Number] = true
		} else if info.State == index.Condemned {
			ids[info.Number] = info.ID
		}
	}
	s.stranded, s.rescuable, s.others = bitmap{}, 0, map[pack.ID]bool{}
	for _, t := range []chunk.Type{chunk.Data, chunk.Tree} {
		var group []index.Copy
		n := 0
		for c, err := range s.idx.Copies(t) {
			if err != nil {
				return err
			}
			if len(group) > 0 && group[0].ID != c.ID {
				s.strand(group, lost, ids)
				group = group[:0]
			}
			group = append(group, c)
			if n++; n%checkEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		s.strand(group, lost, ids)
	}
	return ctx.Err()
}

// strand judges the blob whose copies are given.
func (s *surrender) strand(group []index.Copy, lost map[uint32]bool, condemned map[uint32]pack.ID) {
	concerned := false
	var others []pack.ID
	for i := range group {
		switch c := &group[i]; {
		case c.State == index.Gone:
		case lost[c.Pack]:
			concerned = true
		case c.State == index.Live:
			return
		default:
			if id := condemned[c.Pack]; !s.tried[id] {
				others = append(others, id)
			}
		}
	}
	if !concerned {
		return
	}
	s.stranded.add(group[0].Number)
	if s.provable.has(group[0].Number) || len(others) > 0 {
		s.rescuable++
	}
	for _, id := range others {
		s.others[id] = true
	}
}

// CopyOut copies what can be read of the blobs that are stranded into new packs.
func (s *surrender) CopyOut(ctx context.Context) (bool, error) {
	if s.rescuable == 0 {
		return true, nil
	}
	s.Prune.o.Progress.enter(Copying)
	s.copied = bitmap{}
	sources := maps.Clone(s.doomed)
	maps.Copy(sources, s.others)
	maps.Copy(s.tried, s.others)
	before := s.Prune.report.Copied
	err := s.each(ctx, sources, s.rescue)
	s.out.Rescued += s.Prune.report.Copied - before
	return err == nil, err
}

// rescue copies the stranded blobs of one pack that can be opened.
func (s *surrender) rescue(ctx context.Context, id pack.ID, m *archive.Remains, columns []pack.Column) error {
	for i := range columns {
		c := &columns[i]
		numbers, err := s.numbers(c)
		if err != nil {
			return err
		}
		payload, good := m.Blobs(c)
		for _, j := range good {
			if !s.stranded.has(numbers[j]) || !s.copied.add(numbers[j]) {
				continue
			}
			if err := s.mover.Add(ctx, c, c.Entries[j], payload); err != nil {
				return err
			}
			s.Prune.report.Copied++
			s.Prune.report.CopiedBytes += int64(c.Entries[j].Stored)
		}
	}
	return nil
}

// Lacks says whether something that can be read has no copy outside of condemned packs: another collector has condemned it meanwhile.
func (s *surrender) Lacks(ctx context.Context) (bool, error) {
	s.Prune.o.Progress.enter(Counting)
	if err := s.countStranded(ctx); err != nil || s.rescuable == 0 {
		return false, err
	}
	if s.rounds++; s.rounds > maxRounds {
		return false, fmt.Errorf("other collectors condemned what this one copied, %d times", maxRounds)
	}
	return true, nil
}

// Absence is a member that lacks so many of the shards it should have that it may be an empty one in the place of the right one.
type Absence struct {
	Member            string
	Missing, Expected int // packs
}

// A member is suspicious that lacks half of its shards, and so many that they did not go one by one.
const (
	manyShards = 16
	absentPart = 2
)

// Absences looks for members that lack many shards of packs that are named.
func Absences(ctx context.Context, a *archive.Archive) ([]Absence, error) {
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	catalog, err := catalogOf(idx)
	if err != nil {
		return nil, err
	}
	lineups := map[pack.Geometry][]int{}
	for _, p := range a.Placements() {
		lineups[p.Geometry] = a.Lineup(p)
	}
	members := a.Members()
	list := make([]Absence, len(members))
	wanted := map[pack.ID]pack.Geometry{}
	for info, err := range catalog.Packs() {
		if err != nil {
			return nil, err
		}
		if stateOf(&info) != named {
			continue
		}
		wanted[info.ID] = info.Geometry
		for _, i := range lineups[info.Geometry] {
			list[i].Expected++
			list[i].Missing++
		}
	}
	errs, err := a.ListPacks(ctx, "binaries/", func(l *archive.PackListing) error {
		g, ok := wanted[l.Pack]
		for _, shard := range l.Shards {
			for _, i := range lineups[g] {
				if ok && i == shard.Member {
					list[i].Missing--
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var absent []Absence
	for i, m := range members {
		if m.Store == nil || errs[i] != nil {
			continue // it is away, which is something else
		}
		if l := list[i]; l.Missing >= manyShards && l.Missing*absentPart >= l.Expected {
			l.Member = m.Label
			absent = append(absent, l)
		}
	}
	return absent, nil
}
