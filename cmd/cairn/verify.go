package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/agent/verify"
	"cairn/chunk/seal"
)

func verifyCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "verify", Usage: "prove that a tree of a known product is whole", ArgsUsage: "DIR|SNAPSHOT[:PATH]",
		Description: `Reads a directory, or one in a snapshot, in the format of a product and tells everything for which a restore from it would lose something or fail: what is
damaged, missing, in the wrong place, or there twice. Nothing is changed, and for a directory no archive is needed. "cairn check" proves that an archive
gives back the bytes that it was given; this proves that those bytes were a good backup.

Formats:
  modeshape      what Fedora 4 writes on POST fcr:backup: documents_00000n.bin.gz (or .bin), changes/, binaries/ab/cd/ef/SHA1.bin. Fedora's
                 restore stops at a missing number, skips damaged lines, and answers 204 all the same: verify before you restore
  content-tree   Fedora's store of binaries, ab/cd/ef/SHA1 and trash/; extracted texts and MIME types are known by their names
  seafile        seafile-data (or its storage/): blocks, fs objects, commits, and that everything is there that the heads in the dump of
                 seafile_db need. --dump names the dump; the database must have been dumped before the data was copied
  ocfl           a storage root of Fedora 6, or one object: declarations, inventories and their digests, all contents
  bagit          a bag, or a directory of bags: manifests, tag manifests, Payload-Oxum, fetch.txt

An error means that a restore loses something or fails: exit code 4. A warning means that somebody should look: exit code 0. With --json each
problem is one object with path, kind, severity, message and effect, and the last one is the sum.

Memory: names are remembered to find duplicates, 16 to 43 bytes each; --memory bounds that. When it is not enough a warning says which check
is incomplete.

In a snapshot, --dump names a file of the same snapshot, and dumps that the run of a source made are found by themselves. A whole snapshot without
--format is verified as "cairn tag promote" does it: against the source file in it, or by reading all its data.

Examples:
  cairn verify --format modeshape /srv/bkup/2026-11-22
  cairn verify --format content-tree /var/lib/fedora/fcrepo.binary.directory
  cairn verify --format seafile --dump seafile_db.sql /opt/seafile/seafile-data
  cairn verify --format ocfl /srv/fcrepo/data/ocfl-root --json | jq -r 'select(.severity == "error") | .path'
  cairn verify --format seafile latest:/opt/seafile/seafile-data
  cairn verify live`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`FORMAT` of the tree: " + strings.Join(verify.Formats(), ", ")},
			&cli.StringSliceFlag{Name: "dump", Usage: "with seafile: `FILE` with the SQL dump of seafile_db (repeat for others)"},
			&cli.StringFlag{Name: "memory", Usage: "remember names in at most `SIZE` bytes", Value: "512M"},
			&cli.IntFlag{Name: "workers", Usage: "read and hash `N` files at once; default one for each processor"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runVerify(c) },
	})
}

func (e *env) runVerify(c *cli.Context) error {
	format := c.String("format")
	switch {
	case c.NArg() != 1:
		return usage("verify: name one directory, got %d arguments", c.NArg())
	case format == "" && isDirectory(c.Args().First()):
		return usage("verify: --format is missing: one of %s", strings.Join(verify.Formats(), ", "))
	case format != "" && !slices.Contains(verify.Formats(), format):
		return usage("verify: unknown format %q: one of %s", format, strings.Join(verify.Formats(), ", "))
	case format != "seafile" && len(c.StringSlice("dump")) > 0:
		return usage("verify: --dump is for the format seafile")
	case c.Int("workers") < 0:
		return usage("verify: --workers %d", c.Int("workers"))
	}
	memory, err := parseSize(c.String("memory"))
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("verify: --memory: %w", err)}
	}
	o := verify.Options{Workers: c.Int("workers"), Memory: int64(memory), Progress: new(verify.Progress)}
	if !isDirectory(c.Args().First()) {
		err := e.runVerifySnapshot(c, format, o)
		if errors.Is(err, seal.ErrNoCredential) { // there may be no archive at all
			err = &exitError{exitFailed, hint(fmt.Errorf("verify: there is no directory %s here, and to look for a snapshot: %w", c.Args().First(), err),
				"name a directory, or give the password or key of the archive")}
		}
		return err
	}
	for _, name := range c.StringSlice("dump") {
		d, err := dumpFile(name)
		if err != nil {
			return err
		}
		o.Dumps = append(o.Dumps, d)
	}
	dir := c.Args().First()
	root, err := os.OpenRoot(dir) // links that lead out of it cannot be followed
	if err != nil {
		return hint(fmt.Errorf("verify: %w", err), "name a directory, or what is in a snapshot as SNAPSHOT:/PATH")
	}
	defer root.Close() // only read
	return e.verifyTree(c.Context, root.FS(), ".", dir, format, o)
}

// dumpFile is a dump beside the tree.
func dumpFile(name string) (verify.Dump, error) {
	info, err := os.Stat(name)
	if err != nil {
		return verify.Dump{}, fmt.Errorf("verify: %w", err)
	}
	return verify.Dump{Name: name, ModTime: info.ModTime(), Open: func() (io.ReadCloser, error) { return os.Open(name) }}, nil
}

// isDirectory says whether an argument is a directory, or something else in the file system, rather than a snapshot. What looks like a path is
// never taken for a snapshot.
func isDirectory(arg string) bool {
	_, err := os.Stat(arg)
	return err == nil || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".")
}

// verifyTree verifies the tree at root and tells what it finds, as it is found. dir is its name for people.
func (e *env) verifyTree(ctx context.Context, fsys fs.FS, root, dir, format string, o verify.Options) error {
	start, shown := time.Now(), 0
	var failed error // to print
	o.Found = func(p verify.Problem) {
		if shown++; e.json {
			failed = errors.Join(failed, e.printJSON(map[string]any{"type": "problem", "path": p.Path, "kind": p.Kind, "severity": p.Severity, "message": p.Message, "effect": p.Effect}))
		} else if shown <= maxShown {
			e.print("%s: %s: %s", p.Severity, printable(p.Path), printable(p.Message))
		}
	}
	o.Limit = 1 // they are told here
	stop := e.watch(func() tick {
		return tick{verb: "verify", files: uint64(o.Progress.Files.Load()), bytes: uint64(o.Progress.Bytes.Load())}
	})
	r, err := verify.Verify(ctx, fsys, root, format, o)
	stop()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if shown > maxShown && !e.json {
		e.print("… and %d more (--json lists them)", shown-maxShown)
	}
	return e.tellVerify(r, dir, time.Since(start))
}

// tellVerify sums up, and says what each kind of problem means for a restore.
func (e *env) tellVerify(r *verify.Report, dir string, took time.Duration) error {
	if e.json {
		if err := e.printJSON(map[string]any{"type": "verify", "format": r.Format, "root": dir, "errors": r.Errors, "warnings": r.Warnings,
			"kinds": r.Kinds, "counts": r.Counts, "bytes_read": r.Bytes, "seconds": took.Seconds()}); err != nil {
			return err
		}
	} else {
		told := map[string]bool{}
		for _, p := range r.Problems {
			if !told[p.Kind] {
				told[p.Kind] = true
				e.print("what %s means: %s", p.Kind, p.Effect)
			}
		}
		var counts []string
		for _, what := range slices.Sorted(maps.Keys(r.Counts)) {
			counts = append(counts, comma(uint64(r.Counts[what]))+" "+strings.ReplaceAll(what, "_", " "))
		}
		e.print("%s: %s; %s read in %s", r.Format, strings.Join(counts, ", "), humanize.IBytes(uint64(r.Bytes)), took.Round(10*time.Millisecond))
	}
	if r.Damaged() {
		return &exitError{exitDamage, hint(fmt.Errorf("%s in %s: a restore from it loses something or fails", plural(uint64(r.Errors), "error", "errors"), printable(dir)),
			"take another backup of it while the original is there, or restore what is listed from an older one")}
	}
	if !e.json {
		e.print("no damage found (%s)", plural(uint64(r.Warnings), "warning", "warnings"))
	}
	return nil
}
