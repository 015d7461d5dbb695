// Package index remembers on the local disk where each blob of an archive is, and what the last backup saw of each file.
// Both are caches: whatever is in them can be had again from the archive or from the files, and removing them at any
// moment, even while they are open, loses nothing.
//
//	<cache>/<archive id>/index-0/state      locked by the process that uses the slot
//	                             db-XXXX/   a Badger database: blob → pack, column, offset, lengths, session
//	                     index-1/…          another process at the same time
//	                     files/<hash>/…     the stat cache of a series, the same inside
//
// An Index is filled from index segments (Apply), told when one vanished (Retire) and what gc records condemn (Condemn), and
// asked in batches (Lookup, Has, Live). A Map is the same in memory. Files is the stat cache. A slot is a directory that one process at a time may use: the first takes index-0, a second one index-1,
// and fills it from the archive; nobody waits.
//
// # What an index knows
//
// A pack is live when an applied segment names it and no gc record condemns it; condemned, for ever, when one does, also before the
// index knows it; gone when no segment names it any more. Segments name columns: of a pack of which one half is named, the
// other half counts as gone.
//
//	             Apply             Condemn
//	unknown ───────────────→ live ─────────→ condemned
//	           Apply ↑ ↓ Retire       Apply ↑ ↓ Retire
//	                 gone ───────────→ condemned and gone
//	                         Condemn
//
// Of a blob all copies are kept, in the order in which they were applied: the last in the entry of the blob, the others, which are rare, in a
// record beside it. Lookup returns the last one that is live, or else the last one that is condemned, for readers; who is
// going to rely on a blob asks Live. Entries of packs that are gone stay, since a segment may name them anew, until
// Wasteful says that it is time to Drop.
//
// Each blob has a number, from 1, data and trees together, from when it is first applied until Drop. So what a collector
// marks is a bitmap, and what a tree refers to (PutTreeRefs) takes 1 to 3 bytes for each blob. Numbers mean nothing in
// another slot, in another process that has another slot, and after Drop.
//
// # What holds
//
//   - A segment counts as applied, and a column as seen and named, only after all of its blobs are in the database. Writes are
//     committed in order, so after the end of a process there is a prefix of them. Whatever call was cut short, nothing is
//     live that was not live before it or is not after it, and the call can be repeated, or, when its segment has
//     vanished, Retire called instead (TestCut tries it).
//   - A gc record counts as noted only after all of its packs are condemned.
//   - A number is never given to two blobs, and a blob that was given one keeps it; but one that a damaged block hides gets another when it is applied again (see Copies). A
//     few are skipped after a crash.
//   - Badger writes through memory maps, which survive the process but not the machine. The state file says, durably before
//     the first write, that the database is dirty, and under which boot id: a dirty database of another boot is thrown away.
//   - What does not open, is of another format or has lost tables is set aside (as "damaged", until the slot is opened the
//     next time) and made anew; Options.Notice is told. What breaks later gives a *BrokenError until Drop.
//   - An answer is a claim. A damaged block counts as one that does not hold the blob (Verify tells), and a wrong answer is
//     possible in theory; whoever reads a blob checks it against its name. Copies compares all checksums first, because a
//     collector decides by what is not there, and references of trees carry a sum of their own.
//
// All types are safe for concurrent use. Lookups run at once; there is one writer at a time. Close waits for calls under
// way. Loops over Blobs, Copies, Packs and Segments hold nothing between pages of 4096 records.
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
// in 31,250 packs (about 1 TB). docs/performance.md has 100,000 and 10 million besides.
//
//	create 5 to 9 ms, open 11 ms, close 22 to 65 ms
//	apply             into an empty index 5.7 to 6.7 µs a blob, of which 10 % are for numbers and copies; 6 to 7 µs later, when
//	                  each blob has to be looked for. A filter of 12 bits a blob saves that during the first fill
//	look up, batches  hit 5 to 6 µs (Has and Live 4 to 5), miss 2 µs a blob; the first time, with cold pack records, 6 to 8 µs
//	look up, singly   hit 12 µs, miss 3 µs: most of it is the transaction, so ask in batches
//	copies            0.4 µs a blob; 25 ms of a million are the check of all sums
//	references        of a tree of 30: 4 to 5 µs to put, 4 to 6 to get
//	condemn           15 µs a pack; retire 5 ms for a segment of 1000 packs
//	on disk           82 B a blob
//	memory            52 MB of live heap while loading a million, of which up to 3 MB are the filter; 9 MB when only read, with
//	                  40 B a pack for states and up to 11 MB of pack and session records; the tables are mapped besides,
//	                  in the page cache (80 MB per million). At 10 million 137 MB while loading, 25 of
//	                  them the filter, and 23 when only read
package index
