// Package show tells plans of restores to people and programs. It is pure. Names in texts are safe for terminals; what may be a secret in a
// changed line was hidden when the plan was made.
package show

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"

	"cairn/agent/source"
	"cairn/agent/source/restore"
)

// Text tells a plan to people.
func Text(p *restore.Plan) string {
	var b strings.Builder
	head(&b, p)
	section(&b, "missing", p.Missing)
	section(&b, "wanted by the source file in the snapshot (--trust allows it)", p.Foreign())
	section(&b, "guards", guardLines(p))
	section(&b, "before", hookLines(p.Before))
	section(&b, "remove and empty", wipeLines(p))
	section(&b, "files", treeLines(p))
	section(&b, "databases", streamLines(p))
	section(&b, "not restored", leftLines(p))
	rewriteLines(&b, p)
	section(&b, "steps", stepLines(p))
	if p.Runbook != "" {
		section(&b, "runbook", strings.Split(strings.TrimRight(p.Runbook, "\n"), "\n"))
	}
	return visible(b.String())
}

func section(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	b.WriteString(title + "\n")
	for _, line := range lines {
		b.WriteString(strings.TrimRight("  "+line, " ") + "\n")
	}
}

func head(b *strings.Builder, p *restore.Plan) {
	fmt.Fprintf(b, "source %s", p.Source)
	if p.Options.To != "" {
		fmt.Fprintf(b, " to %s, beside the application: no guards, hooks and steps", p.Options.To)
	}
	b.WriteString("\n")
	var lines []string
	for _, o := range p.Origins {
		s := o.Snapshot
		text := fmt.Sprintf("snapshot %s of %s, host %s", s.ID.Short(), s.Start.Time().Format(timeFormat), s.Host)
		for _, l := range [][2]string{{"role", s.Role}, {"component", s.Component}, {"class", string(o.Class)}} {
			if l[1] != "" {
				text += ", " + l[0] + " " + l[1]
			}
		}
		lines = append(lines, text)
	}
	for _, n := range p.Notes {
		lines = append(lines, "note: "+n)
	}
	section(b, "from", lines)
}

func guardLines(p *restore.Plan) (lines []string) {
	for _, g := range p.Guards {
		state := "holds"
		if g.Why != "" {
			state = "does NOT hold: " + g.Why
			if p.Options.ForceGuards {
				state += " (--force goes on)"
			}
		}
		lines = append(lines, guardText(&g.Guard)+": "+state)
	}
	for _, part := range p.Closed {
		lines = append(lines, "nobody has the database of part "+part.Name+" open: asked before anything is done")
	}
	return lines
}

func guardText(g *source.Guard) string {
	for _, l := range [][2]string{{"not running: ", g.NotRunning}, {"port closed: ", g.PortClosed}, {"port open: ", g.PortOpen},
		{"no process of pid file ", g.PIDFile}, {"no lock on ", g.LockFile}, {"absent: ", g.Absent}} {
		if l[1] != "" {
			return l[0] + l[1]
		}
	}
	return ""
}

func hookLines(hooks []source.Hook) (lines []string) {
	for i := range hooks {
		lines = append(lines, hooks[i].Name+": "+restore.HookText(&hooks[i]))
	}
	return lines
}

func wipeLines(p *restore.Plan) (lines []string) {
	for _, w := range p.Wipes {
		verb := "remove "
		if w.Empty {
			verb = "empty "
		}
		state := "is not there"
		switch {
		case w.Err != nil:
			state = "REFUSED: " + w.Err.Error()
		case w.Found.Exists:
			state = restore.Amount(uint64(w.Found.Files), w.Found.Bytes)
		}
		lines = append(lines, verb+w.Path+": "+state)
	}
	return lines
}

func treeLines(p *restore.Plan) (lines []string) {
	for _, t := range p.Trees {
		text := fmt.Sprintf("%s: %s", t.Part.Name, t.From)
		if t.To != t.From {
			text += " -> " + t.To
		}
		text += ", " + restore.Amount(t.Files, t.Bytes)
		if t.Lost > 0 {
			text += fmt.Sprintf(", %d could not be read by the backup", t.Lost)
		}
		lines = append(lines, text)
		if r := t.Compared; r != nil {
			lines = append(lines, fmt.Sprintf("  %d to create, %d to update, %d to touch up, %d to delete, %d as recorded", r.Created, r.Updated, r.MetaOnly, r.Deleted, r.Identical))
			for i, f := range r.Failures {
				if i == 10 {
					lines = append(lines, fmt.Sprintf("  … and %d more", r.Failed-i))
					break
				}
				lines = append(lines, fmt.Sprintf("  %s: %s: %v", f.Kind, f.Path, f.Err))
			}
		}
	}
	if len(lines) > 0 && p.Options.Delete {
		lines = append(lines, "what the snapshot does not have is deleted")
	}
	return lines
}

func streamLines(p *restore.Plan) (lines []string) {
	for i := range p.Streams {
		s := &p.Streams[i]
		text := fmt.Sprintf("%s: %s (%s) -> %s", s.Part.Name, s.File, humanize.IBytes(s.Bytes), s.Target())
		if s.Way == restore.ToDatabase && s.Replace {
			text += ", replacing what is there"
		}
		if s.Way == restore.ToRepository {
			text += ", replacing all that is in the repository"
		}
		lines = append(lines, text)
	}
	return lines
}

func leftLines(p *restore.Plan) (lines []string) {
	for _, l := range p.LeftOut {
		lines = append(lines, fmt.Sprintf("%s: class %s, %s", l.Name, l.Class, l.Why))
	}
	if p.More > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", p.More))
	}
	if p.Unwanted > 0 {
		lines = append(lines, fmt.Sprintf("%d parts that were not asked for", p.Unwanted))
	}
	return lines
}

func rewriteLines(b *strings.Builder, p *restore.Plan) {
	if len(p.Rewrites) == 0 {
		return
	}
	title := "rewrites (off: --rewrite does them)"
	if p.Options.Rewrite {
		title = "rewrites"
	}
	var lines []string
	for _, w := range p.Rewrites {
		switch {
		case w.Err != nil:
			lines = append(lines, w.Path+": CANNOT be rewritten: "+w.Err.Error())
		case w.Diff != "":
			lines = append(lines, strings.Split(strings.TrimRight(w.Diff, "\n"), "\n")...)
		}
	}
	if len(lines) == 0 {
		lines = []string{"everything is as it should be"}
	}
	section(b, title, lines)
}

func stepLines(p *restore.Plan) (lines []string) {
	for i, s := range p.Steps {
		what := "to do: " + strings.TrimSpace(s.Text)
		if s.Text == "" {
			what = fmt.Sprintf("%s: %s (run only when agreed to: --steps)", s.Name, restore.HookText(&s.Hook))
		}
		for k, line := range strings.Split(what, "\n") {
			if k == 0 {
				line = fmt.Sprintf("%d. %s", i+1, line)
			} else {
				line = "   " + line
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// visible makes names safe for a terminal.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, text)
}

const timeFormat = "2006-01-02 15:04:05"
