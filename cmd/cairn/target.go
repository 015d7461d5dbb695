package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/replicate"
	"cairn/chunk/seal"
)

// targetFlags name the archive that a command copies to, and what opens it.
func targetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "to", Aliases: []string{"t"}, Usage: "copy to the archive that has this `MEMBER` (repeat for each), or to that of an archive file; default $CAIRN_TO_ARCHIVE"},
		&cli.StringFlag{Name: "to-password-file", Usage: "read the target's password from `FILE`; default $CAIRN_TO_PASSWORD_FILE"},
		&cli.StringFlag{Name: "to-password-command", Usage: "take the target's password from what `COMMAND` prints; default $CAIRN_TO_PASSWORD_COMMAND"},
		&cli.StringSliceFlag{Name: "to-key-file", Usage: "open the target with the key (or recipient's identity) in `FILE`; default $CAIRN_TO_KEY_FILE"},
	}
}

// targetText is what the help of these commands says about the target.
const targetText = `The target is named by --to: each of its members, or an archive file, or $CAIRN_TO_ARCHIVE. It is opened with
--to-password-file, --to-password-command or --to-key-file, or the variables CAIRN_TO_PASSWORD, CAIRN_TO_PASSWORD_FILE,
CAIRN_TO_PASSWORD_COMMAND and CAIRN_TO_KEY_FILE; without any of these, with what opens the source. A writer key will do
for the target, and a store in which nothing can be deleted.`

// target finds out which archive is copied to.
func (e *env) target(c *cli.Context) (*place, error) {
	named := c.StringSlice("to")
	if len(named) == 0 {
		named = splitMembers(e.getenv("CAIRN_TO_ARCHIVE"))
	}
	if len(named) == 0 {
		return nil, usage("%s: say to which archive with --to", c.Command.Name)
	}
	return placeOf(named)
}

// placeOf makes a place of member addresses, or of the one archive file that is named.
func placeOf(named []string) (*place, error) {
	if len(named) == 1 && !strings.Contains(named[0], "://") {
		if info, err := os.Stat(named[0]); err == nil && info.Mode().IsRegular() {
			return readArchiveFile(named[0])
		}
	}
	return &place{members: named}, nil
}

func splitMembers(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// targetCredentials gathers what may open the target. Without any, it is what opens the source.
func (e *env) targetCredentials(c *cli.Context, p *place, source []seal.Credential) ([]seal.Credential, error) {
	names := c.StringSlice("to-key-file")
	if len(names) == 0 {
		names = strings.FieldsFunc(e.getenv("CAIRN_TO_KEY_FILE"), func(r rune) bool { return r == ',' })
	}
	if len(names) == 0 && p.file.KeyFile != "" {
		names = []string{p.file.KeyFile}
	}
	var creds []seal.Credential
	for _, name := range names {
		cred, err := readCredential(name)
		if err != nil {
			return nil, err
		}
		creds = append(creds, cred)
	}
	password, given, err := e.targetPassword(c, p)
	if err != nil {
		return nil, err
	}
	if given {
		creds = append(creds, seal.Credential{Password: password})
	}
	if len(creds) == 0 {
		return source, nil
	}
	return creds, nil
}

func (e *env) targetPassword(c *cli.Context, p *place) (password []byte, given bool, err error) {
	file := first(c.String("to-password-file"), e.getenv("CAIRN_TO_PASSWORD_FILE"), p.file.PasswordFile)
	command := first(c.String("to-password-command"), e.getenv("CAIRN_TO_PASSWORD_COMMAND"), p.file.PasswordCommand)
	switch {
	case c.String("to-password-file") == "" && c.String("to-password-command") == "" && e.getenv("CAIRN_TO_PASSWORD") != "":
		return []byte(e.getenv("CAIRN_TO_PASSWORD")), true, nil
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, false, fmt.Errorf("password file of the target: %w", err)
		}
		return firstLine(data), true, nil
	case command != "":
		password, err := passwordFrom(c.Context, command)
		return password, err == nil, err
	}
	return nil, false, nil
}

// two are a source and a target, and what opens them.
type two struct {
	from, to           *place
	fromCreds, toCreds []seal.Credential
}

// findTwo finds out which archives a command is about, and asks for passwords if it must.
func (e *env) findTwo(c *cli.Context) (t two, err error) {
	if t.to, err = e.target(c); err != nil {
		return t, err
	}
	if t.from, err = e.where(c); err != nil {
		return t, err
	}
	if t.fromCreds, err = e.credentials(c, t.from); err != nil {
		return t, err
	}
	t.toCreds, err = e.targetCredentials(c, t.to, t.fromCreds)
	return t, err
}

// withTwo opens both archives, runs fn and closes them.
func (e *env) withTwo(ctx context.Context, c *cli.Context, t two, fn func(from, to *archive.Archive) error) error {
	from, err := e.openWith(c, t.from, t.fromCreds)
	if err != nil {
		return named("source", err)
	}
	defer from.Close() // a cache that does not close cleanly is made anew
	to, err := e.openWith(c, t.to, t.toCreds)
	if err != nil {
		return named("target", err)
	}
	defer to.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(from, to)
}

// named says which of the archives an error is about.
func named(what string, err error) error { return fmt.Errorf("%s: %w", what, err) }

// watchCopy shows the progress of what carries snapshots.
func (e *env) watchCopy(verb string, p *replicate.Progress) (stop func()) {
	return e.watch(func() tick {
		total := p.TotalBytes.Load()
		return tick{verb: verb, files: p.Snapshots.Load(), totalFiles: p.TotalSnapshots.Load(), unit: "snapshots",
			bytes: p.Bytes.Load(), totalBytes: total, totalsKnown: total > 0}
	})
}

// copyVerdict is the exit code of what was not copied because it is lost, or out of reach.
func copyVerdict(r *replicate.Report) error {
	if r.Lost == 0 {
		return nil
	}
	err := fmt.Errorf("%s could not be copied: %w", plural(uint64(r.Lost), "snapshot", "snapshots"), r.Err)
	if errors.Is(r.Err, context.Canceled) {
		return err
	}
	code := exitDamage
	if unreachableIn(r.Err) {
		code = exitTooFew
	}
	return &exitError{code, hint(err, "all others are copied; `cairn check` names the files, `cairn repair` may bring them back, and `cairn rewrite --exclude` makes a snapshot without them")}
}

// unreachableIn says whether what was lost may come back with members that are away.
func unreachableIn(err error) bool {
	var fetch *archive.FetchError
	if errors.As(err, &fetch) {
		for _, d := range fetch.Damaged {
			if !d.Unreachable() {
				return false
			}
		}
		return len(fetch.Missing) == 0
	}
	var damage *archive.BlobDamage
	return errors.As(err, &damage) && damage.Unreachable()
}
