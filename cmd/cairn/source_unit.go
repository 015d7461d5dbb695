package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/agent/source"
	"cairn/agent/source/unit"
	"cairn/remote"
)

func sourceUnitCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "unit", Usage: "write systemd units that run a source at its times", ArgsUsage: "NAME|FILE",
		Description: `Prints a hardened service for "cairn source run NAME" and, when the source has a schedule, a timer; the same for each class that
has a schedule of its own. Secrets of the kind credential, and the key of the archive (credential cairn-key), come from systemd's encrypted
store. A run that a hook or a guard skips (exit code 75) counts as success, one that could not read something (3) does not.

What a hook starts without systemctl lives on in the service; the units then say so, and harden less.

Examples:
  cairn source unit seafile                                   print them
  cairn source unit seafile --to /etc/systemd/system          write them; then
    systemd-creds encrypt --name=cairn-key ~/.config/cairn/key /etc/credstore.encrypted/cairn-key
    systemctl daemon-reload && systemctl enable --now cairn-seafile.timer`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "write the files into `DIR`; existing ones are replaced only with --force"},
			&cli.BoolFlag{Name: "force", Usage: "replace unit files that exist"},
			&cli.StringFlag{Name: "program", Usage: "the `PATH` of cairn in the units; default: this program's"},
			&cli.StringSliceFlag{Name: "write-path", Usage: "let the service write below `DIR`, such as an archive on this machine (repeat for others)"},
		},
		Action: func(c *cli.Context) error { return e.runSourceUnit(c) },
	})
}

func (e *env) runSourceUnit(c *cli.Context) error {
	f, err := e.oneSource(c)
	if err != nil {
		return err
	}
	o, err := e.unitOptions(c, f)
	if err != nil {
		return err
	}
	units, err := unit.Units(f, o)
	if err != nil {
		return err
	}
	if dir := c.String("to"); dir != "" {
		return e.writeUnits(dir, units, c.Bool("force"))
	}
	for i, u := range units {
		if e.json {
			if err := e.printJSON(map[string]any{"type": "unit", "name": u.Name, "text": u.Text}); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			e.print("")
		}
		e.print("# /etc/systemd/system/%s\n%s", u.Name, strings.TrimRight(u.Text, "\n"))
	}
	return nil
}

func (e *env) unitOptions(c *cli.Context, f *source.File) (unit.Options, error) {
	o := unit.Options{Program: c.String("program"), WritePath: c.StringSlice("write-path")}
	if o.Program == "" {
		program, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.Program = program
	}
	path, err := filepath.Abs(f.Path)
	if err != nil {
		return o, err
	}
	// A service of the machine finds the files in /etc only; others it has to be told.
	if filepath.Dir(path) != "/etc/cairn/sources" || filepath.Base(path) != f.Name+".yaml" {
		o.File = path
	}
	o.Archive = values(c, "archive")
	if len(o.Archive) == 0 {
		o.Archive = splitMembers(e.getenv("CAIRN_ARCHIVE"))
	}
	for i, member := range o.Archive {
		u, err := remote.ParseURL(member)
		if err != nil || u.Scheme != "file" {
			continue
		}
		if o.Archive[i], err = filepath.Abs(u.Path); err != nil {
			return o, err
		}
		if info, err := os.Stat(o.Archive[i]); err == nil && info.IsDir() {
			o.WritePath = append(o.WritePath, o.Archive[i])
		}
	}
	return o, nil
}

func (e *env) writeUnits(dir string, units []unit.Unit, force bool) error {
	for _, u := range units {
		if name := filepath.Join(dir, u.Name); exists(name) && !force {
			return usage("source unit: %s exists; --force replaces it", name)
		}
	}
	for _, u := range units {
		name := filepath.Join(dir, u.Name)
		if err := os.WriteFile(name, []byte(u.Text), 0o644); err != nil {
			return err
		}
		if e.json {
			if err := e.printJSON(map[string]any{"type": "unit", "name": u.Name, "path": name}); err != nil {
				return err
			}
			continue
		}
		e.print("%s is written", name)
	}
	return nil
}
