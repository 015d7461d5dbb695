package check

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"cairn/pack"
)

// TestPadding changes a byte that is in no blob and in no directory: it is named, and costs no file its content. With the checksum made to
// fit, the proof by the pack's name sees it.
func TestPadding(t *testing.T) {
	t.Parallel()
	b := three(t, 1, 0)
	for _, name := range b.objects(0, "binaries/") {
		whole := b.read(0, name)
		h, err := pack.ParseHeader(whole)
		if err != nil {
			t.Fatal(err)
		}
		at := pack.HeaderSize + h.L - int64(h.DirLen[0]) - 1
		bad := bytes.Clone(whole)
		bad[at] ^= 1
		b.put(0, name, bad)
		if r := b.check(Options{ReadData: true}); r.naming(name) == nil || len(r.paths()) > 0 {
			t.Errorf("%s: want it named, and no file: %v", name, r.Damages)
		}
		table := crc32.MakeTable(crc32.Castagnoli)
		for i := range pack.Blocks(h.L) {
			block := bad[pack.HeaderSize+i*pack.BlockSize : pack.HeaderSize+min((i+1)*pack.BlockSize, h.L)]
			binary.LittleEndian.PutUint32(bad[pack.HeaderSize+h.L+4*i:], crc32.Checksum(block, table))
		}
		b.put(0, name, bad)
		if r, err := Shards(t.Context(), b.open(), Options{}); err != nil || r.naming(name) == nil {
			t.Errorf("%s, checksum forged: not named: %v, %v", name, r.Damages, err)
		}
		b.put(0, name, whole)
	}
}
