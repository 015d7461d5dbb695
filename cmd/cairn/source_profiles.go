package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"cairn/agent/document"
	"cairn/agent/source"
	profiles "cairn/agent/source/profile" // main.profile writes profiles of the processor
)

// parseOptions says where profiles are: beside the source files, and in the program. One's own hides the program's of the same name.
func parseOptions(dirs []string) source.ParseOptions {
	return source.ParseOptions{
		Profiles:     func(name string) ([]byte, bool) { return findProfile(dirs, name) },
		ProfileNames: profileNames(dirs),
	}
}

func findProfile(dirs []string, name string) ([]byte, bool) {
	if text, ok := ownProfile(dirs, name); ok {
		return text, true
	}
	return profiles.Text(name)
}

// ownProfile reads DIR/profiles/NAME.yaml of the first directory that has it.
func ownProfile(dirs []string, name string) ([]byte, bool) {
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, false
	}
	for _, dir := range dirs {
		data, err := readSmall(filepath.Join(dir, "profiles", name+".yaml"))
		if err == nil {
			return data, true
		}
	}
	return nil, false
}

// readSmall reads a file that people write; one that is too large is cut, for the parser to refuse.
func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > document.MaxSize {
		return make([]byte, document.MaxSize+1), nil
	}
	return os.ReadFile(name)
}

// profileNames are all there are, each once.
func profileNames(dirs []string) []string {
	names := profiles.Names()
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, "profiles", "*.yaml"))
		for _, name := range found {
			names = append(names, strings.TrimSuffix(filepath.Base(name), ".yaml"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// profileVariables are what is asked for a profile, and what it says of itself.
func profileVariables(name string, o source.ParseOptions) ([]source.Variable, string, error) {
	vars, about, err := source.ProfileVariables(name, o)
	if err != nil {
		return nil, "", sourceError(err)
	}
	return vars, about, nil
}

// printProfiles lists the profiles.
func (e *env) printProfiles(dirs []string) error {
	o := parseOptions(dirs)
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if !e.json {
		fmt.Fprintln(w, "PROFILE\tNEEDS\tABOUT")
	}
	for _, name := range o.ProfileNames {
		vars, about, err := profileVariables(name, o)
		if err != nil {
			return err
		}
		if e.json {
			if err := e.printJSON(profileJSON(dirs, name, about, vars)); err != nil {
				return err
			}
			continue
		}
		var needs []string
		for _, v := range vars {
			if v.Required {
				needs = append(needs, v.Name)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable(name), dash(strings.Join(needs, ", ")), printable(about))
	}
	return w.Flush()
}

func profileJSON(dirs []string, name, about string, vars []source.Variable) map[string]any {
	_, own := ownProfile(dirs, name)
	list := []map[string]any{}
	for _, v := range vars {
		m := map[string]any{"name": v.Name, "about": v.About, "required": v.Required}
		if !v.Required {
			m["default"] = v.Default
		}
		list = append(list, m)
	}
	return map[string]any{"type": "profile", "name": name, "description": about, "own": own, "variables": list}
}

func (e *env) showProfile(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("source show: name one profile")
	}
	dirs, err := e.sourceDirs(c)
	if err != nil {
		return err
	}
	return e.printProfile(dirs, c.Args().First())
}

// printProfile shows one profile: its variables, and the file as it is written.
func (e *env) printProfile(dirs []string, name string) error {
	o := parseOptions(dirs)
	vars, about, err := profileVariables(name, o)
	if err != nil {
		return err
	}
	text, _ := findProfile(dirs, name)
	if e.json {
		m := profileJSON(dirs, name, about, vars)
		m["text"] = string(text)
		return e.printJSON(m)
	}
	e.print("%s: %s\n", printable(name), printable(about))
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VARIABLE\tDEFAULT\tMEANING")
	for _, v := range vars {
		value := v.Default
		if v.Required {
			value = "(needed)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Name, printable(value), printable(v.About))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	e.print("\n%s", strings.TrimRight(string(text), "\n"))
	return nil
}

// doubt tells what a source file may say, and what would be missed when it is restored.
func (e *env) doubt(f *source.File) {
	for _, text := range profiles.Doubts(f) {
		e.warn("source %s: %s", printable(f.Name), printable(text))
	}
}
