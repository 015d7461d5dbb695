package seal

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"

	"cairn/chunk"
)

// labelPrefix begins every label of version 1, so that no key or signature of a later version can meet one of this.
const labelPrefix = "cairn/v1/"

// Keys are what an opened archive holds. They are immutable and safe for concurrent use.
type Keys struct {
	archive ArchiveID
	root    *rootKeys // nil for writer keys

	index    [32]byte // IK
	poly     uint64
	hpke     hpke.PublicKey
	sign     ed25519.PrivateKey
	cert     [64]byte // of sign's public key; zero for the root's own
	rootSign [32]byte // the root's Ed25519 public key

	codec *codec
}

// rootKeys are what only holders of the root key have.
type rootKeys struct {
	key  [32]byte // RK
	wrap [32]byte
	hpke hpke.PrivateKey
}

// NewRoot makes the keys of a fresh archive from a random root key.
func NewRoot(a ArchiveID) (*Keys, error) { return KeysFromRoot(a, random32()) }

// KeysFromRoot derives all keys of an archive from its root key. It takes some milliseconds, nearly all for the chunker's polynomial.
func KeysFromRoot(a ArchiveID, root [32]byte) (*Keys, error) {
	var derived [5][32]byte
	for i, label := range []string{"index", "wrap", "hpke", "sign", "chunker"} {
		key, err := hkdf.Key(sha256.New, root[:], a[:], labelPrefix+label, 32)
		if err != nil {
			return nil, fmt.Errorf("derive key %q: %w", label, err)
		}
		derived[i] = [32]byte(key)
	}
	private, err := kem().DeriveKeyPair(derived[2][:])
	if err != nil {
		return nil, fmt.Errorf("derive key pair: %w", err)
	}
	poly, err := chunk.DerivePoly(derived[4])
	if err != nil {
		return nil, err
	}
	k := &Keys{
		archive: a,
		root:    &rootKeys{key: root, wrap: derived[1], hpke: private},
		index:   derived[0],
		poly:    poly,
		hpke:    private.PublicKey(),
		sign:    ed25519.NewKeyFromSeed(derived[3][:]),
		codec:   new(codec),
	}
	k.rootSign = k.Signer()
	return k, nil
}

// NewWriterKeys makes the keys of a new writer: its own signing key, certified by the root. It needs the root key.
func (k *Keys) NewWriterKeys() (*Keys, error) {
	if k.root == nil {
		return nil, fmt.Errorf("certify a writer: %w", ErrNoReadKey)
	}
	seed := random32()
	w := &Keys{
		archive:  k.archive,
		index:    k.index,
		poly:     k.poly,
		hpke:     k.hpke,
		sign:     ed25519.NewKeyFromSeed(seed[:]),
		rootSign: k.rootSign,
		codec:    new(codec),
	}
	w.cert = [64]byte(ed25519.Sign(k.sign, certified(k.archive, w.Signer())))
	return w, nil
}

// Archive returns the archive that the keys belong to.
func (k *Keys) Archive() ArchiveID { return k.archive }

// CanRead says whether these keys open what sessions sealed. Writer keys do not.
func (k *Keys) CanRead() bool { return k.root != nil }

// Poly returns the chunker's polynomial.
func (k *Keys) Poly() uint64 { return k.poly }

// Signer returns the public key that Sign signs with.
func (k *Keys) Signer() [32]byte { return [32]byte(k.sign.Public().(ed25519.PublicKey)) }

// RootSigner returns the public key of the archive's root, equal to Signer if these are root keys.
func (k *Keys) RootSigner() [32]byte { return k.rootSign }

// CardMAC authenticates member cards. Compare with hmac.Equal.
func (k *Keys) CardMAC(msg []byte) [32]byte {
	key := mac(k.index[:], []byte("card"))
	return mac(key[:], msg)
}

// String names the archive and nothing secret.
func (k *Keys) String() string {
	if k.CanRead() {
		return "root keys of archive " + k.archive.String()
	}
	return "writer keys of archive " + k.archive.String()
}

// GoString keeps %#v from printing the keys.
func (k *Keys) GoString() string { return "seal.Keys{" + k.String() + "}" }

// mac is HMAC-SHA-256 over the parts joined.
func mac(key []byte, parts ...[]byte) (sum [32]byte) {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}
