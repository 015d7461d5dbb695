// Package search finds files in many snapshots at once, and says which snapshots hold which version of each.
//
//	roots ─ distinct tree pieces of a directory ─┬─ versions of files that match ─► Found
//	                 each with its snapshots     └─ distinct directories ─► the same, one level down
//
// A version is what a restore would make: content, size, holes, link target, mode, owner, time of modification. What snapshots share is read
// once: of a path at which a directory is the same in a hundred snapshots one copy is walked, and of a large directory in which one file changed
// each night the pieces that differ.
//
// Invariants
//   - Found is called by path, in the order of names with a directory before its entries, once for each version with all snapshots that hold it. Only where
//     a directory has more matches and subdirectories than are held (maxHeld) it is looked through in parts, and a version may be told once for each.
//   - A tree that cannot be read costs what is below it, in the snapshots that share it, and is told (Options.Lost).
//
// Memory: what is held of the directories from the root to the one that is looked through: their matches and subdirectories, about 300 bytes each,
// at most maxHeld in one directory, and an id for each distinct piece. Calls are independent of each other; nothing is written.
package search

import (
	"context"

	"cairn/chunk"
	"cairn/snapshot"
)

// Trees is the archive as a search reads it.
type Trees interface {
	LoadTree(ctx context.Context, id chunk.ID) ([]byte, error)
	Ahead(ctx context.Context, ids []chunk.ID) // trees that will be loaded soon
	Stops(ctx context.Context, err error) bool // whether nothing else can be read either
}

// Match is one version of a path.
type Match struct {
	Path      string
	Node      *snapshot.Node
	Snapshots []*snapshot.Snapshot // that hold it, in the order in which they were given
}

// Options say what is looked for.
type Options struct {
	Below string                                                // a directory, as in "/srv/a"; "" or "/" is all
	Match func(path string, n *snapshot.Node) bool              // nil: everything
	Found func(Match) error                                     // an error ends the search, snapshot.SkipAll without being one
	Lost  func(path string, in []*snapshot.Snapshot, err error) // what could not be read; nil: that ends the search
}
