package source

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDocumented: docs/sources.md names every key that a source file may have.
func TestDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return !(r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9') }) {
		words[word] = true
	}
	keys := map[string]bool{}
	collectKeys(reflect.TypeFor[File](), keys, map[reflect.Type]bool{})
	if len(keys) < 90 {
		t.Errorf("only %d keys were found", len(keys))
	}
	for key := range keys {
		if !words[key] {
			t.Errorf("docs/sources.md says nothing about %s", key)
		}
	}
}

func collectKeys(t reflect.Type, keys map[string]bool, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collectKeys(t.Elem(), keys, seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
				keys[name] = true
			}
			collectKeys(f.Type, keys, seen)
		}
	}
}
