// Package chunk holds the smallest things an archive is made of.
//
// A chunk is a stretch of one file's bytes, as content-defined chunking cuts it: where a chunk ends is decided by the
// 64 bytes in front of the cut, so an insertion at the start of a file moves the later cuts along with the content,
// and only the chunks around the change are new. A blob is what an archive stores: a chunk, a piece of a tree or an
// index segment. It is named by its ID, the SHA-256 of its plaintext, and has a Type.
//
//	file:   | chunk        | chunk  | chunk             | chunk |      each Min … Max bytes, the last one shorter
//	blobs:    ID 3f1a…       ID 77…   ID 3f1a…  (known: not stored again)
//
// Invariants: chunks of one file joined in order are the file; none but the last is shorter than Params.Min and none
// is longer than Params.Max; the same bytes after the same cut give the same cuts, whatever buffers they came in. A
// file of at most Min bytes is one chunk (an empty file has none).
//
// The polynomial that decides the cuts is secret. Whoever knows it can compute the chunk lengths of any public file
// and look for that run of lengths in what an archive's stores see of its traffic, and so prove that the archive
// holds the file without opening anything. It is derived from the archive's root key (DerivePoly), stays the same for the
// life of the archive (a new one would end deduplication against everything stored) and is stored nowhere in the clear.
//
// Cuts are exactly those of restic/chunker (FuzzCutter compares). Where a cut is permitted the digest
// depends on the last 64 bytes only, so places can be looked at in any order: in six lanes of one loop (scan.go), in 32 or 64
// lanes of a vector kernel where the processor has one (lanes.go, lanes_amd64.go). All give the same cuts, and none is a
// parameter of the format.
//
// ID, Type and Params are values. A Cutter belongs to one goroutine at a time; Clone gives the next goroutine its
// own, a copy of 104 bytes. The package does no I/O and leaves nothing behind.
package chunk
