package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"cairn/archive"
	"cairn/remote"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

// Reserved is the directory of a snapshot in which streams and a run's own papers lie.
const Reserved = "/.cairn"

// ErrAbsent is what Part.Open returns (wrapped) when what the part is about is not there: an optional part is then left out. Any other error
// is a failure, of an optional part, too: a database that is there and gives no dump must not go unnoticed.
var ErrAbsent = errors.New("is not there")

// Part is one thing of several that become one snapshot: trees (Paths), or one file of the snapshot (File with one of Open, Content
// and Paper). Several parts may have the same name.
type Part struct {
	Name string

	Paths         []string      // may nest among themselves, not with those of other parts
	Excludes      *pattern.List // nil: Options.Excludes
	OneFileSystem bool
	// As is where in the snapshot the only path lies: a directory that is made for one run has another name in each. Nothing of it is
	// looked for in the cache or the parent snapshot.
	As string
	// Begin (may be nil) is called when the turn of the part has come, to make something write what is read then. The parts that it returns
	// are read right after this one, which needs no paths then. Its error makes the part fail, or be left out as one of Open does.
	Begin func(ctx context.Context) (more []Part, err error)
	// End (may be nil) is called when the paths were read and Begin had given no error. Its error makes the part fail.
	End func(ctx context.Context) error

	File string // absolute name in the snapshot
	// Open begins a stream. ctx ends with the part, at once when its reading failed. If Open gave no error, wait (may be nil) is called
	// exactly once, when nothing more is read: its error, like one of src, makes the part fail. After a failure it must not wait for
	// src to be read; a Read may still be blocked then.
	Open    func(ctx context.Context) (src io.Reader, wait func() error, err error)
	Content []byte // what the file holds
	// Paper makes what the file holds when all parts are read and the caller of RunParts was told. It says something about the run, so it
	// does not count for SkipIfUnchanged.
	Paper func(done []PartReport) ([]byte, error)

	Optional bool // may be absent
}

// virtual says that the caller knows what the file holds: it is nothing that was backed up.
func (p *Part) virtual() bool { return p.Paper != nil || p.Content != nil }

func (p *Part) trees() bool { return len(p.Paths) > 0 || p.Begin != nil }

// placed says that the caller chose where in the snapshot the part lies.
func (p *Part) placed() bool { return p.File != "" || p.As != "" }

// PartReport says what became of a part.
type PartReport struct {
	Name         string
	Paths        []string // absolute; of a stream its name in the snapshot
	Stream       bool     // it is one
	Began, Ended time.Time
	Files        uint64 // regular files and streams
	Bytes        uint64 // of them, holes included
	BytesRead    uint64
	BytesNew     uint64 // plain bytes that the archive did not have
	BytesStored  uint64 // what they take there

	Absent   bool                 // it is optional and is not there
	Failed   string               // why it is missing in a partial snapshot, as a whole or in part
	Errors   []snapshot.ReadError // as in Report
	Warnings []snapshot.ReadError // files that changed or vanished while they were read, absent paths
}

// PartError means that a part could not be read, so that there is no snapshot.
type PartError struct {
	Part string
	Err  error
}

func (e *PartError) Error() string { return "part " + e.Part + ": " + e.Err.Error() }

func (e *PartError) Unwrap() error { return e.Err }

// RunParts backs up several parts into one snapshot: all of them, or there is none. They are read one after the other, in their order.
//
// read (may be nil) is called exactly once, whatever happens, as soon as everything is read or it is clear that it will not be: before
// the upload is waited for. failed is why there will be no snapshot, or nil. Its context does not end with ctx, because it is
// where a service that was stopped is started again. Its error means that there is no snapshot.
//
// A required part fails when one of its paths is absent or cannot be read at all, or its stream ends with an error; files within its
// trees that cannot be read are listed, as by Run. A part that fails ends the reading, and the error is a *PartError. With
// Options.AllowPartial the others are read, and the snapshot is marked as partial and lists what is missing.
//
// Options.Paths is not used. There are no checkpoints, and nothing is walked again after archive.ErrStoreAnew: streams cannot be read
// twice, and whoever stopped a service for them does not want to stop it twice. SkipIfUnchanged needs Options.Parent.
func RunParts(ctx context.Context, w Saver, o Options, parts []Part, read func(ctx context.Context, failed error) error) (*Report, error) {
	g, err := newGroup(w, o, parts)
	if err == nil {
		err = g.read(ctx)
	}
	if read != nil {
		if told := read(context.WithoutCancel(ctx), err); told != nil {
			err = errors.Join(err, told)
		}
	}
	if err != nil {
		return nil, err
	}
	return g.commit(ctx)
}

// Warm reads the trees among the parts and commits nothing, so that a later RunParts with the same Saver and Cache has little to read.
// What is missing or cannot be read is for RunParts to judge: here it is only in the report.
func Warm(ctx context.Context, w Saver, o Options, parts []Part) (*Report, error) {
	trees := slices.DeleteFunc(slices.Clone(parts), func(p Part) bool { return len(p.Paths) == 0 })
	for i := range trees {
		trees[i].Optional, trees[i].Begin, trees[i].End = true, nil, nil
	}
	o.AllowPartial = true
	g, err := newGroup(w, o, trees)
	if err != nil {
		return nil, err
	}
	for i := range trees {
		if err := g.part(ctx, i); err != nil {
			return nil, err
		}
	}
	return g.report(), nil
}

// group is one run of several parts.
type group struct {
	*run  // collects what the parts counted, and saves the directories above them
	parts []Part
	names [][]string // of each part: the paths, or the file
	done  []PartReport
	tree  *branch
	found int // parts of which there is something
}

func newGroup(w Saver, o Options, parts []Part) (*group, error) {
	o, err := o.applyDefaults()
	if err != nil {
		return nil, err
	}
	o.CheckpointEvery = -1
	g := &group{parts: slices.Clone(parts), names: make([][]string, len(parts)), tree: newBranch()}
	for i := range parts {
		if g.names[i], err = parts[i].check(); err != nil {
			return nil, &PartError{parts[i].Name, err}
		}
	}
	if err := g.apart(); err != nil {
		return nil, err
	}
	g.run, err = newRun(w, o)
	return g, err
}

// check says what the part is about: absolute names, each once.
func (p *Part) check() ([]string, error) {
	if p.trees() {
		if p.File != "" || p.Open != nil || p.virtual() {
			return nil, errors.New("has both paths and a file")
		}
		if p.As == "" {
			return absolutePaths(p.Paths)
		}
		if len(p.Paths) != 1 {
			return nil, errors.New("only one path can have another name")
		}
		elems, err := streamPath(p.As)
		return []string{"/" + strings.Join(elems, "/")}, err

	}
	ways := 0
	for _, has := range []bool{p.Open != nil, p.Content != nil, p.Paper != nil} {
		if has {
			ways++
		}
	}
	if p.File == "" || ways != 1 || p.As != "" {
		return nil, errors.New("needs paths, or a file and one way to get what it holds")
	}
	elems, err := streamPath(p.File)
	if err != nil {
		return nil, err
	}
	return []string{"/" + strings.Join(elems, "/")}, nil
}

// apart refuses parts of which one lies in another: what the snapshot holds there would depend on the order, and a class or an exclude of the
// one would not hold in the other. Only what is reserved may lie in a part that is all of "/".
func (g *group) apart() error {
	for i := range g.names {
		for j := range i {
			for _, a := range g.names[i] {
				for _, b := range g.names[j] {
					if err := g.clash(i, j, a, b); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (g *group) clash(i, j int, a, b string) error {
	switch {
	case a == b:
		return fmt.Errorf("parts %s and %s are both %s", g.parts[j].Name, g.parts[i].Name, a)
	case a == "/" && reserved(b) && g.parts[j].placed() || b == "/" && reserved(a) && g.parts[i].placed():
		return nil
	case within(a, b):
		return fmt.Errorf("%s of part %s lies in %s of part %s", a, g.parts[i].Name, b, g.parts[j].Name)
	case within(b, a):
		return fmt.Errorf("%s of part %s lies in %s of part %s", b, g.parts[j].Name, a, g.parts[i].Name)
	}
	return nil
}

func reserved(path string) bool { return within(path, Reserved) }

func within(path, dir string) bool {
	return dir == "/" || strings.HasPrefix(path, dir+"/")
}

// read reads the parts, but for the papers.
func (g *group) read(ctx context.Context) error {
	for i := 0; i < len(g.parts); i++ { // parts may be added on the way
		if g.parts[i].Paper != nil {
			continue
		}
		if err := g.part(ctx, i); err != nil {
			return err
		}
	}
	if g.found == 0 {
		return g.nothing()
	}
	return nil
}

func (g *group) nothing() error {
	for _, d := range g.done {
		if d.Failed != "" {
			return fmt.Errorf("%w: part %s: %s", ErrNoPaths, d.Name, d.Failed)
		}
	}
	return fmt.Errorf("%w: no part is there", ErrNoPaths)
}

func (g *group) report() *Report {
	report := g.run.report()
	report.Parts = g.done
	return report
}

// commit writes the papers and makes the snapshot.
func (g *group) commit(ctx context.Context) (*Report, error) {
	for i := range g.parts {
		if g.parts[i].Paper == nil {
			continue
		}
		if err := g.part(ctx, i); err != nil {
			return nil, err
		}
	}
	var err error
	if g.root, err = g.save(ctx, g.tree); err != nil {
		return nil, err
	}
	report := g.report()
	s := g.snapshot(report, g.paths(), g.root)
	s.Excludes = g.excludes()
	s.Partial = slices.ContainsFunc(g.done, func(d PartReport) bool { return d.Failed != "" })
	report.Snapshot = s
	if g.o.SkipIfUnchanged && !s.Partial && g.same(ctx) {
		report.Unchanged = true
		return report, nil
	}
	id, err := g.w.Commit(ctx, s)
	if errors.Is(err, archive.ErrStoreAnew) {
		err = remote.WithHint(fmt.Errorf("%w, and the parts are not read a second time", err), "run it again; what is stored by now is not stored twice")
	}
	if err != nil {
		return nil, err
	}
	report.ID, s.ID = id, id
	report.End = g.now()
	return report, nil
}

// paths are what was backed up, without what the caller made.
func (g *group) paths() []string {
	var all []string
	for i := range g.parts {
		if !g.parts[i].virtual() {
			all = append(all, g.names[i]...)
		}
	}
	return all
}

// excludes lists the rules of all parts, each once.
func (g *group) excludes() []string {
	rules := g.o.rules()
	for i := range g.parts {
		if !g.parts[i].trees() {
			continue
		}
		o := g.options(&g.parts[i])
		for _, rule := range o.rules() {
			if !slices.Contains(rules, rule) {
				rules = append(rules, rule)
			}
		}
	}
	return rules
}

// options are those of one part.
func (g *group) options(p *Part) Options {
	o := g.o
	if p.Excludes != nil {
		o.Excludes = p.Excludes
	}
	o.OneFileSystem = o.OneFileSystem || p.OneFileSystem
	if p.As != "" {
		o.Cache, o.Parent = nil, nil
	}
	return o
}
