// Package pack makes and reads packs: many sealed blobs in one erasure-coded object. It does no I/O: it turns blobs
// into the bytes of n shard objects and back. The format is docs/format.md §5 to §7.
//
//	           header   column: L bytes                              checksums  copy of the header
//	shard 0   | 4096 | blob ‖ blob ‖ … ‖ padding ‖ sealed directory |  4 · B   | 4096 |
//	  …                                                                                   k data columns
//	shard k-1 | 4096 | blob ‖ … ‖ padding ‖ sealed directory        |  4 · B   | 4096 |
//	shard k   | 4096 | Reed–Solomon of the same bytes of all of them|  4 · B   | 4096 |
//	  …                                                                                   m parity columns
//
// The way in: Writer.Add puts a blob on a column, Writer.Seal returns the shards, which are ready to store, and what an
// index has to know (Column). The way out: the index, or ReadTail on the end of a data shard, gives a Column; a blob is then
// one range of one shard, or is reconstructed from that range of k others (Reconstruct). An index stores columns with
// EncodeSegment. CheckShard and RebuildShards check and repair packs without any key.
//
// Invariants:
//   - The pack id is the SHA-256 of the header's core, which holds the SHA-256 of all n payloads. So a shard proves
//     itself by its name, and a name never recurs, because ciphertext and padding are random.
//   - Each blob lies wholly in one column, once in a pack, and the blobs of a column follow each other without gaps.
//   - A column that survives alone gives its blobs: the wrapped session key is in each header, the directory in the
//     column.
//   - Whatever decodes here encodes to the same bytes again (but for reserved bytes, which are kept), and lengths are
//     checked against the limits and the bytes at hand before anything is allocated.
//   - What Reconstruct makes is not verified by itself; RebuildShards compares it with the header's hashes, and a reader of
//     blobs opens them. The coder of each geometry proves once that it computes the format's parity.
//
// Concurrency: a Writer belongs to one goroutine; use several. Everything else is safe for concurrent use; Columns and Headers
// are not changed once returned. Coders and buffers are cached for the process.
//
// Memory: see Writer. Reading allocates what is returned, at most the length of what was given plus 48 bytes a blob.
//
// A crash leaves nothing of a pack that was not sealed. A pack of which fewer than k shards were stored is garbage that no index
// names.
package pack
