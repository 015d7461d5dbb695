package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	snapshotMagic = "CAIRNSNP"
	snapshotFixed = 152 // bytes in front of the wraps
	sigSize       = 64

	// maxSnapshot bounds a snapshot object and its plaintext.
	maxSnapshot = 64 << 20
)

// EncodeSnapshot returns the snapshot object with the given plaintext, sealed by s and signed. Its SHA-256 is the
// snapshot's ID.
func (k *Keys) EncodeSnapshot(s *Session, plain []byte) ([]byte, error) {
	if s.archive != k.archive {
		return nil, fmt.Errorf("seal snapshot: %s is of archive %s, not of %s", s, s.archive, k.archive)
	}
	if err := s.wrap.validate(); err != nil {
		return nil, fmt.Errorf("seal snapshot: %w", err)
	}
	sig := Signature{Signer: k.Signer(), Cert: k.cert}
	object := make([]byte, snapshotFixed, snapshotFixed+HPKEWrapSize+RootWrapSize)
	copy(object, snapshotMagic)
	binary.LittleEndian.PutUint16(object[8:], formatVersion)
	binary.LittleEndian.PutUint16(object[10:], uint16(len(s.wrap.HPKE)))
	binary.LittleEndian.PutUint16(object[12:], uint16(len(s.wrap.Root)))
	copy(object[16:], k.archive[:])
	copy(object[32:], s.id[:])
	copy(object[48:], sig.Signer[:])
	copy(object[80:], sig.Cert[:])
	object = append(append(object, s.wrap.HPKE...), s.wrap.Root...)

	// The length of the sealed body is part of the aad, so compression comes before.
	frame, err := s.deflateSnapshot(plain)
	if err != nil {
		return nil, err
	}
	size := len(frame) + Overhead
	if len(object)+size+sigSize > maxSnapshot {
		return nil, fmt.Errorf("seal snapshot: %d bytes, at most %d", len(object)+size+sigSize, maxSnapshot)
	}
	binary.LittleEndian.PutUint32(object[144:], uint32(size))
	sealed, err := s.sealSnapshot(object, frame, plain)
	if err != nil {
		return nil, err
	}
	object = append(object, sealed...)
	sum := sha256.Sum256(object)
	sig = k.Sign(LabelSnapshot, sum[:])
	return append(object, sig.Sig[:]...), nil
}

// DecodeSnapshot verifies and opens a snapshot object and returns its plaintext and who signed it. Writer keys get
// ErrNoReadKey for an object that is otherwise good.
func (k *Keys) DecodeSnapshot(object []byte) (plain []byte, signer [32]byte, err error) {
	p, err := k.verifySnapshot(object)
	if err != nil {
		return nil, signer, err
	}
	s, err := k.OpenSession(p.session, p.wrap)
	if err != nil {
		return nil, signer, fmt.Errorf("snapshot: %w", err)
	}
	plain, err = s.OpenSnapshot(p.aad, p.sealed)
	if err != nil {
		return nil, signer, err
	}
	return plain, p.sig.Signer, nil
}

// VerifySnapshot checks a snapshot object's structure and signature without opening it, which writer keys can do too.
func (k *Keys) VerifySnapshot(object []byte) (signer [32]byte, err error) {
	p, err := k.verifySnapshot(object)
	if err != nil {
		return signer, err
	}
	return p.sig.Signer, nil
}

func (k *Keys) verifySnapshot(object []byte) (snapshotParts, error) {
	p, err := parseSnapshot(k.archive, object)
	if err != nil {
		return snapshotParts{}, err
	}
	sum := sha256.Sum256(object[:len(object)-sigSize])
	if err := k.Verify(LabelSnapshot, sum[:], p.sig); err != nil {
		return snapshotParts{}, &FormatError{What: "snapshot", Err: err}
	}
	return p, nil
}

// VerifySnapshotObject checks, without any key, that object has the form of a snapshot of archive a.
func VerifySnapshotObject(a ArchiveID, object []byte) error {
	_, err := parseSnapshot(a, object)
	return err
}

type snapshotParts struct {
	session     SessionID
	wrap        Wrap
	sig         Signature
	aad, sealed []byte
}

func parseSnapshot(a ArchiveID, object []byte) (p snapshotParts, err error) {
	const what = "snapshot"
	if err := checkHead(what, snapshotMagic, object, snapshotFixed+sigSize, maxSnapshot); err != nil {
		return p, err
	}
	w := int(binary.LittleEndian.Uint16(object[10:]))
	x := int(binary.LittleEndian.Uint16(object[12:]))
	size := uint64(binary.LittleEndian.Uint32(object[144:]))
	if have := ArchiveID(object[16:32]); have != a {
		return p, malformed(what, "of archive %s, not of %s", have, a)
	}
	if w != HPKEWrapSize || x != 0 && x != RootWrapSize {
		return p, malformed(what, "wraps of %d and %d bytes, want %d and 0 or %d", w, x, HPKEWrapSize, RootWrapSize)
	}
	body := snapshotFixed + w + x
	if want := uint64(body) + size + sigSize; uint64(len(object)) != want {
		return p, malformed(what, "%d bytes, want %d", len(object), want)
	}
	p.session = SessionID(object[32:48])
	p.sig.Signer = [32]byte(object[48:80])
	p.sig.Cert = [64]byte(object[80:144])
	p.wrap = Wrap{HPKE: object[snapshotFixed : snapshotFixed+w], Root: object[snapshotFixed+w : body]}
	p.aad = object[:body]
	p.sealed = object[body : len(object)-sigSize]
	p.sig.Sig = [64]byte(object[len(object)-sigSize:])
	return p, nil
}

// checkHead checks what all objects have in front: length, magic and version.
func checkHead(what, magic string, object []byte, least, most int) error {
	if len(object) < least || len(object) > most {
		return malformed(what, "%d bytes, want %d to %d", len(object), least, most)
	}
	if string(object[:8]) != magic {
		return malformed(what, "begins with %q, not with %q", object[:8], magic)
	}
	if v := binary.LittleEndian.Uint16(object[8:]); v != formatVersion {
		return malformed(what, "version %d: %w", v, ErrVersion)
	}
	return nil
}

// SealSnapshot seals the body of a snapshot: always one zstd frame, under a key that no blob has.
func (s *Session) SealSnapshot(aad, plain []byte) ([]byte, error) {
	frame, err := s.deflateSnapshot(plain)
	if err != nil {
		return nil, err
	}
	return s.sealSnapshot(aad, frame, plain)
}

func (s *Session) deflateSnapshot(plain []byte) ([]byte, error) {
	if s.index {
		return nil, fmt.Errorf("seal snapshot: %s is an index session, which every writer can read", s)
	}
	if len(plain) == 0 || len(plain) > maxSnapshot {
		return nil, fmt.Errorf("seal snapshot: %d bytes, want 1 to %d", len(plain), maxSnapshot)
	}
	d := s.codec.get()
	defer s.codec.put(d)
	enc, err := d.encoder()
	if err != nil {
		return nil, fmt.Errorf("seal snapshot: %w", err)
	}
	frame, err := enc.compress(nil, plain)
	if err != nil {
		return nil, fmt.Errorf("seal snapshot: zstd: %w", err)
	}
	return frame, nil
}

func (s *Session) sealSnapshot(aad, frame, plain []byte) ([]byte, error) {
	key := s.snapshotKey()
	sealed, err := sealBytes(&key, frame, aad)
	if err != nil {
		return nil, fmt.Errorf("seal snapshot: %w", err)
	}
	again, err := s.OpenSnapshot(aad, sealed)
	if err != nil || !bytes.Equal(again, plain) {
		return nil, fmt.Errorf("seal snapshot: check: %w", ErrNotAuthentic)
	}
	return sealed, nil
}

// OpenSnapshot is the reverse of SealSnapshot.
func (s *Session) OpenSnapshot(aad, sealed []byte) ([]byte, error) {
	key := s.snapshotKey()
	frame, err := openBytes(&key, sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	size, err := frameSize(frame)
	if err == nil && (size == 0 || size > maxSnapshot) {
		err = fmt.Errorf("%w: %d bytes, want 1 to %d", ErrLength, size, maxSnapshot)
	}
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	d := s.codec.get()
	defer s.codec.put(d)
	plain, err := d.inflate(make([]byte, size), frame, int(size))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return plain, nil
}

func (s *Session) snapshotKey() [32]byte { return mac(s.key[:], []byte("snapshot")) }
