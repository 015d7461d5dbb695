package source

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"cairn/agent/document"
	"cairn/agent/variable"
)

// Profiles finds the text of a profile by its name.
type Profiles func(name string) ([]byte, bool)

// ParseOptions is what a file is read with. The zero value reads files that have no profile.
type ParseOptions struct {
	Profiles     Profiles
	ProfileNames []string          // to guess what was meant by a misspelled one
	Vars         map[string]string // in the place of what the file says; only variables that there are, and no lists
}

// maxProfiles is how many profiles may stand upon each other.
const maxProfiles = 4

// words are the keys whose lists are argument lists.
func words() []string { return []string{"args", "command", "client"} }

// Parse reads a source file: the profile is merged in, variables are put in, defaults are set and the rules of Validate are checked. All that is
// wrong is told in one *document.Error. name is the path of the file, for errors and for the name of a source that says none.
func Parse(name string, data []byte, o ParseOptions) (*File, error) {
	problems := &document.Problems{}
	root := document.Parse(name, data, problems)
	if root == nil || root.Kind != document.Map {
		if root != nil {
			problems.Add(root.Place, "want a map of keys such as source, vars, parts; found %s", root.Kind)
		}
		return nil, problems.Err()
	}
	merged, declared := o.withProfile(root, problems)
	if !merged.Get("source").IsScalar() {
		merged.Set(document.Entry{Key: "source", Value: &document.Node{Kind: document.Text, Text: nameOf(name), Place: root.Place}, Place: root.Place})
	}
	scope := variable.New(merged, root, declared, o.Vars, problems)
	f := &File{}
	d := &document.Decoder{Problems: problems, Words: words()}
	if expanded := scope.File(merged); expanded != nil {
		d.Decode(expanded, f)
		f.Vars = scope.Values()
		f.setDefaults()
		problems.Settle()
		f.check(d)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	f.Effective = effective(merged)
	return f, nil
}

// nameOf is the name of a source whose file says none.
func nameOf(path string) string {
	base := filepath.Base(path)
	for _, suffix := range []string{".yaml", ".yml"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return base
}

// withProfile puts the profiles below what the file says, and names the variables that they declare. The key `effective` marks a file that
// has them in already.
func (o ParseOptions) withProfile(root *document.Node, problems *document.Problems) (merged *document.Node, declared []string) {
	if root.GetText("effective") == "true" {
		merged = root.Clone()
		merged.Delete("effective")
		return merged, document.Keys(root.Get("vars"))
	}
	merged = root
	var seen []string
	for name := root.GetText("profile"); name != ""; name = root.GetText("profile") {
		at := root.Get("profile").Place
		text, ok := o.profile(name)
		if !ok {
			problems.Add(at, "no profile is called %q%s", name, document.Suggest(name, o.ProfileNames))
			break
		}
		if slices.Contains(seen, name) || len(seen) == maxProfiles {
			problems.Add(at, "profile %s stands upon itself, or upon too many", name)
			break
		}
		seen = append(seen, name)
		if root = document.Parse("profile "+name, text, problems); root == nil {
			break
		}
		declared = append(declared, document.Keys(root.Get("vars"))...)
		merged = merge(root, merged)
	}
	return dropOmitted(merged), declared
}

func (o ParseOptions) profile(name string) ([]byte, bool) {
	if o.Profiles == nil {
		return nil, false
	}
	return o.Profiles(name)
}

// effective is the file with its profile, and its variables as they are written.
func effective(merged *document.Node) []byte {
	n := merged.Clone()
	n.Set(document.Entry{Key: "effective", Value: &document.Node{Kind: document.Plain, Text: "true"}})
	return n.Encode()
}

// Marshal writes a file, so that Parse reads it back without its profile. It writes what the file and its profile said, with variables as they were
// written; of a File that was not made by Parse, all that it holds.
func Marshal(f *File) []byte {
	if len(f.Effective) > 0 {
		return f.Effective
	}
	return Expanded(f)
}

// Expanded writes a file with the values in the place of variables, and with defaults.
func Expanded(f *File) []byte {
	n := document.FromValue(*f)
	n.Delete("vars")
	n.Set(document.Entry{Key: "effective", Value: &document.Node{Kind: document.Plain, Text: "true"}})
	escape(n)
	return n.Encode()
}

// escape keeps texts that look like variables from being taken for some.
func escape(n *document.Node) {
	n.Text = strings.ReplaceAll(n.Text, "${", "$${")
	for _, item := range n.Items {
		escape(item)
	}
	for _, e := range n.Entries {
		escape(e.Value)
	}
}

// Validate checks the rules of a File that was not read by Parse, with the defaults set.
func (f *File) Validate() error {
	problems := &document.Problems{}
	f.check(&document.Decoder{Problems: problems})
	if err := problems.Err(); err != nil {
		return fmt.Errorf("source %s: %w", f.Name, err)
	}
	return nil
}
