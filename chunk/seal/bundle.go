package seal

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"cairn/chunk"
)

// bundle is what a slot seals. Full: Role and Root. Writer: Role and all others.
type bundle struct {
	Role    Role   `cbor:"1,keyasint"`
	Root    []byte `cbor:"2,keyasint,omitempty"`
	HPKE    []byte `cbor:"3,keyasint,omitempty"`
	Index   []byte `cbor:"4,keyasint,omitempty"`
	Poly    uint64 `cbor:"5,keyasint,omitempty"`
	Seed    []byte `cbor:"6,keyasint,omitempty"`
	Cert    []byte `cbor:"7,keyasint,omitempty"`
	RootPub []byte `cbor:"8,keyasint,omitempty"`
}

func (k *Keys) bundle() ([]byte, error) {
	if k.root != nil {
		return encodeCBOR(&bundle{Role: Full, Root: k.root.key[:]})
	}
	return encodeCBOR(&bundle{
		Role: Writer, HPKE: k.hpke.Bytes(), Index: k.index[:], Poly: k.poly,
		Seed: k.sign.Seed(), Cert: k.cert[:], RootPub: k.rootSign[:],
	})
}

// keys makes keys of an opened bundle. What the header says openly about the keys must be what they are.
func (s *Slot) keys(plain []byte) (*Keys, error) {
	var b bundle
	if err := decodeCBOR(plain, &b); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if b.Role != s.Role {
		return nil, fmt.Errorf("bundle: %s in a slot for %s", b.Role, s.Role)
	}
	if b.Role == Full {
		if len(b.Root) != 32 || b.HPKE != nil || b.Index != nil || b.Poly != 0 || b.Seed != nil || b.Cert != nil || b.RootPub != nil {
			return nil, errors.New("bundle: not a root key alone")
		}
		return KeysFromRoot(s.Archive, [32]byte(b.Root))
	}
	k, err := b.writer(s.Archive)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if k.Signer() != s.Writer || k.cert != s.Cert {
		return nil, errors.New("bundle: another writer's keys than the header says")
	}
	return k, nil
}

func (b *bundle) writer(a ArchiveID) (*Keys, error) {
	if b.Root != nil || len(b.Index) != 32 || len(b.Seed) != ed25519.SeedSize || len(b.Cert) != 64 || len(b.RootPub) != 32 {
		return nil, errors.New("not a writer's keys")
	}
	if err := chunk.ValidPoly(b.Poly); err != nil {
		return nil, err
	}
	pub, err := kem().NewPublicKey(b.HPKE)
	if err != nil {
		return nil, fmt.Errorf("archive's public key: %w", err)
	}
	k := &Keys{
		archive: a, index: [32]byte(b.Index), poly: b.Poly, hpke: pub,
		sign: ed25519.NewKeyFromSeed(b.Seed), cert: [64]byte(b.Cert), rootSign: [32]byte(b.RootPub),
		codec: new(codec),
	}
	if err := k.VerifySigner(k.Signer(), k.cert); err != nil {
		return nil, err
	}
	return k, nil
}
