package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
)

func sourceNewCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "new", Usage: "write a source file from a profile", ArgsUsage: "PROFILE [NAME]",
		Description: `Writes a source file that uses a profile, for an application of that kind. Variables that the profile needs are taken from --set, or
asked for on a terminal; all others are written as comments with the values that they have. The file is checked before it is written, is
readable by its owner only (mode 0600), and an existing one is never replaced.

A list is given with commas, or as YAML: --set 'contexts=[{name: a, home: /srv/a}]'. Secrets are never variables: the profile names
where they are, and what is needed is told at the end.

Examples:
  cairn source new seafile --set home=/opt/seafile
  cairn source new postgres crm --set databases=crm,crm_archive --to /etc/cairn/sources/crm.yaml
  cairn source new home --to -                     to standard output`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the source, as the second argument; default the profile's"},
			&cli.StringSliceFlag{Name: "set", Usage: "give a variable a value: `VARIABLE=VALUE` (repeat for others)"},
			&cli.StringFlag{Name: "to", Usage: "write to `FILE`, or to standard output with -; default NAME.yaml in the first directory of --sources"},
		},
		BashComplete: func(c *cli.Context) { e.completeProfiles(c) },
		Action:       func(c *cli.Context) error { return e.runSourceNew(c) },
	})
}

func (e *env) completeProfiles(c *cli.Context) {
	cli.DefaultCompleteWithFlags(c.Command)(c)
	if dirs, err := e.sourceDirs(c); err == nil {
		for _, name := range parseOptions(dirs).ProfileNames {
			fmt.Fprintln(e.stdout, name)
		}
	}
}

func (e *env) runSourceNew(c *cli.Context) error {
	dirs, err := e.sourceDirs(c)
	if err != nil {
		return err
	}
	o := parseOptions(dirs)
	if c.NArg() < 1 || c.NArg() > 2 {
		return hint(usage("source new: name a profile, and perhaps the source"), "profiles are "+dash(strings.Join(o.ProfileNames, ", ")))
	}
	profile := c.Args().First()
	if c.String("name") != "" && c.NArg() == 2 {
		return usage("source new: --name and a second argument exclude each other")
	}
	name := first(c.String("name"), c.Args().Get(1), profile)
	to := first(c.String("to"), filepath.Join(dirs[0], name+".yaml"))
	if to != "-" && exists(to) {
		return &exitError{exitUsage, hint(fmt.Errorf("source new: %s exists and is not replaced", to), "give another name as the second argument, or remove the file first")}
	}
	given, err := assignments(c.StringSlice("set"))
	if err != nil {
		return err
	}
	vars, _, err := source.ProfileVariables(profile, o)
	if err != nil {
		return sourceError(err)
	}
	if err := e.askVariables(profile, vars, given); err != nil {
		return err
	}
	text, err := source.FromProfile(name, profile, given, o)
	if err != nil {
		return sourceError(err)
	}
	f, err := source.Parse(to, text, o)
	if err != nil {
		return sourceError(err)
	}
	if to == "-" {
		_, err := e.stdout.Write(text)
		return err
	}
	if err := createSource(to, text); err != nil {
		return err
	}
	return e.saidNew(f, to)
}

// assignments reads NAME=VALUE.
func assignments(list []string) (map[string]string, error) {
	given := map[string]string{}
	for _, text := range list {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, usage("source new: --set %s: want VARIABLE=VALUE", text)
		}
		given[name] = value
	}
	return given, nil
}

// askVariables completes the values of a profile's variables: by asking, where somebody can answer.
func (e *env) askVariables(profile string, vars []source.Variable, given map[string]string) error {
	known := map[string]bool{}
	var missing []source.Variable
	for _, v := range vars {
		known[v.Name] = true
		if _, set := given[v.Name]; !set && v.Required {
			missing = append(missing, v)
		}
	}
	for name := range given {
		if !known[name] {
			return usage("source new: the profile has no variable %s; it has %s", name, dash(strings.Join(variableNames(vars), ", ")))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	in, ok := e.stdin.(*os.File)
	if !ok || !isTerminal(in) {
		return hint(usage("source new: these variables need a value: %s", strings.Join(describeVariables(missing), "; ")),
			"give each with --set VARIABLE=VALUE; `cairn source show --profile "+profile+"` tells all of them")
	}
	answers := bufio.NewScanner(in)
	for _, v := range missing {
		fmt.Fprintf(e.stderr, "%s: ", strings.Join(describeVariables([]source.Variable{v}), ""))
		if !answers.Scan() {
			return errors.Join(errors.New("source new: no answer"), answers.Err())
		}
		given[v.Name] = strings.TrimSpace(answers.Text())
	}
	return nil
}

func variableNames(vars []source.Variable) (names []string) {
	for _, v := range vars {
		names = append(names, v.Name)
	}
	return names
}

func describeVariables(vars []source.Variable) (texts []string) {
	for _, v := range vars {
		text := v.Name
		if v.About != "" {
			text += " (" + v.About + ")"
		}
		texts = append(texts, text)
	}
	return texts
}

// createSource writes a new file, whole or not at all: under a name of its own first, which is then linked, because a link never replaces a file.
func createSource(to string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	if err := os.Link(f.Name(), to); errors.Is(err, fs.ErrExist) {
		return &exitError{exitUsage, hint(fmt.Errorf("source new: %s exists and is not replaced", to), "give another name as the second argument, or remove the file first")}
	} else if err != nil {
		return err
	}
	return nil
}

func (e *env) saidNew(f *source.File, to string) error {
	if e.json {
		m := e.sourceJSON(f)
		m["path"] = to
		var secrets []string
		for _, s := range f.Secrets() {
			secrets = append(secrets, s.String())
		}
		m["secrets"] = nonNil(secrets)
		return e.printJSON(m)
	}
	e.print("%s is written", to)
	for i, s := range f.Secrets() {
		if i == 0 {
			e.say("it needs these secrets:")
		}
		e.say("  %s", s)
	}
	e.doubt(f)
	e.say("next: `cairn source show %s`", f.Name)
	return nil
}
