package main

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/snapshot"
)

func lsCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "ls", Usage: "list what is in a snapshot", ArgsUsage: "SNAPSHOT[:PATH]",
		Description: `Lists a directory of a snapshot, with --recursive everything below it. Without :PATH that is the root: the paths that
were backed up are below it, as they were named.

Examples:
  cairn ls latest
  cairn ls latest:/etc --long
  cairn ls 4f3a91c2 --recursive --json`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show mode, owner, size and time"},
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "list everything below"},
			salvageFlag(),
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runLs(c) },
	})
}

func (e *env) runLs(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("ls: name one snapshot, got %d arguments", c.NArg())
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		s, path, err := e.selectSnapshot(c, a, c.Args().First())
		if err != nil {
			return err
		}
		n, err := snapshot.Find(ctx, a.LoadTree, s.Content, s.Depth, path)
		if err != nil {
			return err
		}
		show := func(path string, n *snapshot.Node) error { return e.printNode(path, n, c.Bool("long")) }
		if n.Type != snapshot.Dir {
			return show(cleanSlash(path), n)
		}
		if c.Bool("recursive") {
			w := a.Walker()
			return w.Walk(ctx, n.Content, n.Depth, func(below string, n *snapshot.Node) error {
				return show(joinPath(path, below), n)
			})
		}
		for n, err := range snapshot.Nodes(ctx, a.LoadTree, n.Content, n.Depth) {
			if err != nil {
				return err
			}
			if err := show(joinPath(path, n.Name), n); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *env) printNode(path string, n *snapshot.Node, long bool) error {
	if e.json {
		return e.printJSON(nodeJSON(path, n))
	}
	return e.printNodeWith(path, n, long, "")
}

// printNodeWith prints a node as text, and something behind it.
func (e *env) printNodeWith(path string, n *snapshot.Node, long bool, behind string) error {
	name := printable(path)
	if n.Type == snapshot.Dir {
		name += "/"
	}
	if !long {
		e.print("%s%s", name, behind)
		return nil
	}
	if n.Type == snapshot.Symlink {
		name += " -> " + printable(n.Target)
	}
	if n.Error != "" {
		name += "  [not stored whole: " + n.Error + "]"
	}
	e.print("%s %-8s %-8s %10s  %s  %s%s", fileMode(n), owner(n.User, n.UID), owner(n.Group, n.GID), sizeOf(n), n.Mtime.Time().Format("2006-01-02 15:04:05"), name, behind)
	return nil
}

func sizeOf(n *snapshot.Node) string {
	switch {
	case n.Type == snapshot.File:
		return humanize.IBytes(n.Size)
	case n.Device != nil:
		return fmt.Sprintf("%d,%d", n.Device.Major, n.Device.Minor)
	}
	return "-"
}

func owner(name string, id uint32) string {
	if name != "" {
		return printable(name)
	}
	return fmt.Sprint(id)
}

// fileMode is the mode as ls prints it.
func fileMode(n *snapshot.Node) string {
	letter := map[snapshot.NodeType]byte{snapshot.Dir: 'd', snapshot.Symlink: 'l', snapshot.Fifo: 'p', snapshot.Socket: 's',
		snapshot.CharDevice: 'c', snapshot.BlockDevice: 'b'}[n.Type]
	if letter == 0 {
		letter = '-'
	}
	text := append([]byte{letter}, fs.FileMode(n.Mode & 0o777).String()[1:]...)
	for _, special := range []struct {
		bit       uint32
		at        int
		with, not byte // execute permission
	}{{0o4000, 3, 's', 'S'}, {0o2000, 6, 's', 'S'}, {0o1000, 9, 't', 'T'}} {
		if n.Mode&special.bit == 0 {
			continue
		}
		if text[special.at] == 'x' {
			text[special.at] = special.with
		} else {
			text[special.at] = special.not
		}
	}
	return string(text)
}

func typeName(t snapshot.NodeType) string {
	switch t {
	case snapshot.File:
		return "file"
	case snapshot.Dir:
		return "dir"
	case snapshot.Symlink:
		return "symlink"
	case snapshot.Fifo:
		return "fifo"
	case snapshot.Socket:
		return "socket"
	case snapshot.CharDevice:
		return "chardev"
	case snapshot.BlockDevice:
		return "blockdev"
	}
	return "unknown"
}

func nodeJSON(path string, n *snapshot.Node) map[string]any {
	m := map[string]any{
		"type": "node", "path": path, "kind": typeName(n.Type), "mode": fmt.Sprintf("%04o", n.Mode), "uid": n.UID, "gid": n.GID,
		"user": n.User, "group": n.Group, "mtime": n.Mtime.Time().UTC().Format(time.RFC3339Nano),
	}
	if n.Type == snapshot.File {
		m["size"] = n.Size
	}
	if n.Type == snapshot.Symlink {
		m["target"] = n.Target
	}
	if n.Link != nil {
		m["inode"] = n.Link.Inode
	}
	if n.Error != "" {
		m["error"] = n.Error
	}
	return m
}

func cleanSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// joinPath joins a directory's path and one below it, neither of which is cleaned further: names are raw bytes.
func joinPath(dir, below string) string {
	for len(dir) > 0 && dir[len(dir)-1] == '/' {
		dir = dir[:len(dir)-1]
	}
	for len(below) > 0 && below[0] == '/' {
		below = below[1:]
	}
	return dir + "/" + below
}
