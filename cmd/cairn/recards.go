package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/recover"
	"cairn/chunk/seal"
	"cairn/remote"
)

// recoveryKeys reads a recovery text from a file, or from standard input when name is empty or "-".
func (e *env) recoveryKeys(name string) (*seal.Keys, error) {
	r := e.stdin
	if name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	text, err := io.ReadAll(io.LimitReader(r, maxRecoveryText))
	if err != nil {
		return nil, err
	}
	keys, err := seal.KeysFromRecovery(string(text))
	if err != nil {
		return nil, &exitError{exitWrongKey, err}
	}
	return keys, nil
}

// runRepairCards makes new cards for heaps of shards, or sorts them into a new archive.
func (e *env) runRepairCards(c *cli.Context) error {
	if c.NArg() == 0 {
		return usage("repair --cards: name the places where the shards are")
	}
	from, err := e.openMembers(c, &place{}, c.Args().Slice())
	if err != nil {
		return err
	}
	to, err := e.openNew(c, c.StringSlice("to"), c.Bool("dry-run"))
	if err != nil {
		return err
	}
	o := recover.CardsOptions{DryRun: c.Bool("dry-run"), Now: e.now()}
	if name := c.String("recovery-text"); name != "" {
		o.Keys, err = e.recoveryKeys(name)
	} else {
		o.Credentials, err = e.credentials(c, &place{})
	}
	if err != nil {
		return err
	}
	if len(to) > 0 {
		return e.sortShards(c, from, to, o)
	}
	r, err := recover.Cards(c.Context, from, o)
	if err != nil {
		if errors.Is(err, recover.ErrMixed) && r != nil {
			return &exitError{exitDamage, err}
		}
		return err
	}
	if e.json {
		return e.printJSON(cardsJSON(r, o.DryRun))
	}
	e.print("archive %s, layout %s", r.Archive.String()[:8], layoutsOf(r))
	for _, h := range r.Heaps {
		what := fmt.Sprintf("member %d, %s", h.Number, plural(uint64(h.Shards), "shard", "shards"))
		switch {
		case h.Number < 0:
			what = "a member of a former layout, " + plural(uint64(h.Shards), "shard", "shards")
		case h.Shards == 0:
			what = fmt.Sprintf("empty: in the place of member %d, which is lost", h.Number)
		}
		if h.Foreign > 0 {
			what += fmt.Sprintf("; %d of %d that were asked belong elsewhere and are of no use here", h.Foreign, h.Asked)
		}
		e.print("  %s is %s", h.URL, what)
	}
	if len(r.Lacking) > 0 {
		e.print("not there: member %s; an empty directory can take a lost member's place", numbers(r.Lacking))
	}
	e.tellCards(c.Args().Slice(), r.Slots, canLock(from), o.DryRun)
	return nil
}

// openNew opens the places of a new archive, which are made if need be.
func (e *env) openNew(c *cli.Context, urls []string, dry bool) ([]archive.Member, error) {
	if dry {
		return e.openMembers(c, &place{}, urls)
	}
	return e.makeMembers(c, &place{}, urls, false)
}

// sortShards copies each shard to where it belongs in a new archive.
func (e *env) sortShards(c *cli.Context, from, to []archive.Member, o recover.CardsOptions) error {
	var done atomic.Uint64
	stop := e.watch(func() tick { return tick{verb: "sort", files: done.Load(), unit: "objects"} })
	r, err := recover.Import(c.Context, from, to, recover.ImportOptions{CardsOptions: o, Progress: &done})
	stop()
	if err != nil {
		return err
	}
	if e.json {
		m := cardsJSON(&r.CardsReport, o.DryRun)
		m["type"], m["objects"], m["shards"], m["damaged"], m["strange"], m["copied"] = "repair_import", r.Objects, r.Shards, r.Damaged, r.Strange, r.Copied
		m["snapshots"], m["key_slots"] = r.Snapshots, r.Slots
		return e.printJSON(m)
	}
	e.print("archive %s, layout %s", r.Archive.String()[:8], layoutsOf(&r.CardsReport))
	e.print("%s looked at: %s, %s, %s, %s that are nothing of this archive", plural(uint64(r.Objects), "object", "objects"), plural(uint64(r.Shards), "good shard", "good shards"),
		plural(uint64(r.Snapshots), "snapshot", "snapshots"), plural(uint64(r.Slots), "key slot", "key slots"), comma(uint64(r.Strange)))
	if r.Damaged > 0 {
		e.print("%s copied where no good one was found: parts of them may be of use", plural(uint64(r.Damaged), "damaged shard was", "damaged shards were"))
	}
	e.print("%s written", plural(uint64(r.Copied), "object", "objects"))
	e.tellCards(c.StringSlice("to"), r.Slots, canLock(to), o.DryRun)
	return nil
}

// tellCards says what to do next. locks means that the members can lock objects.
func (e *env) tellCards(members []string, slots int, locks, dry bool) {
	if dry {
		e.say("dry run: nothing was written")
		return
	}
	e.say("cards are written. Next:")
	e.say("  export CAIRN_ARCHIVE=%s", strings.Join(members, ","))
	if slots == 0 {
		e.say("  cairn key recover FILE      (there is no key slot: make one from the recovery text)")
	}
	e.say("  cairn repair                (fills in what members lack)")
	if locks {
		e.say("  cairn member retain TIME    (if the archive had a retention: only the lost cards knew)")
	}
	e.say("  cairn repair --snapshots    (if snapshots are lost)")
}

func canLock(members []archive.Member) bool {
	return slices.ContainsFunc(members, func(m archive.Member) bool {
		_, ok := remote.As[remote.Retainer](m.Store)
		return ok
	})
}

func layoutsOf(r *recover.CardsReport) string {
	var list []string
	for _, g := range r.Layouts {
		list = append(list, fmt.Sprintf("%d+%d", g.K, g.M))
	}
	return strings.Join(list, ", before ")
}

func numbers(list []int) string {
	var words []string
	for _, n := range list {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

func cardsJSON(r *recover.CardsReport, dry bool) map[string]any {
	places := make([]map[string]any, 0, len(r.Heaps))
	for _, h := range r.Heaps {
		places = append(places, map[string]any{"place": h.URL, "member": h.Number, "shards": h.Shards, "foreign": h.Foreign, "asked": h.Asked})
	}
	layouts := make([]string, 0, len(r.Layouts))
	for _, g := range r.Layouts {
		layouts = append(layouts, fmt.Sprintf("%d+%d", g.K, g.M))
	}
	return map[string]any{"type": "repair_cards", "dry_run": dry, "archive": r.Archive.String(), "layouts": layouts, "places": places, "lacking": append([]int{}, r.Lacking...), "key_slots": r.Slots}
}
