package archive

import (
	"time"

	"cairn/chunk"
	"cairn/pack"
)

// Record is one gc record: what a collector condemned, or what was forgotten. It holds for ever, and holds for whoever reads
// it on one member.
type Record struct {
	ID        chunk.ID // of the object, which is its SHA-256; not part of the content
	Packs     []pack.ID
	Snapshots []chunk.ID
	Folded    []chunk.ID // records whose content is in this one, too
	Time      time.Time  // information only
	Program   string
}
