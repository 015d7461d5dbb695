package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/agent/source"
	"cairn/agent/source/hook"
	"cairn/agent/source/wipe"
	files "cairn/archive/restore"
	"cairn/remote"
)

// Plan is what will be done for one source.
type Plan struct {
	Source   string
	File     *source.File // of this machine, or the one that the snapshot keeps: guards, hooks, roots, rewrites and steps are its
	Origins  []*Origin
	Options  Options
	Notes    []string
	Missing  []string // what should be in the snapshot and is not
	Unwanted int      // parts that were not asked for

	Guards   []Guard
	Closed   []source.Part // embedded databases that nobody may have open
	Before   []source.Hook
	Wipes    []Wipe
	Trees    []Tree
	Streams  []Stream
	LeftOut  []LeftOut
	More     int // of what is left out beyond the list
	Rewrites []Rewrite
	Steps    []source.Step
	Runbook  string

	archive Archive
	rules   map[*Origin]*rules
	pairs   map[*Origin][]Map
	sent    []bool // which of Options.Redirects found their database
}

// Guard is one of the conditions, and whether it holds now.
type Guard struct {
	source.Guard
	Why string // it does not; "" when it does
}

// Wipe is a directory that is removed or emptied.
type Wipe struct {
	Path  string
	Empty bool
	Found wipe.Found
	Err   error // why it cannot be

	target wipe.Target
}

// Tree is a directory or a file that comes back as such.
type Tree struct {
	Part  source.Part
	From  string // path in the snapshot
	To    string // path on this machine
	Files uint64 // regular files, without what is left out
	Dirs  uint64
	Other uint64
	Bytes uint64
	Lost  uint64 // entries that the backup could not read
	// Compared is what a restore would do, when Options.Compare asked for it.
	Compared *files.Report

	origin *Origin
	single bool // it is no directory
}

// New makes the plan of one source. now is the file of this machine, or the one that a snapshot keeps (Origin.Kept). The first origin is the ordinary one.
func New(ctx context.Context, a Archive, origins []*Origin, now *source.File, o Options) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(origins) == 0 {
		return nil, ErrNone
	}
	p := &Plan{Source: now.Name, File: now, Origins: origins, Options: o, archive: a, rules: map[*Origin]*rules{}, pairs: map[*Origin][]Map{},
		sent: make([]bool, len(o.Redirects))}
	var all []held
	for _, origin := range origins {
		list, err := origin.parts(now)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		p.judge(origin)
	}
	all = p.once(all)
	if err := p.known(all); err != nil {
		return nil, err
	}
	for _, h := range all {
		if err := p.add(ctx, h); err != nil {
			return nil, fmt.Errorf("part %s: %w", h.part.Name, err)
		}
	}
	p.complete(all)
	if err := p.redirects(); err != nil {
		return nil, err
	}
	p.aside(ctx)
	if err := p.findRewrites(ctx); err != nil {
		return nil, err
	}
	return p, p.finish(ctx)
}

// judge says what is wrong with a snapshot as a whole.
func (p *Plan) judge(o *Origin) {
	s := o.Snapshot
	switch {
	case s.Partial:
		p.Missing = append(p.Missing, fmt.Sprintf("snapshot %s is partial: something could not be read", s.ID.Short()))
	case s.Checkpoint, s.Incomplete:
		p.Missing = append(p.Missing, fmt.Sprintf("snapshot %s is of a backup that did not come to its end", s.ID.Short()))
	}
	if o.Then == nil {
		p.Notes = append(p.Notes, fmt.Sprintf("snapshot %s keeps no source file: what it holds is taken from %s", s.ID.Short(), p.File.Path))
	}
	if s.Source != "" && s.Source != p.File.Name {
		p.Notes = append(p.Notes, fmt.Sprintf("snapshot %s is of source %s", s.ID.Short(), s.Source))
	}
}

// once leaves of parts that several snapshots know the one of the snapshot that has it.
func (p *Plan) once(all []held) (list []held) {
	for _, h := range all {
		i := slices.IndexFunc(list, func(g held) bool { return g.part.Name == h.part.Name })
		switch {
		case i < 0:
			list = append(list, h)
		case list[i].paths == nil && list[i].streams == nil:
			list[i] = h
		}
	}
	return list
}

// known refuses names of parts that there are not: a restore that quietly does nothing is worse than a mistake that is told.
func (p *Plan) known(all []held) error {
	names := map[string]bool{}
	for _, h := range all {
		names[h.part.Name] = true
	}
	for _, text := range p.Options.Parts {
		name, _, _ := cut(text)
		if !names[name] {
			return remote.WithHint(fmt.Errorf("the snapshot has no part %q", name), "it has "+joinKeys(names))
		}
	}
	for _, f := range p.Options.Force {
		if !clean(f.Name) && !names[f.Name] {
			return remote.WithHint(fmt.Errorf("force %s: there is no part %q", f.Class, f.Name), "name one of "+joinKeys(names)+", or an absolute path")
		}
	}
	return nil
}

// add plans one part.
func (p *Plan) add(ctx context.Context, h held) error {
	wanted, named := p.Options.wants(&h.part)
	if !wanted {
		p.Unwanted++
		return nil
	}
	class := h.part.Class
	now := pair(h.origin.Then, p.File, &h.part)
	if now != nil && (now.Class == source.Never || now.Class == source.Derived && class != source.Never) {
		class = now.Class
	}
	asked := h.part
	asked.Class = class
	if r, ok := p.File.Classes[class]; ok && r.Restore == "ask" && !named {
		p.LeftOut = append(p.LeftOut, LeftOut{h.part.Name, class, "comes back only when it is named: --part " + h.part.Name})
		return nil
	}
	if (class == source.Never || class == source.Derived) && !p.Options.part(&asked) && !p.forcesBelow(class, h) {
		if named && class == source.Never && p.Options.Class == "" {
			return remote.WithHint(errors.New("it is of class never: it does harm when it comes back"), "--force-class never:"+h.part.Name+" brings it back all the same")
		}
		p.LeftOut = append(p.LeftOut, LeftOut{h.part.Name, class, why(class)})
		return nil
	}
	if now == nil && h.origin.Then != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("part %s is not in the source file of this machine: it goes to where it was", h.part.Name))
	}
	for _, from := range h.paths {
		if err := p.addTree(ctx, h, from); err != nil {
			return err
		}
	}
	return p.addStreams(h, now)
}

// forcesBelow says whether something within a part is forced by its path.
func (p *Plan) forcesBelow(class source.Class, h held) bool {
	return slices.ContainsFunc(h.paths, func(name string) bool {
		r, err := p.rulesOf(h.origin)
		return err == nil && r.forced(class, h.part.Name, name, true)
	})
}

// complete says what should be there and is not.
func (p *Plan) complete(all []held) {
	for _, h := range all {
		wanted, _ := p.Options.wants(&h.part)
		if wanted && h.missing != "" {
			p.Missing = append(p.Missing, fmt.Sprintf("part %s: %s", h.part.Name, h.missing))
		}
	}
	for i := range p.File.Parts {
		q := &p.File.Parts[i]
		if wanted, _ := p.Options.wants(q); !wanted || q.Class == source.Never || q.Class == source.Derived {
			continue
		}
		there := slices.ContainsFunc(all, func(h held) bool { return pair(h.origin.Then, p.File, &h.part) == q })
		switch {
		case there:
		case q.Optional || p.Options.Class == "" && p.alone(q.Class):
			p.Notes = append(p.Notes, fmt.Sprintf("part %s is not in the snapshot", q.Name))
		default:
			p.Missing = append(p.Missing, fmt.Sprintf("part %s: it is not in the snapshot", q.Name))
		}
	}
}

// alone says whether a class makes snapshots of its own, and one snapshot was asked for.
func (p *Plan) alone(class source.Class) bool {
	return p.File.Classes[class].Schedule != "" && len(p.Origins) == 1
}

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
	p.Before, p.Steps = f.Restore.Before, f.Restore.Steps
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
	w := Wipe{Path: p.place(name), Empty: empty, target: wipe.Target{Protected: p.Options.Protected}}
	if p.Options.To != "" {
		w.target.Root = p.Options.To
	} else {
		for _, root := range p.roots() {
			if below(w.Path, root) && len(root) > len(w.target.Root) {
				w.target.Root = root
			}
		}
	}
	if w.target.Path = w.Path; w.target.Root == "" {
		w.Err = fmt.Errorf("%s is not below the roots of the restore", w.Path)
	} else {
		w.Found, w.Err = wipe.Look(ctx, w.target)
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

// finish sums up, and says what speaks against the plan as a whole.
func (p *Plan) finish(context.Context) error {
	for _, origin := range p.Origins {
		if r := p.rules[origin]; r != nil {
			p.LeftOut = append(p.LeftOut, r.out...)
			p.More += r.more
		}
	}
	for i := range p.Trees {
		for k := range p.Trees[:i] {
			if a, b := p.Trees[i].To, p.Trees[k].To; a == b || !p.Trees[k].single && below(a, b) || !p.Trees[i].single && below(b, a) {
				return fmt.Errorf("%s and %s would both be restored to %s", p.Trees[k].From, p.Trees[i].From, b)
			}
		}
	}
	if p.Options.To == "" {
		p.Notes = append(p.Notes, p.unmapped()...)
	}
	return nil
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

// Refusal is why a plan is not executed as it is.
type Refusal struct {
	Text     string
	Override string // the flag's meaning, in words; "" when nothing overrides it
	Forced   bool   // it was overridden
}

// Refusals lists all reasons against the plan, also those that Options override.
func (p *Plan) Refusals() (list []Refusal) {
	for _, g := range p.Guards {
		if g.Why != "" {
			list = append(list, Refusal{"guard: " + g.Why, "--force", p.Options.ForceGuards})
		}
	}
	for _, text := range p.Missing {
		list = append(list, Refusal{text, "--allow-partial", p.Options.AllowPartial})
	}
	for _, w := range p.Wipes {
		if w.Err != nil {
			list = append(list, Refusal{Text: w.Err.Error()})
		}
	}
	if len(p.Trees)+len(p.Streams) == 0 {
		list = append(list, Refusal{Text: "nothing of the snapshot would be restored"})
	}
	return list
}
