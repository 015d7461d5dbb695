// Package view shows a snapshot, or a directory in it, as a file system for reading (fs.FS): for whoever checks, exports or serves what was
// backed up without restoring it.
//
//	FS.Open ──► snapshot.Find ──► File ──► window of chunks ──► Source.Fetch
//
// Invariants
//   - Every byte that is read comes from a blob that was verified. What is lost, damaged, or was not read whole by the backup is an
//     error with the path, at the latest where it is missing: a short file never looks like a whole one.
//   - Names are those of io/fs: slashes between elements, no beginning slash, "." is the root. Nothing outside the root can be named.
//   - Symlinks are not followed, neither at the end of a path nor on the way: what they point to is of the machine that was backed up. To read
//     one is an error; ReadLink tells where it leads, Stat and Lstat that it is one.
//
// Bounds: an open file holds at most Window bytes of content (or one chunk, if that is larger), and 40 bytes for each of its chunks;
// a directory that is listed holds its entries. There are no goroutines beyond those of the Source during a call.
//
// An FS may be used concurrently, and so may File.ReadAt; Read, Seek and ReadDir of one file belong to one goroutine. The FS keeps the context it
// was made with, as fs.FS has no place for one: when that ends, all calls fail. Nothing is written, so a crash leaves nothing.
package view
