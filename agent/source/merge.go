package source

import (
	"slices"

	"cairn/agent/document"
)

// How a file changes its profile (doc.go has it for readers): maps by key, parts and hooks by name, all else as a whole.

// kinds are the keys of Part of which one is set.
func kinds() []string {
	return []string{"tree", "command", "postgres", "mariadb", "sqlite", "derby", "h2", "fedora", "export"}
}

// merge puts a file over its profile. Neither is changed.
func merge(base, over *document.Node) *document.Node {
	out := base.Clone()
	for _, e := range over.Entries {
		old := out.Get(e.Key)
		switch {
		case e.Value.Kind == document.Null && old != nil:
		case e.Key == "vars":
			out.Set(entry(e, mergeVars(old, e.Value)))
		case e.Key == "labels":
			out.Set(entry(e, mergeMap(old, e.Value, nil)))
		case e.Key == "classes":
			rule := func(_ string, a, b *document.Node) *document.Node { return mergeMap(a, b, nil) }
			out.Set(entry(e, mergeMap(old, e.Value, rule)))
		case e.Key == "guards":
			out.Set(entry(e, mergeMap(old, e.Value, nil)))
		case e.Key == "hooks", e.Key == "restore":
			byKey := func(key string, a, b *document.Node) *document.Node {
				if e.Key == "hooks" || key == "before" || key == "steps" {
					return mergeNamed(a, b, func(_, b *document.Node) *document.Node { return b })
				}
				return b
			}
			out.Set(entry(e, mergeMap(old, e.Value, byKey)))
		case e.Key == "parts":
			out.Set(entry(e, mergeNamed(old, e.Value, mergePart)))
		default:
			out.Set(entry(e, e.Value))
		}
	}
	return out
}

func entry(e document.Entry, value *document.Node) document.Entry {
	e.Value = value
	return e
}

// mergeMap goes by key; what both have is decided by both, or by the second one. A key without a value leaves the first one's.
func mergeMap(a, b *document.Node, both func(key string, a, b *document.Node) *document.Node) *document.Node {
	if a == nil || a.Kind != document.Map || b.Kind != document.Map {
		return b
	}
	out := a.Clone()
	out.Place = b.Place
	for _, e := range b.Entries {
		old := out.Get(e.Key)
		if old != nil && e.Value.Kind == document.Null {
			continue
		}
		if old != nil && both != nil {
			e.Value = both(e.Key, old, e.Value)
		}
		out.Set(e)
	}
	return out
}

// mergeVars keeps what the profile says about a variable.
func mergeVars(a, b *document.Node) *document.Node {
	out := mergeMap(a, b, nil)
	if a == nil || out == b {
		return out
	}
	for i, e := range out.Entries {
		if n := slices.IndexFunc(a.Entries, func(o document.Entry) bool { return o.Key == e.Key }); n >= 0 && e.Comment == "" {
			out.Entries[i].Comment = a.Entries[n].Comment
		}
	}
	return out
}

// mergeNamed goes by name: what has the name of one that is there takes its place, the rest comes behind.
func mergeNamed(a, b *document.Node, both func(a, b *document.Node) *document.Node) *document.Node {
	if a == nil || a.Kind != document.List || b.Kind != document.List {
		return b
	}
	out := a.Clone()
	out.Place = b.Place
	for _, item := range b.Items {
		name := item.GetText("name")
		i := slices.IndexFunc(out.Items, func(n *document.Node) bool { return name != "" && n.GetText("name") == name })
		if i < 0 {
			out.Items = append(out.Items, item)
			continue
		}
		out.Items[i] = both(out.Items[i], item)
	}
	return out
}

// mergePart goes by key, within the kind, too. A part of another kind replaces it.
func mergePart(a, b *document.Node) *document.Node {
	if a.Kind != document.Map || b.Kind != document.Map {
		return b
	}
	base := a.Clone()
	for _, kind := range kinds() {
		if b.Get(kind) != nil {
			base.Entries = slices.DeleteFunc(base.Entries, func(e document.Entry) bool { return e.Key != kind && slices.Contains(kinds(), e.Key) })
		}
	}
	return mergeMap(base, b, func(key string, a, b *document.Node) *document.Node {
		if slices.Contains(kinds(), key) {
			return mergeMap(a, b, nil)
		}
		return b
	})
}

// dropOmitted takes away the parts and hooks that say `omit: true`. It is asked last, because they are named to take those of the profile along.
func dropOmitted(root *document.Node) *document.Node {
	out := root.Clone()
	lists := []*document.Node{out.Get("parts"), out.Get("restore").Get("before"), out.Get("restore").Get("steps")}
	if hooks := out.Get("hooks"); hooks != nil {
		for _, e := range hooks.Entries {
			lists = append(lists, e.Value)
		}
	}
	for _, list := range lists {
		if list != nil {
			list.Items = slices.DeleteFunc(list.Items, func(n *document.Node) bool { return n.GetText("omit") == "true" })
		}
	}
	return out
}
