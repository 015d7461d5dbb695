package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
)

func sourceShowCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "show", Usage: "show what a source is made of", ArgsUsage: "NAME|FILE",
		Description: `Shows a source: its parts in the order in which they are read, hooks, guards, schedules, and what a restore does. Secrets are
shown by where they are. Nothing is run and no secret is read.

--effective prints the source file as it goes into each snapshot: with its profile put in, and variables as they are written.
--expanded prints it with the values in the place of variables, lists unrolled, and defaults. Both can be read back as source files.

Examples:
  cairn source show seafile
  cairn source show seafile --expanded
  cairn source show ./new.yaml --effective >complete.yaml
  cairn source show --profile sophora-primary      a profile, with its variables`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "effective", Usage: "print the file with its profile put in"},
			&cli.BoolFlag{Name: "profile", Usage: "show the profile of this name instead: its variables, and how it is written"},
			&cli.BoolFlag{Name: "expanded", Usage: "print the file with its profile and the values of variables"},
		},
		Action: func(c *cli.Context) error { return e.runSourceShow(c) },
	})
}

func (e *env) runSourceShow(c *cli.Context) error {
	if c.Bool("effective") && c.Bool("expanded") {
		return usage("source show: --effective and --expanded exclude each other")
	}
	if c.Bool("profile") {
		return e.showProfile(c)
	}
	f, err := e.oneSource(c)
	if err != nil {
		return err
	}
	switch {
	case e.json:
		m := e.sourceJSON(f)
		m["effective"], m["expanded"] = string(source.Marshal(f)), string(source.Expanded(f))
		return e.printJSON(m)
	case c.Bool("effective"):
		_, err = e.stdout.Write(source.Marshal(f))
		return err
	case c.Bool("expanded"):
		_, err = e.stdout.Write(source.Expanded(f))
		return err
	}
	e.doubt(f)
	return e.printSource(f)
}

func (e *env) printSource(f *source.File) error {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, printable(text))
		}
	}
	row("source", f.Name)
	row("file", f.Path)
	row("about", f.Description)
	row("profile", f.Profile)
	row("labels", labelText(f.Labels))
	row("series", f.Series)
	row("tags", strings.Join(f.Tags, ", "))
	row("schedule", scheduleText(e, f.Schedule))
	for _, class := range source.Classes() {
		if rule, ok := f.Classes[class]; ok {
			row("class "+string(class), strings.Trim(scheduleText(e, rule.Schedule)+"; restore: "+rule.Restore, "; "))
		}
	}
	for i := range f.Parts {
		row(heading("parts", i), partText(&f.Parts[i]))
	}
	for _, stage := range []struct {
		name  string
		hooks []source.Hook
	}{{"before", f.Hooks.Before}, {"finally", f.Hooks.Finally}, {"after", f.Hooks.After}, {"on error", f.Hooks.OnError}} {
		for i := range stage.hooks {
			row(heading(stage.name, i), hookText(&stage.hooks[i]))
		}
	}
	for i, g := range f.Guards.Backup {
		row(heading("guards", i), guardText(g))
	}
	e.restoreRows(f, row)
	for i, s := range f.Secrets() {
		row(heading("secrets", i), s.String())
	}
	return w.Flush()
}

func (e *env) restoreRows(f *source.File, row func(name, text string)) {
	r := &f.Restore
	for i, g := range f.Guards.Restore {
		row(heading("restore: guards", i), guardText(g))
	}
	for i := range r.Before {
		row(heading("restore: before", i), hookText(&r.Before[i]))
	}
	row("restore: remove", strings.Join(r.Remove, ", "))
	row("restore: empty", strings.Join(r.Empty, ", "))
	for i := range r.Rewrite {
		row(heading("restore: rewrite", i), strings.Join(r.Rewrite[i].Files, ", "))
	}
	for i := range r.Steps {
		row(heading("restore: steps", i), first(r.Steps[i].Text, hookText(&r.Steps[i].Hook)))
	}
}

// heading stands before the first of several rows only.
func heading(name string, i int) string {
	if i > 0 {
		return ""
	}
	return name
}

func labelText(l source.Labels) string {
	var list []string
	for _, p := range [][2]string{{"host", l.Host}, {"role", l.Role}, {"component", l.Component}} {
		if p[1] != "" {
			list = append(list, p[0]+" "+p[1])
		}
	}
	return strings.Join(list, ", ")
}

func scheduleText(e *env, text string) string {
	if text == "" {
		return ""
	}
	return text + ", next " + dash(e.next(text))
}

func partText(p *source.Part) string {
	text := fmt.Sprintf("%s: %s %s, class %s", p.Name, p.Kind(), p.Subject(), p.Class)
	if p.Optional {
		text += ", optional"
	}
	if p.Tree != nil && len(p.Tree.Derived)+len(p.Tree.Never) > 0 {
		text += "; without " + strings.Join(append(append([]string(nil), p.Tree.Derived...), p.Tree.Never...), ", ")
	}
	return text
}

func hookText(h *source.Hook) string {
	what := h.Shell
	switch {
	case h.HTTP != nil:
		what = h.HTTP.Method + " " + h.HTTP.URL
	case len(h.Run.Args) > 0:
		what = strings.Join(h.Run.Args, " ")
	}
	if h.Timeout > 0 {
		what += fmt.Sprintf(" (at most %s)", h.Timeout)
	}
	return h.Name + ": " + what
}

func guardText(g source.Guard) string {
	for _, p := range [][2]string{{"not running: ", g.NotRunning}, {"port closed: ", g.PortClosed}, {"port open: ", g.PortOpen},
		{"no process of pid file ", g.PIDFile}, {"no lock on ", g.LockFile}, {"absent: ", g.Absent}} {
		if p[1] != "" {
			return p[0] + p[1]
		}
	}
	return ""
}
