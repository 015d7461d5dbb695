package main

import (
	"context"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/backup"
	"cairn/chunk"
	"cairn/snapshot"
)

// tellBackup says what a backup did and turns it into the exit code.
func (e *env) tellBackup(c *cli.Context, a *archive.Archive, w *archive.Writer, r *backup.Report) error {
	degraded := len(r.Snapshot.Degraded) > 0
	if e.json {
		if err := e.printJSON(backupJSON(c, a, w, r)); err != nil {
			return err
		}
	} else if !e.quiet {
		e.printBackup(c, w, r)
	}
	if degraded {
		e.warn("the snapshot is degraded: %d packs have fewer than %d shards, because members are missing", len(r.Snapshot.Degraded), a.Geometry().N())
	}
	if r.Incomplete {
		e.warn("%s could not be read; everything else is stored", plural(r.ErrorCount, "file or directory", "files or directories"))
		return quietExit(exitPartial)
	}
	return nil
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
		"degraded_packs": len(r.Snapshot.Degraded), "members_missing": nonNil(a.Missing()),
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

// readOnly keeps a dry run from writing to the stat cache what the archive does not have.
type readOnly struct{ backup.Cache }

func (r readOnly) Get(key []byte) ([]byte, bool, error) {
	if r.Cache == nil {
		return nil, false, nil
	}
	return r.Cache.Get(key)
}
func (readOnly) Put(_, _ []byte) error { return nil }
