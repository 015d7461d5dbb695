package recover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// ImportOptions say how to open the keys and whether to write.
type ImportOptions struct {
	CardsOptions
	Progress *atomic.Uint64 // objects looked at; may be nil
}

// ImportReport counts what was found.
type ImportReport struct {
	CardsReport
	Objects   int // looked at
	Shards    int // good ones, each counted once
	Damaged   int // shards whose header is good and whose payload is not: of use only where no good copy is
	Slots     int
	Snapshots int // and their marks
	Strange   int // objects that are nothing of this archive
	Copied    int // objects written
}

// Import looks at every object in the given places, whatever it is called, and copies what proves itself to be of this archive to
// where it belongs in a new archive on the given stores: each shard to its member, key slots and snapshots to all. Then it writes
// the cards. Objects that are there already are not copied again, so it can be interrupted and run again.
//
// Memory: four shards at a time, and about 100 bytes for each shard.
func Import(ctx context.Context, from, to []archive.Member, o ImportOptions) (*ImportReport, error) {
	needed := from
	if !o.DryRun { // the new places need not be there yet
		needed = slices.Concat(from, to)
	}
	for _, m := range needed {
		if m.Err != nil || m.Store == nil {
			return nil, fmt.Errorf("%s: %w", m.URL, m.Err)
		}
	}
	i := &importer{o: o, to: to, report: &ImportReport{}, done: map[place]bool{}, slots: map[seal.SlotID]*seal.Slot{}, shards: map[seal.ArchiveID]map[pack.Geometry]int{}}
	// Two rounds: without the recovery text nothing can be proved before a slot was found, and it may lie anywhere.
	if err := i.round(ctx, from, i.look); err != nil {
		return i.report, err
	}
	if err := i.open(); err != nil {
		return i.report, err
	}
	if err := i.targets(); err != nil {
		return i.report, err
	}
	if err := i.round(ctx, from, i.take); err != nil {
		return i.report, err
	}
	if err := i.lastResort(ctx); err != nil {
		return i.report, err
	}
	if o.DryRun {
		return i.report, nil
	}
	layout := archive.FoundLayout{Geometry: i.geometry}
	for n := range i.to {
		layout.Members = append(layout.Members, n)
	}
	return i.report, archive.WriteLostCards(ctx, i.keys, i.to, []archive.FoundLayout{layout}, o.Now)
}

// importer is one call of Import.
type importer struct {
	o        ImportOptions
	to       []archive.Member
	keys     *seal.Keys
	geometry pack.Geometry
	report   *ImportReport

	mu     sync.Mutex
	done   map[place]bool // what is on its member: true when it is good
	slots  map[seal.SlotID]*seal.Slot
	shards map[seal.ArchiveID]map[pack.Geometry]int // by what their headers say, before anything is proved
	bad    []source                                 // damaged shards
}

// place is where a shard belongs.
type place struct {
	id    pack.ID
	shard int
}

// source is where an object was found.
type source struct {
	store remote.Store
	name  string
	place place
	kind  chunk.Type
}

// importers work at once, each with one object in memory.
const importers = 4

// round calls fn for every object.
func (i *importer) round(ctx context.Context, from []archive.Member, fn func(context.Context, archive.Member, remote.Info) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(importers)
	for _, m := range from {
		for info, err := range m.Store.List(groupCtx, "") {
			if err != nil {
				if waitErr := group.Wait(); waitErr != nil {
					return waitErr
				}
				return fmt.Errorf("%s: %w", m.URL, err)
			}
			group.Go(func() error { return fn(groupCtx, m, info) })
		}
	}
	return group.Wait()
}

// Magics of stored objects (docs/format.md).
const (
	magicShard    = "CAIRNPAK"
	magicSlot     = "CAIRNKEY"
	magicSnapshot = "CAIRNSNP"
	magicMark     = "CAIRNVAL"
	magicRef      = "CAIRNREF"
	magicSize     = 8
)

// look reads slots, and of shards which archive and layout they say they are of.
func (i *importer) look(ctx context.Context, m archive.Member, info remote.Info) error {
	i.mu.Lock()
	i.report.Objects++
	i.mu.Unlock()
	if info.Size < magicSize {
		return nil
	}
	head, err := m.Store.Get(ctx, info.Name, 0, min(info.Size, pack.HeaderSize), nil)
	if err != nil {
		return ctx.Err() // what cannot be read is of no use
	}
	switch string(head[:magicSize]) {
	case magicSlot:
		data, err := remote.ReadAll(ctx, m.Store, info.Name, maxSlot)
		if err != nil {
			return ctx.Err()
		}
		if s, err := seal.ParseSlot(data); err == nil {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.slots[s.ID] = s
		}
	case magicShard:
		if h, err := pack.ParseHeader(head); err == nil {
			i.mu.Lock()
			defer i.mu.Unlock()
			if i.shards[h.Archive] == nil {
				i.shards[h.Archive] = map[pack.Geometry]int{}
			}
			i.shards[h.Archive][h.Geometry]++
		}
	}
	return nil
}

// open opens the keys: those that were given, or a slot of an archive of which there are shards.
func (i *importer) open() error {
	if len(i.shards) == 0 {
		return errors.New("there is no shard in any of these places")
	}
	if i.o.Keys != nil {
		i.keys = i.o.Keys
		if i.shards[i.keys.Archive()] == nil {
			return fmt.Errorf("none of the shards is of archive %.8s, which the key is of", i.keys.Archive())
		}
		return nil
	}
	var slots []*seal.Slot
	for _, s := range i.slots {
		if i.shards[s.Archive] != nil {
			slots = append(slots, s)
		}
	}
	if len(slots) == 0 {
		return remote.WithHint(errors.New("there is no key slot of the archive in any of these places"), "give the recovery text that `cairn key export` printed once (--recovery-text FILE)")
	}
	var err error
	i.keys, _, err = seal.OpenSlots(slots, i.o.Credentials)
	return err
}

// targets checks the places for the new members against the layout that the shards have.
func (i *importer) targets() error {
	layouts := i.shards[i.keys.Archive()]
	for g := range layouts {
		i.geometry = g
	}
	i.report.Archive, i.report.Layouts = i.keys.Archive(), []pack.Geometry{i.geometry}
	if len(layouts) > 1 {
		return remote.WithHint(fmt.Errorf("shards of %d layouts lie together", len(layouts)),
			"this build sorts shards of one layout only: move those of each member together by hand, then `cairn repair --cards` finds the members of all layouts")
	}
	n := i.geometry.N()
	if len(i.to) == 1 && n > 1 {
		one := i.to[0]
		i.to = make([]archive.Member, n)
		for j := range i.to {
			i.to[j].URL = one.URL + "/" + archive.SubName(j)
			if one.Store != nil {
				i.to[j].Store = remote.Sub(one.Store, archive.SubName(j))
			}
		}
	}
	if len(i.to) != n {
		return remote.WithHint(fmt.Errorf("%d new places are named, the archive has %d+%d members", len(i.to), i.geometry.K, i.geometry.M), "name an empty directory for each, or one for all")
	}
	return nil
}
