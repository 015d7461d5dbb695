package document

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Writer is a type that says itself how it is written.
type Writer interface {
	Node() *Node
}

// Encode writes a node as YAML.
func (n *Node) Encode() []byte {
	var b strings.Builder
	write(&b, n, 0, true)
	return []byte(b.String())
}

// Flow writes a node on one line.
func (n *Node) Flow() []byte {
	var parts []string
	switch n.Kind {
	case List:
		for _, item := range n.Items {
			parts = append(parts, string(item.Flow()))
		}
		return []byte("[" + strings.Join(parts, ", ") + "]")
	case Map:
		for _, e := range n.Entries {
			parts = append(parts, quote(e.Key)+": "+string(e.Value.Flow()))
		}
		return []byte("{" + strings.Join(parts, ", ") + "}")
	case Null:
		return []byte("null")
	case Plain:
		return []byte(n.Text)
	}
	return []byte(quote(n.Text))
}

// write writes a value behind a key or a dash; top is for what begins at the begin of a line.
func write(b *strings.Builder, n *Node, indent int, top bool) {
	pad := strings.Repeat("  ", indent)
	switch {
	case n.Kind == List && len(n.Items) > 0:
		if flow := flowList(n); flow != "" && !top {
			b.WriteString(" " + flow + "\n")
			return
		}
		if !top {
			b.WriteString("\n")
		}
		for _, item := range n.Items {
			b.WriteString(pad + "-")
			writeItem(b, item, indent+1)
		}
	case n.Kind == Map && len(n.Entries) > 0:
		if !top {
			b.WriteString("\n")
		}
		for _, e := range n.Entries {
			b.WriteString(pad)
			writeEntry(b, e, indent)
		}
	default:
		if !top {
			b.WriteString(" ")
		}
		b.WriteString(scalar(n, indent) + "\n")
	}
}

func writeEntry(b *strings.Builder, e Entry, indent int) {
	b.WriteString(quote(e.Key) + ":")
	write(b, e.Value, indent+1, false)
}

// writeItem writes what follows a dash: a map begins on the same line.
func writeItem(b *strings.Builder, n *Node, indent int) {
	if n.Kind != Map || len(n.Entries) == 0 {
		write(b, n, indent, false)
		return
	}
	for i, e := range n.Entries {
		if i == 0 {
			b.WriteString(" ")
		} else {
			b.WriteString(strings.Repeat("  ", indent))
		}
		writeEntry(b, e, indent)
	}
}

// flowList is a short list of scalars on one line, or "".
func flowList(n *Node) string {
	texts := make([]string, len(n.Items))
	for i, item := range n.Items {
		if !item.IsScalar() || strings.Contains(item.Text, "\n") {
			return ""
		}
		texts[i] = scalar(item, 0)
	}
	if text := "[" + strings.Join(texts, ", ") + "]"; len(text) < 100 {
		return text
	}
	return ""
}

func scalar(n *Node, indent int) string {
	switch n.Kind {
	case Map:
		return "{}"
	case List:
		return "[]"
	case Null:
		return "null"
	case Plain:
		return n.Text
	}
	if block.MatchString(n.Text) {
		pad := strings.Repeat("  ", max(indent, 1))
		lines := strings.Split(strings.TrimSuffix(n.Text, "\n"), "\n")
		text := "|"
		if !strings.HasSuffix(n.Text, "\n") {
			text = "|-"
		}
		for _, line := range lines {
			text += "\n"
			if line != "" {
				text += pad + line
			}
		}
		return text
	}
	return quote(n.Text)
}

var (
	// block is a text that a literal block says as it is: several lines that begin and end with something to see.
	block = regexp.MustCompile(`^[^\s#](.*\S)?(\n(\S(.*\S)?)?)*\n\S(.*\S)?\n?$`)
	// bare is a text that YAML takes for nothing else, without quotes.
	bare     = regexp.MustCompile(`^[A-Za-z/_.*$][A-Za-z0-9/_.*@${}=+-]*( [A-Za-z0-9/_.*$][A-Za-z0-9/_.*@${}=+-]*)*$`)
	reserved = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf", "...", "*"}
)

// quote writes a text on one line.
func quote(text string) string {
	if bare.MatchString(text) && text[0] != '*' && !strings.ContainsAny(text, "{}") && !slices.Contains(reserved, strings.ToLower(text)) {
		if _, err := strconv.ParseFloat(text, 64); err != nil && text[0] != '.' {
			return text
		}
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString("\\" + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20, r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == '\u2028', r == '\u2029', r == '\ufeff':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// FromValue makes a node of a Go structure, by its yaml tags. What is zero is left out, as Decode leaves zero what is not there.
func FromValue(value any) *Node {
	if n := fromValue(reflect.ValueOf(value)); n != nil {
		return n
	}
	return NewMap()
}

// fromValue is nil for what is zero.
func fromValue(v reflect.Value) *Node {
	if !v.IsValid() || v.IsZero() {
		return nil
	}
	if w, ok := v.Interface().(Writer); ok && v.Kind() != reflect.Pointer {
		return w.Node()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if n := fromValue(v.Elem()); n != nil {
			return n
		}
		if v.Elem().Kind() == reflect.Bool {
			return &Node{Kind: Plain, Text: "false"}
		}
		return NewMap()
	case reflect.Struct:
		n := NewMap()
		fromStruct(v, n)
		return n
	case reflect.Slice:
		n := &Node{Kind: List}
		for i := range v.Len() {
			item := fromValue(v.Index(i))
			if item == nil {
				item = emptyOf(v.Index(i))
			}
			n.Items = append(n.Items, item)
		}
		return n
	case reflect.Map:
		n := NewMap()
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			item := fromValue(v.MapIndex(k))
			if item == nil {
				item = emptyOf(v.MapIndex(k))
			}
			n.Entries = append(n.Entries, Entry{Key: k.String(), Value: item})
		}
		return n
	}
	if length, ok := v.Interface().(time.Duration); ok {
		return NewText(FormatDuration(length))
	}
	if v.Kind() == reflect.String {
		return NewText(v.String())
	}
	return &Node{Kind: Plain, Text: fmt.Sprint(v.Interface())}
}

// emptyOf is a zero value where there must be something: an item of a list, a value of a map.
func emptyOf(v reflect.Value) *Node {
	switch v.Kind() {
	case reflect.String:
		return NewText("")
	case reflect.Int:
		return &Node{Kind: Plain, Text: "0"}
	case reflect.Interface, reflect.Pointer:
		return &Node{}
	}
	return NewMap()
}

func fromStruct(v reflect.Value, into *Node) {
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if option == "inline" {
			fromStruct(v.Field(i), into)
		} else if name != "" && name != "-" {
			if value := fromValue(v.Field(i)); value != nil {
				into.Entries = append(into.Entries, Entry{Key: name, Value: value})
			}
		}
	}
}
