package main

import (
	"fmt"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive/bench"
	"cairn/archive/member"
	"cairn/pack"
)

func benchCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "bench", Usage: "measure the machine and the members, and say what limits a backup", ArgsUsage: "[MEMBER…]",
		Description: `Measures each step of a backup by itself, on one core and on all of them: cutting files into chunks, hashing, compressing,
encrypting, making packs, Reed-Solomon, looking up; and what each member takes and gives while all are at work. Then it says how
fast backups and restores can be here, and what keeps them from being faster. It runs the code that backups run. No key is needed.

Without an archive only the machine is measured. With one (CAIRN_ARCHIVE or --archive) its members are tried as well; with addresses,
those instead of its members, whether they hold an archive or not: a directory must exist.

Members are tried with random objects below "probe/", where no archive keeps anything and "cairn check" does not look. They are removed at the
end, also after Ctrl-C; what a killed process leaves is removed by the next run an hour later. Nothing is
locked by the retention of the archive. A bucket that locks by itself whatever is put there gets nothing, and one whose
objects these keys cannot delete gets an object of one byte, which stays: then only the listing is measured, and it is said.

What is read back from a directory was written a moment before, and comes from memory: a disk may be slower. Reading the files
that are backed up, and writing those that are restored, is not measured. Rates are by the clock: what else the machine does at the same time makes
them lower, as it would a backup.

Examples:
  cairn bench
  cairn bench --sample /var/lib/postgresql/dump.sql
  cairn bench --only members --seconds 30
  cairn bench --data 2 --parity 1 /mnt/a /mnt/b 's3://nas:9000/backup?insecure=1'
  cairn bench --json | jq 'select(.type == "bench_limit")'`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "seconds", Value: int(bench.DefaultTime / time.Second), Usage: "take about `N` seconds; members that are slow may take longer"},
			&cli.StringFlag{Name: "size", Value: "512M", Usage: "write at most `SIZE` to all members together"},
			&cli.StringFlag{Name: "only", Usage: "measure only `WHAT`: machine or members"},
			&cli.StringFlag{Name: "sample", Usage: "compress the beginning of `FILE` instead of made-up text"},
			&cli.IntFlag{Name: "data", Usage: "`K` data shards for each pack; default: those of the archive, or of as many members as are named"},
			&cli.IntFlag{Name: "parity", Usage: "`M` parity shards for each pack"},
		},
		Action: func(c *cli.Context) error { return e.runBench(c) },
	})
}

// The shortest and the longest time, and the least and the most space, that make sense.
const (
	benchLeastSeconds, benchMostSeconds = 1, 3600
	benchLeastSpace, benchMostSpace     = 1 << 20, 1 << 40
)

func (e *env) runBench(c *cli.Context) error {
	o, err := e.benchOptions(c)
	if err != nil {
		return err
	}
	if name := c.String("sample"); name != "" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("sample: %w", err)
		}
		defer f.Close()
		o.Sample = f
	}
	done, err := e.benchMembers(c, &o)
	if err != nil {
		return err
	}
	defer done()
	show := &benchShow{e: e, geometry: o.Geometry}
	o.Each = show.each
	report, err := bench.Run(c.Context, o)
	for _, m := range report.Members {
		removeScratch(m.Label)
	}
	if endErr := show.end(report, err); endErr != nil && err == nil {
		err = endErr
	}
	return err
}

// benchOptions reads the flags.
func (e *env) benchOptions(c *cli.Context) (o bench.Options, err error) {
	only := c.String("only")
	if only != "" && only != "machine" && only != "members" {
		return o, usage("bench: --only %s: say machine or members", only)
	}
	if only == "machine" && c.Args().Present() {
		return o, usage("bench: %q is a member, and --only machine measures none", c.Args().First())
	}
	seconds := c.Int("seconds")
	if seconds < benchLeastSeconds || seconds > benchMostSeconds {
		return o, usage("bench: --seconds %d: want %d to %d", seconds, benchLeastSeconds, benchMostSeconds)
	}
	space, err := humanize.ParseBytes(c.String("size"))
	if err != nil || space < benchLeastSpace || space > benchMostSpace {
		return o, usage("bench: --size %q: want %s to %s", c.String("size"), humanize.IBytes(benchLeastSpace), humanize.IBytes(benchMostSpace))
	}
	o = bench.Options{NoMachine: only == "members", Time: time.Duration(seconds) * time.Second, Space: int64(space), Prefix: member.ScratchPrefix}
	if c.IsSet("data") || c.IsSet("parity") {
		o.Geometry = pack.Geometry{K: max(1, c.Int("data")), M: c.Int("parity")}
		if err := o.Geometry.Validate(); err != nil {
			return o, usage("bench: %w", err)
		}
	}
	return o, nil
}

// benchMembers finds out what is to be tried, and the layout. It returns what closes it.
func (e *env) benchMembers(c *cli.Context, o *bench.Options) (done func(), err error) {
	done = func() {}
	if c.String("only") == "machine" {
		return done, nil
	}
	p, err := e.where(c)
	if err != nil {
		return nil, err
	}
	switch {
	case !p.asOf.IsZero():
		return nil, usage("bench writes, and an earlier time cannot be written to")
	case c.Args().Present():
		return done, e.benchNamed(c, p, o)
	case p.isDefault && !exists(p.members[0]):
		if o.NoMachine {
			return nil, usage("bench: no archive is configured: name the members")
		}
		e.say("no archive is configured: only the machine is measured; name a directory or bucket to try it")
		return done, nil
	}
	a, err := e.openWith(c, p, nil)
	if err != nil {
		return nil, err
	}
	for _, m := range a.Set().Members() {
		o.Members = append(o.Members, bench.Store{Label: m.Label, Store: m.Store, Err: m.Err})
	}
	if o.Geometry.K == 0 {
		o.Geometry = a.Geometry()
	}
	return func() { _ = a.Close() }, nil // no index is open
}

// benchNamed takes the addresses that were named.
func (e *env) benchNamed(c *cli.Context, p *place, o *bench.Options) error {
	list, err := e.openMembers(c, p, c.Args().Slice())
	if err != nil {
		return err
	}
	for _, m := range list {
		o.Members = append(o.Members, bench.Store{Label: m.URL, Store: m.Store, Err: m.Err})
	}
	if o.Geometry.K == 0 {
		o.Geometry = pack.Geometry{K: len(list)}
		if err := o.Geometry.Validate(); err != nil {
			return usage("bench: %w", err)
		}
	}
	if n := o.Geometry.N(); n < len(list) || n > len(list) && len(list) > 1 {
		return usage("bench: %d members for %d+%d shards", len(list), o.Geometry.K, o.Geometry.M)
	}
	return nil
}
