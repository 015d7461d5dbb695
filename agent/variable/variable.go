// Package variable puts the values of variables into a document, and repeats parts for each item of a list.
//
// ${name} stands for a text or a number, wherever a text may stand; a list stands alone: as an item it becomes its items, as a value it becomes the
// list. `each: NAME` in an item of `parts` repeats that item, with ${item} or ${item.KEY} in it. $${ is ${ itself. Variables may be made of variables.
//
// Invariants: nothing is read but the document and what the caller gives, not the environment either; every use of an unknown variable is told, also
// where an empty list leaves no text of it; what comes out is bounded (maxTotal, maxNodes), and a variable that refers to itself is an error.
package variable

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"cairn/agent/document"
)

// Bounds of what variables may grow a file to.
const (
	maxText  = 64 << 10 // one text
	maxTotal = 1 << 20  // all texts
	maxNodes = 20_000
	maxItems = 1000 // of a list variable
)

// reference finds ${name} and ${name.key}, and $${ which stands for ${. What is between the braces is looked at later.
var (
	reference = regexp.MustCompile(`\$?\$\{[^}]*\}?`)
	varName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	whole     = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)
)

// Scope knows the variables of a file.
type Scope struct {
	problems *document.Problems
	raw      map[string]*document.Node // as written
	values   map[string]*document.Node // with the variables in them put in
	busy     map[string]bool           // being put in: who refers to itself
	item     *document.Node            // of `each`; nil outside
	total    int
	nodes    int
	full     bool
}

// New reads the variables of the merged file. root is the file without its profile, declared what the profile knows.
func New(merged, root *document.Node, declared []string, given map[string]string, problems *document.Problems) *Scope {
	s := &Scope{problems: problems, raw: map[string]*document.Node{}, values: map[string]*document.Node{}, busy: map[string]bool{}}
	vars := merged.Get("vars")
	if vars == nil {
		vars = &document.Node{Kind: document.Map, Place: root.Place}
	}
	if vars.Kind != document.Map {
		problems.Add(vars.Place, "want a map of variables, found %s", vars.Kind)
		vars = &document.Node{Kind: document.Map, Place: root.Place}
	}
	s.give(vars, given)
	for _, e := range vars.Entries {
		if s.declare(e, merged.GetText("profile"), root) {
			s.raw[e.Key] = e.Value
		}
	}
	used := map[string]bool{}
	s.scan(merged, used)
	if root.GetText("effective") != "true" {
		s.unused(root, declared, used)
	}
	for _, name := range slices.Sorted(maps.Keys(s.raw)) {
		s.resolve(name)
	}
	return s
}

// give puts the values in that were given beside the file.
func (s *Scope) give(vars *document.Node, given map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(vars.Entries, func(e document.Entry) bool { return e.Key == name })
		switch {
		case i < 0:
			s.problems.Add(document.Place{}, "variable %s is set, but there is none of this name%s", name, document.Suggest(name, document.Keys(vars)))
		case vars.Entries[i].Value.Kind == document.List:
			s.problems.Add(document.Place{}, "variable %s is a list: it is written in the file", name)
		default:
			value := document.NewText(given[name])
			value.Place = vars.Entries[i].Place
			vars.Entries[i].Value = value
		}
	}
}

// declare checks one variable.
func (s *Scope) declare(e document.Entry, profile string, root *document.Node) bool {
	name, v := e.Key, e.Value
	switch {
	case !varName.MatchString(name) || name == "item":
		s.problems.Add(e.Place, "%q cannot be a variable: letters, digits and _, and not item", name)
	case document.SecretName(name) && v.IsScalar():
		s.problems.Add(v.Place, "variable %s looks like a secret, and this file is kept in each snapshot: say where the secret is, as in password: {file: /etc/cairn/%s}", name, name)
	case v.Kind == document.Null:
		at := root.Place
		if vars := root.Get("vars"); vars != nil {
			at = vars.Place
		}
		from, about := "", ""
		if profile != "" {
			from = " of profile " + profile
		}
		if e.Comment != "" {
			about = " (" + e.Comment + ")"
		}
		s.problems.Add(at, "variable %s%s has no value%s: set it under vars", name, from, about)
	case v.Kind == document.Map:
		s.problems.Add(v.Place, "variable %s is a map: want a text, a number, or a list of texts or of maps of texts", name)
	case len(v.Items) > maxItems:
		s.problems.Add(v.Place, "variable %s has %d items; %d are the most", name, len(v.Items), maxItems)
	default:
		return s.items(name, v)
	}
	s.raw[name] = nil // known, so that its uses are not told to be unknown
	return false
}

func (s *Scope) items(name string, v *document.Node) bool {
	for _, item := range v.Items {
		if item.IsScalar() {
			continue
		}
		ok := item.Kind == document.Map
		for _, e := range item.Entries {
			if ok = ok && e.Value.IsScalar(); ok && document.SecretName(e.Key) {
				s.problems.Add(e.Value.Place, "%s looks like a secret, and this file is kept in each snapshot", e.Key)
				s.raw[name] = nil
				return false
			}
		}
		if !ok {
			s.problems.Add(item.Place, "items of variable %s are texts, or maps of texts", name)
			s.raw[name] = nil
			return false
		}
	}
	return true
}

// scan looks for the variables that are used below a node, and tells which ones there are not: also in what `each` over an empty list
// leaves out.
func (s *Scope) scan(n *document.Node, used map[string]bool) {
	if n == nil {
		return
	}
	for _, ref := range reference.FindAllString(n.Text, -1) {
		name, _, ok := parseReference(ref)
		if strings.HasPrefix(ref, "$$") {
			continue
		}
		at := n.Place.Find(ref, strings.Count(n.Text, "\n")+2)
		_, known := s.raw[name]
		switch {
		case !ok:
			s.problems.Add(at, "%s is not a variable: they are like ${name} or ${item.key}; write $${ for ${ itself", ref)
		case name == "item":
		case !known:
			s.problems.Add(at, "unknown variable %q%s (write $${ for ${ itself)", name, document.Suggest(name, slices.Sorted(maps.Keys(s.raw))))
		}
		used[name] = true
	}
	if each := n.GetText("each"); each != "" {
		used[each] = true
	}
	for _, item := range n.Items {
		s.scan(item, used)
	}
	for _, e := range n.Entries {
		s.scan(e.Value, used)
	}
}

// parseReference takes ${name.key} apart.
func parseReference(ref string) (name, key string, ok bool) {
	inner, closed := strings.CutSuffix(strings.TrimPrefix(ref, "${"), "}")
	name, key, dotted := strings.Cut(inner, ".")
	return name, key, closed && varName.MatchString(name) && (!dotted || name == "item" && varName.MatchString(key))
}

// unused tells of variables that do nothing: most of them are misspelled. Those that the profile declares may have lost their use with a part, and
// where an unknown variable is used, that has been told and is the same mistake seen from the other side.
func (s *Scope) unused(root *document.Node, declared []string, used map[string]bool) {
	vars := root.Get("vars")
	if vars == nil {
		return
	}
	for name := range used {
		if _, known := s.raw[name]; !known && name != "item" {
			return
		}
	}
	for _, e := range vars.Entries {
		if !used[e.Key] && s.raw[e.Key] != nil && !slices.Contains(declared, e.Key) {
			s.problems.Add(e.Place, "variable %s is not used%s", e.Key, document.Suggest(e.Key, declared))
		}
	}
}
