package pack

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrTruncated means that the bytes end before they should. The object may be whole elsewhere.
	ErrTruncated = errors.New("truncated")
	// ErrForeign means that a shard belongs to another archive.
	ErrForeign = errors.New("belongs to another archive")
	// ErrParity means that a shard has no directory because it is a parity column.
	ErrParity = errors.New("parity column has no directory")
	// ErrTooFew means that fewer than k columns are there, so that nothing can be reconstructed.
	ErrTooFew = errors.New("too few columns to reconstruct from")
	// ErrFull means that a blob does not fit into the pack: seal it and open the next one.
	ErrFull = errors.New("pack is full")
	// ErrDuplicate means that a pack holds the blob already.
	ErrDuplicate = errors.New("blob is in the pack already")
)

// Part is a place in a shard.
type Part string

// The parts of a shard, in the order in which damage to them matters.
const (
	InSize      Part = "size"        // the object is too long
	InPayload   Part = "payload"     // the column itself: it has to be reconstructed
	InHeader    Part = "header"      // the copy at the end is good, so all of the payload can be used
	InCopy      Part = "header copy" // the header is good
	InChecksums Part = "checksums"   // the payload is good by its SHA-256
	InDirectory Part = "directory"
	InSegment   Part = "index segment"
)

// CorruptError is evidence of damage: what was found to be wrong, and where.
type CorruptError struct {
	Pack   ID    // zero while it is not known
	Shard  int   // number of the shard, -1 while it is not known
	Part   Part  // which part is damaged
	Offset int64 // of the first bad byte, or of the block or field that holds it, in the object (in the plaintext for directories and segments)
	Blocks []int // the payload's bad blocks of BlockSize bytes, as far as the checksums tell
	Reason string
}

func (e *CorruptError) Error() string {
	var b strings.Builder
	if e.Pack != (ID{}) {
		fmt.Fprintf(&b, "pack %s: ", e.Pack)
	}
	if e.Shard >= 0 {
		fmt.Fprintf(&b, "shard %d: ", e.Shard)
	}
	return b.String() + e.Brief()
}

// Brief leaves out which pack and shard it is, for messages that have said so.
func (e *CorruptError) Brief() string {
	return fmt.Sprintf("damaged %s at offset %d: %s", e.Part, e.Offset, e.Reason)
}

// Hint names the operator's next step.
func (e *CorruptError) Hint() string {
	if e.Part == InSegment {
		return "run `cairn index rebuild`: the directories of all packs give the index again"
	}
	return "run `cairn repair`: it makes damaged shards again from the others of their packs"
}

// PayloadGood says whether the shard's column is intact all the same, so that rewriting the shard needs no other.
func (e *CorruptError) PayloadGood() bool {
	return e.Part == InHeader || e.Part == InCopy || e.Part == InChecksums
}

// corrupt returns a CorruptError of a part of no known shard.
func corrupt(part Part, offset int64, format string, args ...any) *CorruptError {
	return &CorruptError{Shard: -1, Part: part, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}
