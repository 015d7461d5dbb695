package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// reorder moves flags before the arguments of their command, because urfave/cli stops reading flags at the first
// argument and people write `cairn backup /srv --tag x`. "--" ends the flags; what follows is left as it is.
func reorder(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	out := args[:1:1]
	flags, commands := app.Flags, app.Commands
	global, rest := flags, args[1:]
	var moved, positional []string
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			positional = append(append(positional, "--"), rest...)
			break
		}
		if len(arg) > 1 && arg[0] == '-' {
			moved = append(moved, fullName(arg, flags, global))
			if takesValue(arg, flags, global) && len(rest) > 0 {
				moved = append(moved, rest[0])
				rest = rest[1:]
			}
			continue
		}
		if c := find(commands, arg); c != nil && len(positional) == 0 {
			out = append(append(out, moved...), arg)
			moved = nil
			flags, commands = c.Flags, c.Subcommands
			continue
		}
		positional = append(positional, arg)
	}
	return append(append(out, moved...), positional...)
}

func find(commands []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return commands[i]
}

// fullName writes a flag by its first name: urfave/cli refuses `--exclude a -e b` as two forms of one flag.
func fullName(arg string, sets ...[]cli.Flag) string {
	name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	for _, flags := range sets {
		for _, f := range flags {
			if !slices.Contains(f.Names(), name) {
				continue
			}
			full := "--" + f.Names()[0]
			if given {
				full += "=" + value
			}
			return full
		}
	}
	return arg
}

// takesValue says whether a flag as written consumes the next word.
func takesValue(arg string, sets ...[]cli.Flag) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, flags := range sets {
		for _, f := range flags {
			if slices.Contains(f.Names(), name) {
				_, isBool := f.(*cli.BoolFlag)
				return !isBool
			}
		}
	}
	return false
}
