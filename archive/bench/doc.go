// Package bench measures what a machine, and the stores that are the members of an archive, do per second, each step of a
// backup by itself, and says which of them limits the whole.
//
//	sample → cut → hash → compress, encrypt, verify → pack, parity, shard hashes → put to each member
//	         └──────── Machine: one core, all cores ─────────────────────────────┘   └── Members ────┘
//
// Every step is the code that a backup runs: chunk.Cutter, chunk.Sum, seal.Session, pack.Writer, index.Index, and whatever Stores the
// caller would give an archive. The keys are made for the run and thrown away.
//
// # What holds
//
//   - Members are tried with objects below Options.Prefix, which nothing of an archive is below, under names that hold a random number. They
//     are removed before Run returns, also when its context ends; what could not be removed is told (Member.Left). What a killed
//     process left is removed by the next run an hour later, by the store's clock.
//   - A store whose objects cannot be deleted at once gets none, or one of a byte: see Member.Unwritten.
//   - Time: about Options.Time, and at most three times as much when members are slow, with CleanupTime to tidy up.
//   - Memory: two samples of 8 MiB, what was sealed of them, for each core 13 MiB of compressor and buffers, and two packs.
//   - Space on the members: at most Options.Space in all; in the directory for temporary files some 20 MB of index.
//
// Rates are by the clock on the wall: on a machine that is busy with other things they are lower, and that is what a backup would see.
// Nothing here is safe for concurrent use; each call of Run stands for itself.
package bench

import "time"

// CleanupTime is how long it is tried to remove what members were tried with.
const CleanupTime = 20 * time.Second
