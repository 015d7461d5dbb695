// Package seal holds an archive's keys and everything that is done with them: sealing and opening blobs, directories
// and snapshots, signatures, and the key slots that let people in. The bytes are specified in docs/format.md §3, §4, §6
// and §9.
//
//	password, key file, identity ──open──▶ Slot ──▶ Keys ──▶ Session ──▶ sealed blobs
//	                                                 │  └──▶ directories, index, cards (index key: writers have it too)
//	                                                 └─────▶ signatures (Ed25519)
//
// Keys are what an opened archive holds. They come in two strengths: with the root key they can do everything; writer
// keys can seal and sign, read directories and the index (so that they deduplicate), and cannot open what anybody
// sealed, not even their own earlier sessions (CanRead, ErrNoReadKey).
//
// A Session seals blobs under a random key of its own, which is stored with them: wrapped by HPKE to the
// archive's public key, and for holders of the root key also under that. Each blob has its own AES-256-GCM key,
// derived from the session key and the blob's type and ID, and a random nonce; so a key meets one message, and
// sealing the same chunk twice in a session cannot repeat a nonce except with probability 2^-96.
//
// Invariants:
//   - What is sealed here was opened again and compared before it is returned (Session.Seal, SealDirectory,
//     EncodeSnapshot, New…Slot).
//   - What is opened here is authentic, and of the length and hash that were asked for; otherwise there is an error and
//     no data. Nothing is allocated from a number that was not checked first.
//   - Keys are never part of an error or of a String.
//
// Keys, Session and Slot are immutable and safe for concurrent use. The package does no I/O except reading the
// system's random numbers, so a crash leaves nothing. Buffers and compressors are pooled per Keys: about 4 MiB and two
// chunks for each goroutine that seals at the same time.
//
// What a signature does not say: HPKE to a recipient is anonymous, so whoever knows a recipient's public key and can write to all
// members can put an archive of his own in place of the real one, with a slot for that recipient. A machine that
// has opened an archive before should remember its ArchiveID and Keys.RootSigner and compare.
package seal
