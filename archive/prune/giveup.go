package prune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// GiveUpOptions say which packs are given up, and how.
type GiveUpOptions struct {
	// Packs are said to be lost, by a repair that has read them. Each is read again.
	Packs  []pack.ID
	DryRun bool // look only
	// Agree is asked before anything is written, when packs are lost that no record condemns. Its error ends everything. May be nil.
	Agree    func(context.Context, *GivenUp) error
	Target   int // see Options
	Program  string
	Progress *Progress
	Notice   func(string)
}

// GivenUp tells what GiveUp found and did. With DryRun it tells what would be done.
type GivenUp struct {
	Packs    []LostPack     // in the order of their ids
	Fresh    int            // of those: that no record condemned before
	Readable []pack.ID      // that were said to be lost, and can be read
	Missing  map[string]int // by member: shards of lost packs that are not there
	Bad      map[string]int // and that do not prove themselves
	// Stranded are blobs that have no copy elsewhere; Rescued of them could be read, and are stored anew. The others are given up.
	Stranded, Rescued uint64
	RescuedBytes      int64
	WrittenBytes      int64 // on all members, for them and for the index
	Records, Segments int   // published, and index packs that were replaced
	Deleted, Locked   Amount
	LockedSegments    int
	Came              []chunk.ID // snapshots that were published meanwhile
}

// GaveUp is how many blobs are given up.
func (r *GivenUp) GaveUp() uint64 { return r.Stranded - min(r.Stranded, r.Rescued) }

// LostPack is a pack of which too few shards are good.
type LostPack struct {
	Pack       pack.ID
	Kind       chunk.Type
	Good, Need int
}

// GiveUp takes packs that are lost beyond parity out of the archive, so that nobody relies on them any more: whoever has what they held, a
// backup's source most of all, stores it anew, and every snapshot that needs it is whole again. It is a collection like another one (see
// Collection) with three differences:
//
//   - What it condemns are the packs that are lost. Those that a record condemns, that are named still and cannot be read, are among them: left by
//     one of these that was stopped.
//   - It copies out every blob that it can read and that has no copy elsewhere, needed or not: it need not know what snapshots need.
//   - What it cannot read it gives up. A snapshot that needs that is damaged before and after.
//
// A writer that relies on a lost pack learns from the record, after it has published, that the pack is condemned, does not find in it what it
// needs, and reads its source again (archive.ErrStoreAnew).
//
// A crash leaves lost packs that are condemned. The next one of these finishes; so does the next Run that finds everything which
// complete snapshots need. Until then Run ends with a DamageError, as it does before.
//
// Memory: three bits for each blob that the index has seen, one segment, and the shards of one pack.
func GiveUp(ctx context.Context, a *archive.Archive, o GiveUpOptions) (*GivenUp, error) {
	g, err := Begin(ctx, a, Options{DryRun: o.DryRun, Target: o.Target, Program: o.Program, Progress: o.Progress, Notice: o.Notice})
	if err != nil {
		return &GivenUp{}, err
	}
	defer g.End()
	g.known = state{map[chunk.ID]bool{}, map[pack.ID]bool{}}
	g.packs, g.segments, g.held = map[pack.ID]*packUse{}, map[pack.ID]listed{}, g.readHeld()
	s := &surrender{Prune: g, o: o, out: &GivenUp{Missing: map[string]int{}, Bad: map[string]int{}}, tried: map[pack.ID]bool{}}
	var c Collection
	for err == nil && !c.Done() {
		err = c.Step(ctx, s)
	}
	return s.result(), err
}

// surrender is the Collector of GiveUp. What it does not do otherwise, a Prune does for it.
type surrender struct {
	*Prune
	o   GiveUpOptions
	out *GivenUp

	began     map[chunk.ID]bool // snapshots that were there at the beginning
	provable  bitmap            // blobs of lost packs that can be read
	stranded  bitmap            // blobs of them that have no live copy elsewhere
	rescuable uint64            // of those: provable, or in packs that others condemned
	others    map[pack.ID]bool  // these packs
	tried     map[pack.ID]bool  // of which blobs were copied
	rounds    int
}

var _ Collector = (*surrender)(nil)

func (s *surrender) result() *GivenUp {
	if s.mover != nil {
		s.out.WrittenBytes = s.mover.Stats().BytesStored
	}
	r := s.Prune.report
	s.out.RescuedBytes, s.out.Records, s.out.Segments = r.CopiedBytes, r.Records, r.Segments
	s.out.Deleted, s.out.Locked, s.out.LockedSegments = r.Deleted, r.Locked, r.LockedSegments
	return s.out
}

// Mark lists the snapshots on all members. What they need is not asked: everything is copied that can be.
func (s *surrender) Mark(ctx context.Context) (bool, error) {
	s.Prune.o.Progress.enter(Listing)
	ids, err := s.listSnapshots(ctx)
	if err != nil {
		return false, err
	}
	now := map[chunk.ID]bool{}
	for id := range ids {
		if now[id] = true; s.began != nil && !s.began[id] && !s.a.Forgotten(id) {
			s.out.Came = append(s.out.Came, id)
		}
	}
	s.began = now
	return true, nil
}

// Choose reads the packs that are said to be lost.
func (s *surrender) Choose(ctx context.Context) (Choice, error) {
	s.Prune.o.Progress.enter(Counting)
	wanted, err := s.candidates()
	if err != nil || len(wanted) == 0 {
		return Nothing, err
	}
	if err := s.each(ctx, wanted, s.judge); err != nil {
		return Nothing, err
	}
	// Who was just removing a pack, or has moved what it held, has condemned and unnamed it by now.
	if err := s.refresh(ctx); err != nil {
		return Nothing, err
	}
	named, err := s.candidates()
	if err != nil {
		return Nothing, err
	}
	for id := range s.doomed {
		if !named[id] {
			delete(s.doomed, id)
			delete(s.packs, id)
		}
	}
	s.out.Packs = slices.DeleteFunc(s.out.Packs, func(p LostPack) bool { return !s.doomed[p.Pack] })
	slices.SortFunc(s.out.Packs, func(a, b LostPack) int { return bytes.Compare(a.Pack[:], b.Pack[:]) })
	if len(s.doomed) == 0 {
		return Nothing, nil
	}
	if err := s.countStranded(ctx); err != nil {
		return Nothing, err
	}
	if s.out.Stranded = s.stranded.len(); s.Prune.o.DryRun {
		s.out.Rescued = s.rescuable
		return Nothing, s.countFresh()
	}
	if err := errors.Join(s.countFresh(), s.listRecords(ctx)); err != nil {
		return Nothing, err
	}
	if s.out.Fresh > 0 && s.o.Agree != nil {
		s.out.Rescued = s.rescuable
		if err := s.o.Agree(ctx, s.out); err != nil {
			return Nothing, err
		}
		s.out.Rescued = 0
	}
	s.mover.Show(ctx)
	return CopyFirst, nil
}

// candidates are the packs that may be lost: those that were said to be, and those that a record condemns, as far as a segment names them.
func (s *surrender) candidates() (map[pack.ID]bool, error) {
	said := map[pack.ID]bool{}
	for _, id := range s.o.Packs {
		said[id] = true
	}
	list := map[pack.ID]bool{}
	for info, err := range s.idx.Packs() {
		if err != nil {
			return nil, err
		}
		if info.Columns != 0 && (said[info.ID] || stateOf(&info) == condemned) {
			list[info.ID] = true
		}
	}
	return list, nil
}

// countFresh counts the lost packs that no record condemns.
func (s *surrender) countFresh() error {
	s.out.Fresh = 0
	for id := range s.doomed {
		is, err := s.idx.Condemned(id)
		if err != nil {
			return err
		}
		if !is {
			s.out.Fresh++
		}
	}
	return nil
}

// judge dooms a pack that is lost.
func (s *surrender) judge(_ context.Context, id pack.ID, m *archive.Remains, columns []pack.Column) error {
	if !m.Lost() {
		if !slices.Contains(s.out.Readable, id) && slices.Contains(s.o.Packs, id) {
			s.out.Readable = append(s.out.Readable, id)
		}
		return nil
	}
	first := columns[0]
	if !s.doomed[id] {
		s.doomed[id] = true
		s.packs[id] = &packUse{id: id, kind: first.Kind, geometry: first.Geometry, length: first.L, listed: m.Bytes()}
		good := 0
		for _, shard := range m.Shards() {
			switch shard.Before {
			case archive.ShardGood:
				good++
			case archive.ShardMissing:
				s.out.Missing[shard.Member]++
			default:
				s.out.Bad[shard.Member]++
			}
		}
		s.out.Packs = append(s.out.Packs, LostPack{id, first.Kind, good, first.K})
	}
	for i := range columns {
		c := &columns[i]
		numbers, err := s.numbers(c)
		if err != nil {
			return err
		}
		_, good := m.Blobs(c)
		for _, j := range good {
			s.provable.add(numbers[j])
		}
	}
	return nil
}

// numbers are those of the entries of a column.
func (s *surrender) numbers(c *pack.Column) ([]uint32, error) {
	ids := make([]chunk.ID, len(c.Entries))
	for i, e := range c.Entries {
		ids[i] = e.ID
	}
	out := make([]uint32, len(ids))
	return out, s.idx.Number(c.Kind, ids, out)
}

// columnKey names a data column.
type columnKey struct {
	pack   pack.ID
	number int
}

// each reads what is left of packs, segment by segment, and calls fn with the columns that one names.
func (s *surrender) each(ctx context.Context, packs map[pack.ID]bool, fn func(context.Context, pack.ID, *archive.Remains, []pack.Column) error) error {
	var segments []pack.ID
	for id, err := range s.idx.Segments() {
		if err != nil {
			return err
		}
		segments = append(segments, id)
	}
	done := map[columnKey]bool{}
	for _, segment := range segments {
		names, err := s.idx.SegmentPacks(segment)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(names, func(id pack.ID) bool { return packs[id] }) {
			continue
		}
		columns, err := s.a.ReadSegment(ctx, segment)
		if archive.Unfinished(err) {
			continue // it was replaced: its names are in another one
		}
		if err != nil {
			return s.unreadable(err)
		}
		columns = slices.DeleteFunc(columns, func(c pack.Column) bool {
			key := columnKey{c.Pack, c.Number}
			was := done[key]
			done[key] = true
			return was || !packs[c.Pack]
		})
		if err := s.eachPack(ctx, columns, fn); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// eachPack reads the packs of some columns.
func (s *surrender) eachPack(ctx context.Context, columns []pack.Column, fn func(context.Context, pack.ID, *archive.Remains, []pack.Column) error) error {
	byPack := map[pack.ID][]pack.Column{}
	for _, c := range columns {
		byPack[c.Pack] = append(byPack[c.Pack], c)
	}
	for id, list := range byPack {
		at, ok := s.placementOf(list[0].Geometry)
		if !ok {
			return fmt.Errorf("pack %s has layout %d (%d+%d), which this archive does not have", id.Short(), list[0].Epoch, list[0].K, list[0].M)
		}
		m, err := s.a.ReadRemains(ctx, at, id, list[0].Kind)
		if err != nil {
			return err
		}
		if m.Away() {
			return remote.WithHint(fmt.Errorf("not all members answer for pack %s", id.Short()), "nothing was given up: bring all members back, then run this again")
		}
		if err := fn(ctx, id, m, list); err != nil {
			return err
		}
		s.Prune.o.Progress.Packs.Add(1)
	}
	return nil
}
