package main

import (
	"context"
	"slices"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/snapshot"
)

func tagCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "tag", Usage: "change the tags of snapshots", ArgsUsage: "SNAPSHOT…",
		Description: `Changes tags. Snapshots are immutable, so a changed one is a new object with a new id that remembers the
old one as its original; the old one is removed.

Examples:
  cairn tag latest --add verified
  cairn tag 4f3a91c2 --remove nightly --add keep
  cairn tag latest~1 --set a --set b`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "add", Usage: "add `TAG`"},
			&cli.StringSliceFlag{Name: "remove", Usage: "remove `TAG`"},
			&cli.StringSliceFlag{Name: "set", Usage: "replace all tags by `TAG`; an empty one removes all"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would change and change nothing"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runTag(c) },
	})
}

func (e *env) runTag(c *cli.Context) error {
	if c.NArg() == 0 {
		return usage("tag: name the snapshots")
	}
	if !c.IsSet("add") && !c.IsSet("remove") && !c.IsSet("set") {
		return usage("tag: say what to do with --add, --remove or --set")
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		list, _, err := e.listSnapshots(c, a)
		if err != nil {
			return err
		}
		changed := map[*snapshot.Snapshot][]string{} // selected before anything changes: latest must not move
		var order []*snapshot.Snapshot
		for _, spec := range c.Args().Slice() {
			s, _, err := snapshot.Select(list, spec, e.now())
			if err != nil {
				return err
			}
			if _, ok := changed[s]; !ok {
				changed[s] = newTags(c, s.Tags)
				order = append(order, s)
			}
		}
		for _, s := range order {
			if err := e.retag(ctx, c, a, s, changed[s]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *env) retag(ctx context.Context, c *cli.Context, a *archive.Archive, s *snapshot.Snapshot, tags []string) error {
	same := slices.Equal(tags, s.Tags)
	id := s.ID
	if !same && !c.Bool("dry-run") {
		next := *s
		next.Tags = tags
		var err error
		if id, err = a.Replace(ctx, s, &next); err != nil {
			return err
		}
	}
	if e.json {
		return e.printJSON(map[string]any{"type": "tag", "old": s.ID.String(), "id": id.String(), "tags": nonNil(tags), "changed": !same, "dry_run": c.Bool("dry-run")})
	}
	if same {
		e.print("%s has these tags already: %q", s.ID.Short(), tags)
		return nil
	}
	e.print("%s is now %s, tags %q", s.ID.Short(), id.Short(), tags)
	return nil
}

func newTags(c *cli.Context, old []string) []string {
	tags := slices.Clone(old)
	if c.IsSet("set") {
		tags = c.StringSlice("set")
	}
	tags = append(tags, c.StringSlice("add")...)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return slices.DeleteFunc(tags, func(t string) bool { return t == "" || slices.Contains(c.StringSlice("remove"), t) })
}
