package perform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/restore"
)

// Present is a source of what is there and would be changed: for a safety snapshot. It has no hooks and guards, those of the restore have run. nil:
// nothing is there. Databases are in it when they are going to be replaced; otherwise what holds something is refused anyway.
func Present(p *restore.Plan) (*source.File, error) {
	f := &source.File{Name: p.File.Name, Description: "what was there before a restore", Labels: p.File.Labels}
	var paths []string
	for i := range p.Trees {
		t := &p.Trees[i]
		part := source.Part{Name: t.Part.Name, Class: source.Data, Optional: true, Tree: &source.Tree{Path: t.To}}
		if now := held.Pair(t.Origin.Then, p.File, &t.Part); now != nil && now.Tree != nil {
			part.Tree.Exclude = slices.Concat(now.Tree.Exclude, now.Tree.Derived)
		}
		if slices.ContainsFunc(f.Parts, func(q source.Part) bool { return q.Name == part.Name }) {
			part.Name = fmt.Sprintf("%s-%d", part.Name, i)
		}
		f.Parts = append(f.Parts, part)
		paths = append(paths, t.To)
	}
	for i, w := range p.Wipes {
		covered := slices.ContainsFunc(paths, func(name string) bool { return restore.Below(w.Path, name) || restore.Below(name, w.Path) })
		if w.Found.Exists && !covered {
			f.Parts = append(f.Parts, source.Part{Name: fmt.Sprintf("wiped-%d", i+1), Class: source.Data, Optional: true, Tree: &source.Tree{Path: w.Path}})
			paths = append(paths, w.Path)
		}
	}
	there := f.Parts[:0]
	for _, part := range f.Parts {
		_, err := os.Lstat(part.Tree.Path)
		if err == nil {
			there = append(there, part)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	f.Parts = append(there, presentDatabases(p)...)
	if len(f.Parts) == 0 {
		return nil, nil
	}
	return f, f.Validate()
}

// presentDatabases are those that are going to be dropped, and repositories, which are replaced as a whole.
func presentDatabases(p *restore.Plan) (list []source.Part) {
	for i := range p.Streams {
		s := &p.Streams[i]
		if s.Way == restore.ToRepository {
			part := s.Part
			part.Class = source.Data
			list = append(list, part)
		}
		if s.Way != restore.ToDatabase || s.Label == "roles" || !s.Replace {
			continue
		}
		name := s.As
		if name == "" {
			name = s.Label
		}
		part := s.Part
		part.Class, part.Optional = source.Data, true
		switch {
		case part.SQLite != nil:
			part.SQLite = &source.SQLite{Path: s.As, Method: "backup"}
		case part.Postgres != nil:
			c := *part.Postgres
			c.Databases = []string{name}
			part.Postgres = &c
		case part.MariaDB != nil && name != "":
			c := *part.MariaDB
			c.Databases = []string{name}
			part.MariaDB = &c
		}
		part.Name = fmt.Sprintf("%s-%d", part.Name, i+1)
		list = append(list, part)
	}
	return list
}
