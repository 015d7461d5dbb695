package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"cairn/agent/source"
	"cairn/agent/source/hook"
	"cairn/agent/source/paper"
	sourcerun "cairn/agent/source/run"
)

// tellRun says in one line how a run ended, and turns it into the exit code.
func (e *env) tellRun(r *sourcerun.Report, t *sourceTarget, err error) error {
	for _, text := range r.Warnings {
		e.warn("%s", text)
	}
	if r.Stored() && t.caught != nil {
		e.tellCatchUp(t.caught)
		e.warnDegraded(t.a, stillShort(r.Backup, t.caught), t.caught)
	}
	if r.Outcome == sourcerun.Interrupted { // its error is not shown
		for _, h := range r.Hooks {
			if h.Error != "" {
				e.warn("%s hook %s: %s", h.Stage, h.Name, h.Error)
			}
		}
	}
	code := runCode(r, err)
	if e.json {
		if told := e.printJSON(e.runJSON(r, t, err, code)); told != nil {
			return told
		}
	} else if !e.quiet || code != exitOK {
		e.print("%s", printable(r.Job.File.Name+": "+outcomeLine(r, t)))
	}
	switch {
	case err != nil && code == exitInterrupted:
		return &exitError{exitInterrupted, err}
	case err != nil:
		return err
	case code != exitOK:
		return quietExit(code)
	}
	return nil
}

func runCode(r *sourcerun.Report, err error) int {
	switch r.Outcome {
	case sourcerun.Done, sourcerun.Unchanged:
		return exitOK
	case sourcerun.Partial:
		return exitPartial
	case sourcerun.Skipped:
		return exitSkipped
	case sourcerun.Interrupted:
		return exitInterrupted
	}
	if code := exitCode(context.Background(), err); code != exitOK {
		return code
	}
	return exitFailed
}

// outcomeLine is the one line that the journal gets.
func outcomeLine(r *sourcerun.Report, t *sourceTarget) string {
	took := " in " + round(r.Ended.Sub(r.Began)).String()
	if stood := r.Paper.Stop.Duration(); r.Paper.Stop != nil {
		took += ", the application stood for " + round(stood).String()
	}
	if t.forgotten > 0 {
		took += ", " + plural(uint64(t.forgotten), "snapshot", "snapshots") + " forgotten"
	}
	stored := ""
	if r.Stored() {
		b := r.Backup
		fresh := b.BytesNew
		if r.Warm != nil {
			fresh += r.Warm.BytesNew
		}
		stored = fmt.Sprintf("snapshot %s of %s, %s, %s, %s new", b.ID.Short(), plural(uint64(len(r.Paper.Parts)), "part", "parts"),
			plural(b.Files.Total(), "file", "files"), humanize.IBytes(b.Bytes), humanize.IBytes(fresh))
	}
	switch r.Outcome {
	case sourcerun.Done:
		return stored + took + warned(r)
	case sourcerun.Unchanged:
		return "nothing changed, no snapshot" + took + warned(r)
	case sourcerun.Partial:
		return "PARTIAL " + stored + took + ": " + missing(r)
	case sourcerun.Skipped:
		return "skipped: " + r.Why
	}
	if stored != "" {
		return string(r.Outcome) + ", but " + stored + " is stored" + took
	}
	return string(r.Outcome) + ", no snapshot" + took
}

func round(d time.Duration) time.Duration {
	if d < time.Minute {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Second)
}

func warned(r *sourcerun.Report) string {
	if n := r.Backup.WarningCount + uint64(len(r.Warnings)); n > 0 {
		return ", " + plural(n, "warning", "warnings")
	}
	return ""
}

// missing says what a partial snapshot lacks.
func missing(r *sourcerun.Report) string {
	var parts []string
	for _, p := range r.Paper.Parts {
		if p.Failed != "" {
			parts = append(parts, "part "+p.Name)
		}
	}
	if len(parts) == 0 {
		return plural(r.Backup.ErrorCount, "file or directory", "files or directories") + " could not be read"
	}
	return strings.Join(parts, ", ") + " missing or damaged"
}

func (e *env) runJSON(r *sourcerun.Report, t *sourceTarget, err error, code int) map[string]any {
	p := r.Paper
	m := map[string]any{
		"type": "run", "source": p.Source, "class": p.Class, "series": p.Series, "host": p.Host, "role": p.Role, "component": p.Component,
		"outcome": r.Outcome, "exit": code, "began": r.Began.Format(time.RFC3339), "seconds": r.Ended.Sub(r.Began).Seconds(),
		"hooks": hooksJSON(r.Hooks), "warnings": nonNil(r.Warnings), "parts": p.Parts, "forgotten": t.forgotten,
	}
	if r.Why != "" {
		m["why"] = r.Why
	}
	if p.Stop != nil {
		m["stopped_seconds"] = p.Stop.Duration().Seconds()
	}
	if p.Warm != nil {
		m["warm"] = p.Warm
	}
	if err != nil {
		m["error"] = err.Error()
	}
	if b := r.Backup; b != nil {
		m["files"], m["bytes"], m["bytes_read"], m["bytes_new"], m["bytes_stored"] = b.Files.Total(), b.Bytes, b.BytesRead, b.BytesNew, b.BytesStored
		m["damage"], m["damage_count"], m["partial"] = errorList(b.Errors), b.ErrorCount, b.Snapshot.Partial
		m["read_warnings"], m["read_warning_count"] = errorList(b.Warnings), b.WarningCount
		m["degraded_packs"] = stillShort(b, t.caught)
	}
	if r.Stored() {
		m["snapshot"] = r.Backup.ID.String()
	}
	recovered := []map[string]any{}
	for _, d := range r.Recovered {
		recovered = append(recovered, map[string]any{"source": d.Source, "began": d.Began.Format(time.RFC3339), "done": d.Err == nil})
	}
	m["recovered"] = recovered
	return m
}

func hooksJSON(hooks []paper.Hook) []paper.Hook {
	if hooks == nil {
		return []paper.Hook{}
	}
	return hooks
}

// printJob says what a run would do.
func (e *env) printJob(ctx context.Context, j *sourcerun.Job) error {
	unmet := hook.Guards(ctx, j.Guards())
	if e.json {
		return e.printJSON(jobJSON(j, unmet))
	}
	step := func(format string, args ...any) { e.print("%s", printable(fmt.Sprintf(format, args...))) }
	step("series   %s, host %s", j.Series, j.Host)
	if labels := labelText(source.Labels{Role: j.File.Labels.Role, Component: j.File.Labels.Component}); labels != "" {
		step("labels   %s", labels)
	}
	if len(j.File.Tags) > 0 {
		step("tags     %s", strings.Join(j.File.Tags, ", "))
	}
	for _, g := range j.Guards() {
		state := "holds"
		for _, u := range unmet {
			if u.Guard == g {
				state = "DOES NOT HOLD: " + u.Why
			}
		}
		step("guard    %s (%s)", guardText(g), state)
	}
	if j.File.Warm && !j.Apart {
		step("warm     read the trees while the application runs")
	}
	hooks := j.Hooks()
	show := func(stage string, list []source.Hook) {
		for i := range list {
			step("%-8s %s", stage, hookText(&list[i]))
		}
	}
	show("before", hooks.Before)
	for _, p := range j.Parts {
		step("read     %s%s", partText(p), presence(p))
	}
	for _, p := range j.LeftOut {
		step("leave    %s", partText(p))
	}
	show("finally", hooks.Finally)
	show("after", hooks.After)
	show("on_error", hooks.OnError)
	step("dry run: nothing was run and nothing was stored")
	return nil
}

// presence says what of a part is not there now.
func presence(p *source.Part) string {
	var path string
	switch {
	case p.Tree != nil:
		path = p.Tree.Path
	case p.SQLite != nil:
		path = p.SQLite.Path
	case p.Derby != nil:
		path = p.Derby.Path
	case p.Fedora != nil:
		path = p.Fedora.Staging
	default:
		return ""
	}
	if _, err := os.Lstat(path); err != nil {
		return " (NOT THERE NOW: " + errors.Unwrap(err).Error() + ")"
	}
	return ""
}

func jobJSON(j *sourcerun.Job, unmet []*hook.Unmet) map[string]any {
	names := func(parts []*source.Part) []map[string]any {
		list := []map[string]any{}
		for _, p := range parts {
			list = append(list, map[string]any{"name": p.Name, "kind": p.Kind(), "class": p.Class, "subject": p.Subject(), "optional": p.Optional, "not_there": presence(p) != ""})
		}
		return list
	}
	why := []string{}
	for _, u := range unmet {
		why = append(why, u.Why)
	}
	hooks := map[string][]string{}
	h := j.Hooks()
	for stage, list := range map[string][]source.Hook{"before": h.Before, "finally": h.Finally, "after": h.After, "on_error": h.OnError} {
		for i := range list {
			hooks[stage] = append(hooks[stage], list[i].Name)
		}
	}
	return map[string]any{
		"type": "run_plan", "source": j.File.Name, "class": j.Class, "series": j.Series, "host": j.Host, "role": j.File.Labels.Role, "component": j.File.Labels.Component,
		"tags": nonNil(j.File.Tags), "warm": j.File.Warm && !j.Apart, "parts": names(j.Parts), "left_out": names(j.LeftOut), "hooks": hooks, "guards_unmet": why,
	}
}
