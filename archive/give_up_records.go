package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// GiveUpRecordsOptions say how GiveUpRecords works.
type GiveUpRecordsOptions struct {
	DryRun     bool
	SessionAge time.Duration // sessions that showed themselves so lately are at work
	Program    string
}

// GivenUpRecords tells what GiveUpRecords did, or in a dry run would do.
type GivenUpRecords struct {
	Records []chunk.ID
	// Condemned are packs that the index names and that are not there: pruned by a collection whose record this was, or lost.
	Condemned []pack.ID
	Removed   int // objects; others an object lock holds
}

// GiveUpRecords replaces gc records that cannot be read by one that says what can be found out of what they said. It needs all members, and a key
// that can read.
//
//   - What they condemned and is gone: packs that segments name and of which fewer than k shards are there. They are condemned by the new record, so that
//     nobody comes to rely on what an index pack on its way out, or one that comes back, says of them.
//   - What they condemned and is still there counts as needed, or as garbage, as if it had never been condemned. No later collector deletes it but by a
//     record of its own, which writers read: a record that is not on all members any more settles nothing (prune, listRecords).
//   - Which snapshots they forgot nobody knows any more: one that a member still has shows up again.
//
// A collector that is at work at this moment may delete what it condemned by such a record, and what writers rely on from now on. So nothing is done
// while sessions show themselves; that goes by clocks, and it is up to the operator that no prune is running.
//
// A crash leaves the new record, and maybe objects that it replaces: everybody passes those over.
func (a *Archive) GiveUpRecords(ctx context.Context, o GiveUpRecordsOptions) (*GivenUpRecords, error) {
	g := &GivenUpRecords{}
	if err := a.needReadKey(); err != nil {
		return g, err
	}
	if _, err := a.Index(ctx); err != nil {
		return g, err
	}
	unread, err := a.lostRecords(ctx)
	if err != nil || len(unread) == 0 {
		return g, err
	}
	g.Records = unread
	if err := a.nobodyAtWork(ctx, o); err != nil {
		return g, err
	}
	if g.Condemned, err = a.namedAndGone(ctx); err != nil || o.DryRun {
		return g, err
	}
	r := &Record{Packs: g.Condemned, Folded: unread, Time: time.Now(), Program: o.Program}
	if err := a.PublishRecord(ctx, r, true); err != nil {
		return g, err
	}
	for _, m := range a.all.Members() {
		if m.Store == nil {
			continue // see recordOnAll
		}
		for _, id := range unread {
			switch err := m.Store.Delete(ctx, recordPrefix+id.String()); {
			case err == nil:
				g.Removed++
			case !remote.Refused(err) && !errors.Is(err, remote.ErrNotExist):
				return g, fmt.Errorf("remove gc record %s from %s: %w", id.Short(), m.Label, err)
			}
		}
	}
	return g, a.readRecords(ctx)
}

// lostRecords returns the records that cannot be read, after one more try. All members must tell.
func (a *Archive) lostRecords(ctx context.Context) ([]chunk.ID, error) {
	a.gc.mu.Lock()
	a.gc.unread = nil
	a.gc.mu.Unlock()
	if err := a.readRecords(ctx); err != nil {
		return nil, err
	}
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	for i, m := range a.all.Members() {
		if a.gc.unlisted.has(i) && (m.Store != nil || i < a.geom.N()) {
			return nil, remote.WithHint(fmt.Errorf("%s does not answer: it may have a good copy", m.Label), "bring all members back, then run this again")
		}
	}
	ids := sortedIDs(maps.Keys(a.gc.unread))
	for _, id := range ids {
		for _, m := range a.all.Members() {
			if m.Store == nil {
				continue
			}
			data, err := remote.ReadAll(ctx, m.Store, recordPrefix+id.String(), stripe.MaxVerified)
			if err == nil && verifyNamed(id, data) == nil {
				return nil, remote.WithHint(fmt.Errorf("%s has a good copy of gc record %s", m.Label, id.Short()), "run `cairn repair`")
			}
			if err != nil && !Gone(err) {
				return nil, remote.WithHint(fmt.Errorf("gc record %s on %s: %w", id.Short(), m.Label, err), "this may be over soon: run the command again")
			}
		}
	}
	return ids, nil
}

// nobodyAtWork fails while sessions show themselves.
func (a *Archive) nobodyAtWork(ctx context.Context, o GiveUpRecordsOptions) error {
	var own seal.SessionID
	if !o.DryRun { // a dry run writes nothing, so it cannot tell the members' time: all sessions count
		w, err := a.newSession(ctx)
		if err != nil {
			return err
		}
		defer w.end()
		w.show(ctx)
		own = w.session.ID()
	}
	atWork, _, err := a.SessionsAtWork(ctx, own, o.SessionAge)
	if err != nil || len(atWork) == 0 {
		return err
	}
	return remote.WithHint(fmt.Errorf("%d sessions are at work, or ended without saying so: a prune among them may delete what the record condemned", len(atWork)),
		"wait for them; if nothing else uses the archive, say with --session-age from which age on a session counts as dead")
}

// namedAndGone lists the packs that segments name, that no record condemns, and of which fewer than k shards are there. Segments are read
// first: a pack is there before it is named.
func (a *Archive) namedAndGone(ctx context.Context) ([]pack.ID, error) {
	need := map[pack.ID]int{}
	err := a.ReadSegments(ctx, func(_ pack.ID, columns []pack.Column, _ error) error { // what one names that cannot be read, `repair --index` looks for
		for _, c := range columns {
			need[c.Pack] = c.K
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	errs, err := a.ListPacks(ctx, packPrefix, func(p *PackListing) error {
		if k, ok := need[p.Pack]; ok && len(p.Shards) >= k {
			delete(need, p.Pack)
		}
		return nil
	})
	for i, m := range a.all.Members() {
		if i < len(errs) && m.Store != nil {
			err = errors.Join(err, errs[i])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	var gone []pack.ID
	for id := range need {
		condemned, err := a.Condemned(ctx, id)
		if err != nil {
			return nil, err
		}
		if !condemned {
			gone = append(gone, id)
		}
	}
	return gone, nil
}
