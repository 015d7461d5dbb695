package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
)

// flip returns a copy of b with a bit of each given byte changed.
func flip(b []byte, at ...int) []byte {
	b = bytes.Clone(b)
	for _, i := range at {
		b[i] ^= 4
	}
	return b
}

// TestCheckFrame: it sees whatever happens by accident, and not who makes checksums for other bytes.
func TestCheckFrame(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 1}, chunk.Data, 300_000)
	s, h := p.Shards[0], parse(t, p.Shards[0])
	if _, err := CheckFrame(h.ID, s); err != nil {
		t.Error(err)
	}
	padding := HeaderSize + int(h.L) - int(h.DirLen[0]) - 1
	for _, at := range []int{0, 100, HeaderSize, padding, HeaderSize + int(h.L), len(s) - HeaderSize, len(s) - 1} {
		if _, err := CheckFrame(h.ID, flip(s, at)); err == nil {
			t.Errorf("byte %d was changed, and nobody saw it", at)
		}
	}
	forged := flip(s, padding)
	putChecksums(forged[HeaderSize+h.L:], forged[HeaderSize:HeaderSize+h.L])
	if _, err := CheckFrame(h.ID, forged); err != nil {
		t.Errorf("forged checksum: %v", err)
	}
	if _, err := CheckShard(h.ID, forged); err == nil {
		t.Error("a forged checksum passed the whole check")
	}
}

func TestCheckShard(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 2, M: 1}, chunk.Data, 300_000)
	s := p.Shards[1]
	L := int(p.Columns[0].L)
	if L <= BlockSize || L%BlockSize == 0 {
		t.Fatalf("L = %d: want more than a block and no whole number of blocks", L)
	}
	last := L / BlockSize
	for i := range int(Blocks(int64(L))) {
		block := s[HeaderSize+i*BlockSize : HeaderSize+min((i+1)*BlockSize, L)]
		if got := binary.LittleEndian.Uint32(s[HeaderSize+L+4*i:]); got != crc32.Checksum(block, crc32.MakeTable(crc32.Castagnoli)) {
			t.Errorf("checksum %d", i)
		}
	}
	end := len(s)
	for _, c := range []struct {
		name   string
		bytes  []byte
		part   Part
		offset int
		blocks []int
		good   bool // payload
	}{
		{"header", flip(s, 100), InHeader, 0, nil, true},
		{"magic", flip(s, 1), InHeader, 0, nil, true},
		{"version", flip(s, 8), InHeader, 8, nil, true},
		{"shard number", flip(s, 2816), InHeader, 0, nil, true},
		{"header of another pack", append(otherHeader(t), s[HeaderSize:]...), InHeader, 0, nil, true},
		{"copy", flip(s, end-1), InCopy, end - 1, nil, true},
		{"copy's first byte", flip(s, end-4096), InCopy, end - 4096, nil, true},
		{"first checksum", flip(s, HeaderSize+L), InChecksums, HeaderSize + L, nil, true},
		{"last checksum", flip(s, end-4097), InChecksums, HeaderSize + L + 4*last, nil, true},
		{"first block", flip(s, HeaderSize), InPayload, HeaderSize, []int{0}, false},
		{"last block", flip(s, HeaderSize+L-1), InPayload, HeaderSize + last*BlockSize, []int{last}, false},
		{"two blocks", flip(s, HeaderSize+5, HeaderSize+L-7), InPayload, HeaderSize, []int{0, last}, false},
		{"payload and header", flip(s, 50, HeaderSize+L-1), InPayload, HeaderSize + last*BlockSize, []int{last}, false},
		{"payload and copy", flip(s, end-50, HeaderSize), InPayload, HeaderSize, []int{0}, false},
		{"longer", append(bytes.Clone(s), 0), InSize, end, nil, false},
	} {
		h, err := CheckShard(p.ID, c.bytes)
		var got *CorruptError
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if h == nil || h.ID != p.ID || h.Shard != 1 {
			t.Errorf("%s: header %+v", c.name, h)
		}
		if got.Pack != p.ID || got.Shard != 1 || got.Part != c.part || got.Offset != int64(c.offset) ||
			!slices.Equal(got.Blocks, c.blocks) || got.PayloadGood() != c.good {
			t.Errorf("%s: %+v", c.name, got)
		}
	}

	// Payload that was changed together with its checksum is found by its hash.
	bad := flip(s, HeaderSize)
	putChecksums(bad[HeaderSize+L:], bad[HeaderSize:HeaderSize+L])
	var got *CorruptError
	if _, err := CheckShard(p.ID, bad); !errors.As(err, &got) || got.Part != InPayload || got.Blocks != nil {
		t.Errorf("changed with its checksum: %v", err)
	}
	// Neither header is good, or they are of another pack.
	if h, err := CheckShard(p.ID, flip(s, 100, end-100)); err == nil || h != nil {
		t.Errorf("both headers damaged: %v", err)
	}
	if h, err := CheckShard(ID{1}, s); !errors.As(err, &got) || h != nil || got.Pack != (ID{1}) {
		t.Errorf("wrong pack: %v", err)
	}
	// The number of another shard, with all hashes right: the payload tells.
	wrong := bytes.Clone(s)
	parse(t, s).put(wrong, 0)
	copy(wrong[end-HeaderSize:], wrong[:HeaderSize])
	if _, err := CheckShard(p.ID, wrong); !errors.As(err, &got) || got.Part != InPayload || got.Shard != 0 {
		t.Errorf("renumbered: %v", err)
	}
	future := bytes.Clone(s)
	future[8], future[end-4096+8] = 2, 2
	if _, err := CheckShard(p.ID, future); !errors.Is(err, seal.ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
}

func otherHeader(t *testing.T) []byte {
	q, _ := sealPack(t, Geometry{K: 2, M: 1}, chunk.Data, 10)
	return bytes.Clone(q.Shards[0][:HeaderSize])
}

func TestCheckShardTruncated(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 2, M: 1}, chunk.Data, someSizes(30)...)
	for _, s := range p.Shards {
		for n := 0; n < len(s); n += 97 {
			h, err := CheckShard(p.ID, s[:n:n])
			if !errors.Is(err, ErrTruncated) || (h != nil) != (n >= HeaderSize) {
				t.Fatalf("%d of %d bytes: %v", n, len(s), err)
			}
		}
		for n := 1; n < len(s); n += 97 { // the beginning is missing
			if _, err := CheckShard(p.ID, s[n:]); err == nil {
				t.Fatalf("without the first %d bytes: accepted", n)
			}
		}
	}
}

func TestCheckBlocks(t *testing.T) {
	t.Parallel()
	const L = 3*BlockSize + 8192
	h := &Header{L: L}
	payload := randomBytes(seeded(40), L)
	crcs := make([]byte, 4*Blocks(L))
	putChecksums(crcs, payload)
	bad := flip(payload, BlockSize+9, L-1) // blocks 1 and 3
	for _, c := range []struct {
		from, to int
		crcs     []byte
		want     []int
	}{
		{0, L, crcs, []int{1, 3}},
		{0, BlockSize, crcs, nil},
		{0, 2*BlockSize - 1, crcs, nil}, // block 1 is not whole
		{0, 2 * BlockSize, crcs, []int{1}},
		{1, L, crcs, []int{1, 3}},
		{BlockSize, L, crcs, []int{1, 3}},
		{BlockSize + 1, L, crcs, []int{3}},
		{3 * BlockSize, L, crcs, []int{3}},
		{3 * BlockSize, L - 1, crcs, nil},
		{3*BlockSize + 1, L, crcs, nil},
		{0, L, crcs[:11], []int{1, 2, 3}},
		{0, L, nil, []int{0, 1, 2, 3}},
		{0, 0, crcs, nil},
	} {
		if got := CheckBlocks(h, int64(c.from), bad[c.from:c.to], c.crcs); !slices.Equal(got, c.want) {
			t.Errorf("[%d, %d) with %d bytes of checksums: %v, want %v", c.from, c.to, len(c.crcs), got, c.want)
		}
	}
	for _, off := range []int64{-BlockSize, L, L + BlockSize, 1 << 62} {
		if got := CheckBlocks(h, off, payload[:BlockSize], crcs); off > 0 && got != nil {
			t.Errorf("from %d: %v", off, got)
		}
	}
	if got := CheckBlocks(h, 0, payload, crcs); got != nil {
		t.Errorf("undamaged: %v", got)
	}
}

func TestReadTail(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 2, M: 1}, chunk.Data, someSizes(100)...)
	for i, s := range p.Shards[:2] {
		h := parse(t, s)
		size := int(TailSize(h.L, h.DirLen[i]))
		for n := 0; n <= len(s); n++ {
			if n > size+20 && n%97 != 0 {
				continue // long enough, the rest is not looked at
			}
			c, need, err := ReadTail(testKeys(), p.ID, s[len(s)-n:])
			want := 0
			if n < HeaderSize {
				want = HeaderSize
			} else if n < size {
				want = size
			}
			if err != nil || int(need) != want || (c == nil) != (need > 0) {
				t.Fatalf("last %d bytes: need %d, %v", n, need, err)
			}
			if c != nil {
				equal(t, p.Columns[i], *c)
			}
		}
	}
	if _, _, err := ReadTail(testKeys(), p.ID, p.Shards[2]); !errors.Is(err, ErrParity) {
		t.Errorf("parity: %v", err)
	}
	s := p.Shards[0]
	var c *CorruptError
	if _, _, err := ReadTail(testKeys(), p.ID, flip(s, len(s)-9)); !errors.As(err, &c) || c.Part != InCopy {
		t.Errorf("damaged copy: %v", err)
	}
	if _, _, err := ReadTail(testKeys(), ID{}, s); !errors.As(err, &c) {
		t.Errorf("wrong pack: %v", err)
	}
	if _, _, err := ReadTail(testKeys(), p.ID, flip(s, HeaderSize+int(p.Columns[0].L)-3)); !errors.Is(err, seal.ErrNotAuthentic) {
		t.Errorf("damaged directory: %v", err)
	}
	forged := bytes.Clone(s)
	forged[len(s)-HeaderSize+2824] ^= 1
	rehash(forged[len(s)-HeaderSize:])
	if _, _, err := ReadTail(testKeys(), p.ID, forged); !errors.Is(err, seal.ErrSignature) {
		t.Errorf("forged signature: %v", err)
	}
	other, err := seal.NewRoot(seal.ArchiveID{9})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadTail(other, p.ID, s); !errors.Is(err, ErrForeign) {
		t.Errorf("another archive: %v", err)
	}
}

func FuzzShard(f *testing.F) {
	p, _ := sealPack(f, Geometry{K: 1, M: 1}, chunk.Data, 300)
	f.Add(uint8(0), uint32(1<<20), []byte{}, false)
	f.Add(uint8(1), uint32(1<<20), []byte{0, 100, 4}, false)
	f.Add(uint8(1), uint32(1<<20), []byte{0, 11, 1}, true)
	f.Add(uint8(0), uint32(9000), []byte{}, false)
	f.Fuzz(func(t *testing.T, shard uint8, size uint32, changes []byte, fix bool) {
		b := p.Shards[shard%2]
		b = changed(b[:min(len(b), int(size))], changes)
		if fix && len(b) >= HeaderSize {
			rehash(b)
		}
		h, err := CheckShard(p.ID, b)
		if err != nil {
			if h == nil {
				return
			}
			// Whatever a usable header says, rebuilding from this and nothing else gives the pack or an error.
			shards := make([][]byte, 2)
			shards[h.Shard] = b
			rebuilt, err := RebuildShards(h, shards)
			for j := range rebuilt {
				if got, err := CheckShard(p.ID, rebuilt[j]); err != nil || got.Shard != j {
					t.Errorf("shard %d is rebuilt badly: %v", j, err)
				}
			}
			if c := (*CorruptError)(nil); errors.As(err, &c) && c.PayloadGood() && err != nil {
				t.Errorf("payload is good, but %v", err)
			}
			return
		}
		// Only what no key-less check can judge may differ: signature, certificate and reserved bytes.
		want := bytes.Clone(p.Shards[h.Shard])
		for _, header := range [][]byte{want, want[len(want)-HeaderSize:]} {
			copy(header[2817:4096], b[2817:4096])
		}
		if !bytes.Equal(b, want) {
			t.Error("a changed shard is accepted")
		}
	})
}

func FuzzTail(f *testing.F) {
	p, _ := sealPack(f, Geometry{K: 1}, chunk.Data, someSizes(3)...)
	h := parse(f, p.Shards[0])
	s := p.Shards[0]
	size := int(TailSize(h.L, h.DirLen[0]))
	f.Add(uint16(size), []byte{}, false)
	f.Add(uint16(size), []byte{5, 0, 1}, true)
	f.Add(uint16(HeaderSize), []byte{48, 0, 1}, true)
	f.Add(uint16(HeaderSize), []byte{1, 11, 1}, true)
	f.Add(uint16(100), []byte{}, false)
	f.Fuzz(func(t *testing.T, n uint16, changes []byte, fix bool) {
		id := p.ID
		tail := changed(s[len(s)-min(len(s), int(n)):], changes)
		if fix && len(tail) >= HeaderSize {
			rehash(tail[len(tail)-HeaderSize:])
			if h, err := ParseHeader(tail[len(tail)-HeaderSize:]); err == nil {
				id = h.ID
			}
		}
		c, need, err := ReadTail(testKeys(), id, tail)
		if (c != nil) != (need == 0 && err == nil) || need < 0 || need > ShardSize(MaxColumn) || (need > 0 && need <= int64(len(tail))) {
			t.Errorf("need %d of %d, column %v, %v", need, len(tail), c != nil, err)
		}
		if c != nil && id != p.ID {
			t.Errorf("pack %s has a signature", id)
		}
	})
}
