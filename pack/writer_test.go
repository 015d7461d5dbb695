package pack

import (
	"bytes"
	"errors"
	"testing"

	"cairn/chunk"
)

// openAll opens every blob that the columns name, from the shards, and returns the plaintexts by id.
func openAll(t testing.TB, p *Sealed) map[chunk.ID][]byte {
	t.Helper()
	got := map[chunk.ID][]byte{}
	for _, c := range p.Columns {
		for _, e := range c.Entries {
			s := testKeys().IndexSession(c.SessionOf(e).ID)
			if p.Kind != chunk.Index {
				var err error
				if s, err = testKeys().OpenSession(c.SessionOf(e).ID, c.SessionOf(e).Wrap); err != nil {
					t.Fatal(err)
				}
			}
			sealed := p.Shards[c.Number][HeaderSize+int(e.Offset):][:e.Stored]
			plain, err := s.Open(nil, c.Blob(e), sealed)
			if err != nil {
				t.Fatal(err)
			}
			if _, twice := got[e.ID]; twice {
				t.Errorf("blob %s is there twice", e.ID)
			}
			got[e.ID] = plain
		}
	}
	return got
}

// wantAll checks that a pack holds just these blobs.
func wantAll(t testing.TB, p *Sealed, blobs []blob) {
	t.Helper()
	got := openAll(t, p)
	for _, b := range blobs {
		if !bytes.Equal(got[b.ID], b.plain) {
			t.Errorf("blob %s of %d bytes is not there", b.ID, len(b.plain))
		}
	}
	if len(got) != len(blobs) {
		t.Errorf("%d blobs, want %d", len(got), len(blobs))
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	for _, g := range geometries {
		for _, kind := range []chunk.Type{chunk.Data, chunk.Tree, chunk.Index} {
			p, blobs := sealPack(t, g, kind, someSizes(50)...)
			wantAll(t, p, blobs)
			if len(p.Shards) != g.N() || len(p.Columns) != g.K || p.Name != p.ID.Name(kind) || p.Kind != kind {
				t.Errorf("%s %s: %d shards, %d columns, %s", g, kind, len(p.Shards), len(p.Columns), p.Name)
			}
			for j, s := range p.Shards {
				h, err := CheckShard(p.ID, s)
				if err != nil {
					t.Fatal(err)
				}
				if h.Shard != j || h.Geometry != g {
					t.Errorf("shard %d of %s says that it is %d of %s", j, g, h.Shard, h.Geometry)
				}
			}
			for i, c := range p.Columns {
				got, need, err := ReadTail(testKeys(), p.ID, p.Shards[i])
				if err != nil || need != 0 {
					t.Fatal(need, err)
				}
				equal(t, c, *got)
			}
			p.Release()
		}
	}
}

// L is the longest column with its directory, aligned, and no more.
func TestWriterLength(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 4}, chunk.Data, someSizes(100)...)
	longest := int64(0)
	for _, c := range p.Columns {
		longest = max(longest, c.end()+int64(c.directorySize())+sealing)
	}
	if L := p.Columns[0].L; L != int64(roundUp(int(longest))) {
		t.Errorf("L = %d, longest column %d", L, longest)
	}
}

// Padding is random: it compresses as little as the rest, and no two packs have the same.
func TestWriterPadding(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 8}, chunk.Data, 3000)
	q, _ := sealPack(t, Geometry{K: 8}, chunk.Data, 3000)
	for i := range 8 {
		a, b := p.Shards[i][HeaderSize:HeaderSize+4096], q.Shards[i][HeaderSize:HeaderSize+4096]
		same := 0
		for j := range a {
			if a[j] == b[j] {
				same++
			}
		}
		if same > 60 { // 16 expected
			t.Errorf("column %d: %d of 4096 bytes are the same in two packs", i, same)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	s, other := testSession(), newSession(t)
	rng := seeded(1)
	good := newBlob(t, rng, s, chunk.Data, 500)
	w := NewWriter(testKeys(), s, chunk.Data, Geometry{K: 2}, 64<<10)
	if _, err := w.Seal(); err == nil {
		t.Error("an empty pack is sealed")
	}
	add := func(b blob, foreign *SessionWrap) error { _, err := w.Add(b.Sealed, b.sealed, foreign); return err }
	if err := add(good, nil); err != nil {
		t.Fatal(err)
	}
	if err := add(good, nil); !errors.Is(err, ErrDuplicate) {
		t.Errorf("twice: %v", err)
	}
	if err := add(newBlob(t, rng, s, chunk.Tree, 500), nil); err == nil {
		t.Error("a tree blob in a pack of data")
	}
	foreign := newBlob(t, rng, other, chunk.Data, 500)
	if err := add(foreign, nil); err == nil {
		t.Error("a blob of another session")
	}
	if err := add(foreign, &SessionWrap{ID: other.ID()}); err == nil {
		t.Error("a blob of another session without its wrap")
	}
	if err := add(foreign, &SessionWrap{ID: s.ID(), Wrap: s.Wrap()}); err == nil {
		t.Error("a blob of another session under the wrong one")
	}
	for name, change := range map[string]func(b *blob){
		"no plaintext":    func(b *blob) { b.Plain = 0 },
		"much plaintext":  func(b *blob) { b.Plain = chunk.MaxPlain + 1 },
		"no bytes":        func(b *blob) { b.sealed = nil },
		"28 bytes":        func(b *blob) { b.sealed = b.sealed[:28] },
		"too many bytes":  func(b *blob) { b.sealed = make([]byte, MaxColumn+1) },
		"compression 2":   func(b *blob) { b.Compression = 2 },
		"no room at all":  func(b *blob) { b.sealed = make([]byte, MaxColumn) },
		"no room in this": func(b *blob) { b.sealed = make([]byte, 128<<10) },
	} {
		b := newBlob(t, rng, s, chunk.Data, 300)
		change(&b)
		if err := add(b, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if n, size := w.Len(); n != 1 || size != int64(len(good.sealed)) {
		t.Errorf("after errors: %d blobs, %d bytes", n, size)
	}
	p, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, p, []blob{good})
	if err := add(newBlob(t, rng, s, chunk.Data, 10), nil); err == nil || w.Fits(100) {
		t.Error("a sealed pack takes blobs")
	}
	if _, err := w.Seal(); err == nil {
		t.Error("sealed twice")
	}
	for _, w := range []*Writer{
		NewWriter(testKeys(), s, chunk.Data, Geometry{}, 0),
		NewWriter(testKeys(), s, 9, Geometry{K: 1}, 0),
		NewWriter(testKeys(), sessionFor(chunk.Index), chunk.Data, Geometry{K: 1}, 0),
	} {
		if _, err := w.Add(good.Sealed, good.sealed, nil); err == nil || w.Fits(10) {
			t.Error("wrong arguments, yet it takes blobs")
		}
		if _, err := w.Seal(); err == nil {
			t.Error("wrong arguments, yet it seals")
		}
	}
}

// What Fits promises, Add keeps, and the pack keeps to its target.
func TestWriterFull(t *testing.T) {
	t.Parallel()
	const target = 256 << 10
	s := testSession()
	rng := seeded(9)
	for _, k := range []int{1, 4} {
		w := NewWriter(testKeys(), s, chunk.Data, Geometry{K: k}, target)
		for range 10000 {
			b := newBlob(t, rng, s, chunk.Data, 1+rng.IntN(20<<10))
			fits := w.Fits(len(b.sealed))
			_, err := w.Add(b.Sealed, b.sealed, nil)
			if fits != (err == nil) || err != nil && !errors.Is(err, ErrFull) {
				t.Fatalf("Fits is %t, Add says %v", fits, err)
			}
			if err != nil {
				break
			}
		}
		p, err := w.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if L := p.Columns[0].L; L > target || L < target*7/8 {
			t.Errorf("k=%d: L = %d, target %d", k, L, target)
		}
	}
}

// The target is soft for blobs that are larger than it.
func TestWriterLarge(t *testing.T) {
	t.Parallel()
	const target = 64 << 10
	s := testSession()
	rng := seeded(10)
	w := NewWriter(testKeys(), s, chunk.Data, Geometry{K: 2, M: 1}, target)
	var blobs []blob
	add := func(size int) {
		b := newBlob(t, rng, s, chunk.Data, size)
		if !w.Fits(len(b.sealed)) {
			t.Errorf("blob of %d bytes does not fit", size)
		}
		if _, err := w.Add(b.Sealed, b.sealed, nil); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	add(1000)
	if w.Fits(3 * target) {
		t.Error("a pack with blobs grows to three times its target")
	}
	add(target + 10)
	if !w.Fits(target/2) || !w.Fits(100) {
		t.Error("nothing fits into the shorter column")
	}
	add(target + 20)
	p, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, p, blobs)

	w = NewWriter(testKeys(), s, chunk.Data, Geometry{K: 2}, target)
	blobs = nil
	add(chunk.MaxPlain)
	add(5)
	if p, err = w.Seal(); err != nil {
		t.Fatal(err)
	}
	if L := p.Columns[0].L; L != chunk.MaxPlain+4096 {
		t.Errorf("L = %d", L)
	}
	wantAll(t, p, blobs)
	p.Release()
}

func TestWriterForeign(t *testing.T) {
	t.Parallel()
	s, rng := testSession(), seeded(11)
	w := NewWriter(testKeys(), s, chunk.Data, Geometry{K: 2}, 1<<20)
	var blobs []blob
	for range 3 {
		other := newSession(t)
		wrap := SessionWrap{ID: other.ID(), Wrap: other.Wrap()}
		for range 5 {
			b := newBlob(t, rng, other, chunk.Data, 700)
			if _, err := w.Add(b.Sealed, b.sealed, &wrap); err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, b)
		}
		// The pack's own session named all the same.
		b := newBlob(t, rng, s, chunk.Data, 700)
		if _, err := w.Add(b.Sealed, b.sealed, &SessionWrap{ID: s.ID(), Wrap: s.Wrap()}); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	p, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, p, blobs)
	for i, c := range p.Columns {
		if len(c.Sessions) > 3 {
			t.Errorf("%d sessions", len(c.Sessions))
		}
		got, _, err := ReadTail(testKeys(), p.ID, p.Shards[i])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, c, *got)
	}
}

// The 256th foreign session finds no place, and all before it do.
func TestWriterManySessions(t *testing.T) {
	t.Parallel()
	rng := seeded(12)
	w := NewWriter(testKeys(), testSession(), chunk.Data, Geometry{K: 1}, 0)
	b := newBlob(t, rng, testSession(), chunk.Data, 100)
	add := func(i int) error {
		wrap := madeUpSession(rng)
		b.ID[0], b.ID[1], b.Session = byte(i), byte(i>>8), wrap.ID
		_, err := w.Add(b.Sealed, b.sealed, &wrap)
		return err
	}
	for i := range MaxSessions {
		if err := add(i); err != nil {
			t.Fatalf("session %d: %v", i+1, err)
		}
	}
	if err := add(MaxSessions); !errors.Is(err, ErrFull) {
		t.Errorf("session %d: %v", MaxSessions+1, err)
	}
	if !w.Fits(len(b.sealed)) {
		t.Error("blobs of its own session do not fit any more")
	}
	p, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := ReadTail(testKeys(), p.ID, p.Shards[0])
	if err != nil {
		t.Fatal(err)
	}
	equal(t, p.Columns[0], *got)
}
