package member

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"cairn/archive"
	"cairn/pack"
	"cairn/remote"
)

// LayoutOptions say which layout an archive shall get.
type LayoutOptions struct {
	Data, Parity int
	// Members of the new layout in their order: ids of members that the archive has, "" for each of New.
	Members []string
	New     []archive.Member
	// Reopen opens the archive with these members: after the cards were written.
	Reopen  func(ctx context.Context, members []archive.Member) (*archive.Archive, error)
	Rewrite RewriteOptions
}

// LayoutReport tells what Relayout did.
type LayoutReport struct {
	RewriteReport
	Geometry pack.Geometry // of the current layout
	Copies   int           // mirrored objects written
	Cards    []archive.CardWrite
	// Leave lists the members that the current layout does without, Needed whether something in a former layout is still there.
	Leave  []archive.MemberInfo
	Needed bool
}

// Estimate is what a change of the layout costs.
type Estimate struct {
	Packs int
	Read  int64 // bytes of data columns
	Write int64 // bytes of shards that are made of them
	// Room is how much more all members together hold at most, until the old packs of a round are removed.
	Room int64
}

// EstimateLayout counts what has to be rewritten for a geometry, from the index.
func EstimateLayout(ctx context.Context, a *archive.Archive, g pack.Geometry, o RewriteOptions) (*Estimate, error) {
	o = o.applyDefaults()
	e := &Estimate{}
	seen := map[pack.ID]struct{}{}
	var largest int64
	err := a.ReadSegments(ctx, func(_ pack.ID, columns []pack.Column, err error) error {
		for _, c := range columns {
			if _, ok := seen[c.Pack]; ok || c.Geometry == g {
				continue
			}
			seen[c.Pack] = struct{}{}
			data := c.L * int64(c.K)
			write := data*int64(g.N())/int64(g.K) + int64(g.N())*2*pack.HeaderSize
			e.Packs++
			e.Read += data
			e.Write += write
			largest = max(largest, write)
		}
		return nil
	})
	e.Room = min(e.Write, largest*int64(o.round(e.Packs)))
	return e, err
}

// Relayout gives the archive a new layout and rewrites all packs into it (Rewrite). New members get the mirrored objects first;
// then the cards are written, from which moment on new packs have the new layout; then the old packs follow. It returns the
// archive as it is now, for the caller to close; with an error, too, when the layout has changed already.
//
// When it was interrupted after the cards were written, Finish goes on; before that, the same call does.
func Relayout(ctx context.Context, a *archive.Archive, o LayoutOptions) (*LayoutReport, *archive.Archive, error) {
	report := &LayoutReport{}
	if err := needReadKey(a); err != nil {
		return report, nil, err
	}
	joined := 0
	for _, m := range o.New {
		id, err := newcomer(ctx, a, m)
		if err != nil {
			return report, nil, err
		}
		if id != "" {
			joined++
		}
	}
	members := named(a, o.New)
	if joined > 0 { // the cards were written, or some of them
		b, err := o.Reopen(ctx, members)
		if err != nil {
			return report, nil, err
		}
		if g := b.Geometry(); g.K != o.Data || g.M != o.Parity {
			return report, b, fmt.Errorf("%d of the new members are members already, of a layout %d+%d", joined, g.K, g.M)
		}
		report, err := Finish(ctx, b, o.Rewrite)
		return report, b, err
	}
	if err := distinct(ctx, o.New); err != nil {
		return report, nil, err
	}
	change, err := a.PlanLayout(o.Data, o.Parity, o.Members)
	if err != nil {
		return report, nil, err
	}
	stores := map[string]remote.Store{}
	for i, id := range change.New() {
		stores[id] = o.New[i].Store
	}
	for _, m := range a.Members() {
		if m.Store == nil && slices.Contains(o.Members, m.ID) {
			return report, nil, remote.WithHint(fmt.Errorf("%s is to be in the new layout and is missing", m.Label), "bring it back, or replace it first with `cairn member replace`")
		}
	}
	c := &copier{notice: o.Rewrite.applyDefaults().Notice}
	if report.Copies, err = c.fill(ctx, a, change.Placements(stores)[0]); err != nil {
		return report, nil, err
	}
	if report.Cards, err = a.WriteCards(ctx, change, stores); err != nil {
		return report, nil, err
	}
	b, err := o.Reopen(ctx, members)
	if err != nil {
		return report, nil, fmt.Errorf("open the archive with its new layout: %w", err)
	}
	cards, copies := report.Cards, report.Copies
	report, err = Finish(ctx, b, o.Rewrite)
	report.Cards, report.Copies = cards, report.Copies+copies
	return report, b, err
}

// named lists the members that are there, and new ones.
func named(a *archive.Archive, more []archive.Member) []archive.Member {
	list := slices.Clone(more)
	for _, m := range a.Members() {
		if m.Store != nil && !slices.ContainsFunc(more, func(n archive.Member) bool { return n.URL == m.URL }) {
			list = append(list, archive.Member{URL: m.URL, Store: m.Store})
		}
	}
	return list
}

// distinct fails when two of the stores are one.
func distinct(ctx context.Context, list []archive.Member) error {
	for i, m := range list {
		if i == len(list)-1 {
			break
		}
		var random [8]byte
		rand.Read(random[:]) // never fails
		name := ScratchPrefix + "same-" + hex.EncodeToString(random[:])
		if err := m.Store.Put(ctx, name, nil); err != nil {
			return fmt.Errorf("%s: %w", m.URL, err)
		}
		var same string
		for _, other := range list[i+1:] {
			if _, err := other.Store.Stat(ctx, name); err == nil {
				same = other.URL
			} else if !errors.Is(err, remote.ErrNotExist) {
				return fmt.Errorf("%s: %w", other.URL, err)
			}
		}
		if err := m.Store.Delete(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", m.URL, err)
		}
		if same != "" {
			return remote.WithHint(fmt.Errorf("%s is the same place as %s", same, m.URL), "name each place once")
		}
	}
	return nil
}

// Finish brings an archive whose layout was changed to its end: cards that are stale, mirrored objects that a member lacks, packs in
// former layouts. On an archive where nothing is left to do it costs the listings.
func Finish(ctx context.Context, a *archive.Archive, o RewriteOptions) (*LayoutReport, error) {
	o = o.applyDefaults()
	report := &LayoutReport{Geometry: a.Geometry(), Needed: true}
	if err := needReadKey(a); err != nil {
		return report, err
	}
	if err := allThere(a); err != nil {
		return report, err
	}
	list, err := a.RenewCards(ctx, false)
	if err != nil {
		return report, err
	}
	for _, c := range list {
		if c.Err != nil {
			o.Notice(fmt.Sprintf("card of %s: %v", c.Member, c.Err))
		}
	}
	for _, m := range a.Members() {
		if m.Number < 0 {
			report.Leave = append(report.Leave, m)
		}
	}
	copies := &copier{notice: o.Notice}
	if report.Copies, err = copies.fill(ctx, a, a.Placements()[0]); err != nil {
		return report, err
	}
	rewritten, err := Rewrite(ctx, a, o)
	report.RewriteReport = *rewritten
	if err != nil {
		return report, err
	}
	n, err := copies.fill(ctx, a, a.Placements()[0]) // what others wrote by old cards meanwhile
	report.Copies += n
	report.Needed = !rewritten.Done() || rewritten.Unnamed > 0
	return report, err
}
