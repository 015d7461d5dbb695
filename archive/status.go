package archive

import (
	"context"
	"errors"
	"fmt"

	"cairn/pack"
)

// Status is what can be said of an archive without reading a pack: from the cards, the listings of the small prefixes, and what
// this machine noted (Suspects). That data packs have all their shards is not looked at.
type Status struct {
	Members    []MemberStatus // in the order of Members
	Slots      int            // key slots that can be read
	BadSlots   int            // and those that no member gives undamaged
	Snapshots  int            // that carry their mark
	Incomplete int            // that do not: left by interrupted backups, or just being made
	Forgotten  int            // snapshots that a record forgets and a member has: the next prune deletes them
	Records    int            // gc records
	Sessions   int            // that show themselves: at work, or interrupted
	IndexPacks int
	Noted      int // shards that were stored while their member was away, and not yet healed from this machine
	FoundBad   int // shards that were found bad or gone by this machine, and not yet healed
}

// MemberStatus is one member, and what it is known to lack.
type MemberStatus struct {
	MemberInfo
	Reachable   bool // its store was opened and could be listed
	LacksCopies int  // key slots, snapshots and marks that others have and it does not, or damaged
	LacksShards int  // shards of index packs, and those that this machine noted
}

// Degraded says whether something is known to be on fewer members than it should be.
func (s *Status) Degraded() bool {
	for _, m := range s.Members {
		if m.Number >= 0 && !m.Reachable || m.LacksCopies+m.LacksShards > 0 {
			return true
		}
	}
	return false
}

// Reachable counts the members of the current layout that are there.
func (s *Status) Reachable() (n int) {
	for _, m := range s.Members {
		if m.Number >= 0 && m.Reachable {
			n++
		}
	}
	return n
}

// Status asks all members at once; it takes five listings of each and a read of each key slot. It needs no key, and it is no
// error that members do not answer. What is garbage, by the gc records, lacks nothing: forgotten snapshots, and condemned packs. How many of
// those are still there a listing of all packs would tell, as check makes it.
func (a *Archive) Status(ctx context.Context) (*Status, error) {
	s := &Status{}
	for _, m := range a.Members() {
		s.Members = append(s.Members, MemberStatus{MemberInfo: m, Reachable: m.Store != nil})
	}
	if err := a.statusOfRecords(ctx, s); err != nil {
		return s, err
	}
	if err := a.statusOfCopies(ctx, s); err != nil {
		return s, err
	}
	if err := a.statusOfSessions(ctx, s); err != nil {
		return s, err
	}
	if err := a.statusOfIndex(ctx, s); err != nil {
		return s, err
	}
	a.statusOfSuspects(ctx, s)
	return s, ctx.Err()
}

// unlisted takes over which members could not be listed.
func (s *Status) unlisted(m memberMask) {
	for i := range s.Members {
		if m.has(i) {
			s.Members[i].Reachable = false
		}
	}
}

// statusOfRecords reads the gc records, which say what is not lacking.
func (a *Archive) statusOfRecords(ctx context.Context, s *Status) error {
	list, err := a.Records(ctx)
	if err != nil && (ctx.Err() != nil || !tooFew(err)) {
		return err
	}
	s.Records = len(list)
	return nil
}

func (a *Archive) statusOfSessions(ctx context.Context, s *Status) error {
	names, _, err := a.listCopies(ctx, sessionPrefix)
	if err != nil && (ctx.Err() != nil || !tooFew(err)) {
		return fmt.Errorf("list %s: %w", sessionPrefix, err)
	}
	s.Sessions = len(names)
	return nil
}

func (a *Archive) statusOfCopies(ctx context.Context, s *Status) error {
	for _, prefix := range MirroredPrefixes() {
		names, seen, err := a.listCopies(ctx, prefix)
		if tooFew(err) {
			for i := range s.Members {
				s.Members[i].Reachable = false
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		s.unlisted(seen.unlisted)
		for name := range names {
			verify := a.verifierOf(name)
			if verify == nil {
				continue
			}
			if prefix == keyPrefix {
				if _, err := a.all.GetVerified(ctx, name, verify); err == nil {
					s.Slots++
				} else if ctx.Err() == nil && !tooFew(err) {
					s.BadSlots++
				}
			}
			on, lacks := seen.objects[name]
			for i := range a.geom.N() {
				m := &s.Members[i]
				if lacks && m.Reachable && (!on.has(i) || seen.uneven[name] && badCopy(ctx, m.Store, name, verify)) {
					m.LacksCopies++
				}
			}
		}
		if prefix == snapshotPrefix {
			for id, marked := range snapshotIDs(names) {
				switch {
				case a.Forgotten(id):
					s.Forgotten++
				case marked:
					s.Snapshots++
				default:
					s.Incomplete++
				}
			}
		}
	}
	return ctx.Err()
}

func (a *Archive) statusOfIndex(ctx context.Context, s *Status) error {
	listed, err := a.listSegments(ctx)
	if err != nil {
		if tooFew(err) {
			return nil
		}
		return err
	}
	s.IndexPacks = len(listed)
	seen := a.listings.take(indexPrefix)
	s.unlisted(seen.unlisted)
	for name, on := range seen.objects {
		id, kind, _ := pack.ParseName(name)
		p, err := a.PlacementOf(ctx, id, kind)
		if err != nil {
			continue
		}
		lack := a.lackOf(p, id, on, seen.unlisted)
		if p.Geometry.N()-len(lack) < p.Geometry.K {
			continue // an upload that was cut short
		}
		for _, j := range lack {
			if m := &s.Members[a.memberIndex(p, id, j)]; m.Reachable {
				m.LacksShards++
			}
		}
	}
	return ctx.Err()
}

func (a *Archive) statusOfSuspects(ctx context.Context, s *Status) {
	for suspect, why := range a.Suspects() {
		if condemned, err := a.Condemned(ctx, suspect.Pack); err == nil && condemned {
			a.leave(suspect.Pack, suspect.Kind) // a reader met it while it was deleted
			continue
		}
		p, err := a.PlacementOf(ctx, suspect.Pack, suspect.Kind)
		if err != nil {
			var damage *PackDamage
			if errors.As(err, &damage) && !Unfinished(err) {
				s.FoundBad++
			}
			continue
		}
		if suspect.Shard >= p.Geometry.N() {
			continue
		}
		if why == FoundBad {
			s.FoundBad++
		} else {
			s.Noted++
		}
		s.Members[a.memberIndex(p, suspect.Pack, suspect.Shard)].LacksShards++
	}
}
