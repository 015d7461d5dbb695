package fedora

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"cairn/agent/format"
	"cairn/agent/format/modeshape"
	"cairn/agent/source"
	"cairn/remote"
)

// RestoreOptions say what is restored.
type RestoreOptions struct {
	Name string // as Options.Name
	// Fill writes the backup into an empty directory: documents_00000n.bin or .bin.gz, changes, binaries.
	Fill    func(ctx context.Context, dir string) error
	Size    int64 // bytes that it will write, for a look at the free space; 0: not known
	Consent bool  // a restore replaces all that the repository has: somebody must have said yes to that
	DryRun  bool  // do everything but the request. Consent is not needed
	Force   bool  // post although something is damaged: for when there is nothing better
	Memory  int64 // of the verification
	Found   func(format.Problem)

	free func(dir string) (int64, error)
}

// Restored says what was done.
type Restored struct {
	Remote     string // the directory as it was, or would be, sent
	Report     *format.Report
	Duplicates int64 // documents that were taken out, because a later one has the same id
	Posted     bool  // the repository was restored
	Took       time.Duration
	Warnings   []string
}

// ErrNoConsent means that nobody agreed to the replacement of the repository's content.
var ErrNoConsent = errors.New("a restore replaces everything that is in the repository")

// Restore makes a repository restore itself from what Fill writes. Whatever fails before the request leaves the repository alone. When the request
// was answered with an error, or not at all, the repository may be empty or half filled.
func Restore(ctx context.Context, part *source.Fedora, o RestoreOptions) (*Restored, error) {
	if !o.Consent && !o.DryRun {
		return nil, remote.WithHint(fmt.Errorf("fedora: %w", ErrNoConsent), "look at it with --dry-run, then say --yes")
	}
	st, left, err := newStaging(part, o.Name)
	if err != nil {
		return nil, fmt.Errorf("fedora: %w", err)
	}
	r := &Restored{Remote: toRemote(part.PathMap, st.dir)}
	for _, name := range left {
		r.Warnings = append(r.Warnings, "removed what a run that was killed left in the staging directory: "+name)
	}
	err = r.run(ctx, part, st, o)
	if gone := st.remove(); gone != nil {
		if err == nil { // the repository is restored, and that is what counts
			r.Warnings = append(r.Warnings, gone.Error())
		} else {
			err = withCleanup(err, gone)
		}
	}
	if err != nil {
		err = fmt.Errorf("fedora: %w", err)
	}
	return r, err
}

func (r *Restored) run(ctx context.Context, part *source.Fedora, st *staging, o RestoreOptions) error {
	if err := room(part.Staging, o.Size, "the backup takes", o.free); err != nil {
		return err
	}
	if err := o.Fill(ctx, st.dir); err != nil {
		return fmt.Errorf("fill %s: %w", st.dir, err)
	}
	if err := r.check(ctx, st, o); err != nil {
		return err
	}
	if err := st.hand(ctx); err != nil {
		return err
	}
	if o.DryRun {
		return nil
	}
	began := time.Now()
	server := newServer(part)
	a, err := server.post(ctx, "fcr:restore", r.Remote)
	r.Took = time.Since(began)
	if err != nil {
		return fmt.Errorf("%w; the repository may be empty or half filled", err)
	}
	if a.status != 204 {
		err := server.refused("fcr:restore", a)
		return remote.WithHint(fmt.Errorf("%w\nthe restore is not done: the repository may be empty or half filled", err), remote.Hint(err))
	}
	r.Posted = true
	return nil
}

// check takes out what would make the restore fail, and refuses what it would lose without a word.
func (r *Restored) check(ctx context.Context, st *staging, o RestoreOptions) error {
	var err error
	if r.Report, err = check(ctx, st.self, o.Memory, o.Found); err != nil {
		return err
	}
	if r.Report.Kinds[modeshape.DuplicateID]+r.Report.Kinds[modeshape.DoubleMetadata] > 0 {
		if r.Duplicates, err = withoutDuplicates(ctx, st.self); err != nil {
			return fmt.Errorf("take duplicates out: %w", err)
		}
		if r.Report, err = check(ctx, st.self, o.Memory, nil); err != nil {
			return err
		}
	}
	if lost := losses(r.Report); lost > 0 {
		err := damaged(r.Report, lost)
		if !o.Force {
			return remote.WithHint(fmt.Errorf("%w; fcr:restore was not posted, the repository is as it was", err),
				"take an older snapshot; --force posts it all the same, and what is listed is lost then")
		}
		r.Warnings = append(r.Warnings, err.Error())
	}
	return nil
}

// hand gives everything in the run's directory to the server: it was written with the owners and modes of another time.
func (s *staging) hand(ctx context.Context) error {
	err := fs.WalkDir(s.self.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case d.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a symlink", name)
		}
		mode := s.mode & 0o664
		if d.IsDir() {
			mode = s.mode
		}
		if s.uid >= 0 || s.gid >= 0 {
			if err := s.self.Lchown(name, s.uid, s.gid); err != nil && s.uid >= 0 {
				return err
			}
		}
		return s.self.Chmod(name, mode|0o400)
	})
	if err == nil {
		return nil
	}
	return remote.WithHint(fmt.Errorf("give the backup to the server: %w", err), "run as root, or as the user that the server runs as")
}
