package pack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/chunk/seal"
)

// testKeys are root keys of one archive; deriving them takes milliseconds.
var testKeys = sync.OnceValue(func() *seal.Keys {
	k, err := seal.KeysFromRoot(seal.ArchiveID{1, 2, 3}, [32]byte{4, 5, 6})
	if err != nil {
		panic(err)
	}
	return k
})

var testSession = sync.OnceValue(func() *seal.Session {
	s, err := testKeys().NewSession()
	if err != nil {
		panic(err)
	}
	return s
})

func newSession(t testing.TB) *seal.Session {
	t.Helper()
	s, err := testKeys().NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sessionFor returns a session that seals blobs of the kind.
func sessionFor(kind chunk.Type) *seal.Session {
	if kind == chunk.Index {
		return testKeys().IndexSession(seal.SessionID{7})
	}
	return testSession()
}

// blob is a sealed blob with its plaintext.
type blob struct {
	seal.Sealed
	plain, sealed []byte
}

// newBlob seals size random bytes.
func newBlob(t testing.TB, rng *rand.Rand, s *seal.Session, kind chunk.Type, size int) blob {
	t.Helper()
	plain := randomBytes(rng, size)
	id := chunk.Sum(plain)
	sealed, c, err := s.Seal(nil, kind, id, plain)
	if err != nil {
		t.Fatal(err)
	}
	return blob{seal.Sealed{ID: id, Type: kind, Compression: c, Plain: uint32(size), Session: s.ID()}, plain, sealed}
}

func randomBytes(rng *rand.Rand, size int) []byte {
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:size:size]
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// sealPack makes a pack of blobs of the given plain sizes.
func sealPack(t testing.TB, g Geometry, kind chunk.Type, sizes ...int) (*Sealed, []blob) {
	t.Helper()
	rng := seeded(uint64(len(sizes)))
	s := sessionFor(kind)
	w := NewWriter(testKeys(), s, kind, g, 0)
	var blobs []blob
	for _, size := range sizes {
		b := newBlob(t, rng, s, kind, size)
		if _, err := w.Add(b.Sealed, b.sealed, nil); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	p, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return p, blobs
}

// someSizes are plain lengths of n small blobs, each different.
func someSizes(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 100 + 37*i
	}
	return sizes
}

// changed returns a copy of b as a fuzzer changes it: threes of bytes in changes are an offset and what to xor there.
// Fuzzing whole shards instead is hopeless: they are large, random and different in each process.
func changed(b, changes []byte) []byte {
	b = bytes.Clone(b)
	for ; len(changes) >= 3 && len(b) > 0; changes = changes[3:] {
		b[int(binary.LittleEndian.Uint16(changes))%len(b)] ^= changes[2]
	}
	return b
}

// equal compares quickly and explains slowly.
func equal(t testing.TB, want, got any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Error(cmp.Diff(want, got))
	}
}

func parse(t testing.TB, shard []byte) *Header {
	t.Helper()
	h, err := ParseHeader(shard)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var geometries = []Geometry{{K: 1}, {K: 1, M: 2}, {K: 2, M: 1}, {K: 4, M: 2, Epoch: 3}, {K: 5}, {K: 8, M: 3}, {K: 31, M: 1}, {K: 1, M: 31}}

func (g Geometry) String() string { return fmt.Sprintf("%d+%d", g.K, g.M) }
