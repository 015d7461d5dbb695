// Package pattern matches paths with the patterns of gitignore(5). It is pure: it knows no file system and no tree,
// so that a backup, a restore and a search mean the same by the same pattern.
package pattern

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// List is a list of patterns in the syntax of gitignore(5). The zero value matches nothing. It may be used
// concurrently once the last pattern has been added.
//
//   - The last pattern that matches decides; `!pattern` takes in again, but not below an excluded directory.
//   - A pattern without a slash, or with one at its end only, is compared with each name at any depth.
//   - Another one is anchored: it is compared with the path below each named path. One that begins with `/`
//     and whose first elements match a named path as a whole (`/srv/*/tmp` in a backup of /srv/a) is compared
//     with the absolute path instead, which is what a restic user means by it.
//   - `**/` stands for any number of directories, `/**` for everything below, a slash at the end for directories.
//   - `*`, `?` and `[a-z]`, `[!a]`, `[[:digit:]]` do not match a slash; `\` takes the next character as it is.
//
// A path that was named to the backup is never excluded by a pattern.
type List struct {
	patterns []entry
}

type entry struct {
	text     string
	negate   bool
	dirOnly  bool
	anchored bool
	rooted   bool // began with a slash: may be absolute
	fold     bool
	elems    []glob
}

// Add appends a pattern. It is taken as it is; Read is what knows comments.
func (l *List) Add(text string, foldCase bool) error {
	p := entry{text: text, fold: foldCase}
	s := text
	if s, p.negate = strings.CutPrefix(s, "!"); s == "" {
		return fmt.Errorf("pattern %q is empty", text)
	}
	s, p.dirOnly = trimSlash(s)
	p.anchored = strings.Contains(s, "/")
	s, p.rooted = strings.CutPrefix(s, "/")
	if p.fold {
		s = strings.ToLower(s)
	}
	for e := range strings.SplitSeq(s, "/") {
		if e == "" {
			if s != "" {
				continue // a//b means a/b
			}
			return fmt.Errorf("pattern %q names everything; give a path less instead", text)
		}
		g, err := compileGlob(e)
		if err != nil {
			return fmt.Errorf("pattern %q: %w", text, err)
		}
		if !p.anchored && g.kind == anyDepth {
			g = glob{kind: anything}
		}
		p.elems = append(p.elems, g)
	}
	l.patterns = append(l.patterns, p)
	return nil
}

func trimSlash(s string) (string, bool) {
	t := strings.TrimRight(s, "/")
	return t, t != s
}

// Patterns returns the patterns as they were added.
func (l *List) Patterns() []string {
	texts := make([]string, 0, len(l.patterns))
	for _, p := range l.patterns {
		texts = append(texts, p.text)
	}
	return texts
}

// Read reads a file of patterns as git reads .gitignore: lines that begin with # and blank ones
// do not count, trailing blanks neither unless escaped.
func Read(r io.Reader) ([]string, error) {
	var list []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		s := strings.TrimSuffix(lines.Text(), "\r")
		if len(list) == 0 {
			s = strings.TrimPrefix(s, "\uFEFF")
		}
		for strings.HasSuffix(s, " ") && !escapedEnd(s[:len(s)-1]) {
			s = s[:len(s)-1]
		}
		if s != "" && s[0] != '#' {
			list = append(list, s)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read patterns: %w", err)
	}
	return list, nil
}

// escapedEnd says whether s ends with an odd number of backslashes.
func escapedEnd(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

// Bound is a List bound to the named paths of one backup.
type Bound struct {
	rules []rule
}

type rule struct {
	*entry
	absolute bool
}

// Bind decides for each rooted pattern which way it is meant. roots are absolute and clean.
func (l *List) Bind(roots []string) Bound {
	var s Bound
	for i := range l.patterns {
		p := &l.patterns[i]
		s.rules = append(s.rules, rule{p, p.rooted && p.covers(roots)})
	}
	return s
}

// covers says whether the pattern begins with elements that match one of the roots and goes on below it.
func (p *entry) covers(roots []string) bool {
	for _, root := range roots {
		if p.begins(p.folded(strings.TrimPrefix(root, "/"))) {
			return true
		}
	}
	return false
}

func (p *entry) begins(root string) bool {
	for i, g := range p.elems {
		if g.kind == anyDepth {
			return true
		}
		if root == "" {
			return i < len(p.elems)
		}
		first, rest, _ := strings.Cut(root, "/")
		if !g.match(first) {
			return false
		}
		root = rest
	}
	return false
}

func (p *entry) folded(s string) string {
	if p.fold {
		return strings.ToLower(s)
	}
	return s
}

// Empty says that nothing can match, so that a caller need not put paths together.
func (s *Bound) Empty() bool { return len(s.rules) == 0 }

// Excluded says whether an entry is left out. path is its absolute path, below (the length of) the named
// path it was reached from; the caller has asked for its parents before.
func (s *Bound) Excluded(path string, below int, isDir bool) bool {
	if len(s.rules) == 0 {
		return false
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	relative := path[below:]
	relative = strings.TrimPrefix(relative, "/")
	for i := len(s.rules) - 1; i >= 0; i-- {
		r := &s.rules[i]
		if r.dirOnly && !isDir {
			continue
		}
		var hit bool
		switch {
		case !r.anchored:
			hit = r.elems[0].match(r.folded(name))
		case r.absolute:
			hit = matchPath(r.elems, r.folded(path[1:]))
		default:
			hit = matchPath(r.elems, r.folded(relative))
		}
		if hit {
			return !r.negate
		}
	}
	return false
}

// Match compares a path in a snapshot ("/srv/a") with the patterns, for commands that look at trees: a pattern with a
// slash is compared with the whole path, one without with the last element. A `!pattern` takes back an earlier match.
func (l *List) Match(path string, dir bool) bool {
	s := Bound{}
	for i := range l.patterns {
		s.rules = append(s.rules, rule{&l.patterns[i], l.patterns[i].rooted})
	}
	return s.Excluded(path, 0, dir)
}

// matchPath matches a whole relative path. Like matchGlob it goes back to the last `**` only: the elements before
// that matched as early as they could, so a later place for them leaves less to match. At most
// len(elems) × depth comparisons.
func matchPath(elems []glob, path string) bool {
	var starElems []glob
	starPath, star := "", false
	for {
		if len(elems) > 0 && elems[0].kind == anyDepth {
			if len(elems) == 1 {
				return path != ""
			}
			elems = elems[1:]
			starElems, starPath, star = elems, path, true
			continue
		}
		if len(elems) == 0 && path == "" {
			return true
		}
		if len(elems) > 0 && path != "" {
			first, rest, _ := strings.Cut(path, "/")
			if elems[0].match(first) {
				elems, path = elems[1:], rest
				continue
			}
		}
		if !star || starPath == "" {
			return false
		}
		_, starPath, _ = strings.Cut(starPath, "/")
		elems, path = starElems, starPath
	}
}

// next splits off a character; a byte that is not UTF-8 counts as one, and differs from U+FFFD.
func next(s string) (rune, string) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		r = -1 - rune(s[0])
	}
	return r, s[n:]
}
