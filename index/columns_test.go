package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

func packID(n int) pack.ID { return pack.ID(chunk.Sum(fmt.Appendf(nil, "pack %d", n))) }

func blobID(n int) chunk.ID { return chunk.Sum(fmt.Appendf(nil, "blob %d", n)) }

func session(n int) pack.SessionWrap {
	s := pack.SessionWrap{Wrap: seal.Wrap{HPKE: bytes.Repeat([]byte{byte(n)}, 1168)}}
	binary.BigEndian.PutUint32(s.ID[:], uint32(n))
	if n%2 == 0 {
		s.Wrap.Root = bytes.Repeat([]byte{byte(n + 1)}, 60)
	}
	return s
}

// column makes column `number` of pack n with the blobs [first, first+count), every third of them from foreign sessions.
func column(n, number int, kind chunk.Type, first, count int) pack.Column {
	c := pack.Column{
		Pack: packID(n), Kind: kind, Geometry: pack.Geometry{K: 4, M: 2, Epoch: uint16(n)}, L: 4096 * int64(n+1),
		Number: number, Session: session(n), Sessions: []pack.SessionWrap{session(100), session(101)},
	}
	var off uint32
	for i := first; i < first+count; i++ {
		e := pack.Entry{ID: blobID(i), Offset: off, Stored: uint32(100 + i%7), Plain: uint32(i + 1),
			Compression: seal.Compression(i % 2)}
		if i%3 == 0 {
			e.Session = uint8(1 + i%2)
		}
		off += e.Stored
		c.Entries = append(c.Entries, e)
	}
	return c
}

// where is the Location that c gives to its blob i.
func where(c *pack.Column, i int) pack.Location {
	e := c.Entries[i]
	return pack.Location{Pack: c.Pack, Kind: c.Kind, Geometry: c.Geometry, L: c.L, Column: c.Number,
		Offset: e.Offset, Stored: e.Stored, Plain: e.Plain, Compression: e.Compression, Session: c.SessionOf(e)}
}

func apply1(t *testing.T, x index, segment pack.ID, cols ...pack.Column) {
	t.Helper()
	if err := x.Apply(segment, cols); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

// lookup returns the answers of Lookup, after comparing them with those of Has, Live and Number.
func lookup(t *testing.T, x index, kind chunk.Type, ids ...chunk.ID) []pack.Location {
	t.Helper()
	out, has := make([]pack.Location, len(ids)), make([]bool, len(ids))
	live, numbers := make([]pack.ID, len(ids)), make([]uint32, len(ids))
	// What was there before must not shine through.
	for i := range out {
		out[i], has[i], live[i], numbers[i] = pack.Location{Pack: packID(-1)}, i%2 == 0, packID(-1), 1<<32-1
	}
	err := errors.Join(x.Lookup(kind, ids, out), x.Has(kind, ids, has), x.Live(kind, ids, live), x.Number(kind, ids, numbers))
	if err != nil {
		t.Fatalf("look up: %v", err)
	}
	for i := range out {
		if has[i] != out[i].Found() {
			t.Fatalf("blob %d: Has says %v, Lookup %+v", i, has[i], out[i])
		}
		if live[i] != (pack.ID{}) && live[i] != out[i].Pack {
			t.Fatalf("blob %d: Live says %s, Lookup %s", i, live[i], out[i].Pack)
		}
		if has[i] && numbers[i] == 0 || numbers[i] > x.Numbers() {
			t.Fatalf("blob %d: number %d of %d", i, numbers[i], x.Numbers())
		}
	}
	return out
}

func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var list []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

// expect checks that all blobs of the columns are found where the columns say.
func expect(t *testing.T, x index, cols ...pack.Column) {
	t.Helper()
	for _, c := range cols {
		var ids []chunk.ID
		for _, e := range c.Entries {
			ids = append(ids, e.ID)
		}
		for i, got := range lookup(t, x, c.Kind, ids...) {
			same(t, where(&c, i), got)
		}
	}
}

// same is cmp.Diff for tens of thousands.
func same(t *testing.T, want, got pack.Location) {
	t.Helper()
	a, b := want.Session, got.Session
	equal := a.ID == b.ID && bytes.Equal(a.Wrap.HPKE, b.Wrap.HPKE) && bytes.Equal(a.Wrap.Root, b.Wrap.Root)
	v, w := want, got
	v.Session, w.Session = pack.SessionWrap{}, pack.SessionWrap{}
	if equal && reflect.DeepEqual(v, w) {
		return
	}
	t.Fatalf("unlike: %s", cmp.Diff(want, got))
}
