package pack

import (
	"cairn/chunk"
	"cairn/chunk/seal"
)

// Location says where a blob is and what is needed to open it. The index hands it out, the archive
// reads by it; it is a claim, not evidence: whoever reads there verifies what comes back.
//
// The wraps in Session are shared with the index's cache and must not be changed.
type Location struct {
	Pack        ID // zero: the blob is not known
	Kind        chunk.Type
	Geometry    Geometry
	L           int64 // length of each column of the pack
	Column      int   // the data column that holds the blob
	Offset      uint32
	Stored      uint32 // sealed length
	Plain       uint32 // length of the plaintext
	Compression seal.Compression
	Session     SessionWrap // the session whose key sealed the blob
}

// Found says whether the blob is known at all.
func (l *Location) Found() bool { return l.Pack != ID{} }
