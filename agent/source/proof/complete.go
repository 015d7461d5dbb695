package proof

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/agent/verify"
	"cairn/snapshot"
)

// Wanted are the parts that a run of a class should have: with "" those of the ordinary run, all but those of classes with a schedule of their own.
func Wanted(f *source.File, class string) []*source.Part {
	var parts []*source.Part
	for i := range f.Parts {
		p := &f.Parts[i]
		switch {
		case p.Class == source.Derived || p.Class == source.Never:
		case class == string(p.Class), class == "" && f.Classes[p.Class].Schedule == "":
			parts = append(parts, p)
		}
	}
	return parts
}

// Runs are the classes of the runs that a source file asks for, each with the schedule of that run: "" is the ordinary one.
func Runs(f *source.File) map[string]string {
	runs := map[string]string{}
	if len(Wanted(f, "")) > 0 {
		runs[""] = f.Schedule
	}
	for class, rule := range f.Classes {
		if rule.Schedule != "" && len(Wanted(f, string(class))) > 0 {
			runs[string(class)] = rule.Schedule
		}
	}
	return runs
}

// Completeness compares what a source file asks for with what the run says that it gave, and that with the tree.
func Completeness(fsys fs.FS, f *source.File, run *paper.Run) []Problem {
	c := &completeness{fsys: fsys}
	known := map[string]bool{}
	for _, p := range Wanted(f, run.Class) {
		known[p.Name] = true
		c.part(p, run)
	}
	for i := range run.Parts { // of a part that the file has no more: what is there is there, or it is damage
		if p := &run.Parts[i]; !known[p.Name] && !p.Absent && p.Failed == "" {
			c.given(p)
		}
	}
	return c.problems
}

type completeness struct {
	fsys     fs.FS
	problems []Problem
}

func (c *completeness) add(part, name, kind string, severity verify.Severity, format string, args ...any) {
	c.problems = append(c.problems, Problem{Part: part, Path: name, Kind: kind, Severity: severity, Message: fmt.Sprintf(format, args...)})
}

func (c *completeness) part(p *source.Part, run *paper.Run) {
	got, ok := run.Find(p.Name)
	severity := verify.Error
	if p.Optional {
		severity = verify.Warning
	}
	switch {
	case !ok && p.Optional:
	case !ok:
		c.add(p.Name, "", KindPart, verify.Error, "is required and not in the snapshot: it was added to the source after that run, or renamed")
	case got.Failed != "":
		c.add(p.Name, "", KindFailed, severity, "is not whole: %s", got.Failed)
	case got.Absent && !p.Optional:
		c.add(p.Name, "", KindPart, verify.Error, "is required by now, and was optional and not there when the run was made")
	case got.Absent:
	default:
		c.given(got)
	}
}

// given looks for what a part says that it gave.
func (c *completeness) given(p *paper.Part) {
	if len(p.Paths)+len(p.Streams) == 0 {
		c.add(p.Name, "", KindPart, verify.Error, "gave nothing, as far as the run says")
	}
	for _, name := range p.Paths {
		c.stat(p.Name, name)
	}
	for _, s := range p.Streams {
		if s.Failed != "" {
			c.add(p.Name, s.Path, KindFailed, verify.Error, "is not in the snapshot: %s", s.Failed)
			continue
		}
		info := c.stat(p.Name, s.Path)
		switch {
		case info == nil:
		case !info.Mode().IsRegular():
			c.add(p.Name, s.Path, KindStream, verify.Error, "is no file")
		case uint64(info.Size()) != s.Bytes:
			c.add(p.Name, s.Path, KindStream, verify.Error, "has %d bytes, and %d were written", info.Size(), s.Bytes)
		case s.Bytes == 0:
			c.add(p.Name, s.Path, KindStream, verify.Warning, "is empty")
		}
	}
}

// stat finds what should be in the tree, and tells what is wrong with it.
func (c *completeness) stat(part, name string) fs.FileInfo {
	info, err := fs.Stat(c.fsys, Rel(name))
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("is not in the snapshot, though the run says so")
		}
		c.add(part, name, KindPath, verify.Error, "%v", err)
		return nil
	}
	if n, ok := info.Sys().(*snapshot.Node); ok && n.Error != "" {
		c.add(part, name, KindFailed, verify.Error, "was not read whole: %s", n.Error)
	}
	return info
}

// Rel is the name of an absolute path of a snapshot in its fs.FS.
func Rel(name string) string {
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	if rel == "" {
		return "."
	}
	return rel
}
