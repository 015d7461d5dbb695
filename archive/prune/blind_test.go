package prune

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/archive"
	"cairn/remote"
	"cairn/remote/stripe"
)

// spoil inverts a byte of an object on a member.
func (b *bench) spoil(member, name string) {
	b.t.Helper()
	data, err := b.mem[member].Get(b.t.Context(), name, 0, -1, nil)
	b.must(err)
	data[len(data)/2] ^= 0xff
	b.must(b.mem[member].Put(b.t.Context(), name, data))
}

// dying stores files and a checkpoint of them, as a session whose machine goes for good, and returns its segments.
func (b *bench) dying(files ...string) (segments []string) {
	b.t.Helper()
	before := b.objects("index/")
	a := b.open()
	w, err := a.NewWriter(b.t.Context())
	b.must(err)
	s, err := b.fill(b.t.Context(), w, files)
	b.must(err)
	b.must(w.Checkpoint(b.t.Context(), s))
	b.must(w.Suspend(b.t.Context()))
	for _, name := range b.objects("index/") {
		if !slices.Contains(before, name) {
			segments = append(segments, name)
		}
	}
	return segments
}

// TestBlind: what only a rotten segment names is kept, though no complete snapshot needs it, and the way out leads to the same archive.
func TestBlind(t *testing.T) {
	t.Parallel()
	for _, parity := range []int{0, 1} {
		t.Run(fmt.Sprint(parity), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1, parity)
			a := b.open()
			b.backup(a, files("a", 8)...)
			b.forget(a, b.backup(a, files("b", 8)...))
			segments := b.dying(files("c", 8)...)
			want := b.stored()
			for _, name := range segments {
				for _, m := range b.names {
					b.spoil(m, name)
				}
			}
			before := b.objects("")
			for _, dry := range []bool{true, false} {
				_, err := b.tryPrune(t.Context(), Options{DryRun: dry, SessionAge: 1})
				var d *DamageError
				if !errors.As(err, &d) || !strings.Contains(d.Error(), segments[0]) || !strings.Contains(d.Hint(), "repair --index") || (parity > 0) != strings.Contains(d.Hint(), "enough shards") {
					t.Fatalf("dry run %v: %v; %s", dry, err, remote.Hint(err))
				}
			}
			if diff := cmp.Diff(before, b.objects("")); diff != "" {
				t.Errorf("objects: %s", diff)
			}
			r, err := b.open().RebuildIndex(t.Context(), archive.RebuildOptions{Program: "test"})
			b.must(err)
			if len(r.GivenUp) != len(segments) || len(r.Unread)+len(r.Damaged) != 0 {
				t.Fatalf("%+v", r)
			}
			b.clean()
			report, err := b.tryPrune(t.Context(), Options{SessionAge: 1})
			b.must(err)
			if report.Incomplete != 1 || report.Unneeded.Packs == 0 {
				t.Errorf("%+v", report)
			}
			for _, name := range segments {
				if slices.Contains(b.objects("index/"), name) {
					t.Errorf("%s is still there", name)
				}
			}
			got := b.stored()
			for blob := range b.needed() { // of the incomplete snapshot, too
				if want[blob] == 0 || got[blob] == 0 {
					t.Errorf("%s blob %s is gone", blob.kind, blob.id.Short())
				}
			}
			b.restore(2)
			b.clean()
			if again := b.prune(); again.Deleted.Packs != 0 {
				t.Errorf("once more: %+v", again)
			}
		})
	}
}

// TestBlindForNow: a segment that members keep to themselves for now is neither damage nor given up.
func TestBlindForNow(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 2)
	b.patience = 20 * time.Second
	segments := b.dying(files("c", 4)...)
	b.backup(b.open(), files("a", 4)...)
	b.spoil(b.names[0], segments[0])
	b.spoil(b.names[1], segments[0])
	b.via = (&gate{before: func(op, name string) error {
		if op == "get" && name == segments[0] {
			return remote.Permanent(fmt.Errorf("get %s: %w", name, errors.New("no answer")))
		}
		return nil
	}}).via
	via := b.via
	b.via = func(name string, s remote.Store) remote.Store {
		if name != b.names[2] {
			return s
		}
		return via(name, s)
	}
	_, err := b.tryPrune(t.Context(), Options{SessionAge: 1})
	var few *stripe.TooFewError
	if d := (*DamageError)(nil); errors.As(err, &d) || !errors.As(err, &few) || !strings.Contains(remote.Hint(err), "again") {
		t.Errorf("%v; %s", err, remote.Hint(err))
	}
	r, err := b.open().RebuildIndex(t.Context(), archive.RebuildOptions{})
	b.must(err)
	if len(r.Unread) != 1 || len(r.GivenUp) != 0 || !archive.Fleeting(r.WhyUnread) {
		t.Errorf("%+v", r)
	}
	b.via = nil
	b.prune()
	b.restore(2)
}
