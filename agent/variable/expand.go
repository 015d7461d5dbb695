package variable

import (
	"strings"

	"cairn/agent/document"
)

// resolve puts the variables into the value of a variable, and remembers the result. One that refers to itself is refused.
func (s *Scope) resolve(name string) *document.Node {
	if v, done := s.values[name]; done {
		return v
	}
	raw := s.raw[name]
	if raw == nil {
		return nil
	}
	if s.busy[name] {
		s.problems.Add(raw.Place, "variable %s refers to itself", name)
		return nil
	}
	s.busy[name] = true
	value := s.expand(raw)
	delete(s.busy, name)
	s.values[name] = value
	return value
}

// Values are the values of all variables.
func (s *Scope) Values() map[string]any {
	if len(s.values) == 0 {
		return nil
	}
	out := make(map[string]any, len(s.values))
	for name, v := range s.values {
		if v != nil {
			out[name] = document.Value(v)
		}
	}
	return out
}

// File puts the variables into a merged file, and unrolls `each`.
func (s *Scope) File(merged *document.Node) *document.Node {
	out := &document.Node{Kind: document.Map, Place: merged.Place}
	for _, e := range merged.Entries {
		switch e.Key {
		case "vars":
			continue
		case "source", "profile", "description": // names are not made of variables: they are needed to read the rest
		case "parts":
			e.Value = s.parts(e.Value)
		default:
			e.Value = s.expand(e.Value)
		}
		out.Entries = append(out.Entries, e)
	}
	if s.full {
		return nil
	}
	return out
}

func (s *Scope) parts(list *document.Node) *document.Node {
	if list.Kind != document.List {
		return list
	}
	out := &document.Node{Kind: document.List, Place: list.Place}
	for _, part := range list.Items {
		each := part.Get("each")
		if each == nil || each.Kind == document.Null {
			out.Items = append(out.Items, s.expand(part))
			continue
		}
		_, known := s.raw[each.Text]
		values := s.resolve(each.Text)
		switch {
		case !each.IsScalar() || !known:
			s.problems.Add(each.Place, "each names a list variable%s", document.Suggest(each.Text, s.lists()))
		case values == nil: // told already
		case values.Kind != document.List:
			s.problems.Add(each.Place, "variable %s is not a list", each.Text)
		default:
			bare := *part
			bare.Entries = append([]document.Entry(nil), part.Entries...)
			bare.Delete("each")
			for _, item := range values.Items {
				s.item = item
				out.Items = append(out.Items, s.expand(&bare))
			}
			s.item = nil
		}
	}
	return out
}

func (s *Scope) lists() (names []string) {
	for name, v := range s.raw {
		if v != nil && v.Kind == document.List {
			names = append(names, name)
		}
	}
	return names
}

// expand copies a node with the values in the place of variables.
func (s *Scope) expand(n *document.Node) *document.Node {
	if s.nodes++; s.nodes > maxNodes {
		s.overflow(n)
	}
	if s.full {
		return n
	}
	out := &document.Node{Kind: n.Kind, Text: n.Text, Place: n.Place}
	switch n.Kind {
	case document.Text:
		if list := s.wholeList(n); list != nil {
			return &document.Node{Kind: document.List, Items: list, Place: n.Place}
		}
		out.Text = s.text(n)
	case document.List:
		for _, item := range n.Items {
			if list := s.wholeList(item); list != nil {
				out.Items = append(out.Items, list...)
				s.nodes += len(list)
				continue
			}
			out.Items = append(out.Items, s.expand(item))
		}
	case document.Map:
		for _, e := range n.Entries {
			e.Value = s.expand(e.Value)
			out.Entries = append(out.Entries, e)
		}
	}
	return out
}

// wholeList is the items of the list variable that a text consists of; nil when it does not.
func (s *Scope) wholeList(n *document.Node) []*document.Node {
	m := whole.FindStringSubmatch(n.Text)
	if n.Kind != document.Text || m == nil || m[1] == "item" {
		return nil
	}
	v := s.resolve(m[1])
	if v == nil || v.Kind != document.List {
		return nil
	}
	items := make([]*document.Node, 0, len(v.Items))
	for _, item := range v.Items {
		item = item.Clone()
		item.Place = n.Place
		items = append(items, item)
	}
	return items
}

// text puts values into one text.
func (s *Scope) text(n *document.Node) string {
	if !strings.Contains(n.Text, "${") {
		s.count(n, len(n.Text))
		return n.Text
	}
	var b strings.Builder
	last := 0
	for _, at := range reference.FindAllStringIndex(n.Text, -1) {
		ref := n.Text[at[0]:at[1]]
		b.WriteString(n.Text[last:at[0]])
		last = at[1]
		if strings.HasPrefix(ref, "$$") {
			b.WriteString(ref[1:])
			continue
		}
		b.WriteString(s.value(n, ref))
		if b.Len() > maxText {
			s.overflow(n)
			break
		}
	}
	b.WriteString(n.Text[last:])
	s.count(n, b.Len())
	return b.String()
}

func (s *Scope) count(n *document.Node, size int) {
	if s.total += size; s.total > maxTotal || size > maxText {
		s.overflow(n)
	}
}

func (s *Scope) overflow(n *document.Node) {
	if !s.full {
		s.problems.Add(n.Place, "with its variables put in the file grows too large")
	}
	s.full = true
}

// value is what one reference stands for. One that stands for nothing stays as it is: that has been told, by scan or here.
func (s *Scope) value(n *document.Node, ref string) string {
	name, key, ok := parseReference(ref)
	if !ok {
		return ref
	}
	at := n.Place.Find(ref, strings.Count(n.Text, "\n")+2)
	if name != "item" {
		v := s.resolve(name)
		if v != nil && !v.IsScalar() {
			s.problems.Add(at, "variable %s is a list: it stands alone as an item of a list, or behind each", name)
		}
		if v == nil {
			return ref
		}
		return v.Text
	}
	switch v := s.item.Get(key); {
	case s.item == nil:
		s.problems.Add(at, "%s has a meaning in a part with each only", ref)
	case key == "" && s.item.IsScalar():
		return s.item.Text
	case key == "":
		s.problems.Add(at, "the items of this list have keys: ${item.KEY}%s", document.Suggest("", document.Keys(s.item)))
	case v == nil && s.item.IsScalar():
		s.problems.Add(at, "the items of this list are texts: ${item}")
	case v == nil:
		s.problems.Add(at, "the items of this list have no %q%s", key, document.Suggest(key, document.Keys(s.item)))
	default:
		return v.Text
	}
	return ref
}
