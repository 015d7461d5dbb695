package run

import (
	"context"
	"io"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/archive/backup"
)

// Fedora lets a repository back itself up into the staging directory of the part, when the part's turn has come. name is that of source and part; with
// damaged a backup that is not whole is taken, too, with a warning.
type Fedora func(ctx context.Context, name string, p *source.Part, damaged bool) (*Staged, error)

// Staged is what a repository wrote.
type Staged struct {
	Parts    []backup.Part // streams and trees, below paper.StreamPath of the part
	Warnings []string
	Failed   string       // why it is not whole, if it was taken all the same
	Close    func() error // removes it; called once, also when the run fails
}

// Target is where the snapshot goes.
type Target struct {
	Saver backup.Saver
	// Options are those of the archive: Params, Cache, Parent, Previous…, Progress, Warn, User, Program. What the source says is put in.
	Options backup.Options
	// Finish (may be nil) is called once, when the snapshot is stored, or will not be: then failed says why. Its warnings go into the report.
	Finish func(ctx context.Context, r *backup.Report, failed error) (warnings []string, err error)
}

// Options are what a run needs of its caller. State and Open are needed.
type Options struct {
	State *State
	// Open opens the archive. It is called after the guards and before anything is stopped.
	Open func(ctx context.Context, j *Job) (*Target, error)

	Fedora  Fedora
	Force   bool          // make a partial snapshot when required parts fail
	Timeout time.Duration // of everything up to the commit; 0: none
	TempDir string        // for copies of databases; empty: the system's
	Program string        // this program with its version

	Stderr io.Writer                        // what programs say; may be nil
	Say    func(format string, args ...any) // what happens, for people; may be nil
	Now    func() time.Time                 // nil: time.Now
}

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	Done        Outcome = "done"
	Unchanged   Outcome = "unchanged" // nothing changed, and so no snapshot was made
	Partial     Outcome = "partial"   // the snapshot lacks something
	Skipped     Outcome = "skipped"   // softly: by a hook, a guard, or because a run of the source is at work
	Failed      Outcome = "failed"
	Interrupted Outcome = "interrupted"
)

// Report says what a run did.
type Report struct {
	Job     *Job
	Outcome Outcome
	Why     string // it was skipped

	Paper  *paper.Run     // what was noted for the snapshot; never nil
	Backup *backup.Report // nil without a snapshot, or what would have been one
	Warm   *backup.Report // nil without a warm pass
	Hooks  []paper.Hook   // of all stages, in the order in which they ran

	Recovered []Recovery // of runs that broke off
	Warnings  []string

	Began, Ended time.Time
}

// Stored says whether there is a snapshot.
func (r *Report) Stored() bool { return r.Backup != nil && !r.Backup.Unchanged }
