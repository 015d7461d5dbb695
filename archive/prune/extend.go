package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/pack"
	"cairn/remote"
)

// ExtendOptions say which locks are made longer. The zero value makes those of everything longer that no gc record gives up.
type ExtendOptions struct {
	// Keep says whether an object is to stay; nil: all. What gc records condemn or forget is left to run out in any case.
	Keep func(name string) bool
	// All asks also for the locks of objects that are too young to need a longer one, if they were locked when they were stored: for an archive
	// whose retention was changed.
	All bool
	Now func() time.Time // nil: time.Now
}

// ExtendReport tells what was done. Objects are counted on each member.
type ExtendReport struct {
	Asked    int // locks that were looked at
	Extended int // locks that were made longer
	// Failed is why members have locks that are too short, by label. Nothing is lost by that: the next collection tries again.
	Failed map[string]error
}

// extenders is how many locks of a member are looked at and made longer at once: each is a request or two, of 20 to 50 ms.
const extenders = 16

// Extend makes the locks of what is still needed longer, in an archive with a retention of R: each object whose lock ends before now + R/2
// is locked until now + R. So every object that is needed is locked for R/2 at least, as long as somebody prunes that often, and costs two requests in R/2. An
// object stored within R/2 is not asked for: it was locked when it was stored. The clock decides about the time of protection
// only, never about what may be deleted. What was done is noted in the cache directory, so that a collection asks for what has grown old since the
// last one; without the note it asks for everything older than R/2. Interrupted, it goes on where it was, because what was done is seen.
//
// Its error is about the archive as a whole. It may run beside anything else.
func Extend(ctx context.Context, a *archive.Archive, o ExtendOptions) (*ExtendReport, error) {
	report := &ExtendReport{Failed: map[string]error{}}
	keep := a.Retention()
	if keep == nil {
		return report, nil
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	condemned, err := a.CondemnedPacks(ctx)
	if err != nil {
		return report, err
	}
	now := o.Now()
	x := &extension{a: a, o: o, condemned: condemned, until: now.Add(keep.Period()), young: now.Add(-keep.Period() / 2), enough: now.Add(keep.Period() / 2), mode: keep.Mode,
		report: report, notes: readLockNotes(a.Dir())}
	var wg sync.WaitGroup
	for _, m := range a.Members() {
		wg.Go(func() { x.member(ctx, m) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return report, err
	}
	writeLockNotes(a.Dir(), x.notes)
	return report, nil
}

// extend makes the locks of what stays longer: of all but what was replaced, and is held by a lock until that ends.
func (g *Prune) extend(ctx context.Context, now func() time.Time) error {
	if g.o.DryRun || g.a.Retention() == nil {
		return nil
	}
	report, err := Extend(ctx, g.a, ExtendOptions{Now: now, Keep: func(name string) bool {
		_, hex, ok := remote.ParsePairTree(name)
		id, err := pack.ParseID(hex)
		return !ok || err != nil || !g.held[id]
	}})
	g.report.Locks = report
	return err
}

// extension is one call of Extend.
type extension struct {
	a         *archive.Archive
	o         ExtendOptions
	condemned map[pack.ID]struct{}
	until     time.Time // what locks are made to last
	young     time.Time // what was stored later is locked for long enough
	enough    time.Time // a lock until then needs nothing
	mode      remote.Mode

	mu     sync.Mutex
	report *ExtendReport
	notes  map[string]lockNote
}

// lockNote is what is known of a member: all that was there at a time, by its clock, and is needed, is locked until another one.
type lockNote struct {
	Through time.Time `json:"through"`
	Until   time.Time `json:"until"`
}

// member makes the locks on one member longer.
func (x *extension) member(ctx context.Context, m archive.MemberInfo) {
	x.mu.Lock()
	note := x.notes[m.ID]
	delete(x.notes, m.ID)
	x.mu.Unlock()
	if x.o.All || note.Until.Before(x.enough) {
		note = lockNote{} // everything is to be looked at
	}
	shortest, err := x.locks(ctx, m, note.Through)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		x.report.Failed[m.Label] = err
		return
	}
	if !note.Until.IsZero() && note.Until.Before(shortest) {
		shortest = note.Until
	}
	x.notes[m.ID] = lockNote{Through: x.young, Until: shortest}
}

// locks looks at what a member has, but for what was stored before a time, and returns when the first of those locks ends.
func (x *extension) locks(ctx context.Context, m archive.MemberInfo, known time.Time) (shortest time.Time, err error) {
	shortest = x.until
	if m.Store == nil {
		return shortest, fmt.Errorf("not there: %w", m.Err)
	}
	r, ok := remote.As[remote.Retainer](m.Store)
	if !ok {
		return shortest, errors.New("this kind of store cannot lock objects")
	}
	group, sub := errgroup.WithContext(ctx)
	group.SetLimit(extenders)
	for info, err := range x.objects(sub, m.Store) {
		if err != nil {
			return shortest, errors.Join(err, group.Wait())
		}
		if !x.o.All && (info.Modified.After(x.young) || info.Modified.Before(known)) || !x.stays(info.Name) {
			continue
		}
		group.Go(func() error {
			until, err := x.one(sub, r, info.Name)
			if errors.Is(err, remote.ErrNotExist) {
				return nil // deleted meanwhile
			}
			if err != nil {
				return fmt.Errorf("%s: %w", info.Name, err)
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			if until.Before(shortest) {
				shortest = until
			}
			return nil
		})
	}
	return shortest, group.Wait()
}

// objects lists what is under retention on a member.
func (x *extension) objects(ctx context.Context, s remote.Store) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		for info, err := range s.List(ctx, "") {
			if err == nil && !archive.Locked(info.Name) {
				continue
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// stays says whether an object is to be kept from deletion. Of names that are not the archive's nothing is known, and nothing is done.
func (x *extension) stays(name string) bool {
	if x.o.Keep != nil && !x.o.Keep(name) {
		return false
	}
	if tree, hex, ok := remote.ParsePairTree(name); ok && (tree == "binaries" || tree == "index") {
		id, err := pack.ParseID(hex)
		_, condemned := x.condemned[id]
		return err == nil && !condemned
	}
	if id, _, ok := archive.ParseSnapshotName(name); ok {
		return !x.a.Forgotten(id)
	}
	_, record := archive.ParseRecordName(name)
	_, ref := archive.ParseRefName(name)
	return record || ref || name == archive.CardName || strings.HasPrefix(name, "keys/") && archive.Mirrored(name)
}

// one looks at the lock of an object, makes it longer if it is too short, and returns when it ends then.
func (x *extension) one(ctx context.Context, r remote.Retainer, name string) (time.Time, error) {
	lock, err := r.Retention(ctx, name)
	x.mu.Lock()
	x.report.Asked++
	x.mu.Unlock()
	if err != nil {
		return time.Time{}, err
	}
	if lock.Until.After(x.enough) {
		return lock.Until, nil
	}
	longer := remote.Retention{Until: x.until, Mode: x.mode}
	if lock.Until.After(x.o.Now()) {
		longer.Mode = lock.Mode // another one would need permissions of its own
	}
	if err := r.Retain(ctx, name, longer); err != nil {
		return time.Time{}, err
	}
	x.mu.Lock()
	x.report.Extended++
	x.mu.Unlock()
	return longer.Until, nil
}

// lockFile is in the cache directory.
const lockFile = "locks"

// maxLockFile bounds it: 64 members of 150 bytes.
const maxLockFile = 64 << 10

// readLockNotes reads the notes; without a file, or with one that makes no sense, there are none.
func readLockNotes(dir string) map[string]lockNote {
	notes := map[string]lockNote{}
	if dir == "" {
		return notes
	}
	name := filepath.Join(dir, lockFile)
	if info, err := os.Stat(name); err != nil || info.Size() > maxLockFile {
		return notes
	}
	data, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(data, &notes) != nil {
		return map[string]lockNote{}
	}
	return notes
}

// writeLockNotes writes them. That they cannot be written is not worth stopping for.
func writeLockNotes(dir string, notes map[string]lockNote) {
	data, err := json.Marshal(notes)
	if dir == "" || err != nil {
		return
	}
	name := filepath.Join(dir, lockFile)
	if os.WriteFile(name+".new", data, 0o600) == nil {
		_ = os.Rename(name+".new", name)
	}
}
