package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
)

// Sizes of sealed forms; wire format, do not change.
const (
	nonceSize = 12
	tagSize   = 16

	// Overhead is what sealing adds to a body: a nonce in front and a tag behind.
	Overhead = nonceSize + tagSize

	// HPKEWrapSize and RootWrapSize are the lengths of the two forms of a wrapped session key.
	HPKEWrapSize = kemSize + 32 + tagSize
	RootWrapSize = 32 + Overhead

	kemSize = 1120 // encapsulated key of MLKEM768-X25519
)

// formatVersion is the version of every object and AAD of this package.
const formatVersion = 1

func newAEAD(key *[32]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("aes: %w", err)
	}
	return cipher.NewGCM(block)
}

// sealTo appends nonce ‖ ciphertext ‖ tag to dst. If body is the memory right behind the 12 bytes after dst it is
// encrypted in place.
func sealTo(dst []byte, aead cipher.AEAD, body, aad []byte) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, nonceSize)...)
	rand.Read(dst[n:])
	return aead.Seal(dst, dst[n:], body, aad)
}

// openTo appends the body of sealed to dst, or returns ErrNotAuthentic.
func openTo(dst []byte, aead cipher.AEAD, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrNotAuthentic
	}
	body, err := aead.Open(dst, sealed[:nonceSize], sealed[nonceSize:], aad)
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return body, nil
}

// sealBytes seals a small body under a 32-byte key.
func sealBytes(key *[32]byte, body, aad []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return sealTo(make([]byte, 0, len(body)+Overhead), aead, body, aad), nil
}

// openBytes is the reverse of sealBytes.
func openBytes(key *[32]byte, sealed, aad []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return openTo(nil, aead, sealed, aad)
}

// kem is the KEM of the one HPKE suite of version 1; hpkeSeal and hpkeOpen name the rest.
func kem() hpke.KEM { return hpke.MLKEM768X25519() }

func hpkeSeal(to hpke.PublicKey, info, body []byte) ([]byte, error) {
	return hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES256GCM(), info, body)
}

func hpkeOpen(key hpke.PrivateKey, info, sealed []byte) ([]byte, error) {
	body, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, sealed)
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return body, nil
}
