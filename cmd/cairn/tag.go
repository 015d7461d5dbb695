package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

func tagCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "tag", Usage: "change tags, pins and expiries of snapshots, and references to them", ArgsUsage: "SNAPSHOT…",
		Description: `Changes tags, pins and expiries. Snapshots are immutable, so a changed one is a new object with a new id that remembers
the old one as its original; the old one is removed.

No rule of "cairn forget" removes a pinned snapshot. One with an expiry is kept by "cairn forget" until then, and removed afterwards
whatever the rules say, unless it is pinned.

References are names that stand for one snapshot each: "cairn tag promote", "cairn tag demote" and "cairn tag list". They do not change the
snapshot.

Examples:
  cairn tag latest --add verified
  cairn tag 4f3a91c2 --remove nightly --add keep
  cairn tag latest~1 --set a --set b
  cairn tag 4f3a91c2 --pin
  cairn tag latest --expire-at 90d
  cairn tag 4f3a91c2 --unpin --expire-at never
  cairn tag promote latest --ref live`,
		Subcommands: []*cli.Command{tagPromoteCommand(e), tagDemoteCommand(e), tagListCommand(e)},
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "add", Usage: "add `TAG`"},
			&cli.StringSliceFlag{Name: "remove", Usage: "remove `TAG`"},
			&cli.StringSliceFlag{Name: "set", Usage: "replace all tags by `TAG`; an empty one removes all"},
			&cli.BoolFlag{Name: "pin", Usage: "no rule of forget removes it"},
			&cli.BoolFlag{Name: "unpin", Usage: "take the pin away"},
			expiryFlag("; \"never\" takes an expiry away"),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "say what would change and change nothing"},
		}, selectFlags()...),
		Action: func(c *cli.Context) error { return e.runTag(c) },
	})
}

func (e *env) runTag(c *cli.Context) error {
	if c.NArg() == 0 {
		return usage("tag: name the snapshots")
	}
	change, err := newTagChange(c, e.now())
	if err != nil {
		return err
	}
	return e.withArchive(c, func(ctx context.Context, a *archive.Archive) error {
		list, _, err := e.listSnapshots(c, a)
		if err != nil {
			return err
		}
		var order []*snapshot.Snapshot // selected before anything changes: latest must not move
		for _, spec := range c.Args().Slice() {
			s, _, err := snapshot.Select(list, spec, e.now())
			if err != nil {
				return err
			}
			if !slices.Contains(order, s) {
				order = append(order, s)
			}
		}
		for _, s := range order {
			if err := e.retag(ctx, a, s, change); err != nil {
				return err
			}
			if ids := twins(list, s); len(ids) > 0 && !change.dry {
				if err := e.forgetSnapshots(ctx, a, ids); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// twins are the snapshots of which a run that was stopped between publishing the changed one and removing the old one made
// two: what differs is what tag changes, and only one of them is to stay.
func twins(list []*snapshot.Snapshot, s *snapshot.Snapshot) (ids []chunk.ID) {
	for _, t := range list {
		if s.Twin(t) {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// tagChange is what the flags ask for.
type tagChange struct {
	set         []string // nil: what is there
	add, remove []string
	pin, unpin  bool
	expiry      *snapshot.Time // nil: as it is; zero: none
	dry         bool
}

func newTagChange(c *cli.Context, now time.Time) (*tagChange, error) {
	t := &tagChange{add: c.StringSlice("add"), remove: c.StringSlice("remove"), pin: c.Bool("pin"), unpin: c.Bool("unpin"), dry: c.Bool("dry-run")}
	if c.IsSet("set") {
		t.set = c.StringSlice("set")
	}
	switch text := c.String("expire-at"); text {
	case "":
	case "never":
		t.expiry = new(snapshot.Time)
	default:
		at, err := parseExpiry(text, now)
		if err != nil {
			return nil, usage("tag: --expire-at: %w", err)
		}
		t.expiry = &at
	}
	switch {
	case t.pin && t.unpin:
		return nil, usage("tag: --pin and --unpin exclude each other")
	case t.set == nil && len(t.add) == 0 && len(t.remove) == 0 && !t.pin && !t.unpin && t.expiry == nil:
		return nil, usage("tag: say what to do with --add, --remove, --set, --pin, --unpin or --expire-at")
	}
	return t, nil
}

// apply returns the changed copy of a snapshot.
func (t *tagChange) apply(s *snapshot.Snapshot) *snapshot.Snapshot {
	next := *s
	next.Tags = t.tags(s.Tags)
	next.Pinned = (s.Pinned || t.pin) && !t.unpin
	if t.expiry != nil {
		next.Expires = *t.expiry
	}
	return &next
}

func (t *tagChange) tags(old []string) []string {
	tags := slices.Clone(old)
	if t.set != nil {
		tags = slices.Clone(t.set)
	}
	tags = append(tags, t.add...)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return slices.DeleteFunc(tags, func(tag string) bool { return tag == "" || slices.Contains(t.remove, tag) })
}

func (e *env) retag(ctx context.Context, a *archive.Archive, s *snapshot.Snapshot, t *tagChange) error {
	next := t.apply(s)
	same := slices.Equal(next.Tags, s.Tags) && next.Pinned == s.Pinned && next.Expires == s.Expires
	id := s.ID
	if !same && !t.dry {
		var err error
		if id, err = a.Replace(ctx, s, next); err != nil {
			return err
		}
	}
	if e.json {
		m := map[string]any{"type": "tag", "old": s.ID.String(), "id": id.String(), "tags": nonNil(next.Tags), "pinned": next.Pinned, "changed": !same, "dry_run": t.dry}
		if !next.Expires.IsZero() {
			m["expires"] = next.Expires.Time().UTC().Format(time.RFC3339Nano)
		}
		return e.printJSON(m)
	}
	what := fmt.Sprintf("tags %q", next.Tags)
	if next.Pinned {
		what += ", pinned"
	}
	if !next.Expires.IsZero() {
		what += ", expires " + next.Expires.Time().Format("2006-01-02 15:04")
	}
	if same {
		e.print("%s is so already: %s", s.ID.Short(), what)
		return nil
	}
	e.print("%s is now %s, %s", s.ID.Short(), id.Short(), what)
	return nil
}
