package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/backup"
	"cairn/chunk"
	"cairn/snapshot"
)

// tellBackup says what a backup did and turns it into the exit code. caught is nil for a dry run.
func (e *env) tellBackup(c *cli.Context, a *archive.Archive, w *archive.Writer, r *backup.Report, caught *archive.CatchUpReport) error {
	short := stillShort(r, caught)
	if e.json {
		m := backupJSON(c, a, w, r)
		m["degraded_packs"] = short
		if caught != nil {
			catchUpJSON(m, caught)
		}
		if err := e.printJSON(m); err != nil {
			return err
		}
	} else if !e.quiet {
		e.printBackup(c, w, r)
	}
	if caught != nil {
		e.tellCatchUp(caught)
	}
	e.warnDegraded(a, short, caught)
	stored := caught != nil && !r.Unchanged
	if r.Incomplete {
		e.warn("%s could not be read; everything else is stored", plural(r.ErrorCount, "file or directory", "files or directories"))
	}
	switch {
	case c.Bool("strict") && stored && (short > 0 || len(lacking(a, caught)) > 0):
		return &exitError{exitTooFew, hint(fmt.Errorf("snapshot %s is stored and can be restored, but --strict was given and not all of it reached %s",
			r.ID.Short(), strings.Join(lacking(a, caught), ", ")), "bring the members back; the next backup or `cairn repair` then heals it")}
	case r.Incomplete:
		return quietExit(exitPartial)
	}
	return nil
}

func (e *env) warnDegraded(a *archive.Archive, short int, caught *archive.CatchUpReport) {
	if short > 0 {
		e.warn("the snapshot is degraded: %s fewer than %d shards, because of members that were not reached: %s; the next backup that reaches them heals it, and so does `cairn repair`",
			plural(uint64(short), "pack has", "packs have"), a.Geometry().N(), strings.Join(lacking(a, caught), ", "))
	}
}

// stillShort counts the packs of a snapshot that were stored with fewer than n shards and have not been healed since.
func stillShort(r *backup.Report, caught *archive.CatchUpReport) int {
	n := len(r.Snapshot.Degraded)
	if caught != nil {
		for _, id := range r.Snapshot.Degraded {
			if caught.Whole[id] {
				n--
			}
		}
	}
	return n
}

// lacking names the members that lack something at the end of a backup.
func lacking(a *archive.Archive, caught *archive.CatchUpReport) []string {
	if caught == nil {
		return a.Missing()
	}
	return caught.Lacking
}

// tellCatchUp says what members had lacked and have now.
func (e *env) tellCatchUp(r *archive.CatchUpReport) {
	for _, member := range slices.Sorted(maps.Keys(r.Shards)) {
		e.say("healed: %s that %s lacked made again", plural(uint64(r.Shards[member]), "shard", "shards"), member)
	}
	for _, member := range slices.Sorted(maps.Keys(r.Copied)) {
		e.say("healed: %s that %s lacked copied to it", plural(uint64(r.Copied[member]), "key slot, snapshot or mark", "key slots, snapshots and marks"), member)
	}
	for _, p := range r.Lost {
		e.warn("pack %s has too few good shards left: `cairn check` says which files need it", p.Pack.Short())
	}
	for _, text := range r.Kept {
		e.say("note: %s", text)
	}
	if r.Left > 0 {
		e.say("note: %s of earlier backups not healed yet: `cairn repair` does all at once", plural(uint64(r.Left), "pack is", "packs are"))
	}
	for i, err := range r.Errs {
		if i == maxCatchUpErrors {
			e.say("note: … and %d more", len(r.Errs)-i)
			break
		}
		e.say("note: not healed: %v", err)
	}
}

const maxCatchUpErrors = 5

func catchUpJSON(m map[string]any, r *archive.CatchUpReport) {
	errs := []string{}
	for _, err := range r.Errs {
		errs = append(errs, err.Error())
	}
	lost := []string{}
	for _, p := range r.Lost {
		lost = append(lost, p.Pack.String())
	}
	m["healed_shards"], m["healed_copies"] = counts(r.Shards), counts(r.Copied)
	m["members_lacking"], m["packs_lost"], m["packs_left"], m["catch_up_errors"] = nonNil(r.Lacking), lost, r.Left, errs
}

func counts(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

func (e *env) printBackup(c *cli.Context, w *archive.Writer, r *backup.Report) {
	e.print("files   %s new, %s changed, %s unchanged", comma(r.Files.New), comma(r.Files.Changed), comma(r.Files.Unchanged))
	e.print("dirs    %s new, %s changed, %s unchanged", comma(r.Dirs.New), comma(r.Dirs.Changed), comma(r.Dirs.Unchanged))
	if r.Others.Total() > 0 {
		e.print("others  %s (links, devices, fifos, sockets)", comma(r.Others.Total()))
	}
	e.print("read    %s of %s", humanize.IBytes(r.BytesRead), humanize.IBytes(r.Bytes))
	if c.Bool("dry-run") {
		e.print("new     %s after deduplication", humanize.IBytes(r.BytesNew))
		e.print("dry run: nothing was stored, no snapshot was made (%s)", r.Duration().Round(10*time.Millisecond))
		return
	}
	ratio := ""
	data := r.BytesStored - r.TreeBytesStored
	if data > 0 {
		ratio = " (ratio " + humanize.FtoaWithDigits(float64(r.BytesNew)/float64(data), 2) + ")"
	}
	e.print("new     %s after deduplication, %s after compression%s", humanize.IBytes(r.BytesNew), humanize.IBytes(data), ratio)
	if s := w.Stats(); s.Packs > 0 {
		e.print("stored  %s in %s, directories and index included", humanize.IBytes(uint64(s.BytesStored)), plural(uint64(s.Packs), "pack", "packs"))
	}
	took := r.Duration().Round(10 * time.Millisecond)
	switch {
	case r.Unchanged:
		e.print("nothing changed: no snapshot was made (%s)", took)
	default:
		e.print("snapshot %s saved in %s", r.ID.Short(), took)
	}
}

func backupJSON(c *cli.Context, a *archive.Archive, w *archive.Writer, r *backup.Report) map[string]any {
	stats := w.Stats()
	m := map[string]any{
		"type": "backup", "archive": a.ID().String(), "series": r.Snapshot.Series,
		"files_new": r.Files.New, "files_changed": r.Files.Changed, "files_unchanged": r.Files.Unchanged,
		"dirs_new": r.Dirs.New, "dirs_changed": r.Dirs.Changed, "dirs_unchanged": r.Dirs.Unchanged,
		"others": r.Others.Total(), "bytes_total": r.Bytes, "bytes_read": r.BytesRead, "bytes_new": r.BytesNew,
		"bytes_stored": r.BytesStored, "tree_bytes_stored": r.TreeBytesStored, "bytes_written": stats.BytesStored, "packs": stats.Packs,
		"data_blobs_new": r.DataBlobs, "tree_blobs_new": r.TreeBlobs,
		"errors": errorList(r.Errors), "error_count": r.ErrorCount, "warnings": errorList(r.Warnings), "warning_count": r.WarningCount,
		"seconds": r.Duration().Seconds(), "dry_run": c.Bool("dry-run"), "skipped": r.Unchanged,
		"members_missing": nonNil(a.Missing()),
	}
	if !r.Unchanged && !c.Bool("dry-run") {
		m["snapshot"] = r.ID.String()
	}
	return m
}

func errorList(list []snapshot.ReadError) []map[string]string {
	out := make([]map[string]string, 0, len(list))
	for _, r := range list {
		out = append(out, map[string]string{"path": r.Path, "message": r.Message})
	}
	return out
}

func comma(n uint64) string { return humanize.Comma(int64(n)) }

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return comma(n) + " " + many
}

// dryWriter lets a backup run without storing: new blobs are counted, and their compressed size is not known.
type dryWriter struct{ *archive.Writer }

func (d *dryWriter) Save(_ context.Context, t chunk.Type, plain []byte) (archive.Saved, error) {
	id := chunk.Sum(plain)
	known, err := d.Known(t, []chunk.ID{id})
	return archive.Saved{ID: id, New: !known}, err
}

func (d *dryWriter) Commit(context.Context, *snapshot.Snapshot) (chunk.ID, error) {
	return chunk.ID{}, nil
}

func (d *dryWriter) Checkpoint(context.Context, *snapshot.Snapshot) error { return nil }

// readOnly keeps a dry run from writing to the stat cache what the archive does not have.
type readOnly struct{ backup.Cache }

func (r readOnly) Get(key []byte) ([]byte, bool, error) {
	if r.Cache == nil {
		return nil, false, nil
	}
	return r.Cache.Get(key)
}
func (readOnly) Put(_, _ []byte) error { return nil }
