package snapshot

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cairn/chunk"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func mustPiece(t testing.TB, nodes []Node) []byte {
	t.Helper()
	plain, err := EncodePiece(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestPieceRoundTrip(t *testing.T) {
	t.Parallel()
	for _, nodes := range [][]Node{zoo(), typicalNodes(1), typicalNodes(23), typicalNodes(24), typicalNodes(1000)} {
		got, err := DecodePiece(mustPiece(t, nodes))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(nodes, got); d != "" {
			t.Error(d)
		}
	}
}

// libraryNode is a node as the map of docs/format.md §8, for an encoder that knows nothing of ours.
func libraryNode(n Node) map[uint64]any {
	joined := []byte{}
	for _, id := range n.Content {
		joined = append(joined, id[:]...)
	}
	m := map[uint64]any{1: []byte(n.Name), 2: uint64(n.Type)}
	add := func(k uint64, present bool, v any) {
		if present {
			m[k] = v
		}
	}
	add(3, n.Mode != 0, n.Mode)
	add(4, n.UID != 0, n.UID)
	add(5, n.GID != 0, n.GID)
	add(6, n.User != "", []byte(n.User))
	add(7, n.Group != "", []byte(n.Group))
	add(8, n.Mtime != Time{}, []any{n.Mtime.Sec, n.Mtime.Nsec})
	add(9, n.Ctime != Time{}, []any{n.Ctime.Sec, n.Ctime.Nsec})
	add(10, n.Atime != Time{}, []any{n.Atime.Sec, n.Atime.Nsec})
	add(11, n.Size != 0, n.Size)
	add(12, len(n.Content) > 0, joined)
	add(13, n.Depth != 0, n.Depth)
	add(14, n.Target != "", []byte(n.Target))
	if n.Link != nil {
		m[15] = []uint64{n.Link.Device, n.Link.Inode}
	}
	if n.Device != nil {
		m[16] = []uint32{n.Device.Major, n.Device.Minor}
	}
	var xattrs []any
	for _, x := range n.Xattrs {
		xattrs = append(xattrs, []any{[]byte(x.Name), x.Value})
	}
	add(17, len(xattrs) > 0, xattrs)
	var holes []uint64
	for _, h := range n.Holes {
		holes = append(holes, h.Offset, h.Length)
	}
	add(18, len(holes) > 0, holes)
	add(19, n.Error != "", n.Error)
	add(20, n.Inode != 0, n.Inode)
	return m
}

func library(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestAgainstLibrary(t *testing.T) {
	t.Parallel()
	for _, nodes := range [][]Node{zoo(), typicalNodes(300)} {
		var maps []any
		for _, n := range nodes {
			maps = append(maps, libraryNode(n))
		}
		if want, got := library(t, maps), mustPiece(t, nodes); !bytes.Equal(want, got) {
			t.Errorf("differs from the library's encoding:\n%x\n%x", got, want)
		}
	}
	list, err := EncodeList(idsOf(9))
	if err != nil {
		t.Fatal(err)
	}
	var joined []byte
	for _, id := range idsOf(9) {
		joined = append(joined, id[:]...)
	}
	if !bytes.Equal(list, library(t, joined)) {
		t.Error("list differs from the library's encoding")
	}
}

func TestPieceTruncated(t *testing.T) {
	t.Parallel()
	plain := mustPiece(t, zoo())
	for i := range plain {
		_, err := DecodePiece(plain[:i])
		var bad *FormatError
		if !errors.As(err, &bad) {
			t.Fatalf("first %d bytes: %v", i, err)
		}
	}
	if _, err := DecodePiece(append(bytes.Clone(plain), 0)); err == nil {
		t.Error("a trailing byte was accepted")
	}
}

// TestPieceFlipped flips every bit: the result is refused or stands for other nodes, and these have
// no second encoding.
func TestPieceFlipped(t *testing.T) {
	t.Parallel()
	plain := mustPiece(t, zoo())
	for i := range plain {
		for bit := range 8 {
			b := bytes.Clone(plain)
			b[i] ^= 1 << bit
			nodes, err := DecodePiece(b)
			if err == nil && !bytes.Equal(mustPiece(t, nodes), b) {
				t.Fatalf("byte %d bit %d: not canonical and accepted", i, bit)
			}
		}
	}
}

func TestPieceRefusals(t *testing.T) {
	t.Parallel()
	id32 := bytes.Repeat([]byte{7}, 32)
	node := func(extra map[uint64]any) []byte {
		m := map[uint64]any{1: []byte("n"), 2: 1}
		for k, v := range extra {
			m[k] = v
		}
		return library(t, []any{m})
	}
	for name, plain := range map[string][]byte{
		"no nodes":            {0x80},
		"no array":            library(t, map[uint64]any{1: []byte("n"), 2: 1}),
		"indefinite array":    append(append([]byte{0x9f}, library(t, map[uint64]any{1: []byte("n"), 2: 1})...), 0xff),
		"indefinite map":      {0x81, 0xbf, 1, 0x41, 'n', 2, 1, 0xff},
		"long head":           {0x98, 1, 0xa2, 1, 0x41, 'n', 2, 1},
		"long number":         {0x81, 0xa2, 1, 0x41, 'n', 2, 0x18, 1},
		"duplicate key":       {0x81, 0xa3, 1, 0x41, 'n', 2, 1, 2, 1},
		"keys out of order":   {0x81, 0xa2, 2, 1, 1, 0x41, 'n'},
		"many nodes claimed":  {0x9a, 0, 1, 0, 0},
		"huge count":          {0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"huge name":           {0x81, 0xa2, 1, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"key 0":               node(map[uint64]any{0: 1}),
		"key 21":              node(map[uint64]any{21: 1}),
		"no name":             library(t, []any{map[uint64]any{2: 1}}),
		"no type":             library(t, []any{map[uint64]any{1: []byte("n")}}),
		"name is text":        node(map[uint64]any{1: "n"}),
		"empty name":          node(map[uint64]any{1: []byte("")}),
		"dot":                 node(map[uint64]any{1: []byte(".")}),
		"dot dot":             node(map[uint64]any{1: []byte("..")}),
		"slash":               node(map[uint64]any{1: []byte("a/b")}),
		"nul":                 node(map[uint64]any{1: []byte("a\x00")}),
		"type 0":              node(map[uint64]any{2: 0}),
		"type 8":              node(map[uint64]any{2: 8}),
		"type 257":            node(map[uint64]any{2: 257}),
		"mode 0":              node(map[uint64]any{3: 0}),
		"mode 010000":         node(map[uint64]any{3: 0o10000}),
		"mode negative":       node(map[uint64]any{3: -1}),
		"mode float":          node(map[uint64]any{3: 1.5}),
		"uid 2^32":            node(map[uint64]any{4: uint64(1) << 32}),
		"empty user":          node(map[uint64]any{6: []byte{}}),
		"time of one":         node(map[uint64]any{8: []int{1}}),
		"time of three":       node(map[uint64]any{8: []int{1, 2, 3}}),
		"zero time":           node(map[uint64]any{8: []int{0, 0}}),
		"1e9 ns":              node(map[uint64]any{8: []int{1, 1e9}}),
		"negative ns":         node(map[uint64]any{8: []int{1, -1}}),
		"seconds 2^63":        node(map[uint64]any{8: []uint64{1 << 63, 1}}),
		"seconds -2^63-1":     {0x81, 0xa3, 1, 0x41, 'n', 2, 1, 8, 0x82, 0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0, 0},
		"content of 31":       node(map[uint64]any{12: id32[:31]}),
		"empty content":       node(map[uint64]any{12: []byte{}}),
		"depth alone":         node(map[uint64]any{13: 1}),
		"depth 5":             node(map[uint64]any{12: id32, 13: 5}),
		"target of a file":    node(map[uint64]any{14: []byte("x")}),
		"size of a dir":       node(map[uint64]any{2: 2, 11: 1}),
		"content of a link":   node(map[uint64]any{2: 3, 12: id32}),
		"hard linked dir":     node(map[uint64]any{2: 2, 15: []int{1, 1}}),
		"device of a file":    node(map[uint64]any{16: []int{1, 1}}),
		"device without one":  node(map[uint64]any{2: 6}),
		"device 2^32":         node(map[uint64]any{2: 6, 16: []uint64{1 << 32, 1}}),
		"no xattrs":           node(map[uint64]any{17: []any{}}),
		"xattrs unsorted":     node(map[uint64]any{17: []any{[]any{[]byte("b"), []byte{}}, []any{[]byte("a"), []byte{}}}}),
		"xattr twice":         node(map[uint64]any{17: []any{[]any{[]byte("b"), []byte{}}, []any{[]byte("b"), []byte{}}}}),
		"xattr without name":  node(map[uint64]any{17: []any{[]any{[]byte{}, []byte{}}}}),
		"many xattrs claimed": append(node(map[uint64]any{17: []any{}})[:7], 17, 0x9a, 0, 0xff, 0xff, 0xff),
		"odd holes":           node(map[uint64]any{11: 9, 18: []int{1}}),
		"empty hole":          node(map[uint64]any{11: 9, 18: []int{1, 0}}),
		"holes overlap":       node(map[uint64]any{11: 9, 18: []int{1, 3, 3, 1}}),
		"hole beyond":         node(map[uint64]any{11: 9, 18: []int{9, 1}}),
		"hole wraps":          node(map[uint64]any{11: 9, 18: []uint64{2, 1<<64 - 1}}),
		"holes of a fifo":     node(map[uint64]any{2: 4, 18: []int{0, 1}}),
		"error is bytes":      node(map[uint64]any{19: []byte("x")}),
		"error not UTF-8":     {0x81, 0xa3, 1, 0x41, 'n', 2, 1, 19, 0x61, 0xff},
		"names equal":         library(t, []any{libraryNode(file("n", "")), libraryNode(file("n", ""))}),
		"names descend":       library(t, []any{libraryNode(file("n", "")), libraryNode(file("m", ""))}),
	} {
		if nodes, err := DecodePiece(plain); err == nil {
			t.Errorf("%s was accepted: %v", name, nodes)
		}
	}
	if _, err := DecodePiece(node(nil)); err != nil {
		t.Errorf("the node that the others differ from: %v", err)
	}
}

func TestEncodePieceRefusals(t *testing.T) {
	t.Parallel()
	for name, nodes := range map[string][]Node{
		"no nodes":      nil,
		"unsorted":      {file("b", ""), file("a", "")},
		"twice":         {file("b", ""), file("b", "")},
		"name":          {file("../etc", "")},
		"xattrs":        {{Name: "a", Type: File, Xattrs: []Xattr{{Name: "b"}, {Name: "a"}}}},
		"foreign field": {{Name: "a", Type: Dir, Target: "b"}},
		"nanoseconds":   {{Name: "a", Type: Dir, Atime: Time{1, 1e9}}},
		"too large":     {{Name: "a", Type: File, Xattrs: []Xattr{{"user.x", make([]byte, chunk.MaxPlain)}}}},
		"many names":    {file(strings.Repeat("a", 9<<20), ""), file(strings.Repeat("b", 9<<20), "")},
	} {
		if _, err := EncodePiece(nodes); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := EncodePiece(typicalNodes(MaxPieceNodes + 1)); err == nil {
		t.Error("too many nodes: no error")
	}
	got, err := DecodePiece(mustPiece(t, []Node{{Name: "a", Type: File, Error: "open \xff: no"}}))
	if err != nil || len(got) != 1 || got[0].Error != "open \uFFFD: no" {
		t.Errorf("an error text that is not UTF-8 became %+v, %v", got, err)
	}
}

// TestEncodeAllocations holds the encoder to one buffer: it runs for every node of a changed directory.
func TestEncodeAllocations(t *testing.T) {
	nodes := typicalNodes(1000)
	var p pieceBuilder
	run := func() {
		p = pieceBuilder{buf: p.buf[:0]}
		for i := range nodes {
			if err := p.add(&nodes[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	run()
	if n := testing.AllocsPerRun(10, run); n > 0 {
		t.Errorf("%v allocations for 1000 nodes", n)
	}
}

func FuzzPiece(f *testing.F) {
	f.Add(mustPiece(f, zoo()))
	for _, n := range zoo() {
		f.Add(mustPiece(f, []Node{n}))
	}
	f.Add(mustPiece(f, typicalNodes(30)))
	f.Fuzz(func(t *testing.T, plain []byte) {
		nodes, err := DecodePiece(plain)
		if err != nil {
			return
		}
		if again := mustPiece(t, nodes); !bytes.Equal(plain, again) {
			t.Fatalf("accepted %x, encodes as %x", plain, again)
		}
		var maps []any
		if err := cbor.Unmarshal(plain, &maps); err != nil {
			t.Fatalf("accepted what the library refuses: %v", err)
		}
	})
}

func FuzzList(f *testing.F) {
	for _, n := range []int{1, 3, 300} {
		plain, err := EncodeList(idsOf(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		ids, err := DecodeList(plain)
		if err != nil {
			return
		}
		again, err := EncodeList(ids)
		if err != nil || !bytes.Equal(plain, again) {
			t.Fatalf("accepted %x, encodes as %x, %v", plain, again, err)
		}
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	plain, err := EncodeList(idsOf(9))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeList(plain)
	if err != nil || cmp.Diff(idsOf(9), got) != "" {
		t.Fatal(got, err)
	}
	for i := range plain {
		if _, err := DecodeList(plain[:i]); err == nil {
			t.Fatalf("first %d bytes: no error", i)
		}
	}
	for name, bad := range map[string][]byte{
		"trailing": append(bytes.Clone(plain), 0), "empty": {0x40}, "text": {0x60}, "31 bytes": library(t, plain[:31]),
	} {
		if _, err := DecodeList(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := EncodeList(nil); err == nil {
		t.Error("no ids: no error")
	}
	if _, err := EncodeList(make([]chunk.ID, chunk.MaxPlain/32)); err == nil {
		t.Error("too many ids: no error")
	}
	if _, err := EncodeList(make([]chunk.ID, chunk.MaxPlain/32-1)); err != nil {
		t.Error(err)
	}
}

var equateEmpty = cmpopts.EquateEmpty()
