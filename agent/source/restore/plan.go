package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/wipe"
	files "cairn/archive/restore"
	"cairn/remote"
)

// Archive is what snapshots are read from; *archive.Archive is one.
type Archive = files.Source

// Plan is what will be done for one source.
type Plan struct {
	Source   string
	File     *source.File // of this machine, or the one that the snapshot keeps: guards, hooks, roots, rewrites and steps are its
	Origins  []*held.Origin
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
	rules   map[*held.Origin]*rules
	pairs   map[*held.Origin][]Map
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

	Target wipe.Target
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

	Origin *held.Origin
	Single bool   // it is no directory
	Link   string // a link on the way to it, which refuses the plan
}

// New makes the plan of one source. now is the file of this machine, or the one that a snapshot keeps (Origin.Kept). The first origin is the ordinary one.
func New(ctx context.Context, a Archive, origins []*held.Origin, now *source.File, o Options) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(origins) == 0 {
		return nil, held.ErrNone
	}
	p := &Plan{Source: now.Name, File: now, Origins: origins, Options: o, archive: a, rules: map[*held.Origin]*rules{}, pairs: map[*held.Origin][]Map{},
		sent: make([]bool, len(o.Redirects))}
	var all []held.Part
	for _, origin := range origins {
		list, err := origin.Parts(now)
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
			return nil, fmt.Errorf("part %s: %w", h.Source.Name, err)
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
	return p, p.finish()
}

// Archive is where the snapshots are.
func (p *Plan) Archive() Archive { return p.archive }

// judge says what is wrong with a snapshot as a whole.
func (p *Plan) judge(o *held.Origin) {
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
func (p *Plan) once(all []held.Part) (list []held.Part) {
	for _, h := range all {
		i := slices.IndexFunc(list, func(g held.Part) bool { return g.Source.Name == h.Source.Name })
		switch {
		case i < 0:
			list = append(list, h)
		case list[i].Paths == nil && list[i].Streams == nil:
			list[i] = h
		}
	}
	return list
}

// known refuses names of parts that there are not: a restore that quietly does nothing is worse than a mistake that is told.
func (p *Plan) known(all []held.Part) error {
	names := set{}
	for _, h := range all {
		names[h.Source.Name] = true
	}
	for _, text := range p.Options.Parts {
		name, _, _ := cut(text)
		if !names[name] {
			return remote.WithHint(fmt.Errorf("the snapshot has no part %q", name), "it has "+names.join())
		}
	}
	for _, f := range p.Options.Force {
		if !clean(f.Name) && !names[f.Name] {
			return remote.WithHint(fmt.Errorf("force %s: there is no part %q", f.Class, f.Name), "name one of "+names.join()+", or an absolute path")
		}
	}
	return nil
}

// add plans one part.
func (p *Plan) add(ctx context.Context, h held.Part) error {
	wanted, named := p.Options.wants(&h.Source)
	if !wanted {
		p.Unwanted++
		return nil
	}
	class := h.Source.Class
	now := held.Pair(h.Origin.Then, p.File, &h.Source)
	if now != nil && (now.Class == source.Never || now.Class == source.Derived && class != source.Never) {
		class = now.Class
	}
	asked := h.Source
	asked.Class = class
	if r, ok := p.File.Classes[class]; ok && r.Restore == "ask" && !named {
		p.LeftOut = append(p.LeftOut, LeftOut{h.Source.Name, class, "comes back only when it is named: --part " + h.Source.Name})
		return nil
	}
	if (class == source.Never || class == source.Derived) && !p.Options.part(&asked) && !p.forcesBelow(class, h) {
		if named && class == source.Never && p.Options.Class == "" {
			return remote.WithHint(errors.New("it is of class never: it does harm when it comes back"), "--force-class never:"+h.Source.Name+" brings it back all the same")
		}
		p.LeftOut = append(p.LeftOut, LeftOut{h.Source.Name, class, why(class)})
		return nil
	}
	if now == nil && h.Origin.Then != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("part %s is not in the source file of this machine: it goes to where it was", h.Source.Name))
	}
	for _, from := range h.Paths {
		if err := p.addTree(ctx, h, from); err != nil {
			return err
		}
	}
	return p.addStreams(h, now)
}

// forcesBelow says whether something within a part is forced by its path.
func (p *Plan) forcesBelow(class source.Class, h held.Part) bool {
	return slices.ContainsFunc(h.Paths, func(name string) bool {
		r, err := p.rulesOf(h.Origin)
		return err == nil && r.forced(class, h.Source.Name, name, true)
	})
}

// complete says what should be there and is not.
func (p *Plan) complete(all []held.Part) {
	for _, h := range all {
		wanted, _ := p.Options.wants(&h.Source)
		if wanted && h.Missing != "" {
			p.Missing = append(p.Missing, fmt.Sprintf("part %s: %s", h.Source.Name, h.Missing))
		}
	}
	for i := range p.File.Parts {
		q := &p.File.Parts[i]
		if wanted, _ := p.Options.wants(q); !wanted || q.Class == source.Never || q.Class == source.Derived {
			continue
		}
		there := slices.ContainsFunc(all, func(h held.Part) bool {
			return held.Pair(h.Origin.Then, p.File, &h.Source) == q || q.SQLite == nil && p.covers(h, held.PathOf(q))
		})
		switch {
		case there:
		case q.Optional || p.Options.Class == "" && p.alone(q.Class):
			p.Notes = append(p.Notes, fmt.Sprintf("part %s is not in the snapshot", q.Name))
		default:
			p.Missing = append(p.Missing, fmt.Sprintf("part %s: it is not in the snapshot", q.Name))
		}
	}
}

// covers says whether a part of the snapshot is a tree that goes to where a path is, or above it: then it was another part.
func (p *Plan) covers(h held.Part, name string) bool {
	return name != "" && slices.ContainsFunc(h.Paths, func(from string) bool { return Below(name, p.destination(h.Origin, from)) })
}

// alone says whether a class makes snapshots of its own, and one snapshot was asked for.
func (p *Plan) alone(class source.Class) bool {
	return p.File.Classes[class].Schedule != "" && len(p.Origins) == 1
}

// finish sums up, and says what speaks against the plan as a whole.
func (p *Plan) finish() error {
	for _, origin := range p.Origins {
		if r := p.rules[origin]; r != nil {
			p.LeftOut = append(p.LeftOut, r.out...)
			p.More += r.more
		}
	}
	for i := range p.Trees {
		for k := range p.Trees[:i] {
			if a, b := p.Trees[i].To, p.Trees[k].To; a == b || !p.Trees[k].Single && Below(a, b) || !p.Trees[i].Single && Below(b, a) {
				return fmt.Errorf("%s and %s would both be restored to %s", p.Trees[k].From, p.Trees[i].From, b)
			}
		}
	}
	if p.Options.To == "" {
		p.Notes = append(p.Notes, p.unmapped()...)
	}
	return nil
}

// Spread is the time between the oldest and the newest snapshot of a set.
func Spread(set []*Plan) (oldest, newest time.Time) {
	for _, p := range set {
		for _, o := range p.Origins {
			t := o.Snapshot.Start.Time()
			if oldest.IsZero() || t.Before(oldest) {
				oldest = t
			}
			if t.After(newest) {
				newest = t
			}
		}
	}
	return oldest, newest
}

// set is some names.
type set map[string]bool

func (s set) join() string { return strings.Join(slices.Sorted(maps.Keys(s)), ", ") }
