package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"cairn/chunk"
	"cairn/chunk/seal"
)

// Places in a header (docs/format.md §5). Wire format, do not change.
const (
	magic   = "CAIRNPAK"
	version = 1

	atVersion   = 8
	atKind      = 10
	atK         = 11
	atM         = 12
	atShift     = 13
	atEpoch     = 14
	atArchive   = 16
	atSession   = 32
	atL         = 48
	atSigner    = 64
	atDirLen    = 96
	atHashes    = 224
	atHPKELen   = 1248
	atRootLen   = 1250
	atHPKE      = 1252
	atRoot      = 2656
	coreSize    = 2816
	atShard     = 2816
	atSignature = 2824
	atCert      = 2888
	atHash      = 4064
)

// SessionWrap is a writing session's id with its wrapped key.
type SessionWrap struct {
	ID   seal.SessionID
	Wrap seal.Wrap
}

// Header is what the first (and the last) 4096 bytes of a shard say.
type Header struct {
	Version  uint16
	Kind     chunk.Type
	Geometry Geometry
	Archive  seal.ArchiveID
	Session  SessionWrap
	L        int64      // length of each column
	DirLen   []uint32   // length of the sealed directory of each data column
	Hashes   [][32]byte // SHA-256 of the payload of each shard

	Shard     int // the only field that differs between the shards of a pack
	Signature seal.Signature

	ID ID // SHA-256 of the core, computed

	raw []byte // as stored; reserved bytes included, because the core's are part of the ID
}

// ParseHeader reads a header, or the copy of one, from the first HeaderSize bytes of b. It checks the header's own
// checksum, the magic, the version and all limits, and computes the ID; it does not check the signature. What it
// accepts, the format defines completely: unused places of the core's tables are zero.
func ParseHeader(b []byte) (*Header, error) {
	if len(b) < HeaderSize {
		return nil, fmt.Errorf("header of %d bytes: %w", len(b), ErrTruncated)
	}
	if string(b[:len(magic)]) != magic {
		return nil, corrupt(InHeader, 0, "magic is %q", b[:len(magic)])
	}
	// Before the checksum, whose place a later version may choose otherwise.
	if v := binary.LittleEndian.Uint16(b[atVersion:]); v != version {
		return nil, fmt.Errorf("pack header of version %d: %w", v, seal.ErrVersion)
	}
	if sum := sha256.Sum256(b[:atHash]); !bytes.Equal(sum[:], b[atHash:HeaderSize]) {
		return nil, corrupt(InHeader, 0, "its SHA-256 is %x, not %x", sum, b[atHash:HeaderSize])
	}
	h := &Header{raw: bytes.Clone(b[:HeaderSize]), Version: version}
	if err := h.parseCore(); err != nil {
		return nil, err
	}
	h.ID = sha256.Sum256(h.raw[:coreSize])
	h.Shard = int(h.raw[atShard])
	if h.Shard >= h.Geometry.N() {
		return nil, corrupt(InHeader, atShard, "shard number %d of %d", h.Shard, h.Geometry.N())
	}
	copy(h.Signature.Signer[:], h.raw[atSigner:])
	copy(h.Signature.Sig[:], h.raw[atSignature:])
	copy(h.Signature.Cert[:], h.raw[atCert:])
	return h, nil
}

func (h *Header) parseCore() error {
	b := h.raw
	h.Kind = chunk.Type(b[atKind])
	if !h.Kind.Valid() {
		return corrupt(InHeader, atKind, "unknown kind %d", b[atKind])
	}
	h.Geometry = Geometry{K: int(b[atK]), M: int(b[atM]), Epoch: binary.LittleEndian.Uint16(b[atEpoch:])}
	if err := h.Geometry.Validate(); err != nil {
		return corrupt(InHeader, atK, "%s", err)
	}
	if b[atShift] != blockShift {
		return corrupt(InHeader, atShift, "checksums per 2^%d bytes, want 2^%d", b[atShift], blockShift)
	}
	L := binary.LittleEndian.Uint64(b[atL:])
	if L == 0 || L > MaxColumn || L%Align != 0 {
		return corrupt(InHeader, atL, "column length %d", L)
	}
	h.L = int64(L)
	copy(h.Archive[:], b[atArchive:])
	copy(h.Session.ID[:], b[atSession:])
	if err := h.parseTables(); err != nil {
		return err
	}
	return h.parseWraps()
}

// parseTables reads directory lengths and hashes.
func (h *Header) parseTables() error {
	b, k, n := h.raw, h.Geometry.K, h.Geometry.N()
	h.DirLen = make([]uint32, k)
	for i := range h.DirLen {
		at := atDirLen + 4*i
		h.DirLen[i] = binary.LittleEndian.Uint32(b[at:])
		if d := int64(h.DirLen[i]); d <= sealing || d > h.L {
			return corrupt(InHeader, int64(at), "directory of %d bytes in a column of %d", d, h.L)
		}
	}
	if at := nonZero(b, atDirLen+4*k, atHashes); at >= 0 {
		return corrupt(InHeader, at, "directory length of a column that does not exist")
	}
	h.Hashes = make([][32]byte, n)
	for j := range h.Hashes {
		copy(h.Hashes[j][:], b[atHashes+32*j:])
	}
	if at := nonZero(b, atHashes+32*n, atHPKELen); at >= 0 {
		return corrupt(InHeader, at, "hash of a shard that does not exist")
	}
	return nil
}

// parseWraps reads the session's wrapped key.
func (h *Header) parseWraps() error {
	b := h.raw
	w, x := int(binary.LittleEndian.Uint16(b[atHPKELen:])), int(binary.LittleEndian.Uint16(b[atRootLen:]))
	if w > atRoot-atHPKE || x > coreSize-atRoot {
		return corrupt(InHeader, atHPKELen, "wraps of %d and %d bytes", w, x)
	}
	if w > 0 {
		h.Session.Wrap.HPKE = b[atHPKE : atHPKE+w : atHPKE+w]
	}
	if x > 0 {
		h.Session.Wrap.Root = b[atRoot : atRoot+x : atRoot+x]
	}
	if err := checkWrap(h.Kind, h.Session.Wrap); err != nil {
		return corrupt(InHeader, atHPKELen, "%s", err)
	}
	if at := nonZero(b, atHPKE+w, atRoot); at >= 0 {
		return corrupt(InHeader, at, "bytes behind the HPKE wrap")
	}
	if at := nonZero(b, atRoot+x, coreSize); at >= 0 {
		return corrupt(InHeader, at, "bytes behind the root wrap")
	}
	return nil
}

// checkWrap checks the lengths of a wrapped session key. Index sessions have none: readers derive the key.
func checkWrap(kind chunk.Type, w seal.Wrap) error {
	hpke, root := len(w.HPKE), len(w.Root)
	if kind == chunk.Index {
		if hpke != 0 || root != 0 {
			return fmt.Errorf("wraps of %d and %d bytes in a pack of kind index", hpke, root)
		}
		return nil
	}
	if hpke != seal.HPKEWrapSize || (root != 0 && root != seal.RootWrapSize) {
		return fmt.Errorf("wraps of %d and %d bytes", hpke, root)
	}
	return nil
}

// nonZero returns the place of the first byte of b[from:to] that is not zero, or -1.
func nonZero(b []byte, from, to int) int64 {
	for i, c := range b[from:to] {
		if c != 0 {
			return int64(from + i)
		}
	}
	return -1
}

// encodeCore writes the core, bytes 0 to 2815, into a new header. The other fields follow once the ID is known.
func (h *Header) encodeCore() {
	b := make([]byte, HeaderSize)
	copy(b, magic)
	binary.LittleEndian.PutUint16(b[atVersion:], version)
	b[atKind], b[atK], b[atM], b[atShift] = byte(h.Kind), byte(h.Geometry.K), byte(h.Geometry.M), blockShift
	binary.LittleEndian.PutUint16(b[atEpoch:], h.Geometry.Epoch)
	copy(b[atArchive:], h.Archive[:])
	copy(b[atSession:], h.Session.ID[:])
	binary.LittleEndian.PutUint64(b[atL:], uint64(h.L))
	copy(b[atSigner:], h.Signature.Signer[:])
	for i, d := range h.DirLen {
		binary.LittleEndian.PutUint32(b[atDirLen+4*i:], d)
	}
	for j := range h.Hashes {
		copy(b[atHashes+32*j:], h.Hashes[j][:])
	}
	w := h.Session.Wrap
	binary.LittleEndian.PutUint16(b[atHPKELen:], uint16(len(w.HPKE)))
	binary.LittleEndian.PutUint16(b[atRootLen:], uint16(len(w.Root)))
	copy(b[atHPKE:atRoot], w.HPKE)
	copy(b[atRoot:coreSize], w.Root)
	h.raw = b
	h.ID = sha256.Sum256(b[:coreSize])
}

// encodeSignature writes the fields behind the core that all shards share.
func (h *Header) encodeSignature() {
	copy(h.raw[atSignature:], h.Signature.Sig[:])
	copy(h.raw[atCert:], h.Signature.Cert[:])
}

// put writes the header of shard j, which differs from the others in one byte and its own hash, to dst.
func (h *Header) put(dst []byte, j int) {
	copy(dst, h.raw)
	dst[atShard] = byte(j)
	sum := sha256.Sum256(dst[:atHash])
	copy(dst[atHash:HeaderSize], sum[:])
}

// VerifySignature says whether the pack was written by a holder of the archive's root key or by a writer that it
// certified. The shard hashes are part of what is signed, the shard's own number is not.
func (h *Header) VerifySignature(k *seal.Keys) error {
	if h.Archive != k.Archive() {
		return fmt.Errorf("pack %s: %w: %s, not %s", h.ID, ErrForeign, h.Archive, k.Archive())
	}
	if err := k.Verify(seal.LabelPack, h.ID[:], h.Signature); err != nil {
		return fmt.Errorf("pack %s: %w", h.ID, err)
	}
	return nil
}
