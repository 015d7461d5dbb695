// Package archive is the open archive: it reads the member cards, opens the keys, saves and loads
// blobs, and commits and lists snapshots (docs/format.md).
//
//	            Writer.Save ─ chunk.Sum ─ Index ─ seal ─ pack.Writer ─ stripe ─ n members
//	Archive ──┤
//	            Archive.Load / Fetch ─ Index ─ stripe (healing) ─ seal.Open ─ plaintext
//
// Invariants:
//
//   - Order of truth: a pack is on its members before an index segment names it, and the segment before
//     a snapshot needs it. The local index holds published segments only, so what it knows is in the archive.
//   - What is read is opened and compared with its name; a blob that does not match is looked for in the
//     other shards, at last block by block, before it is called damaged. What the index says of its place is a claim.
//   - A Writer that failed once reports nothing as done: blobs may have been promised to several callers.
//   - Nothing is ever overwritten except by equal content: names are hashes.
//
// An Archive and its Writer are safe for concurrent use. After a crash there may be packs that no segment
// names: the journal in the cache directory lets the next Writer finish and publish them, and without the journal they
// are garbage that harms nothing, as is an index pack with fewer than k shards. There is never a segment or a snapshot
// that names what is not there.
package archive
