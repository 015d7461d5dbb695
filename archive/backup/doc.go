// Package backup turns paths of a Unix file system, or one stream, into a committed snapshot.
//
//	walkers ──► pending files ──► readers ──► chunks ──► savers ──► Saver.Save
//	   │                            (open, read, cut)      │
//	   └── unchanged entries ──► directory ◄── content ────┘
//	                                 └─ last entry done: tree saved, entry of the parent done
//
// Words: an entry is one name in one directory; what an earlier backup knew about a directory is its
// memory, from the stat cache or from the previous snapshot; an entry is the same when its stat equals
// a trusted one in the memory, and then it is not opened.
//
// Invariants
//   - What is in the file system decides: a memory is only evidence, each content id taken from it is
//     looked up (Saver.Known) first, and a damaged or foreign record is no record.
//   - A node without Error covers the file as it was between open and close; its size equals the bytes
//     recorded plus the holes. A file is read up to the size it had when it was opened: a log that
//     grows is stored as the prefix that stood there, and a file that grows faster than it is read ends.
//     A file that says it has 0 bytes and gives more (procfs, some FUSE) is read up to Params.Min.
//   - A file that changed while it was read is stored as read, warned about, and not trusted next time.
//   - A file whose reading broke off keeps what came before the error: Content, Holes and Size describe
//     exactly that prefix, and Error says that it is not the file.
//   - A checkpoint names only what the Saver had taken when the state of the tree was frozen. In it, a node without Error is what it
//     is in the final snapshot; a directory with entries that were not done, and a file that is being read, carry an Error. Making one
//     stops the walk for the copy of a pointer for each entry of the open directories (frontier).
//   - When the Saver says that what the snapshot needs is gone (archive.ErrStoreAnew), everything is walked again, at
//     most maxAgain times: Known is asked again for what the memory has, so that only what is gone is read. Streams cannot be read again.
//   - Sockets, fifos and devices are never opened. Symlinks are never followed, but for the parents of
//     the paths that were named.
//   - Directories are reached through descriptors of their parents. A directory that is moved away
//     meanwhile is read where it went or reported; never is another one read in its place.
//   - Several parts (RunParts) are one snapshot or none. Each is read by a run of its own, in their order; their trees are merged in
//     memory along the directories that lead to them, and no tree is loaded for it. The caller is told once when reading has ended, however it ended.
//
// Bounds: Concurrency savers, up to four times as many walkers and as many readers (Options.waiting), no goroutine per file; bytes in flight
// below Options.MemoryLimit; at most maxOpenDirs idle directory descriptors; directories waiting for
// their entries are those on the way down plus those with a file in the queue (queuedFiles). A directory's
// entries are held until it is done, about 0.6 KiB each: a directory of 200,000 files was backed up in 200 MB, and
// looked through again, unchanged, in 300 MB (with the garbage collector's share and a stat cache in memory).
//
// After a crash or an error nothing is left but blobs that no snapshot names, or only a checkpoint does, and records of the stat
// cache that are believed only as far as Known confirms them: the next run goes on from there.
package backup
