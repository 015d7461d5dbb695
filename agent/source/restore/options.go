package restore

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"cairn/agent/source"
	files "cairn/archive/restore"
)

// Options say what is restored, and to where. The zero value restores everything that may be to where it was.
type Options struct {
	To      string // everything comes below this directory, as it was recorded, and the application is left alone
	PathMap []Map  // what was Old is New here; the longest one that fits
	// Parts are the only ones that are wanted: NAME, or NAME/DATABASE. They bring back what is of a class that is restored only when named.
	Parts     []string
	Class     source.Class // only parts of it
	Redirects []Redirect

	Force       []Force // of class never or derived, restored all the same
	WithDerived bool

	Rewrite      bool // do what the source file says about rewriting
	Delete       bool // what the snapshot does not have within a tree
	Replace      bool // databases that hold something
	AllowPartial bool // although something is missing in the snapshot
	ForceGuards  bool // although a guard does not hold
	Kept         bool // the source file is the one that the snapshot keeps
	Trust        bool // run and read what the snapshot's source file names (Plan.Foreign)
	NoBefore     bool // leave the hooks of restore: before out: there is nothing to stop
	ForceFedora  bool // although a repository's backup is damaged

	NoOwner   bool
	NoXattrs  bool
	Protected []string // files and directories that are not removed: the archive

	// Compare looks at every file that is there already, so that the plan says what would change. Action hears of each.
	Compare bool
	Action  func(files.Action)
}

// Map says that what was Old is New here.
type Map struct{ Old, New string }

// ParseMap reads OLD=NEW.
func ParseMap(text string) (Map, error) {
	from, to, ok := strings.Cut(text, "=")
	if !ok || !clean(from) || !clean(to) {
		return Map{}, fmt.Errorf("%q: want OLD=NEW, both absolute and without . and .. in them", text)
	}
	return Map{from, to}, nil
}

func clean(name string) bool { return strings.HasPrefix(name, "/") && path.Clean(name) == name }

// Redirect sends a database elsewhere.
type Redirect struct {
	Part, Database string // of which part; "" is any
	As             string // another name; of SQLite the path of a file
	Host           string
	Port           int
}

// ParseRedirect reads [PART/]DATABASE[=[NAME][@HOST[:PORT]]]. For SQLite NAME is a path.
func ParseRedirect(text string) (Redirect, error) {
	bad := fmt.Errorf("%q: want [PART/]DATABASE=[NAME][@HOST[:PORT]]", text)
	name, rest, _ := strings.Cut(text, "=")
	var r Redirect
	if i := strings.IndexByte(name, '/'); i > 0 {
		r.Part, name = name[:i], name[i+1:]
	}
	if r.Database = name; name == "" {
		return r, bad
	}
	if strings.HasPrefix(rest, "/") {
		if r.As = rest; !clean(rest) {
			return r, bad
		}
		return r, nil
	}
	to, at, given := cutLast(rest, "@")
	if r.As = to; !given {
		return r, nil
	}
	r.Host = at
	if host, port, ok := cutLast(at, ":"); ok && (!strings.Contains(host, ":") || strings.HasSuffix(host, "]")) {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return r, bad
		}
		r.Host, r.Port = host, int(n)
	}
	if r.Host = strings.Trim(r.Host, "[]"); r.Host == "" {
		return r, bad
	}
	return r, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Force names what is restored although its class forbids it.
type Force struct {
	Class source.Class // Never or Derived
	Name  string       // of a part, or an absolute path: as it was or as it will be
}

// ParseForce reads CLASS:PART or CLASS:PATH.
func ParseForce(text string) (Force, error) {
	class, name, _ := strings.Cut(text, ":")
	f := Force{source.Class(class), strings.TrimRight(name, "/")}
	if f.Class != source.Never && f.Class != source.Derived || f.Name == "" || strings.HasPrefix(name, "/") && !clean(f.Name) {
		return f, fmt.Errorf("%q: want never:PATH or derived:PATH, or the name of a part in the place of PATH", text)
	}
	return f, nil
}

// part says whether a part is forced by its name.
func (o *Options) part(p *source.Part) bool {
	if p.Class == source.Derived && o.WithDerived {
		return true
	}
	return slices.ContainsFunc(o.Force, func(f Force) bool { return f.Class == p.Class && f.Name == p.Name })
}

// wants says whether a part, and a database of it, is among those that are wanted; named says that its name was given.
func (o *Options) wants(p *source.Part) (wanted, named bool) {
	for _, text := range o.Parts {
		if name, _, _ := strings.Cut(text, "/"); name == p.Name {
			return true, true
		}
	}
	forced := slices.ContainsFunc(o.Force, func(f Force) bool { return f.Name == p.Name })
	if o.Class != "" {
		return p.Class == o.Class || forced, true
	}
	return len(o.Parts) == 0 || forced, forced
}

// databases are the only ones of a part that are wanted; none are all.
func (o *Options) databases(p *source.Part) (list []string) {
	for _, text := range o.Parts {
		name, database, one := strings.Cut(text, "/")
		switch {
		case name == p.Name && !one:
			return nil
		case name == p.Name:
			list = append(list, database)
		}
	}
	return list
}

func (o *Options) check() error {
	if o.To != "" && !clean(o.To) {
		return fmt.Errorf("%s is not absolute, or has . and .. in it", o.To)
	}
	if o.To == "/" {
		return errors.New("everything below / is where it was: leave out the directory")
	}
	for i, m := range o.PathMap {
		if slices.ContainsFunc(o.PathMap[:i], func(n Map) bool { return n.Old == m.Old && n.New != m.New }) {
			return fmt.Errorf("%s goes to two places", m.Old)
		}
	}
	return nil
}

// move applies the longest map that fits.
func move(maps []Map, name string) (string, bool) {
	best := -1
	for i, m := range maps {
		if Below(name, m.Old) && (best < 0 || len(m.Old) > len(maps[best].Old)) {
			best = i
		}
	}
	if best < 0 {
		return name, false
	}
	return path.Join(maps[best].New, "/"+strings.TrimPrefix(name, maps[best].Old)), true
}

// Below says whether a path is another one or lies below it.
func Below(name, top string) bool {
	return name == top || top == "/" || strings.HasPrefix(name, top) && name[len(top)] == '/'
}
