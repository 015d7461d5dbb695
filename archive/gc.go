package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// recordPrefix is the folder of the gc records.
const recordPrefix = "gc/"

// gcState is what is known of the gc records.
type gcState struct {
	mu        sync.Mutex // held while records are read: two readers would read the same
	records   map[chunk.ID]*Record
	forgotten map[chunk.ID]struct{}
	forged    map[chunk.ID]struct{} // told of
	unread    map[chunk.ID]unreadRecord
	// generation counts the records that were not known before. A snapshot whose client finds it unchanged relies on nothing that was condemned
	// since, because no record is ever removed whose packs may still be named.
	generation int
	read       time.Time  // when they were listed last
	unlisted   memberMask // members that could not be listed then
}

// ParseRecordName takes the name of a gc record apart.
func ParseRecordName(name string) (chunk.ID, bool) {
	base, ok := strings.CutPrefix(name, recordPrefix)
	if !ok {
		return chunk.ID{}, false
	}
	id, err := chunk.ParseID(base)
	return id, err == nil
}

// Records reads the gc records, the ones of other versions, forged ones, and those that cannot be read (see AllRecords) left out, in the order of their ids. Without a key their
// signature proves nothing but that they are whole. They are not to be changed.
func (a *Archive) Records(ctx context.Context) ([]*Record, error) {
	if err := a.readRecords(ctx); err != nil {
		return nil, err
	}
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	list := slices.Collect(maps.Values(a.gc.records))
	slices.SortFunc(list, func(x, y *Record) int { return strings.Compare(string(x.ID[:]), string(y.ID[:])) })
	return list, nil
}

// Forgotten says whether a snapshot was forgotten, as far as the records are known: Records, Refresh, and whatever lists snapshots read them.
func (a *Archive) Forgotten(id chunk.ID) bool {
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	_, ok := a.gc.forgotten[id]
	return ok
}

// readRecords reads the records that were not known.
func (a *Archive) readRecords(ctx context.Context) error {
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	for range 3 {
		on, seen, err := a.listCopies(ctx, recordPrefix)
		if err != nil {
			return fmt.Errorf("list gc records: %w", err)
		}
		a.gc.unlisted = seen.unlisted
		again, err := a.readListed(ctx, on)
		if err == nil && !again {
			a.gc.read = time.Now()
		}
		if err != nil || !again {
			return err
		}
	}
	return errors.New("gc records vanish while they are read") // each time others; one more run of the command helps
}

// readRecordsLately is readRecords, unless that was done just now: for who shows snapshots, which may be forgotten the moment after as
// well, and for who begins: only what is read after publishing must be new.
func (a *Archive) readRecordsLately(ctx context.Context) error {
	a.gc.mu.Lock()
	lately := !a.gc.read.IsZero() && time.Since(a.gc.read) < staleAfter
	a.gc.mu.Unlock()
	if lately {
		return nil
	}
	return a.readRecords(ctx)
}

// readListed reads the listed records that are not known. again says that one was gone: folded into another one since.
func (a *Archive) readListed(ctx context.Context, on map[string]memberMask) (again bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(on)) {
		id, ok := ParseRecordName(name)
		if !ok || a.gc.records[id] != nil {
			continue
		}
		if _, told := a.gc.forged[id]; told {
			continue
		}
		if u, ok := a.gc.unread[id]; ok && time.Since(u.at) < tryAgain {
			continue
		}
		r, err := a.readRecord(ctx, id)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case errors.Is(err, errForgedRecord):
			a.forgedRecord(id, err)
		case errors.Is(err, remote.ErrNotExist):
			again = true
		case err != nil:
			a.unreadRecord(id, err)
		default:
			delete(a.gc.unread, id)
			a.noteRecord(r)
		}
	}
	a.tellUnread(on)
	return again, nil
}

// forgedRecord notices once of a record that is not the root's. It is left out: whoever can write to a member could make one.
func (a *Archive) forgedRecord(id chunk.ID, err error) {
	if a.gc.forged == nil {
		a.gc.forged = map[chunk.ID]struct{}{}
	}
	a.gc.forged[id] = struct{}{}
	a.opts.Notice(fmt.Sprintf("gc record %s is left out: %v", id.Short(), err))
}

func (a *Archive) noteRecord(r *Record) {
	if a.gc.records == nil {
		a.gc.records, a.gc.forgotten = map[chunk.ID]*Record{}, map[chunk.ID]struct{}{}
	}
	a.gc.records[r.ID] = r
	for _, id := range r.Snapshots {
		a.gc.forgotten[id] = struct{}{}
	}
	a.gc.generation++
}

// heardAll says whether all members told their records when they were asked last. A member that tells its records tells its segments.
func (a *Archive) heardAll() bool {
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	return a.gc.unlisted == memberMask{}
}

// recordGeneration counts the records that became known.
func (a *Archive) recordGeneration() int {
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	return a.gc.generation
}

// openRecord verifies and decodes a record.
func (a *Archive) openRecord(id chunk.ID, object []byte) (*Record, error) {
	var body []byte
	var err error
	if a.keys != nil {
		body, err = a.keys.DecodeRecord(object)
	} else {
		body, _, err = seal.CheckRecord(a.id, object)
	}
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(body)
	if err != nil {
		return nil, err
	}
	r.ID = id
	return r, nil
}

// PublishRecord signs and publishes a record, and sets its ID. everywhere is for a collector: it is an error then unless every member of
// every layout has it, and gives it back as it is; otherwise any member will do. What it condemns is condemned in the local index when it returns. It
// needs a key that can read.
func (a *Archive) PublishRecord(ctx context.Context, r *Record, everywhere bool) error {
	if err := a.needReadKey(); err != nil {
		return err
	}
	body, err := r.encode()
	if err != nil {
		return err
	}
	object, err := a.keys.EncodeRecord(body)
	if err != nil {
		return err
	}
	r.ID = chunk.Sum(object)
	name := recordPrefix + r.ID.String()
	stored, err := a.all.PutAll(ctx, name, object)
	if err != nil {
		return fmt.Errorf("publish gc record: %w", err)
	}
	if everywhere {
		if err := a.recordOnAll(ctx, name, object, stored); err != nil {
			return err
		}
	}
	a.keepRecord(r.ID, object)
	a.gc.mu.Lock()
	a.noteRecord(r)
	a.gc.mu.Unlock()
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	if a.index != nil {
		return a.condemn(a.index)
	}
	return nil
}

// recordOnAll fails unless all members have taken a record and give it back.
func (a *Archive) recordOnAll(ctx context.Context, name string, object []byte, stored stripe.Result) error {
	for i, m := range a.all.Members() {
		if m.Store == nil && i >= a.geom.N() {
			continue // of former layouts only: the collector knows that nothing lies there any more
		}
		err := stored.Errs[i]
		if err == nil && !stored.Acked[i] {
			err = errNotOpened
		}
		if err == nil {
			var back []byte
			if back, err = remote.ReadAll(ctx, m.Store, name, int64(len(object))); err == nil && string(back) != string(object) {
				err = errors.New("it reads back differently")
			}
		}
		if err != nil {
			return remote.WithHint(fmt.Errorf("publish gc record on %s: %w", m.Label, err), "the collector needs every member: see `cairn member list`; nothing was deleted")
		}
	}
	return nil
}

// syncedGeneration is that of the records which the index knows.
func (a *Archive) syncedGeneration() int {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	return a.synced.generation
}

// condemn tells the archive's index what the records condemn. The caller holds indexMu.
func (a *Archive) condemn(idx Index) (err error) {
	a.synced.generation, err = a.condemnIn(idx)
	return err
}

// condemnIn tells an index what the records condemn, and returns their generation.
func (a *Archive) condemnIn(idx Index) (int, error) {
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	for id, r := range a.gc.records {
		noted, err := idx.Noted(id)
		if err != nil {
			return 0, err
		}
		if !noted {
			if err := idx.Condemn(id, r.Packs); err != nil {
				return 0, err
			}
		}
	}
	return a.gc.generation, nil
}

// ForgetReport tells what became of forgetting snapshots.
type ForgetReport struct {
	Record chunk.ID
	// Away names the members that could not be reached, or refused: the snapshots are ignored there, too, and deleted by the next prune.
	Away map[string]error
	// Revived names the snapshots that somebody promoted at the same moment: they go on under the second id.
	Revived map[chunk.ID]chunk.ID
}

// Forget forgets snapshots: a gc record that names them is published on all members that are there, so that no member that was away
// brings them back, and then they are deleted; but what a reference came to stand for meanwhile is published again. Their blobs stay until they are pruned. It needs a key that can read.
func (a *Archive) Forget(ctx context.Context, ids []chunk.ID, r Record) (*ForgetReport, error) {
	report := &ForgetReport{Away: map[string]error{}}
	if len(ids) == 0 {
		return report, nil
	}
	r.Snapshots = ids
	if err := a.PublishRecord(ctx, &r, false); err != nil {
		return report, err
	}
	report.Record = r.ID
	// Before anything is deleted, and after the record: who promotes publishes and then reads the records.
	revived, err := a.revive(ctx, ids)
	if report.Revived = revived; err != nil {
		return report, err
	}
	return report, a.removeForgotten(ctx, ids, report)
}

// removeForgotten deletes snapshots and their marks on the members that are there.
func (a *Archive) removeForgotten(ctx context.Context, ids []chunk.ID, report *ForgetReport) error {
	for _, m := range a.all.Members() {
		if m.Store == nil {
			report.Away[m.Label] = errNotOpened
			continue
		}
		err := remote.DeleteAll(ctx, m.Store, func(yield func(string) bool) {
			for _, id := range ids {
				name := snapshotPrefix + id.String()
				if !yield(name+markSuffix) || !yield(name) {
					return
				}
			}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			report.Away[m.Label] = err
		}
	}
	return nil
}

// verifyNamed compares an object with the SHA-256 in its name.
func verifyNamed(id chunk.ID, data []byte) error {
	if chunk.Sum(data) != id {
		return errors.New("content does not match its name")
	}
	return nil
}

// condemnedIn returns those packs that are condemned.
func condemnedIn(idx Index, packs iter.Seq[pack.ID]) ([]pack.ID, error) {
	var list []pack.ID
	for id := range packs {
		is, err := idx.Condemned(id)
		if err != nil {
			return nil, err
		}
		if is {
			list = append(list, id)
		}
	}
	return list, nil
}
