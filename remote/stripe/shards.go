package stripe

import (
	"context"
	"fmt"
	"io/fs"
	"math"

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

// PutShards stores all n shards of an object at once, each on its member. It returns when each has acknowledged, failed, or been
// given up, and is an error only if fewer than K have acknowledged (*TooFewError); the result, by member, says whether
// all have. What was stored stays stored. When it returns, nothing reads shards any more.
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
	return s.write(ctx, o.K, func(ctx context.Context, i int) error { return s.members[i].store.Put(ctx, o.Name, byMember[i]) })
}

// GetShard reads raw bytes of one shard, with what is around its coded region, from the member it belongs on; off and n are
// those of remote.Store.Get. Where parity makes up for a member, a benched one is not asked, and a request that is on its way when
// it is benched ends. It is never raced: a member that hangs holds it up until its own time limit.
func (s *Set) GetShard(ctx context.Context, o Object, shard int, off, n int64, dst []byte) ([]byte, error) {
	if err := s.checkShard(o, shard); err != nil {
		return nil, err
	}
	m := s.members[o.Member(shard)]
	switch {
	case m.store == nil:
		return nil, m.absent()
	case o.M > 0 && m.benched.Load():
		return nil, m.benchedError()
	}
	b, err := s.get(ctx, m, o.Name, off, n, dst, o.M == 0)
	return b, ctxError(ctx, err)
}
