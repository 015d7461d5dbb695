package seal

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// ArchiveID names an archive for life.
type ArchiveID [16]byte

// SessionID names a session key.
type SessionID [16]byte

// SlotID names a key slot.
type SlotID [16]byte

// NewArchiveID returns a random ArchiveID.
func NewArchiveID() ArchiveID { return ArchiveID(random16()) }

// NewSessionID returns a random SessionID, for sessions of the index (Keys.IndexSession).
func NewSessionID() SessionID { return SessionID(random16()) }

func (a ArchiveID) String() string { return hex.EncodeToString(a[:]) }
func (s SessionID) String() string { return hex.EncodeToString(s[:]) }
func (s SlotID) String() string    { return hex.EncodeToString(s[:]) }

// ParseArchiveID parses 32 hex digits.
func ParseArchiveID(s string) (ArchiveID, error) {
	id, err := parse16("archive id", s)
	return ArchiveID(id), err
}

// ParseSessionID parses 32 hex digits.
func ParseSessionID(s string) (SessionID, error) {
	id, err := parse16("session id", s)
	return SessionID(id), err
}

// ParseSlotID parses 32 hex digits.
func ParseSlotID(s string) (SlotID, error) {
	id, err := parse16("slot id", s)
	return SlotID(id), err
}

func parse16(what, s string) ([16]byte, error) {
	var id [16]byte
	if len(s) != 2*len(id) {
		return [16]byte{}, fmt.Errorf("%s %.80q: want %d hex digits, got %d", what, s, 2*len(id), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return [16]byte{}, fmt.Errorf("%s %q: %w", what, s, err)
	}
	return id, nil
}

// random16 cannot fail: crypto/rand ends the program when the system has no random numbers.
func random16() (id [16]byte) {
	rand.Read(id[:])
	return id
}

func random32() (k [32]byte) {
	rand.Read(k[:])
	return k
}

// Compression says what form the body of a sealed blob has. The values are wire format; do not change.
type Compression uint8

const (
	None Compression = 0 // the plaintext
	Zstd Compression = 1 // one zstd frame of it
)

func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}
