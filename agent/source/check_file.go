package source

import (
	"regexp"
	"strconv"
	"strings"

	"cairn/snapshot/pattern"
)

// unique checks that no two parts, and no two hooks of a stage, have one name.
func (c checker) unique() {
	seen := map[string]bool{}
	for i := range c.f.Parts {
		p := &c.f.Parts[i]
		if seen[p.Name] && p.Kind() != "" {
			c.bad(&p.Name, p, "a part called %q comes twice: give them names (with each, names hold ${item} or ${item.KEY})", p.Name)
		}
		seen[p.Name] = true
	}
}

// nesting checks that nothing would be read twice, or by the wrong rules.
func (c checker) nesting() {
	for i := range c.f.Parts {
		for k := range c.f.Parts {
			a, b := &c.f.Parts[i], &c.f.Parts[k]
			top, sub := a.path(), b.path()
			if i == k || top == nil || sub == nil || *top == "" || !within(*sub, *top) || a.SQLite != nil && b.SQLite == nil {
				continue
			}
			switch {
			case *top == *sub && k < i: // told from the other side
			case *top == *sub:
				c.bad(sub, b, "%s is read by part %s, too", *sub, a.Name)
			case b.SQLite != nil && a.Tree != nil:
				if !c.excludes(a.Tree, *sub) {
					c.bad(sub, b, "%s is below the tree %s of part %s: exclude it there, with what begins so (-wal, -shm), because a copy of a database file in use is worth nothing", *sub, *top, a.Name)
				}
			case b.SQLite != nil: // a database in the directory of another one: read by its own means
			default:
				c.bad(sub, b, "%s is below %s of part %s: name directories beside each other, or use the tree's exclude, derived and never", *sub, *top, a.Name)
			}
		}
	}
}

func (c checker) excludes(t *Tree, name string) bool {
	var list pattern.List
	for _, texts := range [][]string{t.Exclude, t.Derived, t.Never} {
		for _, text := range texts {
			if list.Add(text, false) != nil {
				return true // told already
			}
		}
	}
	bound := list.Bind([]string{t.Path})
	// Each directory on the way may be excluded as well.
	for at := name; len(at) > len(t.Path); at = at[:strings.LastIndexByte(at, '/')] {
		if bound.Excluded(at, len(t.Path), at != name) {
			return true
		}
	}
	return false
}

func (c checker) hooks(hooks []Hook) {
	for i := range hooks {
		c.hook(&hooks[i])
		for k := range i {
			if hooks[k].Name == hooks[i].Name {
				c.bad(&hooks[i].Name, &hooks[i], "a hook called %q comes twice", hooks[i].Name)
			}
		}
	}
}

// hook checks a hook, and says how many things it does.
func (c checker) hook(h *Hook) {
	if h.actions() != 1 {
		c.bad(h, nil, "a hook is exactly one of run, shell, http")
	}
	c.action(h)
}

func (h *Hook) actions() (n int) {
	for _, is := range []bool{len(h.Run.Args) > 0, h.Shell != "", h.HTTP != nil} {
		if is {
			n++
		}
	}
	return n
}

func (c checker) action(h *Hook) {
	c.name(&h.Name, h, "the name of a hook")
	c.run(&h.Run, h, false)
	if strings.ContainsRune(h.Shell, 0) {
		c.bad(&h.Shell, h, "the line has a zero byte")
	}
	if h.HTTP != nil {
		c.request(h.HTTP, h.HTTP)
	}
}

func (c checker) restore() {
	r := &c.f.Restore
	for i := range r.Roots {
		if c.absolute(&r.Roots[i], &r.Roots, "root") && strings.Trim(r.Roots[i], "/") == "" {
			if c.f.isPath("/") {
				continue
			}
			c.bad(&r.Roots[i], &r.Roots, "the whole machine is no root: name the directories of the application")
		}
	}
	for _, list := range []*[]string{&r.Remove, &r.Empty} {
		for i := range *list {
			c.confined(&(*list)[i], list)
		}
	}
	for i := range r.Rewrite {
		c.rewrite(&r.Rewrite[i])
	}
	for i := range r.Steps {
		c.step(&r.Steps[i])
	}
}

func (f *File) isPath(name string) bool {
	for _, p := range f.paths() {
		if p == name {
			return true
		}
	}
	return false
}

// confined checks a path that a restore is going to remove or empty.
func (c checker) confined(s *string, outer any) {
	switch {
	case !c.absolute(s, outer, "path"):
	case strings.ContainsAny(*s, "*?["):
		c.bad(s, outer, "%q is a path, not a pattern", *s)
	case !c.inRoots(*s):
		c.bad(s, outer, "%s is not below the roots of the restore (%s): add the directory to restore: roots", *s, strings.Join(c.f.Restore.Roots, ", "))
	}
}

func (c checker) inRoots(name string) bool {
	for _, root := range c.f.Restore.Roots {
		if within(name, root) {
			return true
		}
	}
	return false
}

// glob is where a pattern begins within a path.
var glob = regexp.MustCompile(`[^/]*[*?\[]`)

func (c checker) rewrite(w *Rewrite) {
	set := 0
	for _, is := range []bool{len(w.Properties) > 0, w.XML != nil, w.Regex != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		c.bad(w, nil, "a rewrite is exactly one of properties, xml, regex")
	}
	if len(w.Files) == 0 {
		c.bad(&w.Files, w, "files is missing: patterns of what is rewritten")
	}
	for i := range w.Files {
		name := w.Files[i]
		fixed := name
		if at := glob.FindStringIndex(name); at != nil {
			fixed = name[:at[0]]
		}
		switch {
		case strings.Contains("/"+name+"/", "/../"):
			c.bad(&w.Files[i], w, "%q leaves the directory by ..", name)
		case strings.HasPrefix(name, "/") && !c.inRoots(fixed):
			c.bad(&w.Files[i], w, "%s is not below the roots of the restore (%s)", name, strings.Join(c.f.Restore.Roots, ", "))
		}
		c.pattern(&w.Files[i], w)
	}
	if x := w.XML; x != nil && (x.Element == "" || x.Attribute == "") {
		c.bad(x, w, "xml needs an element and an attribute")
	}
	if w.Regex != nil {
		c.regex(w.Regex)
	}
}

// group finds the groups that a replacement asks for.
var group = regexp.MustCompile(`\$\$|\$\{?([0-9]+)`)

func (c checker) regex(r *RegexRewrite) {
	re, err := regexp.Compile(r.Match)
	switch {
	case r.Match == "":
		c.bad(&r.Match, r, "match is missing")
		return
	case err != nil:
		c.bad(&r.Match, r, "%v", err)
		return
	}
	for _, m := range group.FindAllStringSubmatch(r.Replace, -1) {
		if n, err := strconv.Atoi(m[1]); m[1] != "" && (err != nil || n > re.NumSubexp()) {
			c.bad(&r.Replace, r, "match has no group %s", m[1])
		}
	}
}

func (c checker) step(s *Step) {
	n := s.actions()
	if s.Text != "" {
		n++
	}
	if n != 1 {
		c.bad(s, nil, "a step is exactly one of text, run, shell, http")
	}
	c.action(&s.Hook)
}
