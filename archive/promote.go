package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

// keptRefs is how many records of one name are kept: the one that holds, and what it stood for before.
const keptRefs = 32

// RefRaceError says that somebody else set the same reference at the same moment, and that his record holds.
type RefRaceError struct{ Holds *Ref }

func (e *RefRaceError) Error() string {
	what := "taken away"
	if !e.Holds.Demotes() {
		what = "set to snapshot " + e.Holds.Snapshot.Short()
	}
	return fmt.Sprintf("reference %q was %s by %s@%s at the same moment, and that holds", e.Holds.Name, what, e.Holds.User, e.Holds.Host)
}

// Hint returns the next step.
func (e *RefRaceError) Hint() string {
	return "`cairn tag list` shows what holds; promote again if it is to be yours"
}

// SetRef makes a reference stand for a snapshot, or with nil for none: it publishes a record on all members that are there. r says who, when and
// why; what is left is filled in. It returns the record that holds, and whether that was made now: a name that stands for the snapshot already is left as it is.
//
// Nobody waits for anybody. After publishing the records are read again: if those of others hold, that is a *RefRaceError. Then it is looked whether
// the snapshot was forgotten meanwhile; who forgets publishes his record and then reads the references (see Forget), so of the two at least one sees
// the other. A crash in between leaves the reference set, or as it was.
func (a *Archive) SetRef(ctx context.Context, r Ref, s *snapshot.Snapshot) (*Ref, bool, error) {
	if err := checkPromotion(r.Name, s); err != nil {
		return nil, false, err
	}
	list, err := a.Refs(ctx)
	if err == nil {
		err = a.AllRefs()
	}
	if err != nil {
		return nil, false, err
	}
	before := Holding(list)[r.Name]
	if before.standsFor(s) && before.From == r.From {
		return before, false, nil
	}
	if err := r.follow(before, s); err != nil {
		return nil, false, err
	}
	if err := a.putRef(ctx, &r); err != nil {
		return nil, false, err
	}
	if err := a.settleRef(ctx, &r, before); err != nil {
		return nil, false, err
	}
	return &r, true, nil
}

func checkPromotion(name string, s *snapshot.Snapshot) error {
	if err := CheckRefName(name); err != nil {
		return err
	}
	if s != nil && s.Incomplete {
		return remote.WithHint(fmt.Errorf("snapshot %s is incomplete: no reference can stand for it", s.ID.Short()), "it goes when a later backup of its series is complete; promote that")
	}
	return nil
}

// standsFor says whether a name stands for a snapshot, or for none, as far as this record says. No record means none.
func (r *Ref) standsFor(s *snapshot.Snapshot) bool {
	switch {
	case r == nil || r.Demotes():
		return s == nil
	case s == nil:
		return false
	}
	return firstOf(s) == r.First && treeOf(s) == r.Tree
}

// follow makes the record the one after before.
func (r *Ref) follow(before *Ref, s *snapshot.Snapshot) error {
	if r.Sequence = 1; before != nil {
		if before.Sequence == math.MaxUint64 {
			return fmt.Errorf("reference %q was set too often", r.Name)
		}
		r.Sequence = before.Sequence + 1
	}
	r.Snapshot, r.First, r.Tree = chunk.ID{}, chunk.ID{}, chunk.ID{}
	if s != nil {
		r.Snapshot, r.First, r.Tree = s.ID, firstOf(s), treeOf(s)
	}
	return nil
}

// putRef publishes a record and sets its ID.
func (a *Archive) putRef(ctx context.Context, r *Ref) error {
	body, err := r.encode()
	if err != nil {
		return err
	}
	object, err := a.keys.EncodeRef(body)
	if err != nil {
		return err
	}
	r.ID = chunk.Sum(object)
	name := snapshotPrefix + r.ID.String() + refSuffix
	stored, err := a.set.PutAll(ctx, name, object)
	if err != nil {
		return fmt.Errorf("publish reference %q: %w", r.Name, err)
	}
	a.listings.missed(name, stored)
	return nil
}

// settleRef looks whether what was published holds, and whether its snapshot is still there; before is what held until then, or nil.
func (a *Archive) settleRef(ctx context.Context, r, before *Ref) error {
	names, _, err := a.listCopies(ctx, snapshotPrefix)
	if err != nil {
		return fmt.Errorf("list references: %w", err)
	}
	list, err := a.readRefs(ctx, names)
	if err != nil {
		return err
	}
	if holds := Holding(list)[r.Name]; holds != nil && holds.ID != r.ID {
		return &RefRaceError{holds}
	}
	if err := a.readRecords(ctx); err != nil {
		return err
	}
	if !r.Demotes() {
		there, err := a.promoted(ctx, r)
		if err != nil {
			return err
		}
		if !there {
			return errors.Join(remote.WithHint(fmt.Errorf("snapshot %s: %w", r.Snapshot.Short(), errForgottenMeanwhile), "promote another one"), a.withdraw(ctx, r, before))
		}
	}
	a.trimRefs(ctx, list, r.Name)
	return nil
}

// promoted says whether the snapshot of a record is there, as the records say by now.
func (a *Archive) promoted(ctx context.Context, r *Ref) (bool, error) {
	if !a.Forgotten(r.Snapshot) {
		return true, nil // it was listed, and only who forgets removes
	}
	list, _, err := a.Snapshots(ctx) // it may go on under another id
	return err == nil && r.Find(list) != nil, err
}

// withdraw takes a record back: what was before holds again.
func (a *Archive) withdraw(ctx context.Context, r, before *Ref) error {
	back := Ref{Name: r.Name, Time: r.Time, User: r.User, Host: r.Host, Program: r.Program}
	if before != nil {
		back = *before
	}
	back.Sequence = r.Sequence + 1
	return a.putRef(ctx, &back)
}

// trimRefs removes the oldest records of a name. One that is in the way (a lock, a member that is away) stays for the next time: what holds is
// never decided by what is missing before it.
func (a *Archive) trimRefs(ctx context.Context, list []*Ref, name string) {
	list = slices.DeleteFunc(slices.Clone(list), func(r *Ref) bool { return r.Name != name })
	for _, r := range list[:max(0, len(list)-keptRefs)] {
		if err := a.all.Delete(ctx, snapshotPrefix+r.ID.String()+refSuffix); err != nil {
			return
		}
	}
}

// revive publishes again what was just forgotten although a reference stands for it by now: somebody promoted it after the references were read that
// the decision to forget rests on. It returns the ids of what was forgotten and of what there is in its place.
func (a *Archive) revive(ctx context.Context, ids []chunk.ID) (map[chunk.ID]chunk.ID, error) {
	refs, err := a.Refs(ctx)
	if err != nil || len(refs) == 0 {
		return nil, err
	}
	list, _, err := a.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	var gone []*snapshot.Snapshot // of those that were just forgotten
	revived := map[chunk.ID]chunk.ID{}
	for _, r := range Holding(refs) {
		if r.Demotes() || r.Find(list) != nil {
			continue
		}
		if gone == nil {
			gone = a.readable(ctx, ids)
		}
		s := r.Find(gone)
		if s == nil || revived[s.ID] != (chunk.ID{}) {
			continue
		}
		again := *s
		again.Original = firstOf(s)
		c := &republication{commit: commit{s: &again}, mark: true, news: true}
		id, err := a.republish(ctx, c)
		if err == nil && c.lost {
			err = errors.New("some of what it needs was pruned already")
		}
		if err != nil {
			return revived, fmt.Errorf("snapshot %s was promoted to %q while it was forgotten, and cannot be kept: %w", s.ID.Short(), r.Name, err)
		}
		revived[s.ID] = id
	}
	return revived, nil
}

// readable reads those of some complete snapshots that can be read.
func (a *Archive) readable(ctx context.Context, ids []chunk.ID) []*snapshot.Snapshot {
	var list []*snapshot.Snapshot
	for _, id := range ids {
		if s, err := a.listedSnapshot(ctx, id); err == nil {
			list = append(list, s)
		}
	}
	return list
}
