package chunk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// ID names a blob: the SHA-256 of its plaintext. It is a value, comparable and usable as a map key.
type ID [32]byte

// Sum returns the ID of a blob with the given plaintext.
func Sum(plain []byte) ID { return sha256.Sum256(plain) }

// String returns the ID as 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 8 hex digits, for messages to people.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero says whether the ID was never set. No blob has the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID parses 64 hex digits.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("id %.80q: want %d hex digits, got %d", s, 2*len(id), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("id %q: %w", s, err)
	}
	return id, nil
}

// Type says what a blob holds. It is part of a blob's key and authenticated with it, so a tree
// cannot be passed off as data. The values are wire format (docs/format.md §4); do not change.
type Type uint8

const (
	Data  Type = 1 // a chunk of a file
	Tree  Type = 2 // a tree piece or a content list
	Index Type = 3 // an index segment
)

func (t Type) String() string {
	switch t {
	case Data:
		return "data"
	case Tree:
		return "tree"
	case Index:
		return "index"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Valid says whether t is one of the types of format version 1.
func (t Type) Valid() bool { return t >= Data && t <= Index }

// MaxPlain is the largest plaintext of a blob in bytes (docs/format.md §10).
const MaxPlain = 16 << 20
