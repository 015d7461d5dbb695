package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
)

// commonFlags may stand before the command as well as after it.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "archive", Aliases: []string{"a"}, Usage: "`MEMBER` of the archive (repeat for each), or an archive file; default $CAIRN_ARCHIVE"},
		&cli.StringFlag{Name: "password-file", Usage: "read the password from `FILE`; default $CAIRN_PASSWORD_FILE"},
		&cli.StringFlag{Name: "password-command", Usage: "take the password from what `COMMAND` prints; default $CAIRN_PASSWORD_COMMAND"},
		&cli.StringSliceFlag{Name: "key-file", Usage: "open the archive with the key (or recipient's identity) in `FILE`; default $CAIRN_KEY_FILE"},
		&cli.StringFlag{Name: "cache-dir", Usage: "keep the local index and caches in `DIR`; default $CAIRN_CACHE_DIR or the user's cache directory"},
		&cli.StringFlag{Name: "as-of", Usage: "see the archive as it was at `TIME`, from the versions that its buckets keep; default $CAIRN_AS_OF"},
		&cli.StringFlag{Name: "limit-upload", Usage: "send at most `RATE` bytes a second to all members together, such as 500K or 10M"},
		&cli.StringFlag{Name: "limit-download", Usage: "receive at most `RATE` bytes a second from all members together"},
		&cli.DurationFlag{Name: "progress", Usage: "say how far long work is `EVERY` so often (10s, 1m), with --json as objects of the type progress; default: 200ms on a terminal, 30s elsewhere"},
		&cli.BoolFlag{Name: "json", Usage: "print results as JSON, one object a line"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print warnings and errors only"},
	}
}

// newApp lists the commands. Their order here is the order of the help.
func newApp(e *env) *cli.App {
	app := &cli.App{
		Name:                 "cairn",
		Usage:                "backups that outlive any one disk, bucket or provider",
		Description:          appDescription,
		Version:              version(),
		HideVersion:          true, // `cairn version` says more
		EnableBashCompletion: true,
		// A comma is part of a pattern or a path, not an end of it.
		DisableSliceFlagSeparator: true,
		Reader:                    e.stdin, Writer: e.stdout, ErrWriter: e.stderr,
		Flags:          commonFlags(),
		Commands:       commands(e),
		ExitErrHandler: func(*cli.Context, error) {}, // run prints and decides
		Before: func(c *cli.Context) error {
			e.json, e.quiet = c.Bool("json"), c.Bool("quiet")
			return e.setProgress(c)
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("unknown command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError: onUsageError,
	}
	return app
}

const appDescription = `Start with "cairn backup PATH": with nothing configured it makes an archive in your data
directory, with a key of its own, and tells you where both are. "cairn restore latest --to DIR" gives
the files back. "cairn init" makes archives elsewhere, spread over several directories and S3 buckets if you like.

Exit codes: 0 done, 1 failed, 2 usage, 3 finished but something could not be read, 4 damage found,
5 too few members reachable, 6 wrong key or password, 75 skipped, 130 interrupted.`

// command fills in what all commands share: the common flags, and the way usage mistakes are told.
func command(e *env, c *cli.Command) *cli.Command {
	c.Flags = append(c.Flags, commonFlags()...)
	c.OnUsageError = onUsageError
	c.Before = func(ctx *cli.Context) error {
		e.json = e.json || ctx.Bool("json")
		e.quiet = e.quiet || ctx.Bool("quiet")
		return e.setProgress(ctx)
	}
	return c
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "cairn"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return &exitError{exitUsage, hint(err, fmt.Sprintf("`%s --help` shows the flags", name))}
}

// values returns a common flag from wherever it was set: after the command, or before it.
func values(c *cli.Context, name string) []string {
	for _, l := range c.Lineage() {
		if l.IsSet(name) {
			return l.StringSlice(name)
		}
	}
	return nil
}

func value(c *cli.Context, name string) string {
	for _, l := range c.Lineage() {
		if l.IsSet(name) {
			return l.String(name)
		}
	}
	return ""
}

var errNoArgs = errors.New("no arguments expected")

// noArgs refuses arguments that a command would silently ignore.
func noArgs(c *cli.Context) error {
	if c.Args().Present() {
		return &exitError{exitUsage, fmt.Errorf("%s: %w, got %q", c.Command.Name, errNoArgs, c.Args().First())}
	}
	return nil
}
