// Package replicate carries snapshots from one archive into another, and takes paths out of snapshots.
//
//	Copy     chosen snapshots → another archive, with other members, keys and polynomial
//	Run      all snapshots, and optionally the forgetting of those that the source forgot: a replica
//	Rewrite  snapshots → snapshots of the same archive without some paths
//
// A blob is named by the SHA-256 of its plaintext, in every archive. So what is carried over is opened, verified and sealed anew with
// the keys of the target, and keeps its id, chunks as well as trees; only the snapshot object gets a new one, and names the one that it was made of
// (snapshot.Origin). That is how a repeated copy knows what is there.
//
// Invariants:
//
//   - A copy holds the same tree as its source: its root has the same ids. A snapshot of which something is lost in the source is not copied.
//   - Every blob of a new snapshot is saved in the writing session that commits it, or declared to it (archive.Writer, Known and TakeOver).
//   - Snapshots are carried one after the other, the oldest first, each with a session of its own: what is committed stays committed.
//   - Nothing is forgotten before everything that replaces it is complete.
//
// Nothing here is safe for concurrent use, but any number of processes may copy into one archive, and back up, prune and forget in both. Two that
// copy the same snapshot at the same time make two copies.
//
// A crash leaves what a crash of a backup leaves: packs that the next writer on this machine publishes, and an incomplete snapshot.
// The next run goes on with the first snapshot that has no complete copy, and what was stored of it is not read again.
package replicate
