package archive

import (
	"errors"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
)

func TestTwoArchives(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	one, two := b.open(), b.open()
	for i := range 4 {
		writer, reader := one, two
		if i%2 == 1 {
			writer, reader = two, one
		}
		list := blobs(byte(i), 10, 2000)
		b.save(writer, list...)
		b.fetchAll(reader, list) // by itself: the blobs are not in its index yet
		if err := reader.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := b.writer(reader)
		if known, err := w.Known(chunk.Data, ids(list)); err != nil || !known {
			t.Errorf("%v, %v", known, err)
		}
		if err := w.Suspend(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestSegmentGone: the index must never know more than the archive.
func TestSegmentGone(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	kept := index.NewMap()
	o := b.options()
	o.OpenIndex = func(seal.ArchiveID) (Index, error) { return kept, nil }
	var said notices
	o.Notice = said.add
	first, second := blobs(1, 10, 2000), blobs(2, 10, 2000)
	b.save(b.open(), first...)
	before := b.names("index/")
	a := b.openWith(o)
	b.save(a, second...)
	remove(t, b.mem[0], before[0])
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := b.fetch(a, append(ids(first), ids(second)...))
	var lost *FetchError
	if !errors.As(err, &lost) || len(lost.Missing) != 10 || len(got) != 10 {
		t.Errorf("%d blobs, %v, said %s", len(got), err, &said)
	}
}

func TestDamagedSegment(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {2, 1}} {
		b := newBench(t, g[0], g[1])
		first, second := blobs(1, 10, 2000), blobs(2, 10, 2000)
		b.save(b.open(), first...)
		name := b.names("index/")[0]
		b.save(b.open(), second...)
		for _, fn := range []func([]byte) []byte{flip(pack.HeaderSize + 100), half, empty} {
			var whole []byte
			change(t, b.mem[0], name, func(d []byte) []byte { whole = append(whole, d...); return fn(d) })
			var said notices
			o := b.options()
			o.Notice = said.add
			a := b.openWith(o)
			b.fetchAll(a, second)
			got, err := b.fetch(a, ids(first))
			if g[1] > 0 {
				if err != nil || len(got) != 10 || said.String() != "" {
					t.Errorf("not healed: %d blobs, %v, said %s", len(got), err, &said)
				}
			} else {
				var one *MissingError
				if !errors.As(err, &one) || len(got) != 0 {
					t.Errorf("%d blobs, %v", len(got), err)
				}
				if n := strings.Count(said.String(), "index segment"); n != 1 {
					t.Errorf("told of %d times: %s", n, &said)
				}
				r, err := a.RebuildIndex(t.Context(), RebuildOptions{})
				if err != nil || r.Segments != 1 || r.Packs != 1 || r.Blobs != 10 || r.Published != 1 || len(r.Damaged) != 0 || len(r.GivenUp) != 1 {
					t.Errorf("%+v, %v", r, err)
				}
				b.fetchAll(b.open(), append(first, second...))
				for _, n := range b.names("index/") { // back to one damaged and one good segment
					if n != name && n != b.names("index/")[0] {
						remove(t, b.mem[0], n)
					}
				}
				b = newBench(t, g[0], g[1])
				b.save(b.open(), first...)
				name = b.names("index/")[0]
				b.save(b.open(), second...)
				continue
			}
			change(t, b.mem[0], name, func([]byte) []byte { return whole })
		}
	}
}

// TestUnfinishedSegment: what an upload that was cut short left is passed over in silence.
func TestUnfinishedSegment(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	first, second := blobs(1, 10, 2000), blobs(2, 10, 2000)
	b.save(b.open(), first...)
	name := b.names("index/")[0]
	b.save(b.open(), second...)
	remove(t, b.mem[0], name)
	remove(t, b.mem[2], name)
	var said notices
	o := b.options()
	o.Notice = said.add
	a := b.openWith(o)
	b.fetchAll(a, second)
	r, err := a.RebuildIndex(t.Context(), RebuildOptions{})
	if err != nil || len(r.Damaged) > 0 || r.Segments != 1 || r.Blobs != 10 || said.String() != "" {
		t.Errorf("%+v, %v, said %s", r, err, &said)
	}
	b.fetchAll(b.open(), append(first, second...))
}

// brokenIndex gives an error for ever, from some moment on.
type brokenIndex struct {
	*index.Map
	left int
}

var errBroken = errors.New("directory is gone")

func (x *brokenIndex) Live(t chunk.Type, ids []chunk.ID, out []pack.ID) error {
	if x.left--; x.left < 0 {
		return errBroken
	}
	return x.Map.Live(t, ids, out)
}

func (x *brokenIndex) Apply(segment pack.ID, cols []pack.Column) error {
	if x.left < 0 {
		return errBroken
	}
	return x.Map.Apply(segment, cols)
}

// TestIndexLost: the local index goes in the middle of a backup, which goes on with another one.
func TestIndexLost(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	list := blobs(1, 200, 2000)
	b.save(b.open(), list[:50]...)
	opened := 0
	o := b.options()
	o.IndexLost = func(err error) bool { return errors.Is(err, errBroken) }
	o.OpenIndex = func(seal.ArchiveID) (Index, error) {
		if opened++; opened == 1 {
			return &brokenIndex{index.NewMap(), 100}, nil
		}
		return index.NewMap(), nil
	}
	a := b.openWith(o)
	before := len(b.names("binaries/"))
	b.save(a, list...)
	if opened != 2 {
		t.Errorf("opened %d times", opened)
	}
	b.fetchAll(b.open(), list)
	seen := 0
	err := b.open().ReadSegments(t.Context(), func(_ pack.ID, cols []pack.Column, err error) error {
		for _, c := range cols {
			seen += len(c.Entries)
		}
		return err
	})
	if err != nil || seen != len(list) {
		t.Errorf("%d blobs are stored, %d are different (%d packs before), %v", seen, len(list), before, err)
	}
	// An error that is not about the index being lost is the caller's.
	o.IndexLost = nil
	opened = 0
	w := b.writer(b.openWith(o))
	for i := range 200 {
		if _, err = w.Save(t.Context(), chunk.Data, []byte{byte(i), 1}); err != nil {
			break
		}
	}
	if !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	if _, err := w.Commit(t.Context(), newSnapshot()); !errors.Is(err, errBroken) {
		t.Errorf("committed: %v", err)
	}
	_ = w.Suspend(t.Context())
}

// TestConflictingSegment: a segment that contradicts another one costs no more than what it lies about.
func TestConflictingSegment(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	first, second := blobs(1, 10, 2000), blobs(2, 10, 2000)
	b.save(a, first...)
	b.save(a, second...)
	var columns []pack.Column
	err := a.ReadSegments(t.Context(), func(_ pack.ID, c []pack.Column, err error) error { columns = append(columns, c...); return err })
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range b.names("index/") {
		remove(t, b.mem[0], name)
	}
	// One wrong, one right, then all right.
	lie := columns[0]
	lie.L += pack.Align
	for _, cols := range [][]pack.Column{{lie}, {columns[0], columns[1]}} {
		w, err := b.open().NewWriter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.putSegments(t.Context(), cols); err != nil && !strings.Contains(err.Error(), "differs") {
			t.Fatal(err)
		}
		w.end()
	}
	var said notices
	o := b.options()
	o.Notice = said.add
	fresh := b.openWith(o)
	b.fetchAll(fresh, second)
	if !strings.Contains(said.String(), "left out in part") {
		t.Errorf("said: %s", &said)
	}
	if err := fresh.ReloadIndex(t.Context(), func(_ pack.ID, _ []pack.Column, err error) error { return err }); err != nil {
		t.Error(err)
	}
}
