// Package recover gets back what is left of an archive that lost more than its parity makes good: its index, its snapshot
// objects, its cards and keys' slots, or more members than it can spare.
//
//	Cards      heaps of shards without cards   → which member each is; new cards
//	Import     shards anywhere, under any name → each on its member of a new archive
//	Index      packs that no segment names     → their directories, in the index again
//	Snapshots  trees that no snapshot leads to → snapshots again; and which files of which snapshots are incomplete
//
// Words: a tree blob is a piece of a directory or a list of such (docs/format.md §8). A root is a tree that no other leads to and
// that looks like the directory "/" of a backup; a part is one that does not: the rest of an interrupted backup, or what was below
// a directory that is lost.
//
// Invariants:
//
//   - Nothing is written that was not proved: shards by the hashes in their headers, headers by their signatures, directories and
//     trees by their seals and names. What is written is only ever added; no object that is there is changed or removed.
//   - What is said of a file is what its blobs' shards say that are there now: a blob can be read if its own shard is there in full length
//     or k others are. That shards rot is not seen here: check --read-data sees it, and a restore.
//   - A tree that an existing snapshot has as its root is never made a snapshot again, so everything here can be run twice.
//   - What was condemned is not named again, and what was forgotten does not come back unasked. A gc record names forgotten snapshots,
//     not their trees: until they are pruned, nothing tells the tree of one from that of a snapshot that was lost. So where
//     anything was ever forgotten, roots that are found are told of and not made snapshots, unless Options.Forgotten says so. Trees that
//     only condemned packs hold count as garbage without it.
//
// Others may back up, forget and prune meanwhile. What is gone from its place is looked for at the next one, and what is pruned while it
// is looked for is not lost.
//
// A crash leaves snapshots that were recovered already, imported shards and no cards, or nothing. Functions use goroutines of their own and end
// them; a call is not to be made while another one of this package runs on the same archive.
//
// Memory of Snapshots: 48 bytes for each tree blob of the archive, 40 more when the trees are walked, about 100 for each
// pack: 88 MB for a million trees, 900 MB for 10 million. Of Index: see archive.RebuildIndex. Cards and Import hold some whole shards.
package recover
