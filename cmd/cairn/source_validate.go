package main

import (
	"errors"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/agent/document"
	"cairn/agent/source"
	profiles "cairn/agent/source/profile"
)

func sourceValidateCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "validate", Usage: "check source files", ArgsUsage: "[NAME|FILE…]",
		Description: `Checks source files, all that there are or those that are named, and tells everything that is wrong with them, with line and
caret. Nothing is run, no database is asked, and no secret is read. The exit code is 2 when a file has mistakes.

Checked are: keys and kinds of values, variables, schedules, patterns, paths (absolute; no part within another one; what a restore
removes, empties or rewrites within its roots), hooks, guards, and that no secret is written in the file. What is allowed and would
nevertheless be missed on the day of a restore is told as a warning.

Examples:
  cairn source validate
  cairn source validate seafile ./new.yaml
  cairn source validate --json | jq -r '.problems[]? | "\(.file):\(.line): \(.message)"'`,
		Action: func(c *cli.Context) error { return e.runSourceValidate(c) },
	})
}

func (e *env) runSourceValidate(c *cli.Context) error {
	dirs, err := e.sourceDirs(c)
	if err != nil {
		return err
	}
	var all []source.Loaded
	for _, name := range c.Args().Slice() {
		f, err := source.Find(name, dirs, parseOptions(dirs))
		l := source.Loaded{Name: name, Path: name, File: f, Err: err}
		if f != nil {
			l.Name, l.Path = f.Name, f.Path
		}
		all = append(all, l)
	}
	if c.NArg() == 0 {
		if all, err = source.Load(dirs, parseOptions(dirs)); err != nil {
			return err
		}
		if len(all) == 0 {
			return sourceError(hint(errors.New("there are no source files in "+joined(dirs)), "`cairn source new PROFILE` makes one; --sources names another directory"))
		}
	}
	wrong := 0
	for _, l := range all {
		if l.Err != nil {
			wrong++
		}
		if err := e.printValidated(l); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return quietExit(exitUsage)
	}
	return nil
}

func (e *env) printValidated(l source.Loaded) error {
	if e.json {
		m := map[string]any{"type": "validation", "name": l.Name, "path": l.Path, "valid": l.Err == nil}
		if l.Err != nil {
			m["problems"] = problemsJSON(l.Err)
		} else if doubts := profiles.Doubts(l.File); len(doubts) > 0 {
			m["doubts"] = doubts
		}
		return e.printJSON(m)
	}
	if l.Err == nil {
		e.doubt(l.File)
		e.print("%s is valid: %s", printable(l.Path), printable(l.Name))
		return nil
	}
	e.print("%s", strings.TrimSpace(l.Err.Error()))
	return nil
}

func problemsJSON(err error) []map[string]any {
	var all *document.Error
	if !errors.As(err, &all) {
		return []map[string]any{{"message": err.Error()}}
	}
	list := []map[string]any{}
	for _, p := range all.Problems {
		m := map[string]any{"message": p.Message}
		if p.Place.File != nil {
			m["file"], m["line"], m["column"] = p.Place.File.Name, p.Place.Line, p.Place.Column
		}
		list = append(list, m)
	}
	return list
}

func joined(dirs []string) string { return strings.Join(dirs, string(os.PathListSeparator)) }
