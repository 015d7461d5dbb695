package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/chunk"
	"cairn/remote"
)

// unreadRecord is a gc record that is listed and of which no copy could be read as it was stored.
type unreadRecord struct {
	err  error
	at   time.Time // when it was tried
	told bool
}

// tryAgain is how long a record that cannot be read is not asked for again: a store tries for seconds.
const tryAgain = 10 * time.Second

// unreadRecord notes a record that cannot be read. The caller holds gc.mu.
func (a *Archive) unreadRecord(id chunk.ID, err error) {
	if a.gc.unread == nil {
		a.gc.unread = map[chunk.ID]unreadRecord{}
	}
	a.gc.unread[id] = unreadRecord{err, time.Now(), a.gc.unread[id].told}
}

// tellUnread forgets records that are gone, or that another one replaces, and tells of the others once. Who only reads goes on: at worst a
// snapshot is shown that was forgotten, or a blob looked for first where it is no more. The caller holds gc.mu.
func (a *Archive) tellUnread(on map[string]memberMask) {
	if len(a.gc.unread) == 0 {
		return
	}
	replaced := map[chunk.ID]bool{}
	for _, r := range a.gc.records {
		for _, id := range r.Folded {
			replaced[id] = true
		}
	}
	for id, u := range a.gc.unread {
		switch _, listed := on[recordPrefix+id.String()]; {
		case !listed || replaced[id]:
			delete(a.gc.unread, id)
		case !u.told:
			u.told = true
			a.gc.unread[id] = u
			a.opts.Notice(fmt.Sprintf("gc record %s cannot be read, so what it condemned or forgot is not known: %v", id.Short(), u.err))
		}
	}
}

// RecordDamage means that a gc record cannot be read.
type RecordDamage struct {
	ID  chunk.ID
	Err error
}

func (e *RecordDamage) Error() string {
	return fmt.Sprintf("%s%s cannot be read: it may condemn what is relied upon here: %v", recordPrefix, e.ID, e.Err)
}

func (e *RecordDamage) Unwrap() error { return e.Err }

// AllRecords fails with a *RecordDamage if there are gc records that could not be read when they were listed last. Who writes must know all:
// such a record may condemn what a snapshot would come to rely on, and its collector finish that at any time.
func (a *Archive) AllRecords() error {
	a.gc.mu.Lock()
	defer a.gc.mu.Unlock()
	ids := sortedIDs(maps.Keys(a.gc.unread))
	if len(ids) == 0 {
		return nil
	}
	err := &RecordDamage{ids[0], a.gc.unread[ids[0]].err}
	if Fleeting(err) {
		return remote.WithHint(err, "run the command again; see `cairn member list` for members that do not answer")
	}
	return remote.WithHint(err, "`cairn repair` writes it again from a good copy, which may also be in the cache of another machine that used the archive: run it there, too; if there is none, `cairn repair --records` gives it up")
}

func sortedIDs(ids func(func(chunk.ID) bool)) []chunk.ID {
	return slices.SortedFunc(ids, func(x, y chunk.ID) int { return strings.Compare(string(x[:]), string(y[:])) })
}

// recordFile is where this machine keeps its copy of a record; "" without a cache.
func (a *Archive) recordFile(id chunk.ID) string {
	if a.dir == "" {
		return ""
	}
	return filepath.Join(a.dir, "gc", id.String())
}

// keptRecord returns this machine's copy of a record, if it is good.
func (a *Archive) keptRecord(id chunk.ID) (object []byte, r *Record) {
	file := a.recordFile(id)
	if file == "" {
		return nil, nil
	}
	object, err := os.ReadFile(file)
	if err != nil || chunk.Sum(object) != id {
		return nil, nil
	}
	if r, err = a.openRecord(id, object); err != nil {
		return nil, nil
	}
	return object, r
}

// readRecord reads one record, from the cache or the first member whose copy proves itself.
func (a *Archive) readRecord(ctx context.Context, id chunk.ID) (*Record, error) {
	if _, r := a.keptRecord(id); r != nil {
		return r, nil
	}
	var r *Record
	var forged error
	object, err := a.all.GetVerified(ctx, recordPrefix+id.String(), func(data []byte) (err error) {
		if err := verifyNamed(id, data); err != nil {
			return err
		}
		r, err = a.openRecord(id, data)
		forged = err
		return err
	})
	switch {
	case forged != nil && err != nil:
		return nil, fmt.Errorf("%w: %w", errForgedRecord, forged)
	case err != nil:
		return nil, err
	}
	a.keepRecord(id, object)
	return r, nil
}

// keepRecord keeps a copy of a record in the cache directory: it is asked for once, and `repair` takes it where no member has a good one.
func (a *Archive) keepRecord(id chunk.ID, object []byte) {
	if file := a.recordFile(id); file != "" {
		_ = writeCache(file, object) // it is a cache
	}
}

// errForgedRecord is a record that is as it was stored, and not the root's: nobody who prunes or forgets made it.
var errForgedRecord = errors.New("the root did not sign it")
