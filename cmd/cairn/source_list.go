package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/agent/schedule"
	"cairn/agent/source"
)

func sourceListCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "list", Usage: "list the source files",
		Description: `Lists the sources that there are: name, profile, number of parts (in brackets those that are named only so that they do not come
back), schedule and when it is due next, and the file. Files with mistakes are listed, too; the exit code is then 2, and "cairn source
validate" says what is wrong. A file in a directory that is searched earlier hides those of the same name in later ones.

Examples:
  cairn source list
  cairn source list --json | jq -r 'select(.next) | [.next, .name] | @tsv'
  cairn source list --sources ./sources
  cairn source list --profiles                     what "source new" can begin with`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "profiles", Usage: "list profiles instead: those of the program and your own, and the variables that they need"},
		},
		Action: func(c *cli.Context) error { return e.runSourceList(c) },
	})
}

func (e *env) runSourceList(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	dirs, err := e.sourceDirs(c)
	if err != nil {
		return err
	}
	if c.Bool("profiles") {
		return e.printProfiles(dirs)
	}
	all, err := source.Load(dirs, parseOptions(dirs))
	if err != nil {
		return err
	}
	wrong, err := e.printSources(all)
	switch {
	case err != nil:
		return err
	case wrong > 0:
		e.warn("%s with mistakes: `cairn source validate` tells them", plural(uint64(wrong), "file", "files"))
		return quietExit(exitUsage)
	case len(all) == 0:
		e.say("no source files in %s; `cairn source new PROFILE` makes one", joined(dirs))
	}
	return nil
}

func (e *env) printSources(all []source.Loaded) (wrong int, err error) {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if !e.json && len(all) > 0 {
		fmt.Fprintln(w, "NAME\tPROFILE\tPARTS\tSCHEDULE\tNEXT\tFILE")
	}
	for _, l := range all {
		if l.Err != nil {
			wrong++
		}
		switch {
		case e.json && l.Err != nil:
			err = e.printJSON(map[string]any{"type": "source", "name": l.Name, "path": l.Path, "valid": false, "error": l.Err.Error()})
		case e.json:
			err = e.printJSON(e.sourceJSON(l.File))
		case l.Err != nil:
			fmt.Fprintf(w, "%s\t%s\t\t\t\t%s\n", printable(l.Name), "MISTAKES", printable(l.Path))
		default:
			f := l.File
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(f.Name), dash(f.Profile), countParts(f), dash(f.Schedule), dash(e.next(f.Schedule)), printable(l.Path))
			for _, class := range source.Classes() {
				if text := f.Classes[class].Schedule; text != "" {
					fmt.Fprintf(w, "  class %s\t\t\t%s\t%s\t\n", class, text, e.next(text))
				}
			}
		}
		if err != nil {
			return wrong, err
		}
	}
	return wrong, w.Flush()
}

// due is when a schedule is due next; the zero time without one.
func (e *env) due(text string) time.Time {
	s, err := schedule.Parse(text)
	if err != nil {
		return time.Time{}
	}
	return s.Next(e.now())
}

func (e *env) next(text string) string {
	if at := e.due(text); !at.IsZero() {
		return at.Format("Mon 2006-01-02 15:04 MST")
	}
	return ""
}

// sourceJSON is one source for list and show.
func (e *env) sourceJSON(f *source.File) map[string]any {
	var parts []map[string]any
	for i := range f.Parts {
		p := &f.Parts[i]
		parts = append(parts, map[string]any{"name": p.Name, "kind": p.Kind(), "class": p.Class, "optional": p.Optional, "subject": p.Subject()})
	}
	classes := map[string]any{}
	for class, rule := range f.Classes {
		m := map[string]any{"schedule": rule.Schedule, "restore": rule.Restore}
		if at := e.due(rule.Schedule); !at.IsZero() {
			m["next"] = at.Format(time.RFC3339)
		}
		classes[string(class)] = m
	}
	m := map[string]any{
		"type": "source", "name": f.Name, "path": f.Path, "valid": true, "profile": f.Profile, "description": f.Description, "schedule": f.Schedule,
		"parts": parts, "classes": classes, "tags": nonNil(f.Tags),
		"labels": map[string]string{"host": f.Labels.Host, "role": f.Labels.Role, "component": f.Labels.Component},
	}
	if at := e.due(f.Schedule); !at.IsZero() {
		m["next"] = at.Format(time.RFC3339)
	}
	return m
}
