package restore

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

// Kept is the source file that the snapshot keeps, with other values of its variables: for a machine that has none of its own.
func (o *Origin) Kept(vars map[string]string) (*source.File, error) {
	if o.Then == nil {
		return nil, remote.WithHint(fmt.Errorf("snapshot %s keeps no source file: it was not made by the run of a source", o.Snapshot.ID.Short()),
			"name a source file of this machine, or restore directories with `cairn restore`")
	}
	return source.Parse(paper.SourceFile, o.text, source.ParseOptions{Vars: vars})
}

// held is one part as a snapshot holds it.
type held struct {
	part    source.Part // as of then
	origin  *Origin
	paths   []string
	streams []paper.Stream
	dir     string // of the streams, when it is restored as a whole
	files   uint64
	bytes   uint64
	absent  bool   // it was not there, and that was right
	missing string // why there is nothing, or not all of it
}

// parts says what of each part the snapshot holds. What then left out is not among them, unless the snapshot has it all the same.
func (o *Origin) parts(now *source.File) ([]held, error) {
	then := o.Then
	if then == nil {
		then = now
	}
	var list []held
	for _, p := range then.Parts {
		h := held{part: p, origin: o}
		if o.Paper != nil {
			noted, ok := o.Paper.Find(p.Name)
			if ok {
				h.paths, h.streams, h.files, h.bytes = noted.Paths, noted.Streams, noted.Files, noted.Bytes
				h.absent, h.missing = noted.Absent, noted.Failed
			} else if p.Class != source.Never && p.Class != source.Derived {
				continue // of a class with runs of its own
			}
		}
		if h.paths == nil && h.streams == nil && !h.absent {
			if err := o.find(&h); err != nil {
				return nil, err
			}
		}
		if h.streams != nil {
			h.dir = path.Join(paper.StreamsDir, p.Name)
		}
		list = append(list, h)
	}
	return list, nil
}

// find looks for a part in the tree of the snapshot.
func (o *Origin) find(h *held) error {
	p := &h.part
	if name := pathOf(p); name != "" && p.SQLite == nil {
		_, err := o.view.Lstat(strings.TrimPrefix(name, "/"))
		switch {
		case err == nil:
			h.paths = []string{name}
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
			h.bytes += s.Bytes
		}
		h.streams = append(h.streams, s)
	}
	if h.paths == nil && h.streams == nil && p.Class != source.Never && p.Class != source.Derived {
		if h.absent = p.Optional; !p.Optional && h.missing == "" {
			h.missing = "it is not in the snapshot"
		}
	}
	return nil
}

// pathOf is the path of a part that comes back as files, or of an SQLite database.
func pathOf(p *source.Part) string {
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

// pair finds the part of this machine's file that a part of then is now: the one of its name, or, where names are made of paths and variables
// changed those, the one in its place.
func pair(then, now *source.File, p *source.Part) *source.Part {
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
