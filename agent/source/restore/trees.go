package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/held"
	files "cairn/archive/restore"
	"cairn/chunk"
	"cairn/snapshot"
)

func cut(text string) (before, after string, found bool) { return strings.Cut(text, "/") }

// place says where a path of this machine's source file is in this restore.
func (p *Plan) place(name string) string {
	name, _ = move(p.Options.PathMap, name)
	return p.under(name)
}

func (p *Plan) under(name string) string {
	if p.Options.To == "" {
		return name
	}
	return path.Join(p.Options.To, name)
}

// destination says where a path of a snapshot goes, before Options.To: a map that was given counts first, then where the part is now.
func (p *Plan) destination(o *held.Origin, name string) string {
	if to, ok := move(p.Options.PathMap, name); ok {
		return to
	}
	name, _ = move(p.paired(o), name)
	name, _ = move(p.Options.PathMap, name)
	return name
}

// paired says where the parts of then are now.
func (p *Plan) paired(o *held.Origin) []Map {
	list, known := p.pairs[o]
	if known || o.Then == nil {
		return list
	}
	for i := range o.Then.Parts {
		q := &o.Then.Parts[i]
		if now := held.Pair(o.Then, p.File, q); now != nil && held.PathOf(q) != "" && held.PathOf(now) != "" {
			list = append(list, Map{held.PathOf(q), held.PathOf(now)})
			if q.H2 != nil { // its files have endings
				list = append(list, Map{q.H2.Path + ".mv.db", now.H2.Path + ".mv.db"}, Map{q.H2.Path + ".h2.db", now.H2.Path + ".h2.db"})
			}
		}
	}
	p.pairs[o] = list
	return list
}

// rulesOf says what of a snapshot stays out.
func (p *Plan) rulesOf(o *held.Origin) (*rules, error) {
	if r := p.rules[o]; r != nil {
		return r, nil
	}
	r := &rules{o: &p.Options, place: func(name string) string { return p.destination(o, name) }}
	var err error
	if r.then, err = newRules(o.Then, o.Paper, func(name string) string { return name }); err != nil {
		return nil, err
	}
	if r.now, err = newRules(p.File, o.Paper, func(name string) string { name, _ = move(p.Options.PathMap, name); return name }); err != nil {
		return nil, err
	}
	p.rules[o] = r
	return r, nil
}

// addTree plans a directory or a file: it counts what is in it.
func (p *Plan) addTree(ctx context.Context, h held.Part, from string) error {
	r, err := p.rulesOf(h.Origin)
	if err != nil {
		return err
	}
	load := func(ctx context.Context, id chunk.ID) ([]byte, error) { return p.archive.Load(ctx, chunk.Tree, id) }
	s := h.Origin.Snapshot
	n, err := snapshot.Find(ctx, load, s.Content, s.Depth, from)
	if errors.Is(err, snapshot.ErrNotFound) {
		if h.Missing == "" && !h.Absent {
			p.Missing = append(p.Missing, fmt.Sprintf("part %s: %s is not in the snapshot", h.Source.Name, from))
		}
		return nil
	}
	if err != nil {
		return err
	}
	if r.leaves(from, n.Type == snapshot.Dir) {
		return nil
	}
	to := p.destination(h.Origin, from)
	t := Tree{Part: h.Source, From: from, To: p.under(to), Origin: h.Origin, Single: n.Type != snapshot.Dir}
	if t.Single && path.Base(to) != path.Base(from) {
		return fmt.Errorf("%s cannot become %s: a single file keeps its name", from, to)
	}
	t.Link = p.link(&t)
	t.count(n)
	if !t.Single {
		w := snapshot.Walker{Load: load, Ahead: p.archive.Ahead, OnError: func(string, error) error { t.Lost++; return nil }}
		err = w.Walk(ctx, n.Content, n.Depth, func(name string, n *snapshot.Node) error {
			if r.leaves(path.Join(from, name), n.Type == snapshot.Dir) {
				if n.Type == snapshot.Dir {
					return snapshot.SkipDir
				}
				return nil
			}
			t.count(n)
			return nil
		})
		if err != nil {
			return err
		}
	}
	p.Trees = append(p.Trees, t)
	if (h.Source.Derby != nil || h.Source.H2 != nil) && p.Options.To == "" {
		p.Closed = append(p.Closed, embeddedAt(h.Source, func(name string) string { return p.destination(h.Origin, name) }))
	}
	if p.Options.Compare && t.Link == "" {
		t.Compared, err = p.RestoreTree(ctx, &p.Trees[len(p.Trees)-1], true, nil)
		p.Trees[len(p.Trees)-1].Compared = t.Compared
	}
	return err
}

func (t *Tree) count(n *snapshot.Node) {
	switch n.Type {
	case snapshot.Dir:
		t.Dirs++
	case snapshot.File:
		t.Files++
		t.Bytes += n.Size
	default:
		t.Other++
	}
	if n.Error != "" {
		t.Lost++
	}
}

// RestoreTree brings one tree back, or says with dry what that would do. The directory above it has to be there.
func (p *Plan) RestoreTree(ctx context.Context, t *Tree, dry bool, progress *files.Progress) (*files.Report, error) {
	if link := p.link(t); link != "" { // again: it may have appeared since the plan
		return nil, &LinkError{link}
	}
	r, err := p.rulesOf(t.Origin)
	if err != nil {
		return nil, err
	}
	s := t.Origin.Snapshot
	o := files.Options{
		Target: t.To, Path: t.From, Roots: []string{t.From}, Excludes: r,
		InPlace: true, Delete: p.Options.Delete && !t.Single, DryRun: dry,
		NoOwner: p.Options.NoOwner, NoXattrs: p.Options.NoXattrs, Progress: progress, Action: p.Options.Action,
	}
	if t.Single {
		o.Target = path.Dir(t.To)
	}
	for _, e := range s.Errors {
		o.Unread = append(o.Unread, e.Path)
	}
	return files.Run(ctx, p.archive, s.Root(), o)
}

// LinkError means that a directory would come back through a symbolic link, which may lead anywhere: what is there would be changed, and
// with Options.Delete removed.
type LinkError struct{ Path string }

func (e *LinkError) Error() string {
	return e.Path + " is a link here and a directory in the snapshot: it may lead anywhere"
}

// Hint names the operator's next step.
func (e *LinkError) Hint() string {
	return "remove the link, or name the directory that it leads to with --path-map"
}

// link is the first link on the way from the root to a tree; "" is good. Links on the way to the root are the machine's own.
func (p *Plan) link(t *Tree) string {
	root, roots := "", p.roots()
	if p.Options.To != "" {
		roots = []string{p.Options.To}
	}
	for _, r := range roots {
		if Below(t.To, r) && len(r) > len(root) {
			root = r
		}
	}
	found := ""
	for name := t.To; name != root || name == t.To; name = path.Dir(name) {
		if name == "/" {
			break
		}
		if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 && (name != t.To || !t.Single) {
			found = name
		}
		if name == root || root == "" {
			break
		}
	}
	return found
}

// embeddedAt is a Derby or H2 database where it is in this restore.
func embeddedAt(p source.Part, at func(string) string) source.Part {
	if p.Derby != nil {
		p.Derby = &source.Embedded{Path: at(p.Derby.Path)}
	}
	if p.H2 != nil {
		p.H2 = &source.Embedded{Path: at(p.H2.Path)}
	}
	return p
}
