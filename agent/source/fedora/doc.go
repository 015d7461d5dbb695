// Package fedora speaks to Fedora 4 and 5 repositories, which back themselves up into a directory of their own machine when they are asked by HTTP, and
// restore themselves from one: POST fcr:backup and POST fcr:restore.
//
//	Backup    make a directory in the staging directory → POST → map the answered path back → verify → parts for the snapshot → remove
//	Restore   make a directory → the caller fills it → take duplicates out → verify → POST → remove
//
// Words: staging is the directory that this program and the server both see, at paths that a path map translates; a run's directory is the one that
// Backup or Restore makes in it, with a name that cannot be guessed, and removes.
//
// Fedora's answers are not enough: a restore stops at a missing number, skips damaged lines, and answers 204. So a backup is verified before
// it becomes a snapshot, and what is to be restored before it is posted, because a restore begins by emptying the repository.
//
// What a part becomes in the snapshot, below one directory (agent/verify reads it there, and Fedora from a copy of it):
//
//	documents_000001.bin …       gunzipped, so that documents that did not change deduplicate; Fedora reads .bin where there is no .bin.gz
//	changes/documents_000001.bin …, changes/summary_of_changes.json
//	binaries/ab/cd/ef/SHA1.bin   as they are
//
// Invariants
//   - Nothing outside the run's directory is read, changed or removed, whatever the server answers and whatever links it left there.
//   - The run's directory is removed when the run ends, however it ends. While this program runs it holds a lock on it; what a run that was
//     killed left behind is removed by the next one of the same name. The staging directory itself is not touched.
//   - fcr:restore is posted at most once, only with Consent, and never when what was written is damaged, unless Force is set.
//   - The password is in the Authorization header and nowhere else. Redirects are not followed: they would lose the request, or carry the password away.
//
// Nothing limits how long a request may take but the part's time-out and ctx. When they end the server goes on for a while: it has no way to be
// told. Files that it still writes into a directory that is gone are lost, and nothing else is.
//
// Functions may be called from several goroutines, also for one repository; the server decides what it makes of that.
package fedora
