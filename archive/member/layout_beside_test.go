package member

import (
	"errors"
	"strings"
	"testing"

	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// TestReaderBeside: who opened the archive by the new cards before the packs were rewritten finds the blobs at their new
// places, and stores nothing twice.
func TestReaderBeside(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	for i := range 3 {
		b.backup(b.mustOpen(), byte(i), 2, 3000)
	}
	f := &fuse{left: -1}
	b.via = func(_ string, s remote.Store) remote.Store { // dies when the first pack is to be written
		return &hooks{&fused{f, s}, func(object string) {
			if strings.HasPrefix(object, "binaries/") {
				f.mu.Lock()
				f.left = 0
				f.mu.Unlock()
			}
		}}
	}
	if _, err := b.relayout(t.Context(), change{2, 2, names(4)}); err == nil {
		t.Fatal("the fuse did not blow")
	}
	b.via, b.names = nil, names(4)
	reader, writer := b.mustOpen(), b.mustOpen()
	b.restore(reader, 3)
	if _, err := writer.Index(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := Finish(t.Context(), b.mustOpen(), RewriteOptions{Dir: b.dir})
	b.must(err)
	if r.Packs != 6 {
		t.Errorf("%+v", r)
	}
	b.restore(reader, 3)
	before := len(b.objects("/m0", "binaries/"))
	b.backup(writer, 1, 2, 3000) // the same files again
	if n := len(b.objects("/m0", "binaries/")); n != before {
		t.Errorf("%d packs more", n-before)
	}
	b.clean()
	b.tidy(0)
	b.survives(2, 4)
}

// TestTwoAtOnce: two runs that rewrite the same packs lose nothing, whether one of them notices the other or not.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	for i := range 6 {
		b.backup(b.mustOpen(), byte(i), 2, 3000)
	}
	a := b.mustOpen()
	change, err := a.PlanLayout(1, 2, []string{a.Members()[0].ID, a.Members()[1].ID, ""})
	b.must(err)
	to := b.member("/m2")
	stores := map[string]remote.Store{change.New()[0]: to.Store}
	_, err = a.Mirror(t.Context(), change.Placements(stores)[0])
	b.must(err)
	_, err = a.WriteCards(t.Context(), change, stores)
	b.must(err)
	b.names = names(3)
	done := make(chan error, 2)
	for i := range 2 {
		c := b.mustOpen()
		dir := t.TempDir()
		go func() {
			_, err := Finish(t.Context(), c, RewriteOptions{RoundPacks: 2 + i, Dir: dir})
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Logf("one noticed: %v", err)
		}
	}
	b.restore(b.mustOpen(), 6)
	_, err = Finish(t.Context(), b.mustOpen(), RewriteOptions{Dir: t.TempDir()})
	b.must(err)
	b.restore(b.mustOpen(), 6)
	b.survives(2, 6)
}

// TestLayoutNeedsReadKey: a writer key is refused before anything is written, because it cannot sign what the change removes.
func TestLayoutNeedsReadKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	b.backup(b.mustOpen(), 1, 2, 3000)
	var err error
	b.keys, err = b.keys.NewWriterKeys()
	b.must(err)
	r, err := b.relayout(t.Context(), change{2, 1, names(3)})
	if !errors.Is(err, seal.ErrNoReadKey) || r.Packs != 0 || len(b.objects("/m2", "")) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Finish(t.Context(), b.mustOpen(), RewriteOptions{}); !errors.Is(err, seal.ErrNoReadKey) || remote.Hint(err) == "" {
		t.Errorf("finish: %v", err)
	}
}

// TestEstimate: what is told beforehand is about what happens.
func TestEstimate(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	for i := range 3 {
		b.backup(b.mustOpen(), byte(i), 3, 50000)
	}
	e, err := EstimateLayout(t.Context(), b.mustOpen(), pack.Geometry{K: 4, M: 2}, RewriteOptions{})
	b.must(err)
	r, err := b.relayout(t.Context(), change{4, 2, names(6)})
	b.must(err)
	if e.Packs != r.Packs || e.Read < int64(r.Bytes) || e.Write < r.Written/2 || e.Write > 2*r.Written || e.Room > e.Write {
		t.Errorf("%+v, then %+v", e, r)
	}
	if e, err := EstimateLayout(t.Context(), b.mustOpen(), b.mustOpen().Geometry(), RewriteOptions{}); err != nil || e.Packs != 0 {
		t.Errorf("nothing to do: %+v, %v", e, err)
	}
}
