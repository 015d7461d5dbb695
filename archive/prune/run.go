package prune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote"
)

// Catalog is what the collector asks of the local index beyond what the archive does. index.Index and index.Map satisfy it.
type Catalog interface {
	archive.Index
	// Number gives the dense numbers of blobs; 0 for those that are not known. They hold until the index is dropped.
	Number(t chunk.Type, ids []chunk.ID, out []uint32) error
	Numbers() uint32 // the largest
	// Copies yields all copies of all blobs of a type, those of one blob one after the other.
	Copies(t chunk.Type) iter.Seq2[index.Copy, error]
	Packs() iter.Seq2[index.PackInfo, error]
	// SegmentPacks lists the packs that an applied segment names.
	SegmentPacks(segment pack.ID) ([]pack.ID, error)
	// TreeRefs and PutTreeRefs are the tree cache; Flush writes what was put.
	TreeRefs(number uint32, role byte) (trees, data []uint32, ok bool, err error)
	PutTreeRefs(number uint32, role byte, trees, data []uint32) error
	Flush() error
}

var (
	_ Catalog = (*index.Index)(nil)
	_ Catalog = (*index.Map)(nil)
)

// errIndex means that numbers do not hold any more.
var errIndex = remote.WithHint(errors.New("the local index was lost while it was needed"), "run the command again: nothing is half done, and what was condemned is finished")

// Run collects the garbage of an archive that was opened with a full key. It can be interrupted at any operation and run again,
// beside anything else. The report is also returned with an error, as far as it came.
func Run(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return &Report{}, err
	}
	for try := 1; ; try++ {
		report, err := run(ctx, a, o)
		if !errors.Is(err, errOvertaken) || try == maxRuns {
			return report, err
		}
	}
}

// maxRuns bounds how often a collection begins anew. Each time somebody has forgotten a snapshot, and another collector has deleted what it
// needed, between two requests of this one.
const maxRuns = 4

// errOvertaken means that something is missing, which is no wonder: a snapshot that this collection had marked was forgotten meanwhile.
var errOvertaken = remote.WithHint(errors.New("snapshots were forgotten, and what they needed was deleted, while this collection ran"), "run the command again")

func run(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	g, err := Begin(ctx, a, o)
	if err != nil {
		return &Report{}, err
	}
	defer g.End()
	var c Collection
	for !c.Done() {
		if err := c.Step(ctx, g); err != nil {
			return g.Report(), err
		}
	}
	if err := g.Fold(ctx); err != nil {
		return g.Report(), err
	}
	return g.Report(), g.extend(ctx, time.Now)
}

// Prune is a Collector over an archive. Its methods belong to one goroutine.
type Prune struct {
	a     *archive.Archive
	o     Options
	idx   Catalog
	most  uint32         // of its numbers, when it was looked at last
	free  func()         // lets go of the index's numbers
	mover *archive.Mover // nil with DryRun
	shown bool           // its session object is there
	mark  *marker

	snapshots map[chunk.ID]bool // that were walked: whether they are complete
	gone      map[int]bool      // members of former layouts that nobody needs any more
	incoming  int               // snapshots and blobs that the last marking found
	forgotten []chunk.ID        // that some member still has

	// From the one listing, and the index.
	packs    map[pack.ID]*packUse // that are listed or named
	byNumber []*packUse           // by their numbers in the index; nil or beyond: not listed
	segments map[pack.ID]listed   // index packs
	torn     []pack.ID            // of those: lacking shards
	held     map[pack.ID]bool     // of those: replaced, and locked the last time
	early    map[chunk.ID]bool    // gc records that were there before
	atWork   map[seal.SessionID]bool
	settled  map[pack.ID]bool // condemned by a record that all members have

	doomed   map[pack.ID]bool // what this collection condemns
	sources  []*packUse       // packs out of which blobs are copied next
	expected uint64           // how many
	copied   bitmap           // which, since they were counted
	failed   []Left           // sources that could not be read, since they were counted
	known    state            // of the archive, when it was counted the last time
	report   *Report
}

// listed is an index pack.
type listed struct {
	size   int64 // of a shard
	shards int
	bytes  int64 // of all
}

// Begin opens a collection. End must be called.
func Begin(ctx context.Context, a *archive.Archive, o Options) (*Prune, error) {
	g := &Prune{a: a, o: o.applyDefaults(), snapshots: map[chunk.ID]bool{}, doomed: map[pack.ID]bool{}, gone: map[int]bool{}, report: &Report{}}
	if a.Keys() == nil || !a.Keys().CanRead() {
		return nil, remote.WithHint(seal.ErrNoReadKey, "a writer key can back up only: prune needs the password or a full key, to read the trees and to sign what is condemned")
	}
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	if g.idx, err = catalogOf(idx); err != nil {
		return nil, err
	}
	if err := g.allThere(); err != nil {
		return nil, err
	}
	g.free = a.HoldIndex()
	g.mark = &marker{a: a, idx: g.idx, p: g.o.Progress, fresh: g.refresh}
	if o.DryRun {
		return g, nil
	}
	if g.mover, err = a.NewMover(ctx); err != nil {
		g.free()
		return nil, err
	}
	g.mover.SetTarget(o.Target)
	return g, nil
}

// catalogOf finds the index behind the archive's: its numbers hold as long as it is the same one.
func catalogOf(idx archive.Index) (Catalog, error) {
	if u, ok := idx.(interface{ Unwrap() archive.Index }); ok {
		idx = u.Unwrap()
	}
	c, ok := idx.(Catalog)
	if !ok {
		return nil, fmt.Errorf("prune: an index of type %T has no numbers", idx)
	}
	return c, nil
}

// refresh reads gc records and index again. All of both must be there to be read.
func (g *Prune) refresh(ctx context.Context) error {
	if err := errors.Join(g.a.Refresh(ctx), g.a.AllRecords()); err != nil {
		return err
	}
	if err := g.seesAll(); err != nil {
		return err
	}
	idx, err := g.a.Index(ctx)
	if err != nil {
		return err
	}
	if now, err := catalogOf(idx); err != nil || now != g.idx {
		return errors.Join(err, errIndex)
	}
	if n := g.idx.Numbers(); n < g.most { // it was emptied
		return errIndex
	} else {
		g.most = n
	}
	return nil
}

// Report tells what was done so far.
func (g *Prune) Report() *Report {
	if g.mover != nil {
		g.report.WrittenBytes = g.mover.Stats().BytesStored
	}
	g.report.Needed, g.report.Trees, g.report.TreesRead = g.mark.needed.len(), g.mark.trees, g.mark.read
	return g.report
}

// End ends the session. It may be called after an error, and with an interrupted context.
func (g *Prune) End() {
	if g.mover != nil {
		g.mover.End()
	}
	g.free()
}

// Mark lists the snapshots on all members and walks the trees of those that are new. The first time it lists the packs as well: one listing
// for sizes, orphans and what collectors left, and after that the sessions at work, and after those, in Index, the index. So a pack that
// is listed and that the index does not name belongs to a session that shows itself, or to a dead one.
func (g *Prune) Mark(ctx context.Context) (bool, error) {
	g.o.Progress.enter(Listing)
	if !g.shown && g.mover != nil {
		g.mover.Show(ctx)
		g.shown = true
	}
	if err := g.markNew(ctx); err != nil {
		return false, err
	}
	if g.packs != nil {
		return true, nil
	}
	g.o.Progress.enter(Listing)
	records, err := g.a.Records(ctx)
	if err != nil {
		return false, err
	}
	g.early = map[chunk.ID]bool{}
	for _, r := range records {
		g.early[r.ID] = true
	}
	return true, g.listPacks(ctx)
}

// markNew lists the snapshots and walks those that are new.
func (g *Prune) markNew(ctx context.Context) error {
	list, err := g.readSnapshots(ctx)
	if err != nil {
		return err
	}
	if g.incoming = len(list); len(list) == 0 && !g.mark.waits() {
		return nil
	}
	// What a snapshot needs was named before it was there.
	if err := g.refresh(ctx); err != nil {
		return err
	}
	g.o.Progress.enter(Marking)
	before := g.mark.needed.len()
	if err := g.mark.mark(ctx, list); err != nil {
		return err
	}
	g.incoming += int(g.mark.needed.len() - before)
	for _, s := range list {
		if _, again := g.snapshots[s.ID]; again { // its client has finished meanwhile
			g.report.Incomplete--
		} else if g.report.Snapshots++; s.Incomplete {
			g.report.Incomplete++
		}
		g.snapshots[s.ID] = !s.Incomplete
	}
	if g.mark.losses > 0 {
		return g.refuse(ctx, g.mark.lost, g.mark.losses)
	}
	return nil
}

// Records is part of Index: Refresh reads the records first.
func (g *Prune) Records(context.Context) (bool, error) { return true, nil }

// Index reads gc records and index.
func (g *Prune) Index(ctx context.Context) (bool, error) { return true, g.refresh(ctx) }

// Choose counts what is used of each pack and decides.
func (g *Prune) Choose(ctx context.Context) (Choice, error) {
	// A session that ended between the two listings, of snapshots and of sessions, is not at work, and its snapshot was not seen yet. Its
	// packs would be condemned, and all of it copied.
	if err := g.markNew(ctx); err != nil {
		return Nothing, err
	}
	g.o.Progress.enter(Counting)
	if err := g.describePacks(ctx); err != nil {
		return Nothing, err
	}
	if err := g.judgeSegments(ctx); err != nil {
		return Nothing, err
	}
	g.held = g.readHeld()
	if err := g.count(ctx); err != nil {
		return Nothing, err
	}
	d := g.decide()
	for _, p := range slices.Concat(d.condemn, d.repack) {
		g.doomed[p.id] = true
	}
	g.aim(d.repack)
	g.tally(d)
	switch {
	case g.o.DryRun, len(g.doomed)+len(g.forgotten)+len(g.tidied())+len(g.held) == 0:
		return Nothing, nil
	case len(d.repack) == 0:
		return Condemn, nil
	}
	return CopyFirst, nil
}

// decide plans over all packs.
func (g *Prune) decide() decision {
	packs := make([]*packUse, 0, len(g.packs))
	for _, p := range g.packs {
		packs = append(packs, p)
	}
	d := plan(packs, g.measure(), g.o.Limits)
	for _, list := range [][]*packUse{d.condemn, d.repack} {
		slices.SortFunc(list, func(a, b *packUse) int { return bytes.Compare(a.id[:], b.id[:]) })
	}
	return d
}

// measure tells what this collection's packs take.
func (g *Prune) measure() measure {
	geom := g.a.Geometry()
	if g.o.Target > 0 {
		return measureOf(geom, int64(g.o.Target))
	}
	return measureOf(geom, int64(geom.DefaultTarget()))
}

// Condemn puts the record on all members. What earlier records condemn that all members have needs no other one.
func (g *Prune) Condemn(ctx context.Context) (bool, error) {
	g.o.Progress.enter(Condemning)
	r := &archive.Record{Time: time.Now(), Program: g.o.Program}
	for id := range g.doomed {
		if !g.settled[id] {
			r.Packs = append(r.Packs, id)
		}
	}
	if len(r.Packs) == 0 {
		return true, nil
	}
	if err := g.a.PublishRecord(ctx, r, true); err != nil {
		return false, err
	}
	g.report.Records++
	g.known.records[r.ID] = true // our own is no news
	return true, nil
}

// Name publishes what was copied.
func (g *Prune) Name(ctx context.Context) (bool, error) {
	short, err := g.mover.Publish(ctx)
	if err != nil {
		return false, err
	}
	if len(short) > 0 {
		return false, remote.WithHint(fmt.Errorf("members did not take all shards of %d new packs: the old ones are kept", len(short)),
			"see `cairn member list`; when all members answer again, run `cairn repair --missing` and then prune again")
	}
	return true, g.ownSegments()
}
