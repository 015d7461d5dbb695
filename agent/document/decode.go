package document

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reader is a type that reads itself from a node.
type Reader interface {
	ReadNode(n *Node, d *Decoder)
}

// Decoder puts nodes into Go structures by their yaml tags, and remembers where each value came from.
type Decoder struct {
	Problems *Problems
	// Words are keys whose lists are argument lists. In other lists of texts one text may stand for a list of one.
	Words []string
	at    map[any]Place
}

// keyOf is the address of an entry of a map.
type keyOf struct {
	m   any
	key string
}

// At is where the value behind a pointer came from. It is the place of the first one in outer that is known, when it stands in no file.
func (d *Decoder) At(pointer any, outer ...any) Place {
	for _, p := range append([]any{pointer}, outer...) {
		if at, ok := d.at[p]; ok {
			return at
		}
	}
	return Place{}
}

// Key names the entry of a map, for At.
func Key(pointerToMap any, key string) any { return keyOf{pointerToMap, key} }

// Decode reads a node into what a pointer points to. Unknown keys and wrong kinds are noted as problems; the rest is read nevertheless.
func (d *Decoder) Decode(n *Node, pointer any) {
	if d.at == nil {
		d.at = map[any]Place{}
	}
	d.value(n, reflect.ValueOf(pointer).Elem(), "")
}

func (d *Decoder) value(n *Node, v reflect.Value, key string) {
	if v.CanAddr() {
		d.at[v.Addr().Interface()] = n.Place
	}
	if n.Kind == Null { // a key without a value is as good as no key
		return
	}
	if v.CanAddr() {
		if r, ok := v.Addr().Interface().(Reader); ok {
			r.ReadNode(n, d)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), key)
	case reflect.Struct:
		d.Struct(n, v.Addr().Interface())
	case reflect.Slice:
		d.slice(n, v, key)
	case reflect.Map:
		d.mapOf(n, v, key)
	case reflect.Interface:
		if value := Value(n); value != nil {
			v.Set(reflect.ValueOf(value))
		}
	default:
		d.scalar(n, v, key)
	}
}

// Value is a node as Go has it: string, []any, map[string]any or nil. Numbers stay as they were written.
func Value(n *Node) any {
	switch n.Kind {
	case List:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = Value(item)
		}
		return list
	case Map:
		m := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			m[e.Key] = Value(e.Value)
		}
		return m
	case Null:
		return nil
	}
	return n.Text
}

// Struct reads a map into the structure that a pointer points to; it does not ask whether that is a Reader.
func (d *Decoder) Struct(n *Node, pointer any) {
	v := reflect.ValueOf(pointer).Elem()
	if n.Kind != Map {
		d.wrong(n, "a map")
		return
	}
	fields := map[string]reflect.Value{}
	collect(v, fields)
	for _, e := range n.Entries {
		field, ok := fields[e.Key]
		if !ok {
			d.Problems.Add(e.Place, "unknown key %q%s", e.Key, Suggest(e.Key, slices.Sorted(maps.Keys(fields))))
			continue
		}
		d.value(e.Value, field, e.Key)
	}
}

// collect finds the fields of a structure and of those embedded in it.
func collect(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			collect(v.Field(i), into)
		case name != "" && name != "-":
			into[name] = v.Field(i)
		}
	}
}

func (d *Decoder) slice(n *Node, v reflect.Value, key string) {
	items := n.Items
	switch {
	case n.Kind == List:
	case n.IsScalar() && v.Type().Elem().Kind() == reflect.String && !slices.Contains(d.Words, key):
		items = []*Node{n}
	case n.IsScalar() && slices.Contains(d.Words, key):
		d.Problems.Add(n.Place, "want a list: [program, argument, …]; no shell takes a text apart")
		return
	default:
		d.wrong(n, "a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items))) // in one go: the addresses of items are remembered
	for i, item := range items {
		if item.Kind == Null {
			d.Problems.Add(item.Place, "an empty item")
			continue
		}
		d.value(item, v.Index(i), key)
	}
	d.at[v.Addr().Interface()] = n.Place
}

func (d *Decoder) mapOf(n *Node, v reflect.Value, key string) {
	if n.Kind != Map {
		d.wrong(n, "a map")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Entries)))
	for _, e := range n.Entries {
		value := reflect.New(v.Type().Elem()).Elem()
		if e.Value.Kind == Null && value.Kind() == reflect.String {
			d.Problems.Add(e.Place, "%s has no value; write \"\" for an empty one", e.Key)
		}
		d.value(e.Value, value, e.Key)
		v.SetMapIndex(reflect.ValueOf(e.Key).Convert(v.Type().Key()), value)
		if v.CanAddr() {
			d.at[Key(v.Addr().Interface(), e.Key)] = e.Place
		}
	}
}

func (d *Decoder) scalar(n *Node, v reflect.Value, key string) {
	if !n.IsScalar() {
		d.wrong(n, "a single value")
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		length, err := ParseDuration(n.Text)
		if err != nil {
			d.Problems.Add(n.Place, "%s: %v", key, err)
		}
		v.SetInt(int64(length))
	case v.Kind() == reflect.String:
		v.SetString(n.Text)
	case v.Kind() == reflect.Bool:
		if n.Text != "true" && n.Text != "false" {
			d.Problems.Add(n.Place, "%s is true or false", key)
		}
		v.SetBool(n.Text == "true")
	case v.CanInt():
		number, err := strconv.ParseInt(n.Text, 10, 32)
		if err != nil {
			d.Problems.Add(n.Place, "%s is a whole number", key)
		}
		v.SetInt(number)
	default:
		d.Problems.Add(n.Place, "%s cannot be written in a file", key)
	}
}

func (d *Decoder) wrong(n *Node, want string) {
	d.Problems.Add(n.Place, "want %s, found %s", want, n.Kind)
}

// Suggest says which of the names may have been meant.
func Suggest(name string, known []string) string {
	best, least := "", min(max(2, len(name)/3), 4)+1
	for _, k := range known {
		if n := distance(strings.ToLower(name), strings.ToLower(k)); n < least {
			best, least = k, n
		}
	}
	switch {
	case best != "":
		return "; did you mean " + best + "?"
	case len(known) == 0:
		return ""
	case len(known) > 24:
		return "; there are " + strings.Join(known[:24], ", ") + ", …"
	}
	return "; there are " + strings.Join(known, ", ")
}

// distance counts the insertions, removals and exchanges that make one word of another. Long words are not worth the square of their length.
func distance(a, b string) int {
	const most = 64
	if len(a) > most || len(b) > most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left, diagonal := i+1, i
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j], left = left, min(cost, left+1, row[j+1]+1)
		}
		row[len(b)] = left
	}
	return row[len(b)]
}
