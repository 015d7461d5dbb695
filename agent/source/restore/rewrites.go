package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/rewrite"
	"cairn/chunk"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

const (
	maxRewrites = 10_000   // files
	maxPreview  = 64 << 20 // bytes of files that are read for the preview
)

// Rewrite is a file that rules change.
type Rewrite struct {
	From   string // path in the snapshot
	Path   string // on this machine
	Root   string // below which it lies
	Places int    // that the rules are about
	Diff   string // "" when nothing changes
	Err    error  // why it cannot be changed

	Rules []rewrite.Rule
}

// ruleOf takes a rule from a source file.
func ruleOf(w *source.Rewrite) rewrite.Rule {
	return rewrite.Rule{Properties: w.Properties, XML: (*rewrite.XML)(w.XML), Regex: (*rewrite.Regex)(w.Regex)}
}

// findRewrites lists the files among those that come back that the source file wants changed, and shows how.
func (p *Plan) findRewrites(ctx context.Context) error {
	var bound []pattern.Bound
	for i := range p.File.Restore.Rewrite {
		w := &p.File.Restore.Rewrite[i]
		var list pattern.List
		for _, text := range w.Files {
			if err := list.Add(text, false); err != nil {
				return err
			}
		}
		bound = append(bound, list.Bind(p.File.Restore.Roots))
	}
	if len(bound) == 0 {
		return nil
	}
	hits := make([]int, len(bound))
	read := 0
	for i := range p.Trees {
		err := p.eachFile(ctx, &p.Trees[i], func(from, own string, size uint64) error {
			w := p.matching(bound, p.Trees[i].Origin, from, own)
			if w == nil {
				return nil
			}
			if len(p.Rewrites) == maxRewrites {
				return fmt.Errorf("the patterns of restore: rewrite fit more than %d files", maxRewrites)
			}
			if read += int(min(size, rewrite.MaxSize)); read > maxPreview {
				w.Err = errors.New("too much for a preview")
			} else {
				p.preview(p.Trees[i].Origin, w, hits)
			}
			p.Rewrites = append(p.Rewrites, *w)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i, n := range hits {
		if n == 0 && len(p.Trees) > 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("rewrite %d (%s) finds nothing to set", i+1, strings.Join(p.File.Restore.Rewrite[i].Files, ", ")))
		}
	}
	return nil
}

// eachFile calls fn for the regular files of a tree that come back: with the path in the snapshot, and the one in the coordinates of the source file.
func (p *Plan) eachFile(ctx context.Context, t *Tree, fn func(from, own string, size uint64) error) error {
	r, err := p.rulesOf(t.Origin)
	if err != nil {
		return err
	}
	own := func(from string) string { // as the file of this machine calls it
		to, _ := move(p.paired(t.Origin), from)
		return to
	}
	if t.Single {
		return fn(t.From, own(t.From), t.Bytes)
	}
	load := func(ctx context.Context, id chunk.ID) ([]byte, error) { return p.archive.Load(ctx, chunk.Tree, id) }
	s := t.Origin.Snapshot
	n, err := snapshot.Find(ctx, load, s.Content, s.Depth, t.From)
	if err != nil {
		return err
	}
	w := snapshot.Walker{Load: load, Ahead: p.archive.Ahead, OnError: func(string, error) error { return nil }} // counted already
	return w.Walk(ctx, n.Content, n.Depth, func(name string, n *snapshot.Node) error {
		from := path.Join(t.From, name)
		switch {
		case r.Match(from, n.Type == snapshot.Dir) && n.Type == snapshot.Dir:
			return snapshot.SkipDir
		case n.Type != snapshot.File || r.Match(from, false):
			return nil
		}
		return fn(from, own(from), n.Size)
	})
}

// matching returns the rules for a file, nil if there are none. Patterns are those of the source file: below each of its roots.
func (p *Plan) matching(bound []pattern.Bound, o *held.Origin, from, own string) *Rewrite {
	root := ""
	for _, r := range p.File.Restore.Roots {
		if Below(own, r) && len(r) > len(root) {
			root = r
		}
	}
	if root == "" {
		return nil
	}
	w := &Rewrite{From: from, Path: p.under(p.destination(o, from))}
	var ok bool
	if w.Root, ok = strings.CutSuffix(w.Path, strings.TrimPrefix(own, strings.TrimSuffix(root, "/"))); !ok || w.Root == "" {
		return nil // a map leads out of the root
	}
	for i := range bound {
		if bound[i].Excluded(own, len(strings.TrimSuffix(root, "/")), false) {
			w.Rules = append(w.Rules, ruleOf(&p.File.Restore.Rewrite[i]))
			continue
		}
		w.Rules = append(w.Rules, rewrite.Rule{})
	}
	for _, r := range w.Rules {
		if IsSet(r) {
			return w
		}
	}
	return nil
}

// IsSet says whether a rule does anything.
func IsSet(r rewrite.Rule) bool { return len(r.Properties) > 0 || r.XML != nil || r.Regex != nil }

// preview applies the rules to what the snapshot holds.
func (p *Plan) preview(o *held.Origin, w *Rewrite, hits []int) {
	before, err := p.read(o, w.From)
	if err != nil {
		w.Err = err
		return
	}
	after := before
	for i, r := range w.Rules {
		if !IsSet(r) {
			continue
		}
		var n int
		if after, n, err = rewrite.Apply(r, after); err != nil {
			w.Err = fmt.Errorf("%s: %w", w.From, err)
			return
		}
		w.Places += n
		hits[i] += n
	}
	if !bytes.Equal(before, after) {
		w.Diff = rewrite.Diff(w.Path, before, after)
	}
}

func (p *Plan) read(o *held.Origin, name string) ([]byte, error) {
	f, err := o.View().Open(strings.TrimPrefix(name, "/"))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, rewrite.MaxSize+1))
	return data, errors.Join(err, f.Close())
}
