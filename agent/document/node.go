package document

import (
	"slices"
)

// Kind is what a node is.
type Kind int

// The kinds. A Plain scalar was written without quotes and is a number or a truth value in YAML; as text it is as it was written.
const (
	Null Kind = iota
	Text
	Plain
	List
	Map
)

func (k Kind) String() string {
	return [...]string{"nothing", "text", "number or true/false", "list", "map"}[k]
}

// Node is a value in a file.
type Node struct {
	Kind    Kind
	Text    string // of Text and Plain
	Items   []*Node
	Entries []Entry // of a Map, in the order of the file; no key comes twice
	Place   Place
}

// Entry is a key of a map with its value.
type Entry struct {
	Key     string
	Value   *Node
	Place   Place  // of the key
	Comment string // what stands above the key or behind it, without #
}

// NewText makes a text that stands in no file.
func NewText(text string) *Node { return &Node{Kind: Text, Text: text} }

// NewMap makes an empty map that stands in no file.
func NewMap() *Node { return &Node{Kind: Map} }

// IsScalar says whether a node is a text, a number or a truth value.
func (n *Node) IsScalar() bool { return n != nil && (n.Kind == Text || n.Kind == Plain) }

// Get returns the value of a key, or nil; of nil and of what is no map, too.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, e := range n.Entries {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// GetText returns the text of a key, or "".
func (n *Node) GetText(key string) string {
	if v := n.Get(key); v.IsScalar() {
		return v.Text
	}
	return ""
}

// Keys are the keys of a map; of nil and of what is no map there are none.
func Keys(n *Node) []string {
	if n == nil {
		return nil
	}
	names := make([]string, len(n.Entries))
	for i, e := range n.Entries {
		names[i] = e.Key
	}
	return names
}

// Set puts an entry in the place of the one with the same key, or at the end.
func (n *Node) Set(e Entry) {
	for i := range n.Entries {
		if n.Entries[i].Key == e.Key {
			n.Entries[i] = e
			return
		}
	}
	n.Entries = append(n.Entries, e)
}

// Delete removes a key.
func (n *Node) Delete(key string) {
	n.Entries = slices.DeleteFunc(n.Entries, func(e Entry) bool { return e.Key == key })
}

// Clone copies a node with all that is below it.
func (n *Node) Clone() *Node {
	if n == nil {
		return nil
	}
	c := *n
	c.Items, c.Entries = slices.Clone(n.Items), slices.Clone(n.Entries)
	for i := range c.Items {
		c.Items[i] = c.Items[i].Clone()
	}
	for i := range c.Entries {
		c.Entries[i].Value = c.Entries[i].Value.Clone()
	}
	return &c
}
