package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk/seal"
)

func indexCommand(e *env) *cli.Command {
	return &cli.Command{
		Name: "index", Usage: "rebuild or drop the index",
		Description: `The index says in which pack each blob lies. The archive holds it in segments, and each machine keeps a copy in its
cache directory. Both can be made again from the packs.

The commands are "index rebuild" and "index drop"; "cairn index rebuild --help" explains one.`,
		Subcommands: []*cli.Command{
			command(e, &cli.Command{
				Name: "rebuild", Usage: "make the index anew from the archive",
				Description: `Reads all index segments again, then looks for packs that no readable segment names, reads their
directories and publishes them: it repairs the index of the archive as well as the local one. It does what "repair --index"
does, without its options.

Example:
  cairn index rebuild`,
				Action: func(c *cli.Context) error { return e.runIndexRebuild(c) },
			}),
			command(e, &cli.Command{
				Name: "drop", Usage: "delete the local index and caches of the archive",
				Description: `Deletes this machine's index, stat caches and journals. Nothing is lost: the next command reads the index
again, and the next backup compares files with the last snapshot, or with a writer key reads them. It needs no key.

Example:
  cairn index drop`,
				Action: func(c *cli.Context) error { return e.runIndexDrop(c) },
			}),
		},
	}
}

func (e *env) runIndexRebuild(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		r, err := a.RebuildIndex(ctx, archive.RebuildOptions{Program: programName()})
		if err != nil {
			return err
		}
		e.tellRebuild(r, false)
		if e.json {
			if err := e.printJSON(map[string]any{"type": "index_rebuild", "segments": r.Segments, "packs_without_segment": r.Packs, "blobs_found": r.Blobs,
				"columns_published": r.Published, "segments_given_up": len(r.GivenUp), "segments_unread": len(r.Unread), "damaged": len(r.Damaged) + len(r.Unread)}); err != nil {
				return err
			}
		} else {
			e.print("%s read; %s had none and gave %s", plural(uint64(r.Segments), "segment", "segments"), plural(uint64(r.Packs), "pack", "packs"), plural(uint64(r.Blobs), "blob", "blobs"))
		}
		return e.rebuildError(r)
	})
}

func (e *env) runIndexDrop(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	p, err := e.where(c)
	if err != nil {
		return err
	}
	members, err := e.openMembers(c, p, p.members)
	if err != nil {
		return err
	}
	a, err := archive.Open(c.Context, members, archive.Options{}) // needs no key
	if err != nil {
		return err
	}
	dir := under(e.cacheBase(c), a.ID())
	if dir == "" {
		return errors.New("there is no cache directory")
	}
	if err := e.dropCache(dir, a.ID()); err != nil {
		return err
	}
	if e.json {
		return e.printJSON(map[string]any{"type": "index_drop", "dir": dir})
	}
	e.print("dropped %s", dir)
	return nil
}

// dropCache removes an archive's cache directory, and only one that is named after the archive.
func (e *env) dropCache(dir string, id seal.ArchiveID) error {
	if filepath.Base(dir) != id.String() {
		return errors.New("not a cache directory of this archive: " + dir)
	}
	return os.RemoveAll(dir)
}
