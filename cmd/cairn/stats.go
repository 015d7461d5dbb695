package main

import (
	"context"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/snapshot"
)

func statsCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "stats", Usage: "count what the archive, or some snapshots, hold", ArgsUsage: "[SNAPSHOT…]",
		Description: `Without arguments: the objects and bytes on the members, and the blobs in the index. With snapshots: how
many files they hold, and how large their distinct content is before compression.

Examples:
  cairn stats
  cairn stats latest --json`,
		Flags:  selectFlags(),
		Action: func(c *cli.Context) error { return e.runStats(c) },
	})
}

func (e *env) runStats(c *cli.Context) error {
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		list, _, err := e.listSnapshots(c, a)
		if err != nil {
			return err
		}
		if c.NArg() == 0 {
			return e.archiveStats(ctx, a, list)
		}
		var chosen []*snapshot.Snapshot
		for _, spec := range c.Args().Slice() {
			s, _, err := snapshot.Select(list, spec, e.now())
			if err != nil {
				return err
			}
			chosen = append(chosen, s)
			e.reads(s)
		}
		return e.contentStats(ctx, a, chosen)
	})
}

// archiveStats counts objects by listing, and blobs by reading the index segments.
func (e *env) archiveStats(ctx context.Context, a *archive.Archive, list []*snapshot.Snapshot) error {
	objects, bytes := map[string]int{}, map[string]int64{}
	var total int64
	for _, prefix := range []string{"binaries/", "index/", "snapshots/", "keys/"} {
		kind := strings.TrimSuffix(prefix, "/")
		_, err := a.Set().ListEach(ctx, prefix, func(_ int, info remote.Info) error {
			objects[kind]++
			bytes[kind] += info.Size
			total += info.Size
			return nil
		})
		if err != nil {
			return err
		}
	}
	blobs, plain, sealed := map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	err := a.ReadSegments(ctx, func(_ pack.ID, columns []pack.Column, err error) error {
		if archive.Unfinished(err) { // it was replaced by another one, or is not there yet
			return nil
		}
		for _, col := range columns {
			if condemned, err := a.Condemned(ctx, col.Pack); err != nil {
				return err
			} else if condemned {
				continue
			}
			for _, b := range col.Entries {
				blobs[col.Kind.String()]++
				plain[col.Kind.String()] += uint64(b.Plain)
				sealed[col.Kind.String()] += uint64(b.Stored)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	g := a.Geometry()
	if e.json {
		return e.printJSON(map[string]any{"type": "stats", "archive": a.ID().String(), "data": g.K, "parity": g.M, "snapshots": len(list),
			"objects": objects, "bytes": bytes, "bytes_total": total, "blobs": blobs, "blob_bytes": plain, "blob_bytes_stored": sealed})
	}
	e.print("archive    %s, %d data + %d parity shards on %d members", a.ID(), g.K, g.M, g.N())
	e.print("snapshots  %s", comma(uint64(len(list))))
	for _, kind := range []string{"data", "tree"} {
		e.print("%-9s  %s blobs: %s, stored as %s", kind, comma(blobs[kind]), humanize.IBytes(plain[kind]), humanize.IBytes(sealed[kind]))
	}
	for _, kind := range []string{"binaries", "index", "snapshots", "keys"} {
		e.print("%-9s  %s objects, %s", kind, comma(uint64(objects[kind])), humanize.IBytes(uint64(bytes[kind])))
	}
	e.print("on disk    %s", humanize.IBytes(uint64(total)))
	return nil
}

// contentStats walks snapshots and counts each distinct blob once. It remembers them: about 60 bytes a blob.
func (e *env) contentStats(ctx context.Context, a *archive.Archive, list []*snapshot.Snapshot) error {
	seen := map[chunk.ID]struct{}{}
	var files, dirs, others, bytes, distinct uint64
	for _, s := range list {
		w := a.Walker()
		err := w.Walk(ctx, s.Content, s.Depth, func(_ string, n *snapshot.Node) error {
			switch n.Type {
			case snapshot.Dir:
				dirs++
				return nil
			case snapshot.File:
				files++
				bytes += n.Size
			default:
				others++
				return nil
			}
			var fresh []chunk.ID
			for id, err := range snapshot.Content(ctx, a.LoadTree, n.Content, n.Depth) {
				if err != nil {
					return err
				}
				if _, ok := seen[id]; !ok {
					seen[id] = struct{}{}
					fresh = append(fresh, id)
				}
			}
			sizes := make([]uint32, len(fresh))
			if err := a.Sizes(ctx, chunk.Data, fresh, sizes); err != nil {
				return err
			}
			for _, size := range sizes {
				distinct += uint64(size)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if e.json {
		return e.printJSON(map[string]any{"type": "stats", "snapshots": len(list), "files": files, "dirs": dirs, "others": others,
			"bytes_total": bytes, "blobs": len(seen), "bytes_distinct": distinct})
	}
	e.print("%s: %s files, %s dirs, %s others", plural(uint64(len(list)), "snapshot", "snapshots"), comma(files), comma(dirs), comma(others))
	e.print("%s in all, %s of it distinct, in %s blobs", humanize.IBytes(bytes), humanize.IBytes(distinct), comma(uint64(len(seen))))
	return nil
}
