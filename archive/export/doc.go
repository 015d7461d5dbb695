// Package export writes what a snapshot holds in formats that others read without this program: a tree of plain files, a tar stream, a bag (RFC 8493), and
// a directory in the format of Fedora's backups.
//
//	tree ── archive/restore.Run ─► files with all their metadata
//	tar  ── archive/restore.DumpTar ─► one stream
//	bag, fedora ── archive/restore.Dump ─► sink ─► files below one directory
//
// A bag holds contents and names: modes, owners, times and links are not what bags are about, and what cannot be in one (links, devices, names
// that are no UTF-8) is listed in Report.Left. The format fedora is in docs/fedora.md.
//
// Invariants
//   - An export is written into a directory that was not there or empty, through one os.Root: nothing outside of it is touched, whatever the
//     names in the snapshot.
//   - What makes an export valid is written last: bagit.txt of a bag, documents_000001.bin.gz of Fedora's format. An export that was
//     broken off verifies as damaged, and is not removed: what is there is the user's to keep or remove.
//   - Every byte comes from a blob that was verified. A blob that is lost ends the export with an error; what could not be read when the
//     backup was made is left out and listed, and makes a *restore.IncompleteError at the end.
//
// Memory: what archive/restore reads ahead (48 MiB), and of Fedora's format the names of at most 20,000 entries for each directory on the way
// down. Nothing here is safe for concurrent use; exports into different directories are independent.
package export
