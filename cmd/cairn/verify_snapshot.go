package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/agent/source"
	"cairn/agent/source/proof"
	"cairn/agent/verify"
	"cairn/archive"
	"cairn/archive/check"
	"cairn/archive/view"
	"cairn/snapshot"
)

// runVerifySnapshot verifies a directory in a snapshot, or a snapshot as a whole.
func (e *env) runVerifySnapshot(c *cli.Context, format string, o verify.Options) error {
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		s, name, err := e.selectSnapshot(c, a, c.Args().First())
		if err != nil {
			return err
		}
		if format == "" {
			if name != "" && path.Clean(name) != "/" {
				return usage("verify: --format is missing: one of %s", strings.Join(verify.Formats(), ", "))
			}
			did, err := e.verifySnapshot(ctx, a, s, false)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]any{"type": "verify", "snapshot": s.ID.String(), "verified": did})
			}
			e.print("snapshot %s: %s", s.ID.Short(), did)
			return nil
		}
		fsys, err := view.New(ctx, a, s.Root(), "/")
		if err != nil {
			return err
		}
		for _, dump := range c.StringSlice("dump") {
			d, err := dumpInside(fsys, dump)
			if err != nil {
				return err
			}
			o.Dumps = append(o.Dumps, d)
		}
		return e.verifyTree(ctx, fsys, proof.Rel(name), s.ID.Short()+":"+cleanSlash(name), format, o)
	})
}

// dumpInside is a dump in the snapshot that is verified.
func dumpInside(fsys fs.FS, name string) (verify.Dump, error) {
	info, err := fs.Stat(fsys, proof.Rel(name))
	if err != nil {
		return verify.Dump{}, fmt.Errorf("verify: --dump: %w", err)
	}
	return verify.Dump{Name: name, ModTime: info.ModTime(), Open: func() (io.ReadCloser, error) { return fsys.Open(proof.Rel(name)) }}, nil
}

// verifySnapshot proves that a restore of a snapshot brings back what was backed up, and says in words what was looked at: the run of its source
// and the formats that the source lists, or all of its data. What is wrong is told as it is found; the error has the exit code for it.
func (e *env) verifySnapshot(ctx context.Context, a *archive.Archive, s *snapshot.Snapshot, data bool) (string, error) {
	fsys, err := view.New(ctx, a, s.Root(), "/")
	if err != nil {
		return "", err
	}
	papers, err := proof.Read(fsys)
	var did []string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		data = true
	case err != nil:
		return "", e.unproved(ctx, a, s, err)
	default:
		f, err := papers.File()
		if err != nil {
			return "", e.unproved(ctx, a, s, err)
		}
		text, err := e.verifySource(ctx, fsys, f, papers, s)
		if err != nil {
			return "", err
		}
		did = append(did, text)
		data = data || len(f.Verify) == 0
	}
	if data {
		text, err := e.verifyData(ctx, a, s)
		if err != nil {
			return "", err
		}
		did = append(did, text)
	}
	return strings.Join(did, "; "), nil
}

// unproved is for what a run wrote about itself and cannot be read: damage, unless the archive as a whole is in the way.
func (e *env) unproved(ctx context.Context, a *archive.Archive, s *snapshot.Snapshot, err error) error {
	if ctx.Err() != nil || a.Stops(ctx, err) {
		return err
	}
	return &exitError{exitDamage, fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)}
}

// verifySource verifies completeness and formats against the source file in the snapshot.
func (e *env) verifySource(ctx context.Context, fsys fs.FS, f *source.File, papers *proof.Papers, s *snapshot.Snapshot) (string, error) {
	did, wrong, err := e.prove(ctx, fsys, f, papers, s, true)
	if err != nil {
		return "", err
	}
	if wrong > 0 {
		return "", &exitError{exitDamage, hint(fmt.Errorf("snapshot %s of source %s: %s: a restore from it lacks something", s.ID.Short(), f.Name, plural(uint64(wrong), "error", "errors")),
			"`cairn source run "+f.Name+"` makes another one; an older one may be whole")}
	}
	return did, nil
}

// prove compares a snapshot with a source file, tells what is wrong as it is found, and counts the errors. did says in words what was looked at.
func (e *env) prove(ctx context.Context, fsys fs.FS, f *source.File, papers *proof.Papers, s *snapshot.Snapshot, formats bool) (did string, wrong int, err error) {
	problems := proof.Completeness(fsys, f, papers.Run)
	if s.Partial {
		problems = append(problems, proof.Problem{Kind: proof.KindPartial, Severity: verify.Error, Message: "the snapshot is partial: something could not be read when it was made"})
	}
	for _, p := range problems {
		if err := e.tellProblem(s, p); err != nil {
			return "", 0, err
		}
		wrong += weight(p.Severity)
	}
	did = fmt.Sprintf("complete, %s", plural(uint64(len(proof.Wanted(f, papers.Run.Class))), "part", "parts"))
	if wrong > 0 {
		did = "not complete"
	}
	if !formats {
		return did, wrong, ctx.Err()
	}
	more, bad, err := e.proveFormats(ctx, fsys, f, papers, s)
	return did + more, wrong + bad, err
}

func weight(s verify.Severity) int {
	if s == verify.Error {
		return 1
	}
	return 0
}

// proveFormats verifies the formats that a source file lists.
func (e *env) proveFormats(ctx context.Context, fsys fs.FS, f *source.File, papers *proof.Papers, s *snapshot.Snapshot) (did string, wrong int, err error) {
	o := verify.Options{Progress: new(verify.Progress), Limit: 1} // problems are told here
	var failed error
	o.Found = func(p verify.Problem) {
		wrong += weight(p.Severity)
		failed = errors.Join(failed, e.tellProblem(s, proof.Problem{Path: "/" + p.Path, Kind: p.Kind, Severity: p.Severity, Message: p.Message}))
	}
	stop := e.watch(func() tick {
		return tick{verb: "verify", files: uint64(o.Progress.Files.Load()), bytes: uint64(o.Progress.Bytes.Load())}
	})
	formats, problems, err := proof.Formats(ctx, fsys, f, papers.Run, o)
	stop()
	if err = errors.Join(err, failed); err != nil {
		return "", wrong, err
	}
	for _, p := range problems {
		if err := e.tellProblem(s, p); err != nil {
			return "", wrong, err
		}
		wrong += weight(p.Severity)
	}
	for _, v := range formats {
		did += "; " + formatText(v)
	}
	return did, wrong, nil
}

func formatText(v proof.Format) string {
	var counts []string
	for _, what := range slices.Sorted(maps.Keys(v.Report.Counts)) {
		counts = append(counts, comma(uint64(v.Report.Counts[what]))+" "+strings.ReplaceAll(what, "_", " "))
	}
	return v.Report.Format + " " + v.Path + ": " + strings.Join(counts, ", ")
}

// tellProblem prints a problem of a snapshot.
func (e *env) tellProblem(s *snapshot.Snapshot, p proof.Problem) error {
	if !e.json {
		e.print("%s: %s", p.Severity, printable(p.String()))
		return nil
	}
	m := map[string]any{"type": "problem", "kind": p.Kind, "severity": p.Severity, "message": p.Message}
	if s != nil {
		m["snapshot"] = s.ID.String()
	}
	if p.Part != "" {
		m["part"] = p.Part
	}
	if p.Path != "" {
		m["path"] = p.Path
	}
	return e.printJSON(m)
}

// verifyData reads all data of a snapshot.
func (e *env) verifyData(ctx context.Context, a *archive.Archive, s *snapshot.Snapshot) (string, error) {
	p := new(check.DataProgress)
	stop := e.watch(func() tick {
		return tick{verb: "read", files: uint64(p.Files.Load()), bytes: uint64(p.Bytes.Load())}
	})
	r, err := check.Data(ctx, a, s, p)
	stop()
	if err != nil {
		return "", err
	}
	for _, d := range r.Damaged {
		if err := e.tellProblem(s, proof.Problem{Path: d.Path, Kind: "data", Severity: verify.Error, Message: d.Err.Error()}); err != nil {
			return "", err
		}
	}
	if r.Lost > 0 {
		return "", &exitError{exitDamage, hint(fmt.Errorf("snapshot %s: %s lost", s.ID.Short(), plural(uint64(r.Lost), "path is", "paths are")), "`cairn check --read-data` and `cairn repair` may help; an older snapshot may be whole")}
	}
	return fmt.Sprintf("data: %s, %s read", plural(uint64(r.Files), "file", "files"), humanize.IBytes(uint64(r.Bytes))), nil
}
