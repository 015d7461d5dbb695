package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

const (
	// maxWalks bounds how often a snapshot is walked because a collector took away what it relied on. The second walk takes nothing
	// over that a collector has condemned, so a third needs a second collector.
	maxWalks = 5
	// endWithin is how long an interrupted copy may take to store what it has sealed.
	endWithin = 30 * time.Second
)

// Options say how snapshots are copied. The zero value works.
type Options struct {
	DryRun   bool // say what would be copied, and copy nothing
	Progress *Progress
	Done     func(Result) // told of each snapshot, in order. May be nil
}

func (o Options) applyDefaults() Options {
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Done == nil {
		o.Done = func(Result) {}
	}
	return o
}

// State says what became of a snapshot.
type State uint8

// The states.
const (
	Copied     State = iota + 1 // in a dry run: it would be
	There                       // the target has it
	Incomplete                  // it was never finished, and is not copied
	Lost                        // it is not copied, because something of it is lost in the source
	Dropped                     // its copy was forgotten in the target, and it is not copied again (Run only)
)

func (s State) String() string {
	switch s {
	case Copied:
		return "copied"
	case There:
		return "there"
	case Incomplete:
		return "incomplete"
	case Lost:
		return "lost"
	case Dropped:
		return "forgotten in the target"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Result is what became of one snapshot.
type Result struct {
	Source   *snapshot.Snapshot
	State    State
	ID       chunk.ID // of the copy, unless it is a dry run's
	Degraded int      // packs of the copy that were stored with fewer than n shards
	Carried
	Err error // why it is Lost
}

// Report sums up.
type Report struct {
	Copied, There, Incomplete, Lost, Dropped int
	Degraded                                 int // copies with packs that lack shards
	Carried
	Err error // of the first that is Lost
}

// job is one call of Copy.
type job struct {
	from, to *archive.Archive
	all      []*snapshot.Snapshot // of the source, the oldest first
	held     *held
	o        Options
	report   Report
	planned  map[chunk.ID]bool // in a dry run: source snapshots that would have been copied by now
	replica  bool              // what was forgotten in the target stays so
}

// Copy copies snapshots into another archive. all are those of the source as Archive.Snapshots lists them, chosen some of these, the oldest first.
// The source is opened with a key that can read; for the target any key will do. A snapshot that is lost in part is in the report, and
// does not keep the others from being copied.
func Copy(ctx context.Context, from, to *archive.Archive, all, chosen []*snapshot.Snapshot, o Options) (*Report, error) {
	return carry(ctx, from, to, all, chosen, o, false)
}

func carry(ctx context.Context, from, to *archive.Archive, all, chosen []*snapshot.Snapshot, o Options, replica bool) (*Report, error) {
	if from.ID() == to.ID() {
		return nil, remote.WithHint(fmt.Errorf("archive %.8s is the source and the target", from.ID()), "name the members of another archive as the target")
	}
	h, err := newHeld(ctx, to, from.ID())
	if err != nil {
		return nil, err
	}
	j := &job{from: from, to: to, all: all, held: h, o: o.applyDefaults(), planned: map[chunk.ID]bool{}, replica: replica}
	j.expect(chosen)
	for _, s := range chosen {
		r, err := j.one(ctx, s)
		if err != nil {
			return &j.report, err
		}
		j.count(r)
		j.o.Progress.Snapshots.Add(1)
		j.o.Done(r)
	}
	return &j.report, nil
}

// expect sets the totals of the progress: what backups added is about what their copies add, and all of it where nothing is there to
// compare with.
func (j *job) expect(chosen []*snapshot.Snapshot) {
	j.o.Progress.TotalSnapshots.Store(uint64(len(chosen)))
	begun := map[string]bool{}
	for _, s := range chosen {
		switch {
		case s.Incomplete || j.replica && j.to.Forgotten(j.held.remembered[s.ID]):
		case j.held.find(s) != nil:
			begun[s.Series] = true
		case begun[s.Series]:
			j.o.Progress.TotalBytes.Add(s.Stats[snapshot.StatBytesNew])
		default:
			begun[s.Series] = true
			j.o.Progress.TotalBytes.Add(s.Stats[snapshot.StatBytesTotal])
		}
	}
}

func (j *job) count(r Result) {
	switch r.State {
	case Copied:
		j.report.Copied++
	case There:
		j.report.There++
	case Incomplete:
		j.report.Incomplete++
	case Dropped:
		j.report.Dropped++
	case Lost:
		j.report.Lost++
		if j.report.Err == nil {
			j.report.Err = r.Err
		}
	}
	if r.Degraded > 0 {
		j.report.Degraded++
	}
	j.report.Carried.add(r.Carried)
}

// one copies one snapshot.
func (j *job) one(ctx context.Context, s *snapshot.Snapshot) (Result, error) {
	r := Result{Source: s}
	if s.Incomplete {
		r.State = Incomplete
		return r, nil
	}
	if c := j.held.find(s); c != nil {
		r.State, r.ID = There, c.id
		return r, nil
	}
	if id, ok := j.held.remembered[s.ID]; j.replica && ok && j.to.Forgotten(id) {
		r.State, r.ID = Dropped, id
		return r, nil
	}
	err := j.copy(ctx, s, &r)
	if err != nil && lost(ctx, j.from, err) {
		r.State, r.Err = Lost, fmt.Errorf("snapshot %s is not copied: %w", s.ID.Short(), err)
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("copy snapshot %s: %w", s.ID.Short(), err)
	}
	r.State = Copied
	return r, nil
}

// copy copies what a snapshot needs and then the snapshot.
func (j *job) copy(ctx context.Context, s *snapshot.Snapshot, r *Result) error {
	t := &transfer{from: j.from, to: j.to, dry: j.o.DryRun, progress: j.o.Progress}
	defer func() { r.Carried = t.carried }()
	if j.o.DryRun {
		t.session = dryRun{ctx, j.to}
		var base snapshot.Root
		if b, _ := j.base(s); b != nil {
			base = b.Root()
		}
		err := t.tree(ctx, base, s.Root())
		if err == nil {
			j.planned[s.ID] = true
		}
		return err
	}
	w, err := j.to.NewWriter(ctx)
	if err != nil {
		return targetError{err}
	}
	w.ForSeries(s.Series)
	t.session = w
	made, err := j.walkAndCommit(ctx, w, t, s)
	if err != nil {
		return errors.Join(err, suspend(ctx, w))
	}
	r.ID, r.Degraded = made.ID, len(made.Degraded)
	j.held.made(s, made)
	return nil
}

// walkAndCommit walks again when a collector took away what the copy relied on.
func (j *job) walkAndCommit(ctx context.Context, w *archive.Writer, t *transfer, s *snapshot.Snapshot) (*snapshot.Snapshot, error) {
	var base snapshot.Root
	if b, id := j.base(s); b != nil {
		// What the target's copy of it holds need not be looked at again.
		if ok, err := w.TakeOver(ctx, id); err != nil {
			return nil, targetError{err}
		} else if ok {
			base = b.Root()
		}
	}
	for walks := 1; ; walks++ {
		if err := t.tree(ctx, base, s.Root()); err != nil {
			return nil, err
		}
		made := j.remade(s)
		_, err := w.Commit(ctx, made)
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, archive.ErrStoreAnew) || walks == maxWalks {
			return nil, targetError{err}
		}
		base = snapshot.Root{}
	}
}

// remade is the snapshot as it will be in the target.
func (j *job) remade(s *snapshot.Snapshot) *snapshot.Snapshot {
	made := *s
	made.Origin = j.held.origin(s)
	made.Original = chunk.ID{} // nothing in the target is replaced
	made.Previous = j.previous(s)
	made.Degraded = nil
	return &made
}

// previous returns the copy of the snapshot before, or of the one that replaced it; zero when there is none.
func (j *job) previous(s *snapshot.Snapshot) chunk.ID {
	if s.Previous.IsZero() {
		return chunk.ID{}
	}
	for _, p := range j.all {
		if p.ID == s.Previous || p.Original == s.Previous && p.ID != s.ID {
			if c := j.held.find(p); c != nil {
				return c.id
			}
		}
	}
	return chunk.ID{}
}

// base chooses a snapshot of the source whose exact copy the target has, and which is likely to be like s: the one before, else the latest of
// the series before it, else the earliest after it, else one of the same host and paths. Its copy's id comes with it.
func (j *job) base(s *snapshot.Snapshot) (base *snapshot.Snapshot, id chunk.ID) {
	best := 0
	for _, p := range j.all {
		rank := likeness(s, p)
		if rank == 0 || rank < best || rank == best && p.Start.Compare(s.Start) > 0 {
			continue
		}
		if j.planned[p.ID] {
			best, base = rank, p
		} else if c := j.held.find(p); c != nil && c.exact(p) {
			best, base, id = rank, p, c.id
		}
	}
	return base, id
}

// likeness ranks how much of s is likely to be in p, 0 for nothing worth comparing.
func likeness(s, p *snapshot.Snapshot) int {
	before := p.Start.Compare(s.Start) <= 0
	switch {
	case p.Incomplete || p.ID == s.ID:
		return 0
	case p.ID == s.Previous || p.Previous == s.ID || !p.Original.IsZero() && p.Original == s.Original || p.ID == s.Original || p.Original == s.ID:
		return 5
	case p.Series == s.Series && s.Series != "" && before:
		return 4
	case p.Series == s.Series && s.Series != "":
		return 3
	case p.Host == s.Host && equalPaths(p, s) && before:
		return 2
	case p.Host == s.Host && equalPaths(p, s):
		return 1
	}
	return 0
}

func equalPaths(a, b *snapshot.Snapshot) bool {
	return len(a.Paths) == len(b.Paths) && snapshot.Filter{Paths: a.Paths}.Match(b)
}

// suspend ends a session without a snapshot. What is stored is published, so that the next run need not carry it again.
func suspend(ctx context.Context, w *archive.Writer) error {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if err := w.Suspend(late); err != nil {
		return targetError{fmt.Errorf("keep what was stored so far: %w", err)}
	}
	return nil
}
