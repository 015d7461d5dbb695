// Package prune is the collector: it finds what no snapshot needs, condemns it, and deletes it, while others back up, restore and
// prune at the same time. See Collection for the protocol, and docs/design.md for the argument.
//
//	Mark      list the snapshots on all members; walk trees into a bitmap over the index's numbers     (marker)
//	Choose    count what is needed of each pack; decide what goes, and what is copied out first        (counting, plan)
//	CopyOut   sealed blobs, proved by opening them, into new packs; Name puts those in the index
//	Condemn   a record on all members; then Mark, count and copy once more what came between
//	Unname    index packs that name what is condemned are replaced by others
//	Delete    by member, many objects with one request
//
// What always holds:
//
//   - A pack is deleted only after a record on every member condemned it, the snapshots were listed again after that, everything that
//     those need has a named copy elsewhere, and no index pack names it (but one that an object lock holds).
//   - Whatever is wrong with something that a complete snapshot needs stops the collection before the next step: see DamageError.
//   - Nothing depends on a clock. Sessions at work are spared by their heartbeats, and whoever is not spared notices and stores anew.
//   - The numbers in the bitmaps are the index's, for as long as it is not emptied: HoldIndex, and a look after each Refresh.
//
// A Prune belongs to one goroutine, and any number of them may work on an archive. A crash leaves packs that nobody names, or that a record condemns
// and somebody names or lists; the next collection takes both for what they are, whichever machine it runs on, and finishes.
//
// Memory: two bits for each blob that the index has seen (25 MB for 10^8), about 250 bytes for each pack and each index pack, the packs of a
// Mover and one that is read ahead, and 2^18 entries while the index is changed.
package prune
