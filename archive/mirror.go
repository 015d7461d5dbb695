package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/remote/stripe"
)

// MirrorReport tells what was copied to members that lacked it.
type MirrorReport struct {
	Copied map[string]int // by member: key slots, snapshots and marks that it has now
	Errs   []error        // what could not be copied
	Kept   []string       // in a sentence each: what was left as it is, because only the operator knows
}

func (r *MirrorReport) copied(member string) {
	if r.Copied == nil {
		r.Copied = map[string]int{}
	}
	r.Copied[member]++
}

// Mirror copies to the members of a layout what every member must have a copy of, key slots, snapshots and marks, wherever in
// the archive it is. The layout may be one that is only planned (Change.Placements). It needs no key. Each copy proves
// itself before it is written, and is read back.
func (a *Archive) Mirror(ctx context.Context, to Placement) (*MirrorReport, error) {
	r := &mirror{a: a, members: to.Set.Members(), failed: map[int]bool{}}
	if err := a.readRecords(ctx); err != nil && a.keys != nil { // forgotten snapshots are not copied
		return &r.report, err
	}
	for _, prefix := range MirroredPrefixes() {
		on, _, err := a.listCopies(ctx, prefix)
		if err != nil {
			return &r.report, fmt.Errorf("list %s: %w", prefix, err)
		}
		have := map[string]memberMask{}
		errs, err := to.Set.ListEach(ctx, prefix, func(member int, info remote.Info) error {
			m := have[info.Name]
			m.set(member)
			have[info.Name] = m
			return nil
		})
		if err != nil {
			return &r.report, fmt.Errorf("list %s: %w", prefix, err)
		}
		for i, err := range errs {
			if err != nil && r.members[i].Store != nil { // who is missing was told when the archive was opened
				r.fail(i, fmt.Errorf("list %s: %w", prefix, err))
			}
		}
		for _, name := range inOrder(maps.Keys(on)) {
			r.object(ctx, name, on[name], have[name], false)
		}
		if err := ctx.Err(); err != nil {
			return &r.report, err
		}
	}
	return &r.report, nil
}

// inOrder sorts the names of mirrored objects so that a snapshot comes before its mark.
func inOrder(names func(func(string) bool)) []string { return slices.Sorted(names) }

// mirror copies mirrored objects to the members of one set. A member that failed once is left alone.
type mirror struct {
	a       *Archive
	members []stripe.Member
	failed  map[int]bool
	answers func(context.Context, stripe.Member) bool // nil: all are asked until their stores give up
	report  MirrorReport
}

func (r *mirror) fail(i int, err error) {
	if !r.failed[i] {
		r.failed[i] = true
		r.report.Errs = append(r.report.Errs, err)
	}
}

// object copies one object to the members that lack it. on says which members of the archive have it, have which of the
// set's. With check the copies are compared with what they must be, and those that are bad are written again.
func (r *mirror) object(ctx context.Context, name string, on, have memberMask, check bool) {
	verify := r.a.verifierOf(name)
	if verify == nil || ctx.Err() != nil {
		return // not ours: docs/format.md §1
	}
	var lack []int
	for i, m := range r.members {
		if m.Store == nil || r.failed[i] || have.has(i) && !check {
			continue
		}
		if r.answers != nil && !r.answers(ctx, m) {
			r.failed[i] = true // that it does not answer was told
			continue
		}
		if !have.has(i) || badCopy(ctx, m.Store, name, verify) {
			lack = append(lack, i)
		}
	}
	if len(lack) == 0 || r.doubtful(name, on) {
		return
	}
	data, err := r.a.all.GetVerified(ctx, name, verify)
	if errors.Is(err, remote.ErrNotExist) || ctx.Err() != nil {
		return // removed since it was listed
	}
	if err != nil {
		r.report.Errs = append(r.report.Errs, err) // bad everywhere: nothing to copy
		return
	}
	for _, i := range lack {
		if err := r.copyTo(ctx, r.members[i], name, data); err != nil {
			r.fail(i, fmt.Errorf("copy %s to %s: %w", name, r.members[i].Label, err))
			continue
		}
		r.report.copied(r.members[i].Label)
	}
	r.undoRemoved(ctx, name, on, lack)
}

// badCopy says whether a member has a copy that is bad; one that does not answer has none that is known to be.
func badCopy(ctx context.Context, s remote.Store, name string, verify func([]byte) error) bool {
	data, err := remote.ReadAll(ctx, s, name, stripe.MaxVerified)
	var large *remote.TooLargeError
	return err == nil && verify(data) != nil || errors.As(err, &large)
}

// Bounds of one copy.
const (
	copyWithin = 10 * time.Second
	copyRate   = 4 << 10 // bytes per second
)

func (r *mirror) copyTo(ctx context.Context, m stripe.Member, name string, data []byte) error {
	// These are small: who has taken none after so long hangs. On the slowest line a snapshot may take a while.
	ctx, cancel := context.WithTimeout(ctx, copyWithin+time.Duration(len(data)/copyRate)*time.Second)
	defer cancel()
	if err := m.Store.Put(ctx, name, data); err != nil {
		return err
	}
	got, err := remote.ReadAll(ctx, m.Store, name, int64(len(data)))
	if err == nil && !bytes.Equal(got, data) {
		err = errors.New("it reads back differently")
	}
	return err
}

// undoRemoved takes the copies back when the object was removed from where it came from while it was copied: nobody removes what
// he did not see.
func (r *mirror) undoRemoved(ctx context.Context, name string, on memberMask, lack []int) {
	for i, m := range r.a.all.Members() {
		if !on.has(i) || m.Store == nil {
			continue
		}
		if m.Benched {
			return // it may have it
		}
		if _, err := m.Store.Stat(ctx, name); !errors.Is(err, remote.ErrNotExist) {
			return
		}
	}
	for _, i := range lack {
		if err := r.members[i].Store.Delete(ctx, name); err != nil {
			r.fail(i, fmt.Errorf("remove %s from %s, as it was elsewhere: %w", name, r.members[i].Label, err))
		}
	}
}

// doubtful says whether a key slot is on so few members that it was rather removed while they were away than added while all
// others were. A key that was removed must not come back by itself; what is not copied can still open the archive.
func (r *mirror) doubtful(name string, on memberMask) bool {
	slot, ok := strings.CutPrefix(name, keyPrefix)
	if !ok {
		return false
	}
	n := 0
	for i := range r.a.geom.N() {
		if on.has(i) {
			n++
		}
	}
	if 2*n >= r.a.geom.N() {
		return false
	}
	r.report.Kept = append(r.report.Kept, fmt.Sprintf("key slot %s is on %d of %d members: it was removed while they were away, or added while the others were; "+
		"`cairn key remove %s` removes it for good, and a slot added anew reaches all", slot, n, r.a.geom.N(), slot))
	return true
}

// verifierOf returns how a mirrored object proves itself, or nil when the name is not one of the archive's, or a snapshot that was
// forgotten: it must not come back.
func (a *Archive) verifierOf(name string) func([]byte) error {
	if base, ok := strings.CutPrefix(name, keyPrefix); ok {
		if _, err := seal.ParseSlotID(base); err != nil {
			return nil
		}
		return func(data []byte) error { _, err := a.parseSlot(name, data); return err }
	}
	if id, ok := ParseRecordName(name); ok {
		if a.keys != nil && a.folded(id) {
			return nil
		}
		return func(data []byte) error { return verifyNamed(id, data) }
	}
	if id, ok := ParseRefName(name); ok {
		return func(data []byte) error { return a.verifyRef(id, data) }
	}
	id, mark, ok := ParseSnapshotName(name)
	if !ok || a.Forgotten(id) {
		return nil
	}
	if mark {
		return func(data []byte) error { return a.verifyMark(id, data) }
	}
	return func(data []byte) error { return verifyNamed(id, data) }
}
