package index

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

func TestEntry(t *testing.T) {
	t.Parallel()
	for _, e := range []entry{
		{},
		{pack: 1, column: 31, compression: seal.Zstd, offset: 2, stored: 3, plain: 4},
		{pack: 1<<32 - 1, column: 127, compression: 255, offset: 1<<32 - 1, stored: 1<<32 - 2, plain: 1<<32 - 3, foreign: 1},
		{foreign: 1<<32 - 1, number: 1<<32 - 1, column: 127, more: true},
	} {
		b := e.append(nil)
		got, err := parseEntry(b)
		if err != nil || got != e {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
		for n := range b {
			if short, err := parseEntry(b[:n]); err == nil && short == e {
				t.Errorf("%+v: %d of %d bytes are enough", e, n, len(b))
			}
		}
	}
	if n := len((&entry{foreign: 1 << 13}).append(nil)); n > 24 {
		t.Errorf("an entry takes %d bytes", n)
	}
}

func TestPackRecord(t *testing.T) {
	t.Parallel()
	p := packRecord{id: packID(1), kind: chunk.Tree, geometry: pack.Geometry{K: 30, M: 2, Epoch: 65535}, length: 32 << 20, session: 7,
		columns: 1 << 29, blobs: 1 << 20, condemned: true, names: []naming{{0, 1}, {7, 1 << 29}, {1<<32 - 1, 1<<32 - 1}}}
	b := p.encode()
	got, err := parsePack(b)
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v became %+v, %v", p, got, err)
	}
	for n := range b {
		if short, err := parsePack(b[:n]); err == nil && reflect.DeepEqual(short, p) {
			t.Errorf("%d of %d bytes are enough", n, len(b))
		}
	}
}

func TestSessionRecord(t *testing.T) {
	t.Parallel()
	for _, s := range []pack.SessionWrap{session(1), session(2), {}, {ID: session(3).ID, Wrap: seal.Wrap{Root: []byte{1}}}} {
		b := encodeSession(s)
		got, err := parseSession(b)
		if err != nil || !cmp.Equal(s, got) {
			t.Errorf("%v: %s", err, cmp.Diff(s, got))
		}
		for n := range b {
			if short, err := parseSession(b[:n]); err == nil && cmp.Equal(short, s) {
				t.Errorf("%d of %d bytes are enough", n, len(b))
			}
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	copies := []entry{{pack: 1, column: 3, number: 7}, {pack: 2, number: 7, foreign: 1 << 20}, {}}
	b := encodeCopies(copies)
	if got, err := parseCopies(b); err != nil || !slices.Equal(got, copies) {
		t.Errorf("%+v %v", got, err)
	}
	for n := range b {
		if got, err := parseCopies(b[:n]); err == nil && len(got) >= len(copies) {
			t.Errorf("%d of %d bytes are enough", n, len(b))
		}
	}
	numbers := []uint32{0, 1, 5, 1 << 31, 1<<32 - 1}
	b = appendNumbers(nil, numbers)
	if got, err := parseNumbers(b); err != nil || !slices.Equal(got, numbers) {
		t.Errorf("%v %v", got, err)
	}
	if _, err := parseNumbers(append(b, 1)); err == nil {
		t.Error("a number is beyond 32 bits")
	}
	for _, s := range []segmentRecord{{}, {1<<32 - 1, true}} {
		if got, err := parseSegment(s.encode()); err != nil || got != s {
			t.Errorf("%+v %v", got, err)
		}
		if _, err := parseSegment(s.encode()[:4]); err == nil {
			t.Error("4 bytes are enough for a segment")
		}
	}
}

// TestRefsRecord: a record that is not exactly what was written for this tree counts as none.
func TestRefsRecord(t *testing.T) {
	t.Parallel()
	id := refsID{7, 1}
	b := id.encode([]uint32{9, 3}, []uint32{1, 1 << 30, 2})
	trees, data, ok := id.parse(b)
	if !ok || !slices.Equal(trees, []uint32{3, 9}) || !slices.Equal(data, []uint32{1, 2, 1 << 30}) {
		t.Errorf("%v %v %v", trees, data, ok)
	}
	for _, other := range []refsID{{8, 1}, {7, 0}} {
		if _, _, ok := other.parse(b); ok {
			t.Errorf("it is taken for that of %+v", other)
		}
	}
	for n := range b {
		if _, _, ok := id.parse(b[:n]); ok {
			t.Errorf("%d of %d bytes are enough", n, len(b))
		}
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[n] ^= 1 << bit
			if _, _, ok := id.parse(bad); ok {
				t.Errorf("bit %d of byte %d", bit, n)
			}
		}
	}
	// Sums that are right, of records that are not.
	for _, rest := range [][]byte{nil, {0}, {0, 0, 0}, {1, 0}, {2, 1, 0}, {255, 255, 255, 255, 15, 0}, {0, 2, 255, 255, 255, 255, 15, 1}} {
		if _, _, ok := id.parse(append(binary.LittleEndian.AppendUint32(nil, id.sum(rest)), rest...)); ok {
			t.Errorf("%x", rest)
		}
	}
}

// FuzzRecords: no decoder panics, and what one takes, it writes the same way.
func FuzzRecords(f *testing.F) {
	e := entry{pack: 1, offset: 5, foreign: 300}
	p := packRecord{id: packID(1)}
	f.Add(e.append(nil))
	f.Add(p.encode())
	f.Add(encodeSession(session(2)))
	f.Add(encodeCopies([]entry{e, {}}))
	f.Add(appendNumbers(nil, []uint32{3, 300}))
	f.Add(refsID{1, 2}.encode([]uint32{4}, []uint32{5, 500})[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parseEntry(b); err == nil {
			// A uvarint may be longer than it need be; a database written by us holds none.
			if again, err := parseEntry(e.append(nil)); err != nil || again != e {
				t.Errorf("entry %x became %+v", b, again)
			}
		}
		if p, err := parsePack(b); err == nil {
			if again, err := parsePack(p.encode()); err != nil || !reflect.DeepEqual(again, p) {
				t.Errorf("pack %x became %x", b, p.encode())
			}
		}
		if list, err := parseCopies(b); err == nil {
			if again, err := parseCopies(encodeCopies(list)); err != nil || !slices.Equal(again, list) {
				t.Errorf("copies %x became %+v", b, list)
			}
		}
		if list, err := parseNumbers(b); err == nil {
			if again, err := parseNumbers(appendNumbers(nil, list)); err != nil || !slices.Equal(again, list) {
				t.Errorf("numbers %x became %v", b, list)
			}
		}
		id := refsID{1, 2}
		if trees, data, ok := id.parse(append(binary.LittleEndian.AppendUint32(nil, id.sum(b)), b...)); ok {
			againTrees, againData, ok := id.parse(id.encode(trees, data))
			if !ok || !slices.Equal(slices.Compact(trees), againTrees) || !slices.Equal(slices.Compact(data), againData) {
				t.Errorf("references %x became %v %v", b, trees, data)
			}
		}
		if s, err := parseSession(b); err == nil && !bytes.Equal(encodeSession(s), b) {
			t.Errorf("session %x became %x", b, encodeSession(s))
		}
	})
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := newCache[int, int](4)
	for i := range 100 {
		c.set(i, -i)
		if v, ok := c.get(0); i < 50 && (!ok || v != 0) {
			t.Fatalf("after %d: what is asked for is forgotten", i)
		}
		if n := len(c.young) + len(c.old); n > 8 {
			t.Fatalf("%d values are kept", n)
		}
		for j := max(1, i-2); j <= i; j++ {
			if v, ok := c.get(j); !ok || v != -j {
				t.Fatalf("after %d: %d gives %d %v", i, j, v, ok)
			}
		}
	}
	c.set(99, 5)
	if v, _ := c.get(99); v != 5 {
		t.Errorf("%d", v)
	}
	c.clear()
	if _, ok := c.get(99); ok {
		t.Error("cleared in vain")
	}
}
