package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
)

// sourceCommand is the group of the commands about source files. Each has a file of its own.
func sourceCommand(e *env) *cli.Command {
	return &cli.Command{
		Name: "source", Usage: "whole applications: what is backed up together, and how",
		Description: `A source is an application that is backed up as a whole: directories, database dumps and exports, in an order, with what has to
stop meanwhile. It is written in a source file (YAML, docs/sources.md), and one run of it makes one snapshot of everything, or none.

Source files are looked for in --sources DIR (or $CAIRN_SOURCES, several with colons), otherwise in ~/.config/cairn/sources and
/etc/cairn/sources. Wherever a NAME is expected the path of a file works, too. Profiles are source files that ship with the program and
wait for their variables; DIR/profiles/NAME.yaml is one of your own.

Examples:
  cairn source new seafile --set home=/opt/seafile
  cairn source validate
  cairn source list
  cairn source show seafile
  cairn source run seafile`,
		Subcommands: sourceCommands(e),
	}
}

// sourceCommands lists the group in the order of the help.
func sourceCommands(e *env) []*cli.Command {
	return []*cli.Command{
		sourceListCommand(e),
		sourceShowCommand(e),
		sourceValidateCommand(e),
		sourceNewCommand(e),
		sourcePlanCommand(e),
		sourceRestoreCommand(e),
		sourceVerifyCommand(e),
		sourceUnitCommand(e),
		sourceRunCommand(e),
		sourceResumeCommand(e),
	}
}

// sourceGroup fills in what the commands about sources share: where the files are, and completion of their names.
func sourceGroup(e *env, c *cli.Command) *cli.Command {
	c.Flags = append(c.Flags, &cli.StringSliceFlag{Name: "sources", Usage: "look for source files in `DIR` (repeat for others); default $CAIRN_SOURCES, or ~/.config/cairn/sources and /etc/cairn/sources"})
	if c.BashComplete == nil {
		c.BashComplete = func(ctx *cli.Context) { e.completeSources(ctx) }
	}
	return command(e, c)
}

// sourceDirs are the directories with source files, in the order in which they are searched.
func (e *env) sourceDirs(c *cli.Context) ([]string, error) {
	if dirs := values(c, "sources"); len(dirs) > 0 {
		return dirs, nil
	}
	if text := e.getenv("CAIRN_SOURCES"); text != "" {
		return filepath.SplitList(text), nil
	}
	own, err := e.configDir()
	if err != nil { // a service has no HOME
		return []string{"/etc/cairn/sources"}, nil
	}
	return []string{filepath.Join(own, "sources"), "/etc/cairn/sources"}, nil
}

// findSource reads the source that an argument names, for any command about one.
func (e *env) findSource(c *cli.Context, name string) (*source.File, error) {
	dirs, err := e.sourceDirs(c)
	if err != nil {
		return nil, err
	}
	f, err := source.Find(name, dirs, parseOptions(dirs))
	if err != nil {
		return nil, sourceError(err)
	}
	return f, nil
}

// oneSource reads the source that is the only argument.
func (e *env) oneSource(c *cli.Context) (*source.File, error) {
	if c.NArg() != 1 {
		return nil, usage("source %s: name one source", c.Command.Name)
	}
	return e.findSource(c, c.Args().First())
}

// sourceError gives what is wrong with a source file the exit code of a mistake in a command line: nothing was done.
func sourceError(err error) error { return &exitError{exitUsage, err} }

// completeSources answers the shell: names of sources, and the flags.
func (e *env) completeSources(c *cli.Context) {
	cli.DefaultCompleteWithFlags(c.Command)(c)
	dirs, err := e.sourceDirs(c)
	if err != nil {
		return
	}
	all, err := source.Load(dirs, parseOptions(dirs))
	if err != nil {
		return
	}
	for _, l := range all {
		fmt.Fprintln(e.stdout, l.Name)
	}
}

// parts counts the parts for people: what is backed up, and what is named only so that it does not come back.
func countParts(f *source.File) string {
	kept, left := 0, 0
	for _, p := range f.Parts {
		if p.Class == source.Derived || p.Class == source.Never {
			left++
		} else {
			kept++
		}
	}
	if left == 0 {
		return fmt.Sprint(kept)
	}
	return fmt.Sprintf("%d (+%d)", kept, left)
}

func dash(text string) string {
	if strings.TrimSpace(text) == "" {
		return "-"
	}
	return text
}
