package prune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"cairn/archive"
	"cairn/archive/check"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// ruin makes a pack lost: of the shards of all but keep members, those with even numbers are removed, and of the others the first blocks rot.
func (b *bench) ruin(id pack.ID, keep int) {
	b.t.Helper()
	for i, name := range b.names[:len(b.names)-keep] {
		data, err := b.mem[name].Get(b.t.Context(), id.Name(chunk.Data), 0, -1, nil)
		if errors.Is(err, remote.ErrNotExist) {
			continue
		}
		b.must(err)
		if i%2 == 0 {
			b.must(b.mem[name].Delete(b.t.Context(), id.Name(chunk.Data)))
			continue
		}
		for at := pack.HeaderSize; at < pack.HeaderSize+100; at++ {
			data[at] ^= 1
		}
		b.must(b.mem[name].Put(b.t.Context(), id.Name(chunk.Data), data))
	}
}

// lostPacks ruins some packs of an archive and returns their ids.
func (b *bench) lostPacks(a *archive.Archive, keep, every int) []pack.ID {
	b.t.Helper()
	var ids []pack.ID
	n := 0
	_, err := a.ListPacks(b.t.Context(), "binaries/", func(l *archive.PackListing) error {
		if n++; n%every == 0 {
			ids = append(ids, l.Pack)
		}
		return nil
	})
	b.must(err)
	for _, id := range ids {
		b.ruin(id, keep)
	}
	return ids
}

func (b *bench) giveUp(ctx context.Context, dir string, o GiveUpOptions) (*GivenUp, error) {
	a, err := b.openIn(ctx, dir)
	if err != nil {
		return &GivenUp{}, err
	}
	defer a.Close()
	o.Target = target
	return GiveUp(ctx, a, o)
}

// damaged counts what a full check finds.
func (b *bench) damaged() int {
	b.t.Helper()
	r, err := check.Run(b.t.Context(), b.open(), check.Options{ReadData: true})
	b.must(err)
	return r.Damaged
}

// TestGiveUp: what is lost is given up by name, what survives is copied out, and a backup of the source makes all snapshots whole.
// Row E26.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	for _, every := range []int{1, 2} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			t.Parallel()
			geometries(t, func(t *testing.T, b *bench) {
				a := b.open()
				all := files("d", 24)
				b.backup(a, all...)
				b.backup(a, all[:12]...)
				ids := b.lostPacks(a, b.keep(), every)
				other := b.open() // its index was read before
				_, err := other.Index(t.Context())
				b.must(err)

				dry, err := b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids, DryRun: true})
				b.must(err)
				if len(b.objects("gc/")) > 0 {
					t.Error("a dry run wrote a record")
				}
				asked := 0
				no := errors.New("no")
				_, err = b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids, Agree: func(context.Context, *GivenUp) error { asked++; return no }})
				if !errors.Is(err, no) || asked != 1 || len(b.objects("gc/"))+len(b.objects("sessions/")) > 0 {
					t.Errorf("without consent: %v, asked %d times", err, asked)
				}
				r, err := b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids})
				b.must(err)
				if len(r.Packs) != len(ids) || r.Fresh != len(ids) || r.Records != 1 || r.Deleted.Packs != len(ids) || every == 1 && r.GaveUp() == 0 {
					t.Errorf("%+v", r)
				}
				if every == 1 && b.keep() > 0 && r.Rescued == 0 || dry.Rescued != r.Rescued || dry.Stranded != r.Stranded {
					t.Errorf("rescued %d of %d, the dry run said %d of %d", r.Rescued, r.Stranded, dry.Rescued, dry.Stranded)
				}
				lacks := r.GaveUp() > 0 // by chance, all of it is in columns that are left
				if got := b.damaged(); got > 0 != lacks {
					t.Errorf("%d blobs were given up, a check finds %d damages", r.GaveUp(), got)
				}
				var damage *DamageError
				if _, err := b.tryPrune(t.Context(), Options{}); errors.As(err, &damage) != lacks {
					t.Errorf("%d blobs were given up; prune: %v", r.GaveUp(), err)
				}
				again, err := b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids})
				b.must(err)
				if len(again.Packs)+again.Records != 0 {
					t.Errorf("given up again: %+v", again)
				}
				b.backup(other, all...)
				b.backup(other, all[:12]...)
				b.restore(4)
				b.clean()
				b.prune()
				b.exact()
				b.restore(4)
			})
		})
	}
}

// keep is how many good shards a lost pack has.
func (b *bench) keep() int {
	switch len(b.names) {
	case 1:
		return 0
	case 3:
		return 1
	}
	return 3
}

// TestGiveUpReadable: a pack that can be read is left alone, whatever somebody says of it, and so is everything when a member is away.
func TestGiveUpReadable(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	b.backup(a, files("d", 12)...)
	var ids []pack.ID
	for _, name := range b.objects("binaries/") {
		id, _, _ := pack.ParseName(name)
		ids = append(ids, id)
		b.must(b.mem["/m0"].Delete(t.Context(), name))
	}
	r, err := b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids})
	b.must(err)
	if len(r.Readable) != len(ids) || len(r.Packs) > 0 || r.Records > 0 {
		t.Errorf("%+v", r)
	}
	b.restore(1)
	b.ruin(ids[0], 1)
	m1 := b.mem["/m1"]
	b.mem["/m1"] = nil
	if _, err := b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids}); err == nil || len(b.objects("gc/")) > 0 {
		t.Errorf("with a member away: %v", err)
	}
	b.mem["/m1"] = m1
}

// TestGiveUpInterrupted stops it at each operation; a backup may come between, and the next one finishes, on this machine or another one.
func TestGiveUpInterrupted(t *testing.T) {
	t.Parallel()
	origin := newBench(t, 2, 1)
	a := origin.open()
	all := files("d", 16)
	origin.backup(a, all...)
	ids := origin.lostPacks(a, 1, 2)
	step := 11
	if os.Getenv("CAIRN_SOAK") != "" {
		step = 1
	}
	for n, round := 0, 0; ; n, round = n+step, round+1 {
		b := origin.clone(t)
		f := &fuse{left: n}
		b.via = (&gate{before: f.burn}).via
		dir := t.TempDir()
		_, err := b.giveUp(t.Context(), dir, GiveUpOptions{Packs: ids})
		b.via = nil
		if err == nil && f.used <= n {
			break
		}
		if round%2 == 0 {
			dir = t.TempDir()
		}
		backups := 1
		if round%3 == 0 {
			b.backup(b.open(), all...)
			backups++
		}
		if _, err := b.giveUp(t.Context(), dir, GiveUpOptions{Packs: ids}); err != nil {
			t.Errorf("stopped before operation %d: the next run: %v", n, err)
		}
		b.backup(b.open(), all...)
		b.restore(backups + 1)
		_, err = b.tryPrune(t.Context(), Options{SessionAge: 1})
		b.must(err)
		b.exact()
		b.clean()
		b.restore(backups + 1)
		if t.Failed() {
			t.Fatalf("stopped before operation %d", n)
		}
	}
}

// TestGiveUpPruneFinishes: a run that was stopped behind its record is finished by a prune, once the source was backed up.
func TestGiveUpPruneFinishes(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	all := files("d", 16)
	b.backup(a, all...)
	ids := b.lostPacks(a, 1, 1)
	b.via = (&gate{before: func(op, name string) error {
		if op == "delete" {
			return errBlown
		}
		return nil
	}}).via
	if _, err := b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids}); err == nil {
		t.Fatal("it was not stopped")
	}
	b.via = nil
	if len(b.objects("gc/")) != 1 {
		t.Fatal("no record")
	}
	var damage *DamageError
	if _, err := b.tryPrune(t.Context(), Options{SessionAge: 1}); !errors.As(err, &damage) {
		t.Errorf("prune while something is missing: %v", err)
	}
	b.backup(b.open(), all...)
	_, err := b.tryPrune(t.Context(), Options{SessionAge: 1})
	b.must(err)
	b.exact()
	b.clean()
	b.restore(2)
}

// TestGiveUpBetween lets others work before each operation, once: a backup that relies on what is lost stores it anew, or fails.
func TestGiveUpBetween(t *testing.T) {
	t.Parallel()
	origin := newBench(t, 2, 1)
	a := origin.open()
	all := files("d", 16)
	origin.backup(a, all...)
	ids := origin.lostPacks(a, 1, 2)
	step := 9
	if os.Getenv("CAIRN_SOAK") != "" {
		step = 1
	}
	for n := 0; ; n += step {
		b := origin.clone(t)
		// This backup was begun before, and has walked: it relies on the lost packs.
		other := b.open()
		w, err := other.NewWriter(t.Context())
		b.must(err)
		s, err := b.fill(t.Context(), w, all)
		b.must(err)
		var mu sync.Mutex
		ops, done := 0, false
		var commit error
		b.via = (&gate{before: func(string, string) error {
			mu.Lock()
			defer mu.Unlock()
			if ops++; ops != n+1 {
				return nil
			}
			done = true
			_, commit = w.Commit(t.Context(), s)
			return nil
		}}).via
		_, err = b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids})
		b.via = nil
		b.must(err)
		if !done {
			_, commit = w.Commit(t.Context(), s)
		}
		if errors.Is(commit, archive.ErrStoreAnew) {
			s, err = b.fill(t.Context(), w, all)
			b.must(err)
			_, commit = w.Commit(t.Context(), s)
		}
		b.must(commit)
		if !done { // it came after the record, so it had to notice, and its snapshot is whole
			b.restore(2)
			break
		}
		b.backup(b.open(), all...)
		b.restore(3)
	}
}

// TestGiveUpLocked: what an object lock holds is condemned all the same, and its data is stored anew.
func TestGiveUpLocked(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	all := files("d", 16)
	b.backup(a, all...)
	ids := b.lostPacks(a, 1, 1)
	b.via = (&gate{before: func(op, name string) error {
		if _, _, ok := pack.ParseName(name); op == "delete" && ok {
			return remote.ErrLocked
		}
		return nil
	}}).via
	r, err := b.giveUp(t.Context(), "", GiveUpOptions{Packs: ids})
	b.must(err)
	if r.Locked.Packs != len(ids) || r.Deleted.Packs != 0 {
		t.Errorf("%+v", r)
	}
	b.backup(b.open(), all...)
	b.restore(2)
	if r, err := b.giveUp(t.Context(), "", GiveUpOptions{}); err != nil || r.Records != 0 || r.Stranded != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
	b.via = nil
	_, err = b.tryPrune(t.Context(), Options{SessionAge: 1})
	b.must(err)
	b.exact()
	b.clean()
	b.restore(2)
}

// TestAbsences: a member that lost most of its shards at once is named.
func TestAbsences(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	a := b.open()
	for i := range manyShards {
		b.backup(a, files(fmt.Sprint("x", i, "-"), 1)...)
	}
	list, err := Absences(t.Context(), b.open())
	b.must(err)
	if len(list) > 0 {
		t.Errorf("nothing is missing: %v", list)
	}
	for _, name := range b.objects("binaries/") {
		b.must(b.mem["/m1"].Delete(t.Context(), name))
	}
	if list, err = Absences(t.Context(), b.open()); err != nil || len(list) != 1 || list[0].Missing != list[0].Expected || list[0].Member != "/m1" {
		t.Errorf("%v, %v", list, err)
	}
}
