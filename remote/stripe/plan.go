package stripe

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"cairn/remote"
)

// cluster is a range of the coded region that is calculated once for several wants.
type cluster struct {
	lo, hi  int64
	covered int64 // bytes that some want covers
	wants   []int
}

// clusters joins wants as long as at most a fifth of the joined range is wanted by none of them.
func clusters(all []Range, wants []int) []cluster {
	slices.SortStableFunc(wants, func(a, b int) int { return cmp.Compare(all[a].Off, all[b].Off) })
	var list []cluster
	for _, i := range wants {
		off, end := all[i].Off, all[i].Off+all[i].N
		if len(list) > 0 {
			c := &list[len(list)-1]
			hi := max(c.hi, end)
			covered := c.covered + max(0, end-max(off, c.hi))
			if dense(covered, hi-c.lo) {
				c.hi, c.covered = hi, covered
				c.wants = append(c.wants, i)
				continue
			}
		}
		list = append(list, cluster{off, end, end - off, []int{i}})
	}
	return list
}

// dense says whether so many bytes are worth reading a range of the given length.
func dense(covered, length int64) bool { return covered >= length-length/5 }

// plan finishes the wants whose bytes are there and queues the requests that the others need.
func (j *job) plan() {
	var away []int
	for i, w := range j.wants {
		if j.done[i] {
			continue
		}
		src := &j.shards[w.Shard]
		if f := src.covering(w, arrived, arrived); f != nil {
			j.direct(i, f)
			continue
		}
		pending := src.covering(w, planned, running) != nil
		switch {
		case pending && !src.late: // it will come
		case !pending && src.err == nil && src.rank == ready && !src.late:
			if j.o.M > 0 {
				j.s.budget.read(&j.s.o, j.o.K)
			}
			j.own(i, j.o.M == 0)
		default:
			away = append(away, i)
		}
	}
	for _, c := range clusters(j.wants, away) {
		j.rebuild(c)
	}
}

// covering returns a request that has all of a range and is in one of two states.
func (src *source) covering(w Range, a, b state) *fetch {
	for _, f := range src.fetches {
		if (f.state == a || f.state == b) && f.off <= w.Off && w.Off+w.N <= f.end() {
			return f
		}
	}
	return nil
}

// gap returns what is between the first and the last byte of a range that no request has; lo = hi: nothing.
func (src *source) gap(lo, hi int64, count func(state) bool) (int64, int64) {
	var have []*fetch
	for _, f := range src.fetches {
		if count(f.state) && f.off < hi && f.end() > lo {
			have = append(have, f)
		}
	}
	slices.SortFunc(have, func(a, b *fetch) int { return cmp.Compare(a.off, b.off) })
	from, to, pos := hi, lo, lo
	for _, f := range have {
		if f.off > pos {
			from, to = min(from, pos), f.off
		}
		pos = max(pos, f.end())
	}
	if pos < hi {
		from, to = min(from, pos), hi
	}
	if from >= to {
		return lo, lo
	}
	return from, to
}

func isArrived(s state) bool   { return s == arrived }
func isNotFailed(s state) bool { return s != failed }

func (src *source) has(lo, hi int64, count func(state) bool) bool {
	a, b := src.gap(lo, hi, count)
	return a == b
}

// request1 reads a want from its own member.
func (j *job) own(i int, last bool) {
	w := j.wants[i]
	j.add(&fetch{shard: w.Shard, off: w.Off, n: w.N, want: i, last: last})
}

// help reads what is lacking of a range in order to calculate with it: with a request that is planned anyway, if that is near.
func (j *job) help(shard int, lo, hi int64) {
	j.asked = true
	src := &j.shards[shard]
	lo, hi = src.gap(lo, hi, isNotFailed)
	if lo == hi {
		return
	}
	for _, f := range src.fetches {
		if f.state != planned {
			continue
		}
		from, to := min(f.off, lo), max(f.end(), hi)
		if covered := f.n + hi - lo - max(0, min(f.end(), hi)-max(f.off, lo)); dense(covered, to-from) {
			if from != f.off || to != f.end() {
				f.off, f.n, f.want = from, to-from, -1
			}
			return
		}
	}
	j.add(&fetch{shard: shard, off: lo, n: hi - lo, want: -1, last: src.rank == benched})
}

func (j *job) add(f *fetch) {
	j.shards[f.shard].fetches = append(j.shards[f.shard].fetches, f)
	j.queue = append(j.queue, f)
}

// candidate is a shard that may help to calculate a range.
type candidate struct {
	shard       int
	kind        int // how willingly it is taken: the smaller the better
	level, load int
}

// Kinds of candidates.
const (
	hasArrived = iota
	onItsWay
	wantedAnyway
	isReady
	isSlow
	isBenched
)

// candidates returns the shards for a range, the best first, and how many more may yet turn out to have it.
func (j *job) candidates(c cluster) (list []candidate, hopes int) {
	n := len(j.shards)
	first := j.wants[c.wants[0]].Shard
	size := classOf(c.hi - c.lo)
	for d := range n {
		shard := (first + d) % n // among equals, different ones for different shards
		src, meter := &j.shards[shard], &j.member(shard).meter
		it := candidate{shard, isReady, meter.level(size), int(meter.inFlight.Load())}
		arrived, coming := src.has(c.lo, c.hi, isArrived), src.has(c.lo, c.hi, isNotFailed)
		switch {
		case arrived:
			it.kind = hasArrived
		case slices.ContainsFunc(c.wants, func(i int) bool { return j.wants[i].Shard == shard }):
			continue
		case src.late || src.err != nil:
			if coming {
				hopes++
			}
			continue
		case coming:
			it.kind = onItsWay
		case src.rank == slow:
			it.kind = isSlow
		case src.rank == benched:
			it.kind = isBenched
		case slices.ContainsFunc(src.fetches, func(f *fetch) bool { return f.state != failed }):
			it.kind = wantedAnyway
		}
		list = append(list, it)
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		return cmp.Or(a.kind-b.kind, a.level-b.level, a.load-b.load)
	})
	return list, hopes
}

// rebuild calculates a range of the wanted shards if K others have arrived; otherwise it queues what is lacking, or finds that there is
// not enough.
func (j *job) rebuild(c cluster) {
	k := j.o.K
	list, hopes := j.candidates(c)
	if !j.s.canRebuild(j.o) {
		list, hopes = nil, 0
	}
	count := func(worst int) (n int) {
		for _, it := range list {
			if it.kind <= worst {
				n++
			}
		}
		return n
	}
	if count(hasArrived) >= k {
		j.calculate(c, list[:k])
		return
	}
	if count(isReady) < k {
		if c.wants = slices.DeleteFunc(c.wants, func(i int) bool { return j.lastResort(i, count(isSlow) >= k) }); len(c.wants) == 0 {
			return
		}
	}
	if len(list) < k && !j.asked && hopes == 0 {
		j.fail(c.wants, j.failure())
		return
	}
	waiting := false
	for _, it := range list[:min(k, len(list))] {
		j.help(it.shard, c.lo, c.hi)
		waiting = waiting || it.kind != hasArrived
	}
	if !waiting && len(list)+hopes < k {
		j.fail(c.wants, j.failure())
	}
}

// lastResort reads a want from its own slow or benched member when the others are not enough, and says whether that is under way.
func (j *job) lastResort(i int, enough bool) bool {
	w := j.wants[i]
	src := &j.shards[w.Shard]
	switch {
	case src.covering(w, planned, running) != nil:
		return true
	case src.err != nil || src.late || src.rank == benched && enough:
		return false
	}
	j.own(i, src.rank == benched || j.o.M == 0)
	return true
}

// direct gives a want the bytes that were read for it.
func (j *job) direct(i int, f *fetch) {
	w := j.wants[i]
	j.done[i] = true
	if f.want == i {
		j.out[i] = f.data
		return
	}
	data := f.data[w.Off-f.off : w.Off-f.off+w.N]
	j.copies = append(j.copies, func() { j.out[i] = into(w.Dst, data) })
}

// calculate gives the wants of a cluster what follows from K shards.
func (j *job) calculate(c cluster, from []candidate) {
	cols := make([][]byte, len(j.shards))
	for _, it := range from {
		cols[it.shard] = j.column(it.shard, c.lo, c.hi)
	}
	length := c.hi - c.lo
	var shards []int
	for _, i := range c.wants {
		w := j.wants[i]
		if slices.Contains(shards, w.Shard) {
			continue
		}
		shards = append(shards, w.Shard)
		if w.N == length && int64(cap(w.Dst)) >= length && !j.writesTo(i) {
			cols[w.Shard] = w.Dst[:0:length]
		}
	}
	if err := j.s.o.Reconstruct(j.o.K, j.o.M, cols, shards); err != nil {
		j.fail(c.wants, fmt.Errorf("object %s: reconstruct shards %d: %w", j.o.Name, shards, err))
		return
	}
	for _, i := range c.wants {
		w := j.wants[i]
		col := cols[w.Shard]
		if int64(len(col)) != length {
			j.fail([]int{i}, fmt.Errorf("object %s: reconstruct shard %d: %d bytes instead of %d", j.o.Name, w.Shard, len(col), length))
			continue
		}
		j.done[i] = true
		data := col[w.Off-c.lo : w.Off-c.lo+w.N]
		j.copies = append(j.copies, func() { j.out[i] = into(w.Dst, data) })
	}
}

// writesTo says whether a request may be writing into the Dst of a want.
func (j *job) writesTo(i int) bool {
	return slices.ContainsFunc(j.shards[j.wants[i].Shard].fetches, func(f *fetch) bool { return f.want == i && f.state == running })
}

// column returns a range of a shard out of what was read of it.
func (j *job) column(shard int, lo, hi int64) []byte {
	src := &j.shards[shard]
	if f := src.covering(Range{Off: lo, N: hi - lo}, arrived, arrived); f != nil {
		return f.data[lo-f.off : hi-f.off]
	}
	col := *j.buffer(hi - lo)
	for _, f := range src.fetches {
		if f.state == arrived && f.off < hi && f.end() > lo {
			a, b := max(lo, f.off), min(hi, f.end())
			copy(col[a-lo:b-lo], f.data[a-f.off:b-f.off])
		}
	}
	return col
}

func (j *job) fail(wants []int, err error) {
	for _, i := range wants {
		j.done[i], j.errs[i] = true, err
	}
}

// failure says why fewer than K shards are usable.
func (j *job) failure() error {
	few := &TooFewError{Need: j.o.K}
	lost := &LostError{Name: j.o.Name, Need: j.o.K}
	useless := 0
	for shard := range j.shards {
		src, m := &j.shards[shard], j.member(shard)
		err := src.err
		if err == nil && src.rank == benched {
			err = m.benchedError()
		}
		if err == nil {
			if slices.ContainsFunc(src.fetches, func(f *fetch) bool { return f.state == arrived }) {
				few.Have++
			}
			continue
		}
		lost.Causes = append(lost.Causes, err)
		few.Causes = append(few.Causes, err)
		few.Missing = append(few.Missing, m.label)
		if gone(err) {
			useless++
		}
	}
	lost.Have = few.Have
	switch {
	case useless > j.o.M:
		return remote.Permanent(lost)
	case j.s.o.Reconstruct == nil && j.o.M > 0:
		return remote.Permanent(fmt.Errorf("object %s: reconstruct: %w: %w", j.o.Name, errors.ErrUnsupported, few))
	}
	return fmt.Errorf("object %s: %w", j.o.Name, few)
}
