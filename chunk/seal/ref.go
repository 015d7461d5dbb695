package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	refMagic = "CAIRNREF"
	refFixed = 88 // bytes in front of the sealed body
	refSalt  = 64 // where the salt is

	// MaxRef bounds a reference's object.
	MaxRef = 16 << 10
)

// EncodeRef seals the body of a reference and signs it (docs/format.md §12). The object's SHA-256 is the record's ID; salt and nonce
// are random, so that none recurs. Only holders of the root key may set one: it says what is restored when nothing else is said.
func (k *Keys) EncodeRef(body []byte) ([]byte, error) {
	if k.root == nil {
		return nil, fmt.Errorf("sign reference: %w", ErrNoReadKey)
	}
	if n := refFixed + len(body) + Overhead + sigSize; len(body) == 0 || n > MaxRef {
		return nil, fmt.Errorf("sign reference: %d bytes, at most %d", n, MaxRef)
	}
	signer := k.Signer()
	object := make([]byte, refFixed, refFixed+len(body)+Overhead+sigSize)
	copy(object, refMagic)
	binary.LittleEndian.PutUint16(object[8:], formatVersion)
	copy(object[16:], k.archive[:])
	copy(object[32:], signer[:])
	rand.Read(object[refSalt : refSalt+16])
	binary.LittleEndian.PutUint32(object[80:], uint32(len(body)+Overhead))
	key := k.refKey(object)
	sealed, err := sealBytes(&key, body, object)
	if err != nil {
		return nil, fmt.Errorf("seal reference: %w", err)
	}
	object = append(object, sealed...)
	sum := sha256.Sum256(object)
	sig := k.Sign(LabelRef, sum[:])
	return append(object, sig.Sig[:]...), nil
}

// DecodeRef verifies a reference and returns its body: the root must have signed it.
func (k *Keys) DecodeRef(object []byte) (body []byte, err error) {
	signer, err := CheckRef(k.archive, object)
	if err != nil {
		return nil, err
	}
	if signer != k.rootSign {
		return nil, &FormatError{What: "reference", Err: fmt.Errorf("%w: by %x, who is not the root", ErrSignature, signer[:4])}
	}
	key := k.refKey(object)
	if body, err = openBytes(&key, object[refFixed:len(object)-sigSize], object[:refFixed]); err != nil {
		return nil, fmt.Errorf("open reference: %w", err)
	}
	return body, nil
}

// CheckRef checks a reference as far as that is possible without any key: its structure, and that its signer signed it. Whether
// that is the root of the archive, only DecodeRef can tell.
func CheckRef(archive ArchiveID, object []byte) (signer [32]byte, err error) {
	const what = "reference"
	if err := checkHead(what, refMagic, object, refFixed+1+Overhead+sigSize, MaxRef); err != nil {
		return signer, err
	}
	if have := ArchiveID(object[16:32]); have != archive {
		return signer, malformed(what, "of archive %s, not of %s", have, archive)
	}
	if size := uint64(binary.LittleEndian.Uint32(object[80:])); uint64(len(object)) != refFixed+size+sigSize {
		return signer, malformed(what, "%d bytes, want %d", len(object), refFixed+size+sigSize)
	}
	signed, sig := object[:len(object)-sigSize], object[len(object)-sigSize:]
	sum := sha256.Sum256(signed)
	if !ed25519.Verify(object[32:64], labelled(LabelRef, sum[:]), sig) {
		return signer, &FormatError{What: what, Err: fmt.Errorf("%w: by %x over another message", ErrSignature, object[32:36])}
	}
	return [32]byte(object[32:64]), nil
}

// refKey is that of one object's body. The index key will do: names and ids of snapshots are no secret from who writes.
func (k *Keys) refKey(object []byte) [32]byte {
	return mac(k.index[:], []byte("reference"), object[refSalt:refSalt+16])
}
