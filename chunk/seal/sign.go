package seal

import (
	"crypto/ed25519"
	"fmt"
)

// Labels of what is signed (docs/format.md §3, §5, §9, §11). None is a prefix of another, so a signature for one purpose
// cannot serve another.
const (
	LabelPack     = labelPrefix + "pack"
	LabelSnapshot = labelPrefix + "snapshot"
	LabelValid    = labelPrefix + "valid"
	LabelRecord   = labelPrefix + "gc"
	LabelRef      = labelPrefix + "ref"
	labelWriter   = labelPrefix + "writer"
)

// Signature is a signature with what is needed to judge its signer.
type Signature struct {
	Signer [32]byte // Ed25519 public key
	Cert   [64]byte // the root's signature over Signer; zero if the signer is the root
	Sig    [64]byte
}

// Sign signs label ‖ msg.
func (k *Keys) Sign(label string, msg []byte) Signature {
	return Signature{Signer: k.Signer(), Cert: k.cert, Sig: [64]byte(ed25519.Sign(k.sign, labelled(label, msg)))}
}

// Verify checks that s is a signature over label ‖ msg by the archive's root or by a writer whom the root certified.
// Otherwise it returns an error that wraps ErrSignature.
func (k *Keys) Verify(label string, msg []byte, s Signature) error {
	if err := k.VerifySigner(s.Signer, s.Cert); err != nil {
		return err
	}
	if !ed25519.Verify(s.Signer[:], labelled(label, msg), s.Sig[:]) {
		return fmt.Errorf("%w: by %x over another message", ErrSignature, s.Signer[:4])
	}
	return nil
}

// VerifySigner checks that signer may sign in this archive. The root carries no certificate (64 zero bytes, the only
// accepted form, so that an object has one valid encoding); all others need the root's.
func (k *Keys) VerifySigner(signer [32]byte, cert [64]byte) error {
	if signer == k.rootSign {
		if cert != [64]byte{} {
			return fmt.Errorf("%w: the root's key with a certificate", ErrSignature)
		}
		return nil
	}
	if !ed25519.Verify(k.rootSign[:], certified(k.archive, signer), cert[:]) {
		return fmt.Errorf("%w: signer %x is not certified for archive %s", ErrSignature, signer[:4], k.archive)
	}
	return nil
}

// certified is the message of a writer's certificate.
func certified(a ArchiveID, signer [32]byte) []byte {
	return labelled(labelWriter, append(a[:], signer[:]...))
}

func labelled(label string, msg []byte) []byte { return append([]byte(label), msg...) }
