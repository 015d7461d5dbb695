package pack

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"cairn/chunk"
)

// ID names a pack: the SHA-256 of its header core, which holds the SHA-256 of every shard's payload. It is a value,
// comparable and usable as a map key. Since ciphertext is randomised, no two packs ever have the same ID.
type ID [32]byte

// String returns the ID as 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 8 hex digits, for messages to people.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// ParseID parses 64 lower-case hex digits.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("pack id %.80q: want %d hex digits, got %d", s, 2*len(id), len(s))
	}
	// Upper case would give one object two names.
	if s != strings.ToLower(s) {
		return ID{}, fmt.Errorf("pack id %q: upper-case digits", s)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("pack id %q: %w", s, err)
	}
	return id, nil
}

// Folders of shard objects. Wire format (docs/format.md §1), do not change.
const (
	binaries = "binaries/"
	index    = "index/"
	suffix   = ".bin"
)

// Name returns the name of the pack's shard objects; it is the same on every member.
func (id ID) Name(kind chunk.Type) string {
	h := id.String()
	folder := binaries
	if kind == chunk.Index {
		folder = index
	}
	return folder + h[0:2] + "/" + h[2:4] + "/" + h[4:6] + "/" + h + suffix
}

// ParseName is the inverse of Name. Packs of data and of trees lie in one folder, so the kind is chunk.Index for
// names below index/ and 0 for those below binaries/. It returns false for any other name, also for a pack's file
// name in the wrong folder of the pair-tree: such objects are not ours.
func ParseName(name string) (ID, chunk.Type, bool) {
	var kind chunk.Type
	rest, ok := strings.CutPrefix(name, binaries)
	if !ok {
		if rest, ok = strings.CutPrefix(name, index); !ok {
			return ID{}, 0, false
		}
		kind = chunk.Index
	}
	const pairs = len("ab/cd/ef/")
	if len(rest) != pairs+64+len(suffix) {
		return ID{}, 0, false
	}
	id, err := ParseID(rest[pairs : pairs+64])
	if err != nil || id.Name(kind) != name {
		return ID{}, 0, false
	}
	return id, kind, true
}

// First returns the first four bytes of the ID as a number: the rotation that spreads data and parity columns
// evenly over the members.
func (id ID) First() uint32 { return binary.BigEndian.Uint32(id[:4]) }

// Member returns the number of the member, of n, that holds a shard of the pack.
func Member(id ID, shard, n int) int {
	return int((uint64(id.First()) + uint64(shard)) % uint64(n))
}

// ShardOn is the inverse of Member: the number of the shard that a member holds.
func ShardOn(id ID, member, n int) int {
	r := int(uint64(id.First()) % uint64(n))
	return (member - r + n) % n
}
