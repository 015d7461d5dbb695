// Package index remembers on the local disk where each blob of an archive is, and what the last backup saw of each file.
// Both are caches: whatever is in them can be had again from the archive or from the files, and removing them at any
// moment, even while they are open, loses nothing.
//
//	<cache>/<archive id>/index-0/state      locked by the process that uses the slot
//	                             db-XXXX/   a Badger database: blob → pack, column, offset, lengths, session
//	                     index-1/…          another process at the same time
//	                     files/<hash>/…     the stat cache of a series, the same inside
//
// An Index is filled from index segments (Apply) and asked in batches (Lookup, Has). A Map is the same in memory. Files is
// the stat cache. A slot is a directory that one process at a time may use: the first takes index-0, a second one index-1,
// and fills it from the archive; nobody waits.
//
// # What holds
//
//   - A segment counts as applied, and a column as seen, only after all of its blobs are in the database. Writes are
//     committed in order, so after the end of a process there is a prefix of them.
//   - Badger writes through memory maps, which survive the process but not the machine. The state file says, durably before
//     the first write, that the database is dirty, and under which boot id: a dirty database of another boot is thrown away.
//   - What does not open, is of another format or has lost tables is set aside (as "damaged", until the slot is opened the
//     next time) and made anew; Options.Notice is told. What breaks later gives a *BrokenError until Drop.
//   - An answer is a claim. A damaged block counts as one that does not hold the blob (Verify tells), and a wrong answer is
//     possible in theory; whoever reads a blob checks it against its name.
//
// All types are safe for concurrent use. Lookups run at once; there is one writer at a time. Close waits for calls under
// way. Loops over Blobs, Packs and Segments hold nothing between pages of 4096 records.
//
// # What Badger cannot be kept from
//
// It ends the process when it is written to again after a failed write, when a log or table cannot be mapped to the disk
// because that is full, and when its background compaction meets a table that the disk does not give back. Against the
// first, each commit is waited for, and none follows a failed one; against the second there is Options.Reserve; the third
// is noticed by the next processes, which make the database anew after the fifth unclean end in a row.
//
// # Cost
//
// Measured with BenchmarkMillion on two busy cores, in processor time, with all of Badger's background work; a million blobs
// in 50,000 packs (about 1.5 TB):
//
//	create 8 ms, open 10 ms, close 15 ms
//	apply             5 to 8 µs a blob, so a rebuild takes 5 to 8 s; 12 µs at 5 million
//	look up, batches  hit 5.5 µs (Has 3 µs), miss 1.6 µs a blob; the first time, with cold pack records, 8 to 17 µs
//	look up, singly   hit 11 µs, miss 3 µs: most of it is the transaction, so ask in batches
//	on disk           77 B a blob
//	memory            50 MB of live heap while loading, 88 MB for 5 million blobs, 6 MB when only read, and up to
//	                  11 MB of pack and session records; the tables are mapped besides, in the page cache (70 MB per million)
package index
