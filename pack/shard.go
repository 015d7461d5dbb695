package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"cairn/chunk/seal"
)

// castagnoli is the polynomial that processors have an instruction for. The table is made once by the standard library.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// putChecksums writes the checksums of payload to dst, which has room for Blocks(len(payload)) of them.
func putChecksums(dst, payload []byte) {
	for i := 0; len(payload) > 0; i++ {
		n := min(len(payload), BlockSize)
		binary.LittleEndian.PutUint32(dst[4*i:], crc32.Checksum(payload[:n], castagnoli))
		payload = payload[n:]
	}
}

// FindHeader returns the header of a whole shard object, or its copy if the header is damaged; damage is then the
// *CorruptError that tells what is wrong with the header. It fails if neither is the header of pack id. A shard that
// was cut off still has its header, one that was overwritten at the beginning its copy.
func FindHeader(id ID, object []byte) (h *Header, damage *CorruptError, err error) {
	h, err = headerOf(id, object)
	if err == nil {
		return h, nil, nil
	}
	if !errors.As(err, &damage) && !errors.Is(err, seal.ErrVersion) || len(object) < 2*HeaderSize {
		return nil, nil, err
	}
	if h, copyErr := headerOf(id, object[len(object)-HeaderSize:]); copyErr == nil {
		if damage == nil { // a version that only a damaged header has
			damage = corrupt(InHeader, atVersion, "%s", err)
		}
		damage.Pack, damage.Shard = id, h.Shard
		return h, damage, nil
	}
	return nil, nil, err
}

// headerOf parses a header that must be one of pack id.
func headerOf(id ID, b []byte) (*Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		if c := (*CorruptError)(nil); errors.As(err, &c) {
			c.Pack = id
			return nil, c
		}
		return nil, fmt.Errorf("pack %s: %w", id, err)
	}
	if h.ID != id {
		c := corrupt(InHeader, 0, "it is one of pack %s", h.ID)
		c.Pack = id
		return nil, c
	}
	return h, nil
}

// CheckShard checks a whole shard object by itself, without any key: header and copy, checksums, the payload's
// SHA-256 and the pack id that its name gives. If it finds damage it returns a *CorruptError about the worst of it
// (payload, header, copy, checksums, in this order) or ErrTruncated; with either, the header is returned as well if
// one of the two is good. Whether the shard lies on the right member is for the caller to see (Header.Shard), as is
// the signature.
func CheckShard(id ID, object []byte) (*Header, error) { return checkShard(id, object, true) }

// CheckFrame is CheckShard for who proves the payload in another way: it leaves out its SHA-256, which is what CheckShard costs,
// and takes the checksums of its blocks for good. They tell every accident and no forgery.
func CheckFrame(id ID, object []byte) (*Header, error) { return checkShard(id, object, false) }

func checkShard(id ID, object []byte, hash bool) (*Header, error) {
	h, inHeader, err := FindHeader(id, object)
	if err != nil {
		return nil, err
	}
	fail := func(part Part, offset int64, format string, args ...any) (*Header, error) {
		e := corrupt(part, offset, format, args...)
		e.Pack, e.Shard = id, h.Shard
		return h, e
	}
	size := ShardSize(h.L)
	if int64(len(object)) < size {
		return h, fmt.Errorf("pack %s: shard %d has %d bytes instead of %d: %w", id, h.Shard, len(object), size, ErrTruncated)
	}
	if int64(len(object)) > size {
		return fail(InSize, size, "%d bytes instead of %d", len(object), size)
	}
	payload := object[HeaderSize : HeaderSize+h.L]
	crcs := object[HeaderSize+h.L : size-HeaderSize]
	bad := CheckBlocks(h, 0, payload, crcs)
	if hash {
		if sum := sha256.Sum256(payload); sum != h.Hashes[h.Shard] {
			e := corrupt(InPayload, HeaderSize, "its SHA-256 is %x, not %x", sum, h.Hashes[h.Shard])
			e.Pack, e.Shard, e.Blocks = id, h.Shard, bad
			if len(bad) > 0 {
				e.Offset += int64(bad[0]) << blockShift
				e.Reason = fmt.Sprintf("%d of %d blocks of %d bytes are bad", len(bad), Blocks(h.L), BlockSize)
			}
			return h, e
		}
	}
	if inHeader != nil {
		return h, inHeader
	}
	if at := firstDifference(object[:HeaderSize], object[size-HeaderSize:]); at >= 0 {
		return fail(InCopy, size-HeaderSize+int64(at), "it differs from the header")
	}
	if len(bad) > 0 {
		return fail(InChecksums, HeaderSize+h.L+4*int64(bad[0]), "%d of %d are bad", len(bad), Blocks(h.L))
	}
	return h, nil
}

// firstDifference returns the place of the first byte in which equally long a and b differ, or -1.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// CheckBlocks compares part of a payload, blocks = payload[off:off+len(blocks)], with crcs, all the checksums of the
// shard (4·Blocks(L) bytes). It returns the numbers of the blocks that are bad; those that lie only in part within
// blocks are not checked, those without a checksum in crcs are bad.
func CheckBlocks(h *Header, off int64, blocks, crcs []byte) (bad []int) {
	first := (off + BlockSize - 1) >> blockShift
	for i := max(0, first); i < Blocks(h.L); i++ {
		from, to := i<<blockShift-off, min((i+1)<<blockShift, h.L)-off
		if to > int64(len(blocks)) {
			break
		}
		if int64(len(crcs)) < 4*(i+1) ||
			crc32.Checksum(blocks[from:to], castagnoli) != binary.LittleEndian.Uint32(crcs[4*i:]) {
			bad = append(bad, int(i))
		}
	}
	return bad
}

// ReadTail opens the directory of a data shard of pack id from the last bytes of its object (a suffix GET), checks
// the pack's signature, and needs nothing else of the shard. If tail is too short it returns need > 0: come again with the
// last need bytes. 64 KiB are enough for a column of 1400 blobs. A parity shard gives ErrParity.
//
// The payload's SHA-256 is not checked, as that takes all of it; the directory is authenticated by itself. If the
// header's copy is damaged, OpenDirectory does the same with the header from the beginning of the object.
func ReadTail(k *seal.Keys, id ID, tail []byte) (c *Column, need int64, err error) {
	if len(tail) < HeaderSize {
		return nil, HeaderSize, nil
	}
	h, err := headerOf(id, tail[len(tail)-HeaderSize:])
	if err != nil {
		if c := (*CorruptError)(nil); errors.As(err, &c) {
			c.Part = InCopy
		}
		return nil, 0, err
	}
	if h.Shard >= h.Geometry.K {
		return nil, 0, fmt.Errorf("pack %s: shard %d: %w", id, h.Shard, ErrParity)
	}
	dirLen := h.DirLen[h.Shard]
	size := TailSize(h.L, dirLen)
	if int64(len(tail)) < size {
		return nil, size, nil
	}
	if err := h.VerifySignature(k); err != nil {
		return nil, 0, err
	}
	at := int64(len(tail)) - size
	c, err = OpenDirectory(k, h, h.Shard, tail[at:at+int64(dirLen)])
	return c, 0, err
}
