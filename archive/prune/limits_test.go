package prune

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
)

// TestDryRun says what would be done, and writes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	geometries(t, func(t *testing.T, b *bench) {
		a := b.open()
		first := b.backup(a, files("d", 24)...)
		b.backup(a, files("d", 6)...)
		gone := b.backup(a, files("z", 8)...)
		b.forget(a, first, gone)
		before := b.objects("")
		dry, err := b.tryPrune(t.Context(), Options{DryRun: true})
		b.must(err)
		if diff := cmp.Diff(before, b.objects("")); diff != "" {
			t.Errorf("a dry run changes: %s", diff)
		}
		r := b.prune()
		if dry.Copied != r.Copied || dry.CopiedBytes != r.CopiedBytes || dry.Unneeded != r.Unneeded || dry.Repacked != r.Repacked || dry.Needed != r.Needed {
			t.Errorf("dry run %+v, run %+v", dry, r)
		}
		if dry.Unneeded.Packs+dry.Repacked.Packs != r.Deleted.Packs {
			t.Errorf("%d and %d packs, %d deleted", dry.Unneeded.Packs, dry.Repacked.Packs, r.Deleted.Packs)
		}
		if want := r.Deleted.Bytes; dry.Estimate <= 0 || dry.Estimate > want {
			t.Errorf("%d bytes would be freed, %d were deleted", dry.Estimate, want)
		}
	})
}

// TestDryForget: what would be gained if snapshots were forgotten is what is gained when they are.
func TestDryForget(t *testing.T) {
	t.Parallel()
	geometries(t, func(t *testing.T, b *bench) {
		a := b.open()
		first := b.backup(a, files("d", 24)...)
		b.backup(a, files("d", 6)...)
		gone := b.backup(a, files("z", 8)...)
		before := b.objects("")
		o := Options{DryRun: true, Forget: []chunk.ID{first.ID, gone.ID}}
		dry, err := b.tryPrune(t.Context(), o)
		b.must(err)
		if diff := cmp.Diff(before, b.objects("")); diff != "" {
			t.Errorf("a dry run changes: %s", diff)
		}
		b.forget(a, first, gone)
		then, err := b.tryPrune(t.Context(), Options{DryRun: true})
		b.must(err)
		if diff := cmp.Diff(then, dry); diff != "" || dry.Estimate <= 0 || dry.Unneeded.Packs == 0 {
			t.Errorf("%+v: %s", dry, diff)
		}
		if o.DryRun = false; o.Validate() == nil {
			t.Error("a run that writes would take snapshots for forgotten")
		}
	})
}

// TestLimits: garbage within the limit stays.
func TestLimits(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	first := b.backup(a, files("d", 24)...)
	b.backup(a, files("d", 20)...)
	b.forget(a, first)
	r, err := b.tryPrune(t.Context(), Options{Limits: Limits{MaxUnused: 0.5}})
	b.must(err)
	if r.Repacked.Packs != 0 || r.Unused == 0 {
		t.Errorf("half may be garbage: %+v", r)
	}
	r, err = b.tryPrune(t.Context(), Options{Limits: Limits{MaxRepack: 10}})
	b.must(err)
	if r.Copied != 0 || !r.Bounded {
		t.Errorf("10 bytes may be copied: %+v", r)
	}
	r, err = b.tryPrune(t.Context(), Options{Limits: Limits{MaxUnused: 0.05}})
	b.must(err)
	if r.Repacked.Packs != 0 || r.WrittenBytes != 0 {
		t.Errorf("the packs would not be smaller: %+v", r)
	}
	b.size = 40_000
	b.forget(a, b.backup(a, files("e", 24)...))
	b.backup(a, files("e", 12)...)
	r, err = Run(t.Context(), b.open(), Options{Limits: Limits{MaxUnused: 0.05}})
	b.must(err)
	if r.Repacked.Packs == 0 || r.Freed() <= 0 {
		t.Errorf("5 %% may be garbage: %+v", r)
	}
	b.clean()
	b.restore(2)
}

// TestTiny: in a small archive nothing is repacked that would be no smaller then, and each run is the last.
func TestTiny(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	b.size = 100
	a := b.open()
	b.forget(a, b.backup(a, files("d", 12)...))
	b.backup(a, files("d", 6)...)
	before := b.bytes("")
	for i := range 3 {
		r, err := b.tryPrune(t.Context(), Options{Limits: Limits{MaxUnused: 0.05}})
		b.must(err)
		if r.Copied != 0 || b.bytes("") > before {
			t.Errorf("run %d: %d bytes before, %d after: %+v", i, before, b.bytes(""), r)
		}
	}
	b.clean()
	b.restore(1)
	// Who wants to be rid of what was forgotten is.
	b.prune()
	b.exact()
}
