// Package held says what snapshots hold of a source, and which of them to take.
//
// Words: then is the source file as the snapshot keeps it, now is the one of this machine; a part of then and one of now are a pair when they have
// one name. The origin is the snapshot that something comes from.
//
// Invariants
//   - Nothing is taken that is not complete, unless it was named. What was passed over is told.
//   - What a snapshot says of itself is believed as far as it can be read; where it says nothing its tree is looked at.
//
// Everything may be used concurrently for reading. An Origin keeps the context that it was opened with. Nothing is written.
package held

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cairn/agent/document"
	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/archive/view"
	"cairn/remote"
	"cairn/snapshot"
)

// Archive is what snapshots are read from; *archive.Archive is one.
type Archive = view.Source

// Origin is one snapshot that a source is restored from.
type Origin struct {
	Snapshot *snapshot.Snapshot
	Class    source.Class // that it is of; "": the ordinary run
	Paper    *paper.Run   // nil: the snapshot was not made by the run of a source
	Then     *source.File // as the snapshot keeps it; nil as well

	text []byte // of Then
	view *view.FS
}

// Open reads what a snapshot says of itself.
func Open(ctx context.Context, a Archive, s *snapshot.Snapshot, class source.Class) (*Origin, error) {
	v, err := view.New(ctx, a, s.Root(), "/")
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
	}
	o := &Origin{Snapshot: s, Class: class, view: v}
	o.Paper, err = paper.Read(v)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
	}
	if o.Paper != nil && o.Class == "" {
		o.Class = source.Class(o.Paper.Class)
	}
	o.text, err = readSmall(v, paper.SourceFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return o, nil
	case err == nil:
		o.Then, err = source.Parse(paper.SourceFile, o.text, source.ParseOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: the source file that it keeps: %w", s.ID.Short(), err)
	}
	return o, nil
}

func readSmall(v *view.FS, name string) ([]byte, error) {
	f, err := v.Open(strings.TrimPrefix(name, "/"))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	return text, errors.Join(err, f.Close())
}

// View is the snapshot as a file system.
func (o *Origin) View() *view.FS { return o.view }

// Kept is the source file that the snapshot keeps, with other values of its variables: for a machine that has none of its own.
func (o *Origin) Kept(vars map[string]string) (*source.File, error) {
	if o.Then == nil {
		return nil, remote.WithHint(fmt.Errorf("snapshot %s keeps no source file: it was not made by the run of a source", o.Snapshot.ID.Short()),
			"name a source file of this machine, or restore directories with `cairn restore`")
	}
	return source.Parse(paper.SourceFile, o.text, source.ParseOptions{Vars: vars})
}

// Part is one part as a snapshot holds it.
type Part struct {
	Source  source.Part // as of then
	Origin  *Origin
	Paths   []string
	Streams []paper.Stream
	Dir     string // of the streams, when they are restored as a whole
	Bytes   uint64
	Absent  bool   // it was not there, and that was right
	Missing string // why there is nothing, or not all of it
}

// Parts says what of each part the snapshot holds. What then left out is not among them, unless the snapshot has it all the same.
func (o *Origin) Parts(now *source.File) ([]Part, error) {
	then := o.Then
	if then == nil {
		then = now
	}
	var list []Part
	for _, p := range then.Parts {
		h := Part{Source: p, Origin: o}
		if o.Paper != nil {
			noted, ok := o.Paper.Find(p.Name)
			if ok {
				h.Paths, h.Streams, h.Bytes = onMachine(noted.Paths), noted.Streams, noted.Bytes
				h.Absent, h.Missing = noted.Absent, noted.Failed
			} else if p.Class != source.Never && p.Class != source.Derived {
				continue // of a class with runs of its own
			}
		}
		if h.Paths == nil && h.Streams == nil && !h.Absent {
			if err := o.find(&h); err != nil {
				return nil, err
			}
		}
		if h.Streams != nil {
			h.Dir = path.Join(paper.StreamsDir, p.Name)
		}
		list = append(list, h)
	}
	return list, nil
}

// onMachine leaves out what lies below the papers of the snapshot, such as the binaries of a repository: they belong to the streams, and have no
// place of their own on a machine.
func onMachine(paths []string) []string {
	var there []string
	for _, p := range paths {
		if !strings.HasPrefix(p, paper.Dir+"/") {
			there = append(there, p)
		}
	}
	return there
}

// find looks for a part in the tree of the snapshot.
func (o *Origin) find(h *Part) error {
	p := &h.Source
	if name := PathOf(p); name != "" && p.SQLite == nil {
		_, err := o.view.Lstat(strings.TrimPrefix(name, "/"))
		switch {
		case err == nil:
			h.Paths = []string{name}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	dir := path.Join(paper.StreamsDir, p.Name)
	entries, err := fs.ReadDir(o.view, strings.TrimPrefix(dir, "/"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		s := paper.Stream{File: e.Name(), Path: path.Join(dir, e.Name())}
		if info, err := e.Info(); err == nil && !e.IsDir() {
			s.Bytes = uint64(info.Size())
			h.Bytes += s.Bytes
		}
		h.Streams = append(h.Streams, s)
	}
	if h.Paths == nil && h.Streams == nil && p.Class != source.Never && p.Class != source.Derived {
		if h.Absent = p.Optional; !p.Optional && h.Missing == "" {
			h.Missing = "it is not in the snapshot"
		}
	}
	return nil
}

// PathOf is the path of a part that comes back as files, or of an SQLite database.
func PathOf(p *source.Part) string {
	switch {
	case p.Tree != nil:
		return p.Tree.Path
	case p.SQLite != nil:
		return p.SQLite.Path
	case p.Derby != nil:
		return p.Derby.Path
	case p.H2 != nil:
		return p.H2.Path
	case p.Export != nil:
		return p.Export.Path
	}
	return ""
}

// Pair finds the part of this machine's file that a part of then is now: the one of its name, or, where names are made of paths and variables
// changed those, the one in its place.
func Pair(then, now *source.File, p *source.Part) *source.Part {
	i := slices.IndexFunc(now.Parts, func(q source.Part) bool { return q.Name == p.Name })
	if i < 0 && then != nil && len(then.Parts) == len(now.Parts) {
		if k := slices.IndexFunc(then.Parts, func(q source.Part) bool { return q.Name == p.Name }); k >= 0 && now.Parts[k].Kind() == p.Kind() {
			taken := slices.ContainsFunc(then.Parts, func(q source.Part) bool { return q.Name == now.Parts[k].Name })
			if !taken {
				i = k
			}
		}
	}
	if i < 0 || now.Parts[i].Kind() != p.Kind() {
		return nil
	}
	return &now.Parts[i]
}
