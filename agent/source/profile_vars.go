package source

import (
	"reflect"
	"slices"
	"strings"

	"cairn/agent/document"
)

// Variable is a variable of a profile, as a person is asked for it.
type Variable struct {
	Name     string
	About    string // the comment at the variable
	Required bool   // it has no value in the profile
	List     bool   // its value in the profile is a list, or parts are repeated for each item of it
	Default  string // as YAML, on one line; "" when required
}

// ProfileVariables lists the variables of a profile and of those that it stands upon, in their order, and what the profile says of itself.
func ProfileVariables(name string, o ParseOptions) (vars []Variable, about string, err error) {
	problems := &document.Problems{}
	root := document.NewMap()
	root.Set(document.Entry{Key: "profile", Value: document.NewText(name)})
	merged, _ := o.withProfile(root, problems)
	if err := problems.Err(); err != nil {
		return nil, "", err
	}
	list := merged.Get("vars")
	for _, key := range document.Keys(list) {
		i := slices.IndexFunc(list.Entries, func(e document.Entry) bool { return e.Key == key })
		e := list.Entries[i]
		v := Variable{Name: key, About: e.Comment, Required: e.Value.Kind == document.Null, List: e.Value.Kind == document.List || repeats(merged, key)}
		if !v.Required {
			v.Default = string(e.Value.Flow())
		}
		vars = append(vars, v)
	}
	return vars, merged.GetText("description"), nil
}

// repeats says whether a part is there for each item of a variable, which then is a list, also when the profile gives it no value.
func repeats(file *document.Node, name string) bool {
	parts := file.Get("parts")
	return parts != nil && slices.ContainsFunc(parts.Items, func(p *document.Node) bool { return p.GetText("each") == name })
}

// FromProfile writes a source file that uses a profile. Values are texts, or YAML for lists; variables without one stay as the profile has
// them and are written as comments, for the reader to see what there is.
func FromProfile(name, profile string, values map[string]string, o ParseOptions) ([]byte, error) {
	vars, about, err := ProfileVariables(profile, o)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if about != "" {
		b.WriteString("# " + strings.Join(strings.Fields(about), " ") + "\n")
	}
	head := document.NewMap()
	head.Set(document.Entry{Key: "source", Value: document.NewText(name)})
	head.Set(document.Entry{Key: "profile", Value: document.NewText(profile)})
	b.Write(head.Encode())
	if len(vars) > 0 {
		b.WriteString("vars:\n")
	}
	for _, v := range vars {
		if v.About != "" {
			b.WriteString("  # " + v.About + "\n")
		}
		value, given := values[v.Name]
		switch {
		case !given:
			b.WriteString("  # " + v.Name + ": " + v.Default + "\n")
		case v.List || strings.HasPrefix(value, "["):
			list, err := listValue(v.Name, value)
			if err != nil {
				return nil, err
			}
			b.WriteString("  " + v.Name + ": " + string(list.Flow()) + "\n")
		default:
			b.WriteString("  " + v.Name + ": " + string(document.NewText(value).Flow()) + "\n")
		}
	}
	if strings.HasSuffix(b.String(), "vars:\n") || len(values) == 0 && len(vars) > 0 {
		return []byte(strings.Replace(b.String(), "\nvars:\n", "\nvars: {}\n", 1)), nil
	}
	return []byte(b.String()), nil
}

// listValue reads a list as it stands on a command line: YAML in brackets, or texts with commas between them.
func listValue(name, text string) (*document.Node, error) {
	if !strings.HasPrefix(text, "[") {
		list := &document.Node{Kind: document.List}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list.Items = append(list.Items, document.NewText(item))
			}
		}
		return list, nil
	}
	problems := &document.Problems{}
	root := document.Parse("--set "+name, []byte("value: "+text), problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return root.Get("value"), nil
}

// Secrets are all secrets that a file names, each once, in the order of the file.
func (f *File) Secrets() []Secret {
	var found []Secret
	collectSecrets(reflect.ValueOf(f).Elem(), &found)
	return found
}

func collectSecrets(v reflect.Value, found *[]Secret) {
	switch v.Kind() {
	case reflect.Struct:
		if s, ok := v.Interface().(Secret); ok {
			if !slices.ContainsFunc(*found, func(o Secret) bool { return reflect.DeepEqual(o, s) }) && !v.IsZero() {
				*found = append(*found, s)
			}
			return
		}
		for i := range v.NumField() {
			collectSecrets(v.Field(i), found)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			collectSecrets(v.Elem(), found)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collectSecrets(v.Index(i), found)
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			collectSecrets(v.MapIndex(k), found)
		}
	}
}
