package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/agent/process"
	"cairn/agent/source"
	"cairn/agent/source/driver"
	"cairn/agent/source/hook"
	"cairn/agent/source/paper"
	"cairn/archive/backup"
	"cairn/snapshot/pattern"
)

// built is what the parts of the source became.
type built struct {
	parts  []backup.Part
	papers []paper.Part // of the source's parts, by whose names those of the snapshot are called
}

// add adds one part of the snapshot for the last paper.
func (b *built) add(p backup.Part, stream *paper.Stream) {
	if stream != nil {
		doc := &b.papers[len(b.papers)-1]
		doc.Streams = append(doc.Streams, *stream)
		p.File = stream.Path
	}
	b.parts = append(b.parts, p)
}

// options are those of the archive with what the source says.
func (r *runner) options() backup.Options {
	o, f := r.target.Options, r.j.File
	o.Host, o.Series, o.Source, o.Role, o.Component = r.j.Host, r.j.Series, f.Name, f.Labels.Role, f.Labels.Component
	o.Tags = slices.Concat(o.Tags, f.Tags)
	o.SkipIfUnchanged = o.SkipIfUnchanged || f.SkipIfUnchanged
	o.AllowPartial = r.o.Force
	return o
}

// trees are the parts that a warm pass reads.
func (r *runner) trees() []backup.Part {
	var all []backup.Part
	for _, p := range r.j.Parts {
		switch {
		case p.Tree != nil:
			if tree, err := treePart(p); err == nil { // what is wrong is told by the run itself
				all = append(all, tree)
			}
		case p.Derby != nil || p.H2 != nil:
			all = append(all, backup.Part{Name: p.Name, Paths: embeddedPaths(p)})
		}
	}
	return all
}

// parts makes the parts of the snapshot. Databases are asked what there is; nothing is dumped yet.
func (r *runner) parts(ctx context.Context) ([]backup.Part, error) {
	b := &built{}
	for _, p := range r.j.Parts {
		b.papers = append(b.papers, paper.Part{Name: p.Name, Kind: p.Kind(), Class: string(p.Class), Subject: p.Subject(), Optional: p.Optional})
		if err := r.part(ctx, b, p); err != nil {
			return nil, err
		}
	}
	r.built, r.report.Paper.Parts = b, b.papers
	return append(b.parts,
		backup.Part{Name: "source file", File: paper.SourceFile, Content: source.Marshal(r.j.File)},
		backup.Part{Name: "report", File: paper.RunFile, Paper: r.write}), nil
}

func (r *runner) part(ctx context.Context, b *built, p *source.Part) error {
	switch {
	case p.Tree != nil:
		tree, err := treePart(p)
		if err != nil {
			return err
		}
		r.lookForDerbies(b, p)
		b.add(tree, nil)
	case p.Command != nil:
		b.add(r.commandPart(p), &paper.Stream{File: p.Command.File, Path: paper.StreamPath(p.Name, p.Command.File)})
	case p.Derby != nil || p.H2 != nil:
		r.embedded(b, p)
	case p.Fedora != nil:
		return r.fedora(b, p)
	case p.Export != nil:
		r.export(b, p)
	default:
		return r.database(ctx, b, p)
	}
	return nil
}

// treePart reads a directory. Of one that is a symbolic link the directory that it leads to is read, too: the link alone would be a
// backup of nothing.
func treePart(p *source.Part) (backup.Part, error) {
	t := p.Tree
	part := backup.Part{Name: p.Name, Paths: []string{t.Path}, OneFileSystem: t.OneFileSystem, Optional: p.Optional, Excludes: new(pattern.List)}
	for _, list := range [][]string{t.Exclude, t.Derived, t.Never} {
		for _, text := range list {
			if err := part.Excludes.Add(text, false); err != nil {
				return part, fmt.Errorf("part %s: %w", p.Name, err)
			}
		}
	}
	info, err := os.Lstat(t.Path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return part, nil // what is not there is for the run to judge
	}
	to, err := filepath.EvalSymlinks(t.Path)
	switch {
	case err == nil:
		part.Paths = append(part.Paths, to)
	case errors.Is(err, fs.ErrNotExist):
		err = &absentError{err}
		fallthrough
	default:
		part.Begin = func(context.Context) ([]backup.Part, error) { return nil, err }
	}
	return part, nil
}

// commandPart reads what a program says.
func (r *runner) commandPart(p *source.Part) backup.Part {
	m := p.Command
	return backup.Part{Name: p.Name, Optional: p.Optional, Open: func(ctx context.Context) (io.Reader, func() error, error) {
		c, err := hook.Command(ctx, m.Run, environment())
		if err != nil {
			return nil, nil, err
		}
		c.Stderr = r.o.Stderr
		cancel := context.CancelFunc(func() {})
		if m.Timeout > 0 {
			ctx, cancel = context.WithTimeoutCause(ctx, m.Timeout, &hook.TimeoutError{After: m.Timeout})
		}
		out, err := process.Start(ctx, c)
		if err != nil {
			cancel()
			if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
				err = &absentError{err}
			}
			return nil, nil, err
		}
		return out, func() error {
			defer cancel()
			return out.Wait()
		}, nil
	}}
}

// absentError says that what is to be read is not there, in the words of its cause.
type absentError struct{ error }

func (e *absentError) Unwrap() []error { return []error{e.error, backup.ErrAbsent} }

// environment is ours without what is needed for the archive: the program has no business with it.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CAIRN_") || strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "MINIO_")
	})
}

// database dumps what a server or a file holds. With Force a server that does not answer is one part that is missing.
func (r *runner) database(ctx context.Context, b *built, p *source.Part) error {
	failing := func(err error) {
		b.add(backup.Part{Name: p.Name, Optional: p.Optional, Open: func(context.Context) (io.Reader, func() error, error) { return nil, nil, err }},
			&paper.Stream{File: p.Kind(), Path: paper.StreamPath(p.Name, p.Kind())})
	}
	if p.SQLite != nil {
		if _, err := os.Stat(p.SQLite.Path); errors.Is(err, fs.ErrNotExist) {
			failing(&absentError{err})
			return nil
		}
	}
	set, err := driver.Streams(ctx, *p, driver.Options{TempDir: r.o.TempDir, Stderr: r.o.Stderr})
	if err != nil && (!r.o.Force || ctx.Err() != nil) {
		return err
	}
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "part ") {
			err = inner // the snapshot's list of damage names the part itself
		}
		failing(err)
		return nil
	}
	doc := &b.papers[len(b.papers)-1]
	doc.Tools, doc.Warnings = set.Tools, set.Warnings
	for _, s := range set.Streams {
		b.add(backup.Part{Name: p.Name, Optional: p.Optional, Open: s.Open},
			&paper.Stream{File: s.File, Path: paper.StreamPath(p.Name, s.File), Databases: s.Databases})
	}
	return nil
}

// embedded reads a database that must stand still, before and after. Without it the copy is worth nothing.
func (r *runner) embedded(b *built, p *source.Part) {
	doc := len(b.papers) - 1
	still := func() error {
		warnings, err := driver.Stopped(*p)
		for _, w := range warnings {
			if text := b.papers[doc].Warnings; !slices.Contains(text, w) {
				b.papers[doc].Warnings = append(text, w)
			}
		}
		return err
	}
	b.add(backup.Part{Name: p.Name, Paths: embeddedPaths(p), Optional: p.Optional,
		Begin: func(context.Context) ([]backup.Part, error) { return nil, still() },
		End:   func(context.Context) error { return still() },
	}, nil)
}

// embeddedPaths are the files of a database. One of H2 may be named as in its URL, without the ending.
func embeddedPaths(p *source.Part) []string {
	if p.Derby != nil {
		return []string{p.Derby.Path}
	}
	var paths []string
	for _, ending := range []string{"", ".mv.db", ".h2.db"} {
		if _, err := os.Lstat(p.H2.Path + ending); err == nil {
			paths = append(paths, p.H2.Path+ending)
		}
	}
	if len(paths) == 0 {
		return []string{p.H2.Path}
	}
	return paths
}

// findDerbies looks, before anything is stopped, for databases within the trees.
func (r *runner) findDerbies(ctx context.Context) {
	r.derbies = map[string][]string{}
	for _, p := range r.j.Parts {
		if p.Tree == nil {
			continue
		}
		if found, err := driver.FindDerby(ctx, p.Tree.Path); err == nil { // it is for a warning only, and what cannot be read is told later
			r.derbies[p.Name] = found
		}
	}
}

// lookForDerbies warns of those that are in use: their copies will be worth nothing.
func (r *runner) lookForDerbies(b *built, p *source.Part) {
	for _, dir := range r.derbies[p.Name] {
		_, err := driver.Stopped(source.Part{Derby: &source.Embedded{Path: dir}})
		var used *driver.InUseError
		if !errors.As(err, &used) {
			continue
		}
		text := fmt.Sprintf("part %s: %v, and its copy may be of no use: stop the application with hooks, or dump the database", p.Name, used)
		b.papers[len(b.papers)-1].Warnings = append(b.papers[len(b.papers)-1].Warnings, text)
		r.warn(text)
	}
}

// fedora lets the repository write its backup when the part's turn has come.
func (r *runner) fedora(b *built, p *source.Part) error {
	if r.o.Fedora == nil {
		return fmt.Errorf("part %s: this program cannot ask a Fedora repository", p.Name)
	}
	doc := len(b.papers) - 1
	part := backup.Part{Name: p.Name, Optional: p.Optional}
	part.Begin = func(ctx context.Context) ([]backup.Part, error) {
		staged, err := r.o.Fedora(ctx, r.j.File.Name+"-"+p.Name, p, r.o.Force)
		if err != nil {
			return nil, err
		}
		r.clean = append(r.clean, staged.Close)
		b.papers[doc].Warnings = append(b.papers[doc].Warnings, staged.Warnings...)
		more := staged.Parts
		if staged.Failed != "" {
			more = append(more, backup.Part{Name: p.Name, Begin: func(context.Context) ([]backup.Part, error) { return nil, errors.New(staged.Failed) }})
		}
		return more, nil
	}
	b.parts = append(b.parts, part)
	return nil
}

// export makes a request when the part's turn has come.
func (r *runner) export(b *built, p *source.Part) {
	e := p.Export
	if e.File != "" {
		b.add(backup.Part{Name: p.Name, Optional: p.Optional, Open: func(ctx context.Context) (io.Reader, func() error, error) {
			ctx, cancel := limited(ctx, e.Timeout)
			res, err := hook.Do(ctx, &e.Request, hook.Options{})
			if err != nil {
				cancel()
				return nil, nil, err
			}
			return res.Body, func() error {
				defer cancel()
				return res.Body.Close()
			}, nil
		}}, &paper.Stream{File: e.File, Path: paper.StreamPath(p.Name, e.File)})
		return
	}
	part := backup.Part{Name: p.Name, Paths: []string{e.Path}, Optional: p.Optional, Begin: func(ctx context.Context) ([]backup.Part, error) {
		ctx, cancel := limited(ctx, e.Timeout)
		defer cancel()
		res, err := hook.Do(ctx, &e.Request, hook.Options{})
		if err == nil {
			_, err = hook.Drain(res)
		}
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}}
	if e.Clean {
		part.End = func(context.Context) error {
			r.clean = append(r.clean, func() error { return r.empty(e.Path) })
			return nil
		}
	}
	b.add(part, nil)
}

func limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, &hook.TimeoutError{After: d})
}

// empty removes what an export wrote, when it is in a snapshot: a mistaken path can then be restored.
func (r *runner) empty(path string) error {
	if r.report.Backup == nil {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return os.Remove(path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		err = errors.Join(err, root.RemoveAll(e.Name()))
	}
	return errors.Join(err, root.Close())
}
