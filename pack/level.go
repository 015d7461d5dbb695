package pack

import (
	"cmp"
	"slices"
)

// Level deals the blobs out anew so that all columns are about equally long: the largest first, each to the column
// that is shortest. It is for packs that are sealed before they are full. A full pack has no use for it, and its columns
// should stay as unpredictable as they were drawn; but 17 MiB of small blobs drawn into two columns of 16 MiB each left
// one at 13 MiB and the other at 4, and every shard pays for the longest. It copies the blobs once, and for that moment
// takes the memory of two packs.
func (w *Writer) Level() {
	if w.err != nil || w.g.K == 1 {
		return
	}
	fresh := *w
	fresh.reset()
	fresh.layout.target = w.layout.target
	moves := w.moves(&fresh)
	w.rng.Shuffle(len(moves), func(i, j int) { moves[i], moves[j] = moves[j], moves[i] })
	slices.SortStableFunc(moves, func(a, b move) int { return cmp.Compare(b.Stored, a.Stored) })
	trial := fresh.layout.clone()
	for i := range moves {
		to, ok := trial.shortest(int(moves[i].Stored), moves[i].guest)
		if !ok {
			return // as it is, it is a valid pack
		}
		trial.spans[to].add(int(moves[i].Stored), moves[i].guest)
		moves[i].to = to
	}
	for _, m := range moves {
		fresh.place(m.to, m.Entry, w.buffers[m.from][HeaderSize+int(m.Offset):][:m.Stored], m.guest)
	}
	for _, b := range w.buffers {
		freeBuffer(b)
	}
	*w = fresh
}

// shortest returns the shortest column that a blob fits into, however long that makes the pack: it was in a pack before.
func (l *layout) shortest(n int, g *guest) (column int, ok bool) {
	fit := l.below(MaxColumn, n, g)
	if fit.n == 0 {
		return 0, false
	}
	best := int(fit.at[0])
	for _, c := range fit.at[1:fit.n] {
		if l.spans[c].used < l.spans[best].used {
			best = int(c)
		}
	}
	return best, true
}
