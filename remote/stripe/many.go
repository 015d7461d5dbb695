package stripe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cairn/remote"
)

// Range is a wanted part of a shard's coded region.
type Range struct {
	Shard  int
	Off, N int64
	Dst    []byte // the result is in Dst[:0] if its capacity is enough
}

// Read reads a range of a shard's coded region: from the shard itself, or, if it is in avoid (the caller found it damaged)
// or cannot be read, calculated from the same range of K others that are not in avoid. The error is a
// *TooFewError when members that did not answer could make up for it, a *LostError when they could not.
func (s *Set) Read(ctx context.Context, o Object, shard int, off, n int64, dst []byte, avoid []int) ([]byte, error) {
	w := Range{shard, off, n, dst}
	if err := s.checkRange(o, w); err != nil {
		return nil, err
	}
	if n == 0 {
		return dst[:0], nil
	}
	m := s.members[o.Member(shard)]
	if len(s.members) == 1 && m.store != nil && len(avoid) == 0 {
		return s.readOnly(ctx, m, o, w)
	}
	var err error
	if m.store != nil && !m.benched.Load() && !slices.Contains(avoid, shard) && !(s.canRebuild(o) && m.lag(classOf(n)).avoid(time.Now())) {
		var b []byte
		if b, err = s.raced(ctx, o, w, avoid); err == nil || ctx.Err() != nil {
			return b, ctxError(ctx, err)
		}
	}
	j := s.newJob(o, []Range{w}, avoid)
	if err != nil && !errors.Is(err, errBenched) {
		j.shards[shard].err = err
	}
	j.run(ctx)
	return j.out[0], j.errs[0]
}

// readOnly is Read of an archive of one member: nothing to go round by.
func (s *Set) readOnly(ctx context.Context, m *member, o Object, w Range) ([]byte, error) {
	begin := time.Now()
	b, err := m.store.Get(ctx, o.Name, o.Base+w.Off, w.N, w.Dst)
	if err == nil {
		m.meter.sample(classOf(w.N), time.Since(begin))
		err = m.exact(o.Name, b, w.N)
	}
	if err = s.settle(ctx, m, err); err == nil {
		return b, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	j := s.newJob(o, []Range{w}, nil)
	j.shards[0].err = err
	return nil, j.failure()
}

// ReadMany is Read of several ranges of one object at once; results and errors are those of wants, in their order. What
// can be read from its own member is read once, all at once, at most 64 requests at a time. For what cannot (its member is away or slow, or its shard
// is missing or in avoid), the union of those ranges is read once from K shards, and all of them are
// calculated from that; K shards that are wanted themselves come first, because their bytes are needed anyway. So a
// whole pack costs K shards of bytes, whichever members are gone. Ranges of which a union would be more than a fifth
// gaps are treated one by one.
//
// Memory beyond the results: with shards away, K times their union (less what lies in wanted ranges of others), kept for the next
// call; with a race, the same again.
func (s *Set) ReadMany(ctx context.Context, o Object, wants []Range, avoid []int) ([][]byte, []error) {
	if len(wants) == 1 {
		w := wants[0]
		b, err := s.Read(ctx, o, w.Shard, w.Off, w.N, w.Dst, avoid)
		return [][]byte{b}, []error{err}
	}
	if err := s.checkObject(o); err != nil {
		return make([][]byte, len(wants)), slices.Repeat([]error{err}, len(wants))
	}
	j := s.newJob(o, wants, avoid)
	for i, w := range wants {
		if err := s.checkRange(o, w); err != nil {
			j.errs[i], j.done[i] = err, true
		} else if w.N == 0 {
			j.out[i], j.done[i] = w.Dst[:0], true
		}
	}
	if !slices.Contains(j.done, false) {
		return j.out, j.errs
	}
	for shard := range j.shards { // one trial of a slow member a call is enough
		src := &j.shards[shard]
		if src.rank == slow && slices.ContainsFunc(wants, func(w Range) bool { return w.Shard == shard }) && !j.member(shard).lag(j.size).avoid(time.Now()) {
			src.rank, src.trial = ready, true
		}
	}
	j.run(ctx)
	return j.out, j.errs
}

func (s *Set) checkRange(o Object, w Range) error {
	if err := s.checkShard(o, w.Shard); err != nil {
		return err
	}
	if w.Off < 0 || w.N < 0 || w.N > o.Length || w.Off > o.Length-w.N {
		return remote.Permanent(fmt.Errorf("object %s: range of %d bytes at %d in a coded region of %d: %w",
			o.Name, w.N, w.Off, o.Length, io.ErrUnexpectedEOF))
	}
	return nil
}

func (s *Set) canRebuild(o Object) bool { return o.M > 0 && s.o.Reconstruct != nil }

// ctxError prefers the caller's own reason for stopping to what it made of the requests.
func ctxError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// into copies data to where the caller wants it.
func into(dst, data []byte) []byte {
	dst = remote.Into(dst, int64(len(data)))
	copy(dst, data)
	return dst
}
