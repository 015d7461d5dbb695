package seal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	recordMagic = "CAIRNGCR"
	recordFixed = 72 // bytes in front of the body

	// MaxRecord bounds a gc record: 64 MiB name two million packs, which is 64 TB.
	MaxRecord = 64 << 20
)

// EncodeRecord returns the object of a gc record with the given body, signed (docs/format.md §11). Its SHA-256 is the record's
// ID. Only holders of the root key may condemn, because what is condemned is deleted.
func (k *Keys) EncodeRecord(body []byte) ([]byte, error) {
	if k.root == nil {
		return nil, fmt.Errorf("sign gc record: %w", ErrNoReadKey)
	}
	if n := recordFixed + len(body) + sigSize; len(body) == 0 || n > MaxRecord {
		return nil, fmt.Errorf("sign gc record: %d bytes, at most %d", n, MaxRecord)
	}
	signer := k.Signer()
	object := make([]byte, recordFixed, recordFixed+len(body)+sigSize)
	copy(object, recordMagic)
	binary.LittleEndian.PutUint16(object[8:], formatVersion)
	copy(object[16:], k.archive[:])
	copy(object[32:], signer[:])
	binary.LittleEndian.PutUint32(object[64:], uint32(len(body)))
	object = append(object, body...)
	sum := sha256.Sum256(object)
	sig := k.Sign(LabelRecord, sum[:])
	return append(object, sig.Sig[:]...), nil
}

// DecodeRecord verifies a gc record and returns its body: the root must have signed it.
func (k *Keys) DecodeRecord(object []byte) (body []byte, err error) {
	body, signer, err := CheckRecord(k.archive, object)
	if err != nil {
		return nil, err
	}
	if signer != k.rootSign {
		return nil, &FormatError{What: "gc record", Err: fmt.Errorf("%w: by %x, who is not the root", ErrSignature, signer[:4])}
	}
	return body, nil
}

// CheckRecord checks a gc record as far as that is possible without any key: its structure, and that its signer signed it. Whether
// that is the root of the archive, only DecodeRecord can tell.
func CheckRecord(archive ArchiveID, object []byte) (body []byte, signer [32]byte, err error) {
	const what = "gc record"
	if err := checkHead(what, recordMagic, object, recordFixed+1+sigSize, MaxRecord); err != nil {
		return nil, signer, err
	}
	if have := ArchiveID(object[16:32]); have != archive {
		return nil, signer, malformed(what, "of archive %s, not of %s", have, archive)
	}
	if size := uint64(binary.LittleEndian.Uint32(object[64:])); uint64(len(object)) != recordFixed+size+sigSize {
		return nil, signer, malformed(what, "%d bytes, want %d", len(object), recordFixed+size+sigSize)
	}
	signed, sig := object[:len(object)-sigSize], object[len(object)-sigSize:]
	sum := sha256.Sum256(signed)
	if !ed25519.Verify(object[32:64], labelled(LabelRecord, sum[:]), sig) {
		return nil, signer, &FormatError{What: what, Err: fmt.Errorf("%w: by %x over another message", ErrSignature, object[32:36])}
	}
	return signed[recordFixed:], [32]byte(object[32:64]), nil
}
