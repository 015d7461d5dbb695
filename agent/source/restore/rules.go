package restore

import (
	"fmt"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/paper"
	"cairn/snapshot/pattern"
)

// maxLeftOut is how many places a plan lists that stay out of a restore; all are counted.
const maxLeftOut = 1000

// LeftOut is something that the snapshot holds, or the source file names, and that is not restored.
type LeftOut struct {
	Name  string // path in the snapshot, or of a part
	Class source.Class
	Why   string
}

// rules say what stays out. It is asked with paths in the snapshot: the one of a directory before those in it.
type rules struct {
	o     *Options
	then  []rule
	now   []rule
	place func(string) string // where a path in the snapshot goes, before Options.To

	out  []LeftOut // noted by leaves
	more int
}

// rule is about one path of a source file and what is below it.
type rule struct {
	top   string // in the coordinates in which it is asked
	own   string // as the file has it: what patterns with a slash at their beginning mean
	part  string
	class source.Class // the whole of it is Never or Derived; else patterns are
	never pattern.Bound
	deriv pattern.Bound
	keeps pattern.Bound // Exclude: with Options.Delete what it left out stays
}

// newRules takes the classes of parts and the patterns of trees. at says where a path of the file is in the coordinates in which the rule is asked.
// The tree of a part that was a link is in the snapshot at the place to which it led: noted tells.
func newRules(f *source.File, noted *paper.Run, at func(string) string) ([]rule, error) {
	if f == nil {
		return nil, nil
	}
	var list []rule
	for i := range f.Parts {
		p := &f.Parts[i]
		own := held.PathOf(p)
		if own == "" {
			continue
		}
		r := rule{top: at(own), own: own, part: p.Name, class: p.Class}
		if t := p.Tree; t != nil {
			for _, b := range []struct {
				texts []string
				to    *pattern.Bound
			}{{t.Never, &r.never}, {t.Derived, &r.deriv}, {t.Exclude, &r.keeps}} {
				var l pattern.List
				for _, text := range b.texts {
					if err := l.Add(text, false); err != nil {
						return nil, fmt.Errorf("part %s: %w", p.Name, err)
					}
				}
				*b.to = l.Bind([]string{own})
			}
		}
		list = append(list, r)
		if noted == nil || p.Tree == nil {
			continue
		}
		if n, ok := noted.Find(p.Name); ok {
			for _, name := range n.Paths {
				if led := r; !Below(name, r.top) {
					led.top = at(name)
					list = append(list, led)
				}
			}
		}
	}
	return list, nil
}

// classOf says what a path is by one rule; "" when it may come back.
func (r *rule) classOf(name string, dir bool) source.Class {
	if !Below(name, r.top) {
		return ""
	}
	if r.class == source.Never || r.class == source.Derived {
		return r.class
	}
	if name == r.top { // what was named is never excluded by a pattern
		return ""
	}
	own := strings.TrimSuffix(r.own, "/") + "/" + strings.TrimPrefix(strings.TrimPrefix(name, r.top), "/")
	top := len(strings.TrimSuffix(r.own, "/"))
	switch {
	case r.hits(&r.never, own, top, dir):
		return source.Never
	case r.hits(&r.deriv, own, top, dir):
		return source.Derived
	}
	return ""
}

// hits asks for the path and the directories that lead to it: with a forced path the walk goes below what a pattern excludes.
func (r *rule) hits(b *pattern.Bound, own string, top int, dir bool) bool {
	if b.Empty() {
		return false
	}
	for at := own; len(at) > top; at = at[:strings.LastIndexByte(at, '/')] {
		if b.Excluded(at, top, dir || len(at) < len(own)) {
			return true
		}
	}
	return false
}

// classOf is what a path of the snapshot is, by then and by now: never weighs more.
func (r *rules) classOf(name string, dir bool) (class source.Class, part string) {
	for _, side := range []struct {
		rules []rule
		name  string
	}{{r.then, name}, {r.now, r.place(name)}} {
		for i := range side.rules {
			c := side.rules[i].classOf(side.name, dir)
			if c == source.Never || c != "" && class == "" {
				class, part = c, side.rules[i].part
			}
			if class == source.Never {
				return class, part
			}
		}
	}
	return class, part
}

// forced says whether a path is restored although it is of a class, or leads to one that is.
func (r *rules) forced(class source.Class, part, name string, dir bool) bool {
	if class == source.Derived && r.o.WithDerived {
		return true
	}
	for _, f := range r.o.Force {
		if f.Class != class {
			continue
		}
		if f.Name == part || Below(name, f.Name) || Below(r.place(name), f.Name) {
			return true
		}
		if dir && (Below(f.Name, name) || Below(f.Name, r.place(name))) {
			return true
		}
	}
	return false
}

// leaves says whether a path stays out, and notes it.
func (r *rules) leaves(name string, dir bool) bool {
	class, part := r.classOf(name, dir)
	if class == "" || r.forced(class, part, name, dir) {
		return false
	}
	r.note(name, class)
	return true
}

func (r *rules) note(name string, class source.Class) {
	if len(r.out) == maxLeftOut {
		r.more++
		return
	}
	r.out = append(r.out, LeftOut{name, class, why(class)})
}

func why(class source.Class) string {
	if class == source.Never {
		return "does harm when it comes back"
	}
	return "can be made again"
}

// Match is what archive/restore asks: what stays out is neither restored nor deleted. With Options.Delete the same holds for what a backup leaves
// out on purpose, by then or by now. It may be called concurrently.
func (r *rules) Match(name string, dir bool) bool {
	class, part := r.classOf(name, dir)
	if class != "" {
		return !r.forced(class, part, name, dir)
	}
	return r.o.Delete && r.excluded(name, dir)
}

// excluded says whether then or now leaves a path out of the backup.
func (r *rules) excluded(name string, dir bool) bool {
	for _, side := range []struct {
		rules []rule
		name  string
	}{{r.then, name}, {r.now, r.place(name)}} {
		for i := range side.rules {
			k := &side.rules[i]
			if !Below(side.name, k.top) || side.name == k.top {
				continue
			}
			own := strings.TrimSuffix(k.own, "/") + "/" + strings.TrimPrefix(strings.TrimPrefix(side.name, k.top), "/")
			if k.hits(&k.keeps, own, len(strings.TrimSuffix(k.own, "/")), dir) {
				return true
			}
		}
	}
	return false
}
