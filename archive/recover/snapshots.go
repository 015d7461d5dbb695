package recover

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

var errDeep = errors.New("it is nested too deeply")

// Options say what Snapshots does. The zero value works.
type Options struct {
	DryRun  bool   // publish nothing
	Program string // recorded in recovered snapshots
	// Forgotten makes snapshots also of trees that may be those of forgotten snapshots, and of what condemned packs still hold.
	Forgotten bool
	// Incomplete is told of each file and directory of which something is lost, snapshot by snapshot. May be nil.
	Incomplete func(*Incomplete)
	Progress   *Progress
	Now        func() time.Time
}

// Progress is counted while Snapshots runs.
type Progress struct {
	Trees     atomic.Uint64 // tree blobs read to see what leads where
	Walked    atomic.Uint64 // pieces of directories looked through
	Snapshots atomic.Uint64
}

func (o Options) applyDefaults() Options {
	if o.Incomplete == nil {
		o.Incomplete = func(*Incomplete) {}
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Report says what Snapshots found.
type Report struct {
	Trees      int // tree blobs in the index
	TreesLost  int // of those, that cannot be read
	ListsAlone int // lists of pieces or chunks whose file or directory is lost
	Snapshots  []State
	Damaged    []*archive.SnapshotError // snapshot objects that cannot be read from any member
	Parts      []Part
	Recovered  int
	Withheld   int // roots that may be those of forgotten snapshots, and were not made snapshots
}

// State is what can be had of one snapshot.
type State struct {
	Snapshot  *snapshot.Snapshot // ID is zero for one that a dry run would recover
	Recovered bool               // there was no snapshot object for this tree
	Withheld  bool               // nor is there one now: it may have been forgotten

	Files, Dirs    uint32 // files and directories that are known
	Incomplete     uint32 // of both
	Bytes, Missing uint64
}

// Part is a directory that nothing leads to and that is no root. It can be restored as it is.
type Part struct {
	ID             chunk.ID
	Names          []string // a few of its entries
	Entries        int
	Files, Dirs    uint32
	Incomplete     uint32
	Bytes, Missing uint64
}

// Root is what restore needs of a part.
func (p *Part) Root() snapshot.Root { return snapshot.Root{Content: []chunk.ID{p.ID}} }

// Snapshots looks for trees that no snapshot leads to, publishes those that look like the root of a backup as snapshots (series
// and tag "recovered"), and says which files of which snapshots are incomplete. It needs a key that can read, and an index
// (Index); with fewer than k members an archive opened with Options.Salvage.
func Snapshots(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	f := &finder{a: a, o: o.applyDefaults(), report: &Report{}, scratch: newScratch()}
	list, damaged, err := a.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	f.report.Damaged = damaged
	records, err := a.Records(ctx)
	if err != nil {
		return nil, err
	}
	f.withhold = !o.Forgotten && slices.ContainsFunc(records, func(r *archive.Record) bool { return len(r.Snapshots) > 0 })
	if err := f.refresh(ctx); err != nil { // the snapshots were listed before the index is read
		return nil, err
	}
	if f.shards, err = newListing(ctx, a); err != nil {
		return nil, err
	}
	if f.table, err = newTable(ctx, a); err != nil {
		return nil, err
	}
	f.report.Trees = len(f.table.trees)
	roots, parts, err := f.find(ctx, list)
	if err != nil {
		return f.report, err
	}
	f.table.sums = make([]summary, len(f.table.trees))
	for _, s := range list {
		if err := f.existing(ctx, s); err != nil {
			return f.report, err
		}
	}
	if roots, err = f.unpublished(ctx, roots); err != nil {
		return f.report, err
	}
	if err := f.recover(ctx, roots); err != nil {
		return f.report, err
	}
	return f.report, f.parts(ctx, parts)
}

// refresh brings the index up to date. With Salvage it is what was found of it.
func (f *finder) refresh(ctx context.Context) error {
	if err := f.a.Refresh(ctx); err != nil && (ctx.Err() != nil || !f.a.Salvages()) {
		return err
	}
	return nil
}

// unpublished leaves out the roots of snapshots that were published since they were listed first.
func (f *finder) unpublished(ctx context.Context, roots []root) ([]root, error) {
	if len(roots) == 0 {
		return nil, nil
	}
	list, _, err := f.a.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(roots, func(r root) bool {
		return slices.ContainsFunc(list, func(s *snapshot.Snapshot) bool { return slices.Equal(s.Content, r.content) })
	}), nil
}

// find reads all trees and finds those that nothing leads to.
func (f *finder) find(ctx context.Context, list []*snapshot.Snapshot) ([]root, []candidate, error) {
	if err := f.references(ctx); err != nil {
		return nil, nil, err
	}
	for _, s := range list {
		f.dangling = !f.markAll(s.Content) || f.dangling
	}
	f.knowTops(list)
	alone, err := f.candidates(ctx)
	if err != nil {
		return nil, nil, err
	}
	roots, parts := f.choose(alone)
	return roots, parts, nil
}

// existing says what can be had of a snapshot that is there.
func (f *finder) existing(ctx context.Context, s *snapshot.Snapshot) error {
	sum, err := f.dir(ctx, s.Root(), 0)
	if err != nil {
		return err
	}
	if sum.wrong > 0 {
		err := f.name(ctx, "", s.Root(), 0, func(i *Incomplete) {
			i.Snapshot = s.ID
			f.o.Incomplete(i)
		})
		if err != nil {
			return err
		}
	}
	f.state(s, sum, false)
	return nil
}

func (f *finder) state(s *snapshot.Snapshot, sum summary, recovered bool) {
	f.report.Snapshots = append(f.report.Snapshots, State{Snapshot: s, Recovered: recovered, Withheld: recovered && f.withhold, Files: sum.files, Dirs: sum.dirs, Incomplete: sum.wrong,
		Bytes: sum.bytes, Missing: sum.missing})
	f.o.Progress.Snapshots.Add(1)
}

// recover publishes roots as snapshots, the oldest first.
func (f *finder) recover(ctx context.Context, roots []root) error {
	type found struct {
		s   *snapshot.Snapshot
		sum summary
	}
	var all []found
	for _, r := range roots {
		sum, err := f.dir(ctx, snapshot.Root{Content: r.content}, 0)
		if err != nil {
			return err
		}
		s, err := f.newSnapshot(ctx, r, sum)
		if err != nil {
			return err
		}
		all = append(all, found{s, sum})
	}
	slices.SortStableFunc(all, func(a, b found) int { return a.s.Start.Compare(b.s.Start) })
	for _, r := range all {
		if err := f.publish(ctx, r.s, r.sum); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes one recovered snapshot, with the list of what is lost of it, and tells that. Of one that may have been forgotten, what is
// lost was pruned, for all that is known.
func (f *finder) publish(ctx context.Context, s *snapshot.Snapshot, sum summary) error {
	if f.withhold {
		f.report.Withheld++
		f.state(s, sum, true)
		return nil
	}
	if sum.wrong > 0 {
		err := f.name(ctx, "", s.Root(), 0, func(i *Incomplete) { s.AddError(i.Path, "lost: "+i.String()) })
		if err != nil {
			return err
		}
	}
	if !f.o.DryRun {
		if _, err := f.a.PublishSnapshot(ctx, s); err != nil {
			return remote.WithHint(err, "run the command again: what was recovered already is not recovered twice")
		}
	}
	f.report.Recovered++
	if sum.wrong > 0 {
		err := f.name(ctx, "", s.Root(), 0, func(i *Incomplete) {
			i.Snapshot = s.ID
			f.o.Incomplete(i)
		})
		if err != nil {
			return err
		}
	}
	f.state(s, sum, true)
	return nil
}

// parts says what can be had of directories that nothing leads to.
func (f *finder) parts(ctx context.Context, list []candidate) error {
	for _, c := range list {
		sum, err := f.dir(ctx, snapshot.Root{Content: []chunk.ID{c.id}}, 0)
		if err != nil {
			return err
		}
		f.report.Parts = append(f.report.Parts, Part{ID: c.id, Names: c.names, Entries: c.entries, Files: sum.files, Dirs: sum.dirs,
			Incomplete: sum.wrong, Bytes: sum.bytes, Missing: sum.missing})
	}
	return nil
}
