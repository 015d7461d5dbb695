package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/backup"
	"cairn/chunk"
	"cairn/index"
	"cairn/snapshot"
	"cairn/snapshot/pattern"
)

func backupCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name:      "backup",
		Usage:     "back up files, a stream or a command's output",
		ArgsUsage: "[PATH… | --stdin NAME | --command NAME -- CMD…]",
		Description: `Makes a snapshot of the paths. Only files that changed since the last backup are read, and only what
the archive does not have yet is stored. What cannot be read is listed, recorded in the snapshot, and
gives exit code 3; everything else is stored all the same.

With nothing configured, the first backup makes an archive in your data directory and a key for it.

A backup goes on while members are missing, as long as k are there: the snapshot is then degraded, which
is a warning (with --strict exit code 5) and healed by the next backup or repair that reaches them.

An interrupted backup is resumed by running it again: what had reached the archive is not uploaded twice. Every 10 minutes,
or 32 GiB stored, a long one publishes a checkpoint, a snapshot of what is done so far: it protects that from "cairn prune", and the
files that were finished can be restored from it. The next complete backup of the series removes it.

Backups of the same paths on the same host make a series: each knows the one before. --series NAME puts
snapshots into a series of that name, for paths that vary from run to run.

Patterns have gitignore syntax: "*.o" matches at any depth, "dir/" directories only, "!keep.o" takes back
an earlier match, "/cache" what lies directly in a path that is backed up. In a backup of /srv the
pattern "/srv/cache" is the absolute path. Quote patterns, or the shell expands them.

Examples:
  cairn backup ~/documents /etc
  cairn backup / --one-file-system --exclude '*.tmp' --exclude-caches
  cairn backup /srv --exclude-file /etc/cairn/exclude --tag nightly --skip-if-unchanged
  cairn backup --command db.sql -- pg_dump mydb
  cairn backup /opt/cms/repository --as-host cms1 --role replica --component cms
  cairn backup /srv/www --pin --tag release-7 --description "before the upgrade"
  cairn backup /srv/campaign --expire-at 2027-03-31
  mysqldump --all-databases | cairn backup --stdin all.sql`,
		Flags:  backupFlags(),
		Action: func(c *cli.Context) error { return e.runBackup(c) },
	})
}

func backupFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "stdin", Usage: "back up standard input as a file called `NAME`"},
		&cli.StringFlag{Name: "command", Usage: "back up the output of the command after -- as a file called `NAME`; its exit status decides whether there is a snapshot"},
		&cli.StringSliceFlag{Name: "exclude", Aliases: []string{"e"}, Usage: "leave out what matches `PATTERN`"},
		&cli.StringSliceFlag{Name: "exclude-file", Usage: "read patterns from `FILE`, one a line; lines that begin with # do not count"},
		&cli.StringFlag{Name: "exclude-larger-than", Usage: "leave out files larger than `SIZE` (500M, 2GiB)"},
		&cli.StringSliceFlag{Name: "exclude-if-present", Usage: "leave out the content of directories that hold a file `NAME[:HEADER]` (which begins with HEADER)"},
		&cli.BoolFlag{Name: "exclude-caches", Usage: "leave out the content of directories marked by a CACHEDIR.TAG"},
		&cli.BoolFlag{Name: "one-file-system", Aliases: []string{"x"}, Usage: "do not enter other file systems"},
		&cli.StringSliceFlag{Name: "tag", Usage: "give the snapshot a `TAG`"},
		&cli.StringFlag{Name: "series", Usage: "add to the series `NAME` (default: host and paths)"},
		&cli.StringFlag{Name: "host", Aliases: []string{"as-host"}, Usage: "record `NAME` as the host (default: this host's name)"},
		&cli.StringFlag{Name: "role", Usage: "record `ROLE` as what the host is among others: primary, replica, staging"},
		&cli.StringFlag{Name: "component", Usage: "record `NAME` as the component of the system that is backed up"},
		&cli.BoolFlag{Name: "pin", Usage: "pin the snapshot: no rule of forget removes it"},
		expiryFlag(""),
		&cli.DurationFlag{Name: "checkpoint-every", Value: backup.CheckpointEvery, Usage: "publish what is done so far after each `DURATION` of a long backup (90s, 10m, 1h); 0: never"},
		&cli.StringFlag{Name: "description", Usage: "describe the snapshot by `TEXT`"},
		&cli.BoolFlag{Name: "skip-if-unchanged", Usage: "make no snapshot when nothing changed"},
		&cli.BoolFlag{Name: "force", Usage: "read all files, also those that seem unchanged; what the archive has is still not stored twice"},
		&cli.BoolFlag{Name: "ignore-inode", Usage: "a changed inode number does not make a file changed (network file systems)"},
		&cli.BoolFlag{Name: "ignore-ctime", Usage: "a changed ctime does not make a file changed"},
		&cli.BoolFlag{Name: "with-atime", Usage: "record access times; then nearly every directory differs each time"},
		&cli.BoolFlag{Name: "strict", Usage: "exit with code 5 when a member missed something of the snapshot; it is stored all the same"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would be stored and store nothing"},
	}
}

func (e *env) runBackup(c *cli.Context) error {
	p, err := e.where(c)
	if err != nil {
		return err
	}
	if c.NArg() == 0 && c.String("stdin") == "" && c.String("command") == "" {
		return usage("backup: name the paths to back up, or --stdin NAME, or --command NAME -- CMD…")
	}
	o, err := e.backupOptions(c)
	if err != nil {
		return err
	}
	if p.isDefault && !exists(filepath.Join(p.members[0], "cairn.json")) {
		if err := e.initDefault(c, p); err != nil {
			return err
		}
	}
	a, err := e.openPlace(c, p)
	if err != nil {
		return err
	}
	defer a.Close()
	return e.backup(c, a, o)
}

// backup runs one backup on an open archive.
func (e *env) backup(c *cli.Context, a *archive.Archive, o backup.Options) error {
	ctx := c.Context
	w, err := a.NewWriter(ctx)
	if err != nil {
		return err
	}
	w.ForSeries(o.Series)
	o.Params = a.Chunker()
	o.MemoryLimit = frugal(a)
	last := a.LastOf(o.Series)
	series, err := e.chain(ctx, a, &o, last)
	if err != nil {
		return err
	}
	if files := e.openFiles(c, a, o.Series); files != nil {
		defer files.Close()
		o.Cache = files
	}
	o.Progress = &backup.Progress{}
	stop := e.watchBackup(ctx, o, last, c.String("stdin") == "" && c.String("command") == "")
	defer stop()
	var saver backup.Saver = w
	if c.Bool("dry-run") {
		saver = &dryWriter{w}
		o.Cache = readOnly{o.Cache}
	}
	report, err := e.readPlain(c, saver, o)
	stop()
	if err != nil {
		return errors.Join(err, e.suspend(ctx, a, w))
	}
	if !c.Bool("dry-run") && !report.Unchanged {
		if err := a.Remember(report.Snapshot, report.Files.Total(), report.Bytes); err != nil {
			e.warn("%v (the next backup of this series cannot be chained to this one)", err)
		}
	}
	var caught *archive.CatchUpReport
	if !c.Bool("dry-run") {
		caught = a.CatchUp(ctx, series)
	}
	return e.tellBackup(c, a, w, report, caught)
}

// suspend stores and publishes what an interrupted backup had sealed, so that the next one need not.
func (e *env) suspend(ctx context.Context, a *archive.Archive, w *archive.Writer) error {
	if ctx.Err() != nil {
		e.say("interrupted: keeping what was already read, for the next run")
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := w.Suspend(late); err != nil {
		e.say("note: not all of it could be kept: %v", err)
	}
	return nil
}

// manyMembers is where packs become so large that the rest has to do with less: with 10+4 a pack that holds a chunk of 8 MiB has 112 MiB,
// and a backup of 2 GiB of random data peaked at 875 MB before their buffers were bounded, at 415 after, and at 359 to 392 with this.
const manyMembers = 8

// frugal returns how much file data a backup may have in flight, 0 for the usual.
func frugal(a *archive.Archive) int64 {
	if a.Geometry().N() <= manyMembers {
		return 0
	}
	return 24 << 20
}

// readPlain reads the paths, standard input or a command's output.
func (e *env) readPlain(c *cli.Context, w backup.Saver, o backup.Options) (*backup.Report, error) {
	switch {
	case c.String("stdin") != "":
		return backup.RunStream(c.Context, w, o, c.String("stdin"), e.stdin, nil)
	case c.String("command") != "":
		return backup.RunCommand(c.Context, w, o, c.String("command"), c.Args().Slice(), e.stderr)
	}
	defer e.overlapWaiting()()
	return backup.Run(c.Context, w, o)
}

func (e *env) backupOptions(c *cli.Context) (backup.Options, error) {
	o := backup.Options{
		Paths: c.Args().Slice(), Tags: c.StringSlice("tag"), Description: c.String("description"),
		Time: e.now(), Program: programName(),
		ExcludeIfPresent: c.StringSlice("exclude-if-present"), ExcludeCaches: c.Bool("exclude-caches"),
		OneFileSystem: c.Bool("one-file-system"), WithAtime: c.Bool("with-atime"),
		IgnoreInode: c.Bool("ignore-inode"), IgnoreCtime: c.Bool("ignore-ctime"),
		Force: c.Bool("force"), SkipIfUnchanged: c.Bool("skip-if-unchanged"),
		Host: first(c.String("host"), hostname()), Role: c.String("role"), Component: c.String("component"), User: username(),
		Pinned: c.Bool("pin"), CheckpointEvery: c.Duration("checkpoint-every"),
	}
	if o.CheckpointEvery <= 0 || c.Bool("dry-run") {
		o.CheckpointEvery = -1
	}
	if text := c.String("expire-at"); text != "" {
		var err error
		if o.Expires, err = parseExpiry(text, o.Time); err != nil {
			return o, usage("backup: --expire-at: %w", err)
		}
	}
	stream := first(c.String("stdin"), c.String("command"))
	switch {
	case c.String("stdin") != "" && c.String("command") != "":
		return o, usage("backup: --stdin and --command exclude each other")
	case c.String("stdin") != "" && c.NArg() > 0:
		return o, usage("backup: --stdin takes no paths, got %q", c.Args().First())
	case c.String("command") != "" && c.NArg() == 0:
		return o, usage("backup: --command NAME needs the command after --")
	}
	if stream == "" {
		for i, p := range o.Paths {
			abs, err := filepath.Abs(p)
			if err != nil {
				return o, err
			}
			o.Paths[i] = abs
		}
	}
	// As it is encoded: paths need not be UTF-8, series are.
	o.Series = snapshot.CleanText(first(c.String("series"), defaultSeries(o.Host, stream, o.Paths)))
	if text := c.String("exclude-larger-than"); text != "" {
		n, err := parseSize(text)
		if err != nil {
			return o, usage("backup: --exclude-larger-than: %w", err)
		}
		o.ExcludeLargerThan = n
	}
	var err error
	o.Excludes, err = readPatterns(c.StringSlice("exclude"), c.StringSlice("exclude-file"))
	o.Warn = func(path string, err error) { e.warn("%s: %v", printable(path), err) }
	return o, err
}

// readPatterns compiles patterns from flags and files.
func readPatterns(patterns, files []string) (*pattern.List, error) {
	lines := patterns
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("pattern file: %w", err)
		}
		more, err := pattern.Read(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		lines = append(lines, more...)
	}
	m := new(pattern.List)
	for _, line := range lines {
		if err := m.Add(line, false); err != nil {
			return nil, &exitError{exitUsage, err}
		}
	}
	return m, nil
}

// defaultSeries names the chain of snapshots of the same things on the same host.
func defaultSeries(host, stream string, paths []string) string {
	if stream != "" {
		return host + ":" + stream
	}
	return host + ":" + strings.Join(paths, ",")
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

func username() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// chain finds the previous snapshot of the series: with a key that can read, in the archive; with a writer key, in
// what this machine remembers. It returns the snapshots of the series that can be read.
func (e *env) chain(ctx context.Context, a *archive.Archive, o *backup.Options, last *archive.Last) ([]*snapshot.Snapshot, error) {
	if !a.Keys().CanRead() {
		if last != nil {
			o.PreviousID, o.PreviousContent, o.PreviousDepth = last.ID, last.Content, last.Depth
		}
		return nil, nil
	}
	list, damaged, err := a.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range damaged {
		e.warn("%v", d)
	}
	list = slices.DeleteFunc(list, func(s *snapshot.Snapshot) bool { return s.Series != o.Series })
	var previous *snapshot.Snapshot
	for _, s := range list {
		if !s.Incomplete {
			previous = s
		}
	}
	if previous == nil {
		return list, nil
	}
	if last != nil && last.ID != previous.ID && previous.Start.Time().Before(last.Time) && !a.Forgotten(last.ID) {
		e.warn("the last backup of this series made here (%s) is gone from the archive: removed on purpose, or the archive was rolled back", last.ID.Short())
	}
	o.PreviousID, o.PreviousContent, o.PreviousDepth = previous.ID, previous.Content, previous.Depth
	o.Parent = &backup.Parent{Content: previous.Content, Depth: previous.Depth, Start: previous.Start.Time(), Load: a.LoadTree}
	return list, nil
}

// openFiles opens the stat cache of the series. Without it everything is compared with the parent snapshot or read.
func (e *env) openFiles(c *cli.Context, a *archive.Archive, series string) *index.Files {
	base := under(e.cacheBase(c), a.ID())
	if base == "" {
		return nil
	}
	dir := filepath.Join(base, "files", chunk.Sum([]byte(series)).String()[:32])
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil
	}
	files, err := index.OpenFiles(dir, index.Options{Notice: func(text string) { e.say("note: %s", text) }})
	if err != nil {
		e.say("note: no stat cache (%v): unchanged files are recognised by the last snapshot, or read again", err)
		return nil
	}
	return files
}

// watchBackup shows progress. The totals come from the last run of the series, which costs nothing; a first run that somebody
// watches counts beside the backup.
func (e *env) watchBackup(ctx context.Context, o backup.Options, last *archive.Last, paths bool) (stop func()) {
	p := o.Progress
	counting, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if last == nil && paths && e.watched() && (e.terminal || e.progress > 0) {
		wg.Go(func() { _ = backup.Count(counting, o) }) // without totals there is no ETA, and that is all
	}
	hide := e.watch(func() tick {
		t := tick{verb: "backup", files: uint64(p.Files.Load()), bytes: uint64(p.Bytes.Load()), errors: uint64(p.Errors.Load()), current: p.Current()}
		t.totalFiles, t.totalBytes = uint64(p.CountedFiles.Load()), uint64(p.CountedBytes.Load())
		t.totalsKnown = t.totalFiles > 0
		if last != nil {
			t.totalFiles, t.totalBytes, t.totalsKnown = last.Files, last.Bytes, true
		}
		return t
	})
	return func() { cancel(); wg.Wait(); hide() }
}

// parseSize reads 1000, 64K, 500M, 2GiB; K, M, G are powers of 1024 as everywhere in backup tools.
func parseSize(text string) (uint64, error) {
	t := strings.TrimSpace(text)
	if len(t) > 0 && strings.ContainsRune("kKmMgGtTpP", rune(t[len(t)-1])) {
		t += "iB"
	}
	n, err := humanize.ParseBytes(t)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 64K, 500M or 2G", text)
	}
	return n, nil
}
