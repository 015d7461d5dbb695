package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"sync"

	"cairn/chunk"
)

// Wrap is a session key as it is stored beside what it seals.
type Wrap struct {
	HPKE []byte // 1168 bytes; empty for index sessions
	Root []byte // 60 bytes; empty if the writer had no root key
}

// Session seals and opens the blobs of one session key. It is safe for concurrent use.
type Session struct {
	archive ArchiveID
	id      SessionID
	key     [32]byte // SK
	index   bool     // SK is derived from the index key: for index blobs, and for nothing else
	wrap    Wrap
	codec   *codec
	macs    sync.Pool // of *blobMAC
}

// NewSession makes a session with a random key.
func (k *Keys) NewSession() (*Session, error) {
	s := k.session(NewSessionID(), random32())
	info := sessionInfo(k.archive, s.id)
	wrap, err := hpkeSeal(k.hpke, info, s.key[:])
	if err != nil {
		return nil, fmt.Errorf("wrap session key: %w", err)
	}
	s.wrap.HPKE = wrap
	if k.root == nil {
		return s, nil
	}
	if s.wrap.Root, err = sealBytes(&k.root.wrap, s.key[:], info); err != nil {
		return nil, fmt.Errorf("wrap session key: %w", err)
	}
	return s, k.checkWraps(s)
}

// checkWraps opens both wraps of a new session: a session whose key is lost loses all that it sealed.
func (k *Keys) checkWraps(s *Session) error {
	for _, w := range []Wrap{{HPKE: s.wrap.HPKE}, s.wrap} {
		again, err := k.OpenSession(s.id, w)
		if err != nil {
			return fmt.Errorf("check new session: %w", err)
		}
		if subtle.ConstantTimeCompare(again.key[:], s.key[:]) != 1 {
			return fmt.Errorf("check new session: wrapped key is not the session's")
		}
	}
	return nil
}

// OpenSession unwraps a stored session key: by the root wrap if there is one, else by HPKE. Writer keys get
// ErrNoReadKey.
func (k *Keys) OpenSession(id SessionID, w Wrap) (*Session, error) {
	if k.root == nil {
		return nil, fmt.Errorf("open session %s: %w", id, ErrNoReadKey)
	}
	if err := w.validate(); err != nil {
		return nil, fmt.Errorf("open session %s: %w", id, err)
	}
	var key []byte
	var err error
	if info := sessionInfo(k.archive, id); len(w.Root) > 0 {
		key, err = openBytes(&k.root.wrap, w.Root, info)
	} else {
		key, err = hpkeOpen(k.root.hpke, info, w.HPKE)
	}
	if err == nil && len(key) != 32 {
		err = ErrLength
	}
	if err != nil {
		return nil, fmt.Errorf("open session %s: wrapped key %w", id, err)
	}
	s := k.session(id, [32]byte(key))
	s.wrap = Wrap{HPKE: bytes.Clone(w.HPKE), Root: bytes.Clone(w.Root)} // w may lie in a buffer that is used again
	return s, nil
}

// IndexSession returns the session of this ID for index blobs. Its key derives from the index key, so writers can open
// what it seals, and its Wrap is empty.
func (k *Keys) IndexSession(id SessionID) *Session {
	s := k.session(id, mac(k.index[:], []byte("session"), id[:]))
	s.index = true
	return s
}

func (k *Keys) session(id SessionID, key [32]byte) *Session {
	return &Session{archive: k.archive, id: id, key: key, codec: k.codec}
}

// ID returns the session's id.
func (s *Session) ID() SessionID { return s.id }

// Wrap returns the session's key as it is stored. The caller does not change it.
func (s *Session) Wrap() Wrap { return s.wrap }

// String names the session and nothing secret.
func (s *Session) String() string { return "session " + s.id.String() }

// GoString keeps %#v from printing the key.
func (s *Session) GoString() string { return "seal.Session{" + s.id.String() + "}" }

// serves refuses types that do not belong to the session: a data blob under an index session could be read by every
// writer.
func (s *Session) serves(t chunk.Type) error {
	switch {
	case !t.Valid():
		return fmt.Errorf("unknown blob %s", t)
	case s.index && t != chunk.Index:
		return fmt.Errorf("%s blob in index session %s", t, s.id)
	case !s.index && t == chunk.Index:
		return fmt.Errorf("index blob in session %s, which is not an index session", s.id)
	}
	return nil
}

func (w Wrap) validate() error {
	if len(w.HPKE) != HPKEWrapSize {
		return malformed("session wrap", "HPKE wrap of %d bytes, want %d", len(w.HPKE), HPKEWrapSize)
	}
	if len(w.Root) != 0 && len(w.Root) != RootWrapSize {
		return malformed("session wrap", "root wrap of %d bytes, want %d", len(w.Root), RootWrapSize)
	}
	return nil
}

func sessionInfo(a ArchiveID, id SessionID) []byte {
	return append(append([]byte(labelPrefix+"session"), a[:]...), id[:]...)
}

// blobMAC derives blob keys. Deriving a key and setting up AES-GCM is paid for each blob, so the HMAC state and all
// buffers that escape into interfaces are kept: what is left to allocate are the two objects of the cipher.
type blobMAC struct {
	hmac hash.Hash
	msg  [1 + 32]byte
	key  [32]byte
	aad  [aadSize]byte
}

func (s *Session) getMAC() *blobMAC {
	if m, ok := s.macs.Get().(*blobMAC); ok {
		return m
	}
	return &blobMAC{hmac: hmac.New(sha256.New, s.key[:])}
}

// derive sets key to the blob's key.
func (m *blobMAC) derive(t chunk.Type, id *chunk.ID) {
	m.msg[0] = byte(t)
	copy(m.msg[1:], id[:])
	m.hmac.Reset()
	m.hmac.Write(m.msg[:])
	m.hmac.Sum(m.key[:0])
}
