// Package snapshot defines what a backup records: trees of nodes and the snapshot that names
// their root, with their canonical encoding (docs/format.md §8 and §9), and the pure functions over
// them. It does no I/O: tree blobs come and go through a SaveFunc and a LoadFunc.
//
//	Snapshot ── Content ──▶ piece ──▶ Node "srv" ── Content ──▶ piece, piece, … ──▶ Node "file" ── Content ──▶ chunks
//	                                                   └ Depth > 0: list ──▶ list ──▶ piece
//
// Invariants. Equal nodes encode to equal bytes, in pieces cut at the same names, so a directory that did
// not change has the ids it had, and one that changed a little shares all but a few pieces with its
// former self (SaveTree, SaveContent). Decoders accept exactly what encoders write and
// nothing that docs/format.md §10 excludes; what they return is valid: names are single path elements, fields fit
// the type of the node. Functions that follow ids (Content, Nodes, Find, Walk, Diff) trust
// the LoadFunc to verify ids, so no tree contains itself; they bound depth and memory for any tree, but
// not time, which the context bounds.
//
// Functions may be called concurrently. Values have no locks: a Node or Snapshot that is shared must not be
// changed, and an iterator belongs to one goroutine. Nothing is kept between calls, so a crash leaves nothing
// behind but blobs that were saved and that nothing names yet.
package snapshot

import (
	"time"

	"cairn/chunk"
)

// NodeType is the type of a directory entry. The values are wire format; do not change.
type NodeType uint8

const (
	File        NodeType = 1
	Dir         NodeType = 2
	Symlink     NodeType = 3
	Fifo        NodeType = 4
	Socket      NodeType = 5
	CharDevice  NodeType = 6
	BlockDevice NodeType = 7
)

// Time is an instant with the full range and precision of a Unix file system (a time.Duration-like int64 of
// nanoseconds ends in 2262, XFS times do not).
type Time struct {
	Sec  int64
	Nsec uint32 // 0 … 999,999,999
}

// TimeOf converts a time.Time.
func TimeOf(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Time converts to a time.Time in the local zone.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// IsZero says whether the time is absent.
func (t Time) IsZero() bool { return t == Time{} }

// Node is one directory entry. Fields that do not apply to its type are zero.
type Node struct {
	Name  string // one path element as raw bytes, not necessarily UTF-8
	Type  NodeType
	Mode  uint32 // permission bits, setuid, setgid, sticky: 0 … 07777
	UID   uint32
	GID   uint32
	User  string // name of the owner when it was known
	Group string

	Mtime Time
	Ctime Time
	Atime Time // zero unless asked for: it changes with every read

	Size    uint64     // of a file in bytes, holes included
	Content []chunk.ID // data blobs of a file, tree pieces of a directory, or lists when Depth > 0
	Depth   uint8      // levels of content lists above the blobs

	Target string  // of a symlink
	Link   *LinkID // set when the file has more than one name
	Device *Device // of a device node
	Xattrs []Xattr // sorted by name
	Holes  []Range // ascending, not overlapping, not empty
	Inode  uint64

	// Error says why the content is incomplete or missing; empty for a node that was stored whole.
	Error string
}

// LinkID identifies an inode among the nodes of one snapshot: equal pairs are hard links to one file.
type LinkID struct{ Device, Inode uint64 }

// Device is the number of a device node.
type Device struct{ Major, Minor uint32 }

// Xattr is one extended attribute, value as the kernel gives it (POSIX ACLs included).
type Xattr struct {
	Name  string
	Value []byte
}

// Range is a stretch of a file in bytes.
type Range struct{ Offset, Length uint64 }
