package replicate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

// RewriteOptions say what Rewrite takes out.
type RewriteOptions struct {
	Excludes *pattern.List // compared as in the backup: see pattern.List
	Forget   bool          // forget the snapshots that were replaced, when all are
	DryRun   bool
	Time     time.Time // recorded with what is forgotten
	Program  string
	Progress *Progress
	Done     func(Rewritten) // told of each snapshot, in order. May be nil
}

// Outcome says what became of a snapshot.
type Outcome uint8

// The outcomes.
const (
	Untouched Outcome = iota + 1 // nothing in it matches
	Replaced                     // by a new snapshot; in a dry run: it would be
	Before                       // an earlier run has replaced it, and did not forget it
	Skipped                      // it is incomplete
	Broken                       // a directory of it cannot be read, so nobody knows what is in it
)

func (o Outcome) String() string {
	switch o {
	case Untouched:
		return "untouched"
	case Replaced:
		return "replaced"
	case Before:
		return "replaced before"
	case Skipped:
		return "incomplete"
	case Broken:
		return "damaged"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Removed counts what was taken out of a snapshot.
type Removed struct {
	Files, Dirs, Others uint64 // names
	Bytes               uint64 // sizes of the files, holes included
}

func (r *Removed) some() bool { return r.Files+r.Dirs+r.Others > 0 }

// Rewritten is what became of one snapshot.
type Rewritten struct {
	Snapshot *snapshot.Snapshot
	Outcome  Outcome
	ID       chunk.ID // of the snapshot that replaces it
	Removed
	Named []string // paths that match a pattern and are kept, because they were named to the backup
	Err   error    // why it is Broken
}

// RewriteReport sums up.
type RewriteReport struct {
	Untouched, Replaced, Before, Skipped, Broken int
	Forgotten                                    int // in a dry run: would be
	Forget                                       *archive.ForgetReport
	Err                                          error // of the first that is Broken
}

// rewriter is one call of Rewrite.
type rewriter struct {
	a      *archive.Archive
	all    []*snapshot.Snapshot
	o      RewriteOptions
	next   map[chunk.ID]chunk.ID // what replaces what
	old    []chunk.ID            // replaced, in this run or before
	report RewriteReport
	same   sameTrees
}

// Rewrite replaces snapshots by ones that lack what matches the patterns. all are those of the archive as Archive.Snapshots lists them, chosen some
// of these, the oldest first. It needs a key that can read. The blobs stay until all snapshots that need them are forgotten and they are pruned.
//
// A new snapshot is what the old one was, with its tags and times, but for the tree, the statistics, the list of what could not be read,
// and the patterns among its exclude rules. It remembers the old one as its original. Where nothing matches, the snapshot stays as it is.
func Rewrite(ctx context.Context, a *archive.Archive, all, chosen []*snapshot.Snapshot, o RewriteOptions) (*RewriteReport, error) {
	if o.Excludes == nil || len(o.Excludes.Patterns()) == 0 {
		return nil, errors.New("rewrite: no patterns")
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Done == nil {
		o.Done = func(Rewritten) {}
	}
	r := &rewriter{a: a, all: all, o: o, next: map[chunk.ID]chunk.ID{}}
	o.Progress.TotalSnapshots.Store(uint64(len(chosen)))
	for _, s := range chosen {
		done, err := r.one(ctx, s)
		if err != nil {
			return &r.report, fmt.Errorf("rewrite snapshot %s: %w", s.ID.Short(), err)
		}
		r.count(done)
		o.Progress.Snapshots.Add(1)
		o.Done(done)
	}
	if !o.Forget {
		return &r.report, nil
	}
	r.report.Forgotten = len(r.old)
	if o.DryRun || len(r.old) == 0 {
		return &r.report, nil
	}
	forgotten, err := a.Forget(ctx, r.old, archive.Record{Time: o.Time, Program: o.Program})
	r.report.Forget = forgotten
	if err != nil {
		err = remote.WithHint(fmt.Errorf("forget the snapshots that were replaced: %w", err), "run the command again: it makes nothing twice")
	}
	return &r.report, err
}

func (r *rewriter) count(w Rewritten) {
	switch w.Outcome {
	case Untouched:
		r.report.Untouched++
	case Replaced:
		r.report.Replaced++
		r.old = append(r.old, w.Snapshot.ID)
	case Before:
		r.report.Before++
		r.old = append(r.old, w.Snapshot.ID)
	case Skipped:
		r.report.Skipped++
	case Broken:
		r.report.Broken++
		if r.report.Err == nil {
			r.report.Err = w.Err
		}
	}
}

// one rewrites a snapshot. It is looked through first, without a session: most often nothing matches.
func (r *rewriter) one(ctx context.Context, s *snapshot.Snapshot) (Rewritten, error) {
	done := Rewritten{Snapshot: s, Outcome: Skipped}
	if s.Incomplete {
		return done, nil
	}
	paper := r.purge(s, func(_ context.Context, plain []byte) (chunk.ID, error) { return chunk.Sum(plain), nil })
	paper.count = true
	root, err := paper.root(ctx)
	if err != nil && lost(ctx, r.a, err) {
		done.Outcome, done.Err = Broken, fmt.Errorf("snapshot %s is not rewritten: %w", s.ID.Short(), err)
		return done, nil
	}
	if err != nil {
		return done, err
	}
	done.Removed, done.Named = paper.removed, paper.named
	replacing := r.remade(s, root, paper)
	if !paper.removed.some() && len(replacing.Errors) == len(s.Errors) {
		done.Outcome = Untouched
		return done, nil
	}
	if before := r.before(s, replacing); before != nil {
		done.Outcome, done.ID = Before, before.ID
	} else {
		done.Outcome = Replaced
		if !r.o.DryRun {
			if done.ID, err = r.replace(ctx, s, replacing); err != nil {
				return done, err
			}
		}
	}
	if !done.ID.IsZero() {
		r.next[s.ID] = done.ID
	}
	return done, nil
}

// before returns what an earlier run made of s, and which has not forgotten it.
func (r *rewriter) before(s, replacing *snapshot.Snapshot) *snapshot.Snapshot {
	for _, p := range r.all {
		if p.ID != s.ID && !p.Incomplete && p.Original == replacing.Original && p.Start == s.Start && p.Depth == replacing.Depth &&
			slices.Equal(p.Content, replacing.Content) && slices.Equal(p.Tags, s.Tags) && p.Pinned == s.Pinned {
			return p
		}
	}
	return nil
}

// remade is the snapshot that replaces s.
func (r *rewriter) remade(s *snapshot.Snapshot, root snapshot.Root, p *purge) *snapshot.Snapshot {
	made := *s
	made.Content, made.Depth = root.Content, root.Depth
	if made.Original.IsZero() {
		made.Original = s.ID
	}
	if next, ok := r.next[s.Previous]; ok {
		made.Previous = next
	}
	made.Excludes = slices.Clone(s.Excludes)
	for _, rule := range r.o.Excludes.Patterns() {
		if !slices.Contains(made.Excludes, rule) {
			made.Excludes = append(made.Excludes, rule)
		}
	}
	made.Errors = slices.DeleteFunc(slices.Clone(s.Errors), func(e snapshot.ReadError) bool { return p.excluded(e.Path) })
	made.Stats = maps.Clone(s.Stats)
	for name, n := range map[string]uint64{
		snapshot.StatFilesTotal: p.removed.Files, snapshot.StatDirsTotal: p.removed.Dirs, snapshot.StatOther: p.removed.Others,
		snapshot.StatBytesTotal: p.removed.Bytes, snapshot.StatErrors: uint64(len(s.Errors) - len(made.Errors)),
	} {
		if was, ok := made.Stats[name]; ok {
			made.Stats[name] = was - min(was, n)
		}
	}
	made.Degraded = nil
	return &made
}

// replace stores the new trees and commits the snapshot.
func (r *rewriter) replace(ctx context.Context, s, made *snapshot.Snapshot) (chunk.ID, error) {
	w, err := r.a.NewWriter(ctx)
	if err != nil {
		return chunk.ID{}, err
	}
	w.ForSeries(s.Series)
	id, err := r.commit(ctx, w, s, made)
	if err != nil {
		return id, errors.Join(err, suspend(ctx, w))
	}
	return id, nil
}

func (r *rewriter) commit(ctx context.Context, w *archive.Writer, s, made *snapshot.Snapshot) (chunk.ID, error) {
	took, err := w.TakeOver(ctx, s.ID)
	if err != nil {
		return chunk.ID{}, err
	}
	for walks := 1; ; walks++ {
		if !took { // declare, and if need be store anew, all that the old one holds, also what is to go: prune removes it
			t := &transfer{from: r.a, to: r.a, session: w, progress: r.o.Progress}
			if err := t.tree(ctx, snapshot.Root{}, s.Root()); err != nil {
				return chunk.ID{}, err
			}
		}
		p := r.purge(s, func(ctx context.Context, plain []byte) (chunk.ID, error) {
			saved, err := w.Save(ctx, chunk.Tree, plain)
			return saved.ID, err
		})
		if _, err := p.root(ctx); err != nil {
			return chunk.ID{}, err
		}
		id, err := w.Commit(ctx, made)
		if !errors.Is(err, archive.ErrStoreAnew) || walks == maxWalks {
			return id, err
		}
		took = false
	}
}
