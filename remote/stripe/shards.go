package stripe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"cairn/remote"
)

// Object places one striped object: its shards are objects of the same name on all members.
type Object struct {
	Name     string
	K, M     int
	Rotation int   // shard j is on member (j + Rotation) mod n
	Base     int64 // bytes before the coded region of a shard
	Length   int64 // bytes of the coded region
}

// Member returns the number of the member that shard j belongs on.
func (o Object) Member(j int) int { return (j + o.Rotation%(o.K+o.M)) % (o.K + o.M) }

func (s *Set) checkObject(o Object) error {
	if err := remote.ValidName(o.Name); err != nil {
		return err
	}
	cause := ""
	switch {
	case o.K < 1 || o.M < 0 || o.K+o.M != len(s.members):
		cause = fmt.Sprintf("%d+%d shards on %d members", o.K, o.M, len(s.members))
	case o.Rotation < 0:
		cause = fmt.Sprintf("rotation %d", o.Rotation)
	case o.Base < 0 || o.Length < 0 || o.Base > math.MaxInt64-o.Length:
		cause = fmt.Sprintf("coded region of %d bytes at %d", o.Length, o.Base)
	}
	if cause != "" {
		return remote.Permanent(fmt.Errorf("object %s: %s: %w", o.Name, cause, fs.ErrInvalid))
	}
	return nil
}

func (s *Set) checkShard(o Object, shard int) error {
	if err := s.checkObject(o); err != nil {
		return err
	}
	if shard < 0 || shard >= o.K+o.M {
		return remote.Permanent(fmt.Errorf("object %s: shard %d of %d: %w", o.Name, shard, o.K+o.M, fs.ErrInvalid))
	}
	return nil
}

// PutShards stores all n shards of an object at once, each on its member. It is an error only if fewer than K are
// acknowledged (*TooFewError); the result, by member, says whether all are. What was stored stays stored.
func (s *Set) PutShards(ctx context.Context, o Object, shards [][]byte) (Result, error) {
	if err := s.checkObject(o); err != nil {
		return s.none(err), err
	}
	if len(shards) != len(s.members) {
		err := remote.Permanent(fmt.Errorf("object %s: %d shards for %d members: %w", o.Name, len(shards), len(s.members), fs.ErrInvalid))
		return s.none(err), err
	}
	byMember := make([][]byte, len(shards))
	for j, shard := range shards {
		byMember[o.Member(j)] = shard
	}
	return s.write(ctx, o.K, func(i int) error { return s.members[i].store.Put(ctx, o.Name, byMember[i]) })
}

// GetShard reads raw bytes of one shard, with what is around its coded region, from the member it belongs on; off and n are
// those of remote.Store.Get. Where parity makes up for a member, a benched one is not asked.
func (s *Set) GetShard(ctx context.Context, o Object, shard int, off, n int64, dst []byte) ([]byte, error) {
	if err := s.checkShard(o, shard); err != nil {
		return nil, err
	}
	m := s.members[o.Member(shard)]
	if m.store == nil {
		return nil, fmt.Errorf("%s: %w", m.label, m.missed)
	}
	if o.M > 0 && s.onBench(m) {
		return nil, m.benchedError()
	}
	return s.get(ctx, m, o.Name, off, n, dst)
}

func (s *Set) get(ctx context.Context, m *member, name string, off, n int64, dst []byte) ([]byte, error) {
	b, err := m.store.Get(ctx, name, off, n, dst)
	if err := s.settle(ctx, m, err); err != nil {
		return nil, err
	}
	return b, nil
}

// Read reads a range of a shard's coded region: from the shard itself, or, if it is in avoid (the caller found it damaged)
// or cannot be read, calculated from the same range of K others that are not in avoid. The error is a
// *TooFewError when members that did not answer could make up for it, a *LostError when they could not.
func (s *Set) Read(ctx context.Context, o Object, shard int, off, n int64, dst []byte, avoid []int) ([]byte, error) {
	if err := s.checkShard(o, shard); err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || n > o.Length || off > o.Length-n {
		return nil, remote.Permanent(fmt.Errorf("object %s: range of %d bytes at %d in a coded region of %d: %w",
			o.Name, n, off, o.Length, io.ErrUnexpectedEOF))
	}
	if n == 0 {
		return dst[:0], nil
	}
	now, later, res := s.lineup()
	r := &read{set: s, o: o, shard: shard, off: o.Base + off, n: n, avoid: avoid, errs: res.Errs}
	home := o.Member(shard)
	if slices.Contains(now, home) && !slices.Contains(avoid, shard) {
		if b, err := r.direct(ctx, home, dst); err == nil || ctx.Err() != nil {
			return b, ctxError(ctx, err)
		}
	}
	b, err := r.rebuild(ctx, r.others(now), r.others(later), dst)
	if err == nil || ctx.Err() != nil {
		return b, ctxError(ctx, err)
	}
	if slices.Contains(later, home) && !slices.Contains(avoid, shard) {
		if b, err := r.direct(ctx, home, dst); err == nil || ctx.Err() != nil {
			return b, ctxError(ctx, err)
		}
		err = r.failure()
	}
	return nil, err
}

// ctxError prefers the caller's own reason for stopping to what it made of the requests.
func ctxError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// read is one call of Set.Read.
type read struct {
	set    *Set
	o      Object
	shard  int
	off, n int64 // in the shard object
	avoid  []int
	errs   []error // by member: why its shard is no use
	have   int     // shards that could be read
}

func (r *read) direct(ctx context.Context, home int, dst []byte) ([]byte, error) {
	b, err := r.set.get(ctx, r.set.members[home], r.o.Name, r.off, r.n, dst)
	r.errs[home] = err
	return b, err
}

// others returns which shards of the given members may help.
func (r *read) others(members []int) []int {
	var shards []int
	for j := range r.errs {
		if j != r.shard && !slices.Contains(r.avoid, j) && slices.Contains(members, r.o.Member(j)) {
			shards = append(shards, j)
		}
	}
	return shards
}

// rebuild calculates the range from k of the given shards, the benched ones only if the others are not enough.
func (r *read) rebuild(ctx context.Context, now, later []int, dst []byte) ([]byte, error) {
	reconstruct := r.set.o.Reconstruct
	if reconstruct == nil {
		return nil, r.failure()
	}
	if len(now)+len(later) < r.o.K {
		return nil, r.failure()
	}
	cols := r.gather(ctx, append(now, later...))
	if r.have < r.o.K {
		return nil, r.failure()
	}
	if err := reconstruct(r.o.K, r.o.M, cols, []int{r.shard}); err != nil {
		return nil, fmt.Errorf("object %s: reconstruct shard %d: %w", r.o.Name, r.shard, err)
	}
	if int64(len(cols[r.shard])) != r.n {
		return nil, fmt.Errorf("object %s: reconstruct shard %d: %d bytes instead of %d", r.o.Name, r.shard, len(cols[r.shard]), r.n)
	}
	dst = remote.Into(dst, r.n)
	copy(dst, cols[r.shard])
	return dst, nil
}

type column struct {
	shard int
	data  []byte
	err   error
}

// gather reads shards, k at a time, until k have answered well or none is left to ask.
func (r *read) gather(ctx context.Context, shards []int) [][]byte {
	cols := make([][]byte, r.o.K+r.o.M)
	answers := make(chan column, len(shards))
	asked, answered := 0, 0
	ask := func() {
		j := shards[asked]
		asked++
		go func() {
			b, err := r.set.get(ctx, r.set.members[r.o.Member(j)], r.o.Name, r.off, r.n, nil)
			answers <- column{j, b, err}
		}()
	}
	for asked < r.o.K {
		ask()
	}
	for ; answered < asked; answered++ {
		c := <-answers
		if c.err == nil {
			cols[c.shard] = c.data
			r.errs[r.o.Member(c.shard)] = nil
			r.have++
			continue
		}
		r.errs[r.o.Member(c.shard)] = c.err
		if asked < len(shards) && ctx.Err() == nil {
			ask()
		}
	}
	return cols
}

// failure says why fewer than k shards are usable.
func (r *read) failure() error {
	s := r.set
	few := &TooFewError{Need: r.o.K, Have: r.have}
	lost := &LostError{Name: r.o.Name, Need: r.o.K, Have: r.have}
	useless := 0
	for j := range r.errs {
		i := r.o.Member(j)
		err := r.errs[i]
		if slices.Contains(r.avoid, j) {
			err = fmt.Errorf("%s: shard %d: %w", s.members[i].label, j, errAvoided)
		}
		if err == nil {
			continue
		}
		lost.Causes = append(lost.Causes, err)
		few.Causes = append(few.Causes, err)
		few.Missing = append(few.Missing, s.members[i].label)
		if gone(err) {
			useless++
		}
	}
	switch {
	case useless > r.o.M:
		return remote.Permanent(lost)
	case s.o.Reconstruct == nil && r.o.M > 0:
		return remote.Permanent(fmt.Errorf("object %s: reconstruct: %w: %w", r.o.Name, errors.ErrUnsupported, few))
	}
	return fmt.Errorf("object %s: %w", r.o.Name, few)
}
