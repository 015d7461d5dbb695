package fedora

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"cairn/agent/format"
	"cairn/agent/format/modeshape"
	"cairn/agent/source"
	"cairn/archive/backup"
	"cairn/remote"
)

// Options say how a backup is taken. The zero value works.
type Options struct {
	Name     string               // of the source and part: the run's directory is called after it
	Estimate int64                // bytes that the last backup took (Staged.Bytes); 0: what Memo says
	Memo     string               // file in which that is kept from one run to the next; empty: it is not
	Damaged  bool                 // take a damaged backup, too, with Staged.Failed: for a partial snapshot
	Memory   int64                // of the verification (format.Options)
	Found    func(format.Problem) // called for each problem, as it is found; may be nil

	free func(dir string) (int64, error) // for tests
}

// Staged is a backup that Fedora wrote and that was verified. It lies in the run's directory until Close.
type Staged struct {
	Dir      string // as this program sees it
	Remote   string // as it was sent to the server
	Answered string // as the server called it: the same, if no link was on the way
	Began    time.Time
	Took     time.Duration  // of the request
	Bytes    int64          // that the backup takes in the staging directory: the estimate for the next one
	Report   *format.Report // of the verification
	Warnings []string
	Failed   string // what is damaged, with Options.Damaged

	staging *staging
	files   []file
}

// file is one file of a backup beside its binaries.
type file struct {
	name   string // below the run's directory
	kept   string // below the part's directory in the snapshot
	gunzip bool
}

// ErrDamaged means that a backup lacks something that a restore from it would lose.
var ErrDamaged = errors.New("the backup is damaged")

// Backup lets a repository back itself up, and verifies what it wrote. The caller must call Close, once it has read the parts.
func Backup(ctx context.Context, part *source.Fedora, o Options) (*Staged, error) {
	st, left, err := newStaging(part, o.Name)
	if err != nil {
		return nil, fmt.Errorf("fedora: %w", err)
	}
	s := &Staged{Dir: st.dir, Remote: toRemote(part.PathMap, st.dir), staging: st}
	for _, name := range left {
		s.warn("removed what a run that was killed left in the staging directory: %s", name)
	}
	if err := s.take(ctx, part, o); err != nil {
		if gone := st.remove(); gone != nil {
			err = withCleanup(err, gone)
		}
		return nil, fmt.Errorf("fedora: %w", err)
	}
	return s, nil
}

// withCleanup keeps the hint of the first error.
func withCleanup(err, cleanup error) error {
	return remote.WithHint(errors.Join(err, cleanup), remote.Hint(err))
}

func (s *Staged) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

func (s *Staged) take(ctx context.Context, part *source.Fedora, o Options) error {
	if o.Estimate == 0 {
		o.Estimate = recall(o.Memo)
	}
	if err := room(part.Staging, o.Estimate, "the last backup took", o.free); err != nil {
		return err
	}
	s.Began = time.Now()
	server := newServer(part)
	a, err := server.post(ctx, "fcr:backup", s.Remote)
	if err != nil {
		return err
	}
	s.Took = time.Since(s.Began)
	if a.status != 200 {
		return server.refused("fcr:backup", a)
	}
	if err := s.answered(part, a); err != nil {
		return err
	}
	if err := s.list(); err != nil {
		return err
	}
	if err := s.verify(ctx, o); err != nil {
		return err
	}
	if err := remember(o.Memo, s.Bytes); err != nil {
		s.warn("the next run cannot know how much room it needs: %v", err)
	}
	return nil
}

// answered holds what the server says against what it was told. It answers with the canonical path: links on its side are resolved, so that it
// may be another one for the same directory. The name of the run's directory cannot be guessed: who says it, wrote there.
func (s *Staged) answered(part *source.Fedora, a *answer) error {
	s.Answered = strings.TrimSpace(a.body)
	switch {
	case a.html, !strings.HasPrefix(s.Answered, "/"), strings.ContainsFunc(s.Answered, func(r rune) bool { return r < ' ' }):
		return remote.WithHint(fmt.Errorf("POST fcr:backup: status 200, but not with the path of a backup%s", quoted(a)),
			"a login page or a proxy answered in the repository's place: see the URL, user and password")
	case path.Base(s.Answered) != s.staging.name:
		err := fmt.Errorf("the server was told to write to %s and says that it wrote to %s", s.Remote, printable(s.Answered, 500))
		if local := toLocal(part.PathMap, s.Answered); under(local, part.Staging) {
			return fmt.Errorf("%w, which is not this run's directory", err)
		}
		return remote.WithHint(err, "nothing was read there, as it is outside the staging directory. A proxy may have dropped the body of the request; remove that backup on the server, it takes room")
	}
	return nil
}

// list finds the files beside the binaries.
func (s *Staged) list() error {
	entries, err := fs.ReadDir(s.staging.self.FS(), ".")
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Dir, err)
	}
	if len(entries) == 0 {
		return remote.WithHint(fmt.Errorf("the server says that it wrote %s, and %s is empty", printable(s.Answered, 500), s.Dir),
			"these are two directories: path_map must say how the server calls staging, and both must see the same disk")
	}
	return s.listIn(".", entries)
}

func (s *Staged) listIn(dir string, entries []fs.DirEntry) error {
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		plain, packed := strings.CutSuffix(e.Name(), ".gz")
		packed = packed && modeshape.IsDocuments(e.Name())
		switch {
		case e.IsDir() && name == "binaries":
		case e.IsDir() && name == "changes":
			below, err := fs.ReadDir(s.staging.self.FS(), name)
			if err != nil {
				return fmt.Errorf("read %s: %w", filepath.Join(s.Dir, name), err)
			}
			if err := s.listIn(name, below); err != nil {
				return err
			}
		case !e.Type().IsRegular():
			s.warn("%s is no file of a backup and is not kept", name)
		case !packed && modeshape.IsDocuments(e.Name()) && exists(s.staging.self, name+".gz"):
			s.warn("%s is not kept: a restore reads %s.gz", name, name)
		case packed:
			s.files = append(s.files, file{name, path.Join(dir, plain), true})
		default:
			s.files = append(s.files, file{name, name, false})
		}
	}
	return nil
}

func exists(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil
}

// verify reads the whole backup. Documents that are there twice are ModeShape's own doing in each of its backups; Restore takes them out.
func (s *Staged) verify(ctx context.Context, o Options) error {
	r, err := check(ctx, s.staging.self, o.Memory, o.Found)
	if err != nil {
		return err
	}
	s.Report, s.Bytes = r, r.Bytes
	if twice := r.Kinds[modeshape.DuplicateID]; twice > 0 {
		s.warn("%d documents are there twice; a restore with this program takes the earlier ones out", twice)
	}
	if lost := losses(r); lost > 0 {
		err := damaged(r, lost)
		if !o.Damaged {
			return remote.WithHint(err, "no snapshot is made of it: run it again, and if it stays see the server's log; --force keeps what there is as a partial snapshot")
		}
		s.Failed = err.Error()
	}
	return nil
}

func check(ctx context.Context, root *os.Root, memory int64, found func(format.Problem)) (*format.Report, error) {
	r, err := format.Verify(ctx, root.FS(), ".", "modeshape", format.Options{Memory: memory, Limit: 100, Found: found}, modeshape.Look)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return r, nil
}

// losses counts what a restore would lose for good.
func losses(r *format.Report) int64 { return r.Errors - r.Kinds[modeshape.DuplicateID] }

// damaged names the first problems.
func damaged(r *format.Report, lost int64) error {
	var list []string
	for _, p := range r.Problems {
		if p.Severity != format.Error || p.Kind == modeshape.DuplicateID {
			continue
		}
		if len(list) == 5 {
			list = append(list, "…")
			break
		}
		list = append(list, fmt.Sprintf("%s: %s (%s)", p.Path, p.Message, p.Effect))
	}
	return fmt.Errorf("%w: %d problems: %s", ErrDamaged, lost, strings.Join(list, "; "))
}

// Close removes the run's directory.
func (s *Staged) Close() error {
	if err := s.staging.remove(); err != nil {
		return fmt.Errorf("fedora: %w", err)
	}
	return nil
}

// Parts are what becomes of the backup below the directory dir of the snapshot. All belong to the part called name. Reading must end before Close.
func (s *Staged) Parts(name, dir string) []backup.Part {
	var parts []backup.Part
	for _, f := range s.files {
		parts = append(parts, backup.Part{Name: name, File: path.Join(dir, f.kept), Open: s.open(f)})
	}
	if info, err := s.staging.self.Lstat("binaries"); err == nil && info.IsDir() {
		parts = append(parts, backup.Part{Name: name, Paths: []string{filepath.Join(s.Dir, "binaries")}, As: path.Join(dir, "binaries")})
	}
	return parts
}
