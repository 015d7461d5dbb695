package pack

import (
	"strings"
	"testing"

	"cairn/chunk"
)

func TestName(t *testing.T) {
	t.Parallel()
	id := ID{0xab, 0xcd, 0xef, 0x01, 31: 0x42}
	h := id.String()
	if got, want := id.Name(chunk.Data), "binaries/ab/cd/ef/"+h+".bin"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := id.Name(chunk.Index), "index/ab/cd/ef/"+h+".bin"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if id.Name(chunk.Tree) != id.Name(chunk.Data) {
		t.Error("trees lie elsewhere")
	}
	for kind, want := range map[chunk.Type]chunk.Type{chunk.Data: 0, chunk.Tree: 0, chunk.Index: chunk.Index} {
		got, k, ok := ParseName(id.Name(kind))
		if !ok || got != id || k != want {
			t.Errorf("kind %s: got %s, %d, %t", kind, got, k, ok)
		}
	}
	good := id.Name(chunk.Data)
	for _, bad := range []string{
		"", "binaries/", good[:len(good)-1], good + "x", strings.ToUpper(good), "keys/" + h,
		strings.Replace(good, "/ab/", "/aa/", 1), strings.Replace(good, "/cd/", "/cd0", 1),
		strings.Replace(good, h, strings.ToUpper(h), 1), strings.Replace(good, h[:8], "abcdefg1", 1),
		strings.Replace(good, ".bin", ".tmp", 1), "x" + good, "index/" + good,
	} {
		if _, _, ok := ParseName(bad); ok {
			t.Errorf("%q is taken for a pack", bad)
		}
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	id := ID{1, 0xfe, 31: 9}
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"", "ab", strings.Repeat("g", 64), strings.Repeat("A", 64), strings.Repeat("a", 65)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// The example of docs/format.md §1 by hand: r is big-endian, shard j lies on member (j + r) mod n.
func TestMember(t *testing.T) {
	t.Parallel()
	id := ID{0xff, 0xff, 0xff, 0xfe}
	if id.First() != 4294967294 {
		t.Errorf("r = %d", id.First())
	}
	if got := Member(id, 3, 6); got != (4294967294+3)%6 {
		t.Errorf("member %d", got)
	}
	for n := 1; n <= MaxShards; n++ {
		for j := range n {
			m := Member(id, j, n)
			if m < 0 || m >= n || ShardOn(id, m, n) != j {
				t.Errorf("n=%d: shard %d on member %d, which has shard %d", n, j, m, ShardOn(id, m, n))
			}
		}
	}
}

func TestGeometry(t *testing.T) {
	t.Parallel()
	for _, g := range geometries {
		if err := g.Validate(); err != nil {
			t.Error(err)
		}
	}
	const maxInt = int(^uint(0) >> 1)
	for _, g := range []Geometry{{}, {K: 0, M: 1}, {K: 1, M: -1}, {K: 31, M: 2}, {K: 33}, {K: -1, M: 3}, {K: maxInt, M: maxInt}} {
		if g.Validate() == nil {
			t.Errorf("%s accepted", g)
		}
	}
	for k, want := range map[int]int{1: 16 << 20, 2: 16 << 20, 3: (32 << 20) / 3, 4: 8 << 20, 8: 4 << 20, 16: 4 << 20} {
		if got := (Geometry{K: k}).DefaultTarget(); got != want {
			t.Errorf("k=%d: target %d, want %d", k, got, want)
		}
	}
}
