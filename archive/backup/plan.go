package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// plan is the tree of the named paths: a node that is a root is backed up whole, one that is not is only a way.
// Roots may lie below roots; they are then kept whatever the rules of the outer one say.
type plan struct {
	root     bool
	children map[string]*plan
}

func (p *plan) child(name string) *plan {
	if p == nil {
		return nil
	}
	return p.children[name]
}

// names returns the children in bytewise order.
func (p *plan) names() []string {
	if p == nil {
		return nil
	}
	names := make([]string, 0, len(p.children))
	for name := range p.children {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (p *plan) add(path string) {
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		next := p.children[name]
		if next == nil {
			next = new(plan)
			if p.children == nil {
				p.children = map[string]*plan{}
			}
			p.children[name] = next
		}
		p = next
	}
	p.root = true
}

// absolutePaths returns the named paths absolute, clean and each once, in the order given.
func absolutePaths(paths []string) ([]string, error) {
	var list []string
	for _, path := range paths {
		if path == "" {
			return nil, fmt.Errorf("a path to back up is empty")
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("make %q absolute: %w", path, err)
		}
		if !slices.Contains(list, abs) {
			list = append(list, abs)
		}
	}
	return list, nil
}

// makePlan builds the plan of those paths that exist and tells the others to fail.
func makePlan(paths []string, fail func(path string, err error)) (p *plan, roots []string) {
	p = new(plan)
	for _, path := range paths {
		if _, err := statPath(path); err != nil {
			fail(path, &os.PathError{Op: "lstat", Path: path, Err: err})
			continue
		}
		if straight, err := untangle(path, paths); err != nil {
			fail(path, err)
			continue
		} else {
			path = straight
		}
		p.add(path)
		roots = append(roots, path)
	}
	return p, roots
}

// untangle resolves symlinks among the parents of a path that lies below another named path. Elsewhere the
// parents are recorded as directories under the names the user gave; here the outer path records the link
// as a link, and one name cannot be both.
func untangle(path string, paths []string) (string, error) {
	nested := slices.ContainsFunc(paths, func(outer string) bool {
		return outer != path && (outer == "/" || strings.HasPrefix(path, outer+"/"))
	})
	if !nested {
		return path, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}
