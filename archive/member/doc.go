// Package member looks after the members of an archive: it tells how they are (List), whether a store is good enough to become
// one (Probe), puts a new one in the place of another (Replace), and spreads the archive anew over more, fewer or other
// members (Relayout).
//
//	Replace    copies ─ shards ─ what came meanwhile, until nothing does ─ cards ─ what came meanwhile
//	Relayout   copies to new members ─ cards ─ rounds: copy blobs, name, condemn, look again, unname, remove (Relocation)
//
// Invariants:
//
//   - A card that says that a member belongs to the archive is written only when the member holds what the card promises:
//     all copies, and after Replace all shards that could be made.
//   - A shard is written only if it proves itself by the pack's id, and counted only when it was read back.
//   - No pack and no index pack is removed while a blob of it is named nowhere else, or its copies lack a shard. No pack is removed
//     before a gc record condemns it on every member and its copies were seen to be live after that.
//   - What is done is found by listing, so that everything can be interrupted, at any operation, and run again.
//
// Others may back up and restore meanwhile. Functions here start goroutines and wait for them; memory is bounded by a few
// packs and about 100 bytes for each pack of the archive.
package member
