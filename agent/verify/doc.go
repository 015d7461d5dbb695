// Package verify proves that a tree in the format of a known product is whole, before anybody has to restore from it. It reads an fs.FS, a
// directory or a snapshot alike, changes nothing, and knows nothing of archives. Each format has a package below agent/format.
//
// Words: a format is modeshape (the backup that Fedora 4 writes), content-tree (Fedora's FileSystemBinaryStore), seafile (storage directory
// and dump), ocfl or bagit; a problem is one thing that is wrong, with its path, its kind, what it means for a restore, and how bad it is.
// An error means that a restore loses something or fails; a warning, that somebody should look.
//
// The digests of an archive prove that bytes are as they were read. They say nothing of a backup that was broken when it was read, and the
// products say nothing either: ModeShape's restore stops at a missing number, skips a damaged line, and answers 204.
//
// Invariants
//   - Whatever a tree holds makes problems, never an error or a panic: an error of Verify means that it did not look (no such directory, an
//     unknown format, cancelled).
//   - One defect does not hide others: what can be read on is read on.
//   - No path leads out of the root: names in manifests and inventories are held against fs.ValidPath before they are opened, and what is
//     neither file nor directory is reported and not followed.
//
// Memory is bounded by Options.Memory for sets of names (16 bytes a slot, three quarters full at most: 512 MiB are six million documents and as
// many binaries), 64 to 128 MiB a worker when lines or objects are as long as they may be, and Options.Limit problems of each kind. A full
// set forgets what comes later, and a warning of kind "budget" says which check is incomplete.
//
// Concurrency: Verify uses Options.Workers goroutines, all of which have ended when it returns. Options.Found is called by one of them at
// a time. Any number of calls of Verify may run at once, when the fs.FS bears it.
package verify
