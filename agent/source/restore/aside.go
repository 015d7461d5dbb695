package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/hook"
	"cairn/agent/source/wipe"
)

// aside plans what is done beside bringing things back. A restore to another directory leaves the application alone.
func (p *Plan) aside(ctx context.Context) {
	f := p.File
	p.Runbook = f.Restore.Runbook
	for i, list := range [][]string{f.Restore.Remove, f.Restore.Empty} {
		for _, name := range list {
			p.addWipe(ctx, name, i == 1)
		}
	}
	if p.Options.To != "" {
		return
	}
	for _, g := range f.Guards.Restore {
		for _, at := range []*string{&g.PIDFile, &g.LockFile, &g.Absent} {
			if *at != "" {
				*at = p.place(*at)
			}
		}
		p.Guards = append(p.Guards, Guard{Guard: g})
	}
	p.AskGuards(ctx)
	if p.Steps = f.Restore.Steps; !p.Options.NoBefore {
		p.Before = f.Restore.Before
	}
}

// AskGuards finds out again which guards hold.
func (p *Plan) AskGuards(ctx context.Context) {
	for i := range p.Guards {
		p.Guards[i].Why = ""
		if unmet := hook.Guards(ctx, []source.Guard{p.Guards[i].Guard}); len(unmet) > 0 {
			p.Guards[i].Why = unmet[0].Why
		}
	}
}

func (p *Plan) addWipe(ctx context.Context, name string, empty bool) {
	w := Wipe{Path: p.place(name), Empty: empty, Target: wipe.Target{Protected: p.Options.Protected}}
	if p.Options.To != "" {
		w.Target.Root = p.Options.To
	} else {
		for _, root := range p.roots() {
			if Below(w.Path, root) && len(root) > len(w.Target.Root) {
				w.Target.Root = root
			}
		}
	}
	if w.Target.Path = w.Path; w.Target.Root == "" {
		w.Err = fmt.Errorf("%s is not below the roots of the restore", w.Path)
	} else {
		w.Found, w.Err = wipe.Look(ctx, w.Target)
	}
	if p.Options.To != "" && w.Err == nil && !w.Found.Exists {
		return // nothing of it can have been there
	}
	p.Wipes = append(p.Wipes, w)
}

// roots are the declared ones, where they are in this restore.
func (p *Plan) roots() (list []string) {
	for _, root := range p.File.Restore.Roots {
		list = append(list, p.place(root))
	}
	return list
}

// unmapped names hooks and steps in which an old path stands: no map changes those.
func (p *Plan) unmapped() (notes []string) {
	hooks := slices.Clone(p.Before)
	for _, s := range p.Steps {
		hooks = append(hooks, s.Hook)
	}
	for _, h := range hooks {
		for _, m := range p.Options.PathMap {
			if mentions(h, m.Old) {
				notes = append(notes, fmt.Sprintf("%s names %s, which no path map changes: use variables (--vars) instead", h.Name, m.Old))
			}
		}
	}
	return notes
}

// mentions says whether a hook has a path in what it runs.
func mentions(h source.Hook, name string) bool {
	words := append(slices.Clone(h.Run.Args), h.Shell, h.Run.Dir)
	if h.HTTP != nil {
		words = append(words, h.HTTP.Body)
	}
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, name) })
}
