// Package restore writes what a snapshot holds to files on disk, and streams it as tar or zip.
//
//	tree ─ walk ─ batch of files ─ Sizes ─ compare with what exists ─ Fetch ─ write at offsets ─ metadata
//	                  └ full: 24,576 entries or 65,536 blobs           (pack by pack; what needs a pack that will be needed again waits)
//
// Words: the target is the directory that the user named; an entry is one name in a directory of it.
// An entry is made, updated (content), corrected (metadata only), kept as it is, or refused because
// something else is there and InPlace was not asked for.
//
// Invariants:
//
//   - Nothing outside the target is written, whatever names and links the tree or the target hold. Each directory is
//     opened from its parent's descriptor without following links, reopened ones must be the same inode, files are
//     created exclusively, and an inode that has further names is never written to but replaced.
//   - The content of a file is complete, or the file is listed in Report.Failures. A file that this run made and could
//     not complete is removed; an existing file that could not be completed in place is left and listed.
//   - Metadata is set after content, of directories after everything in them, so that times are as recorded. Until
//     then directories made here have mode 0700 and files 0600: nobody sees secrets early.
//   - Memory does not depend on the size of the snapshot: a batch, the tree pieces read ahead and one buffer for each
//     worker. One exception: each group of hard links costs about 150 bytes until the end.
//
// Source may be used concurrently by one Run. Two Runs into one target do no harm outside of it, but may undo each
// other's work.
//
// After a crash the target holds finished files, unfinished ones (mode 0600, perhaps with gaps) and directories of mode
// 0700; the same restore with InPlace finds them and writes only what is missing. A replacement that was under way
// is left as a file named .cairn-….tmp.
package restore
