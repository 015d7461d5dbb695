package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// PackShards is a pack read whole: all its data columns, verified against the pack's id.
type PackShards struct {
	Header *pack.Header
	shards [][]byte // whole shard objects of the data columns
	// Bad lists what was wrong with which shard; the columns are good all the same.
	Bad []ShardDamage
}

// ShardDamage is one shard that is missing, unreadable or does not prove itself.
type ShardDamage struct {
	Pack   pack.ID
	Kind   chunk.Type
	Shard  int
	Member string
	Err    error
}

func (d *ShardDamage) Error() string {
	return fmt.Sprintf("shard %d of %s pack %s on %s: %v", d.Shard, d.Kind, d.Pack.Short(), d.Member, d.Err)
}

func (d *ShardDamage) Unwrap() error { return d.Err }

// Payload is data column c.
func (p *PackShards) Payload(c int) []byte {
	return p.shards[c][pack.HeaderSize : pack.HeaderSize+p.Header.L]
}

// Directory opens the directory of data column c.
func (p *PackShards) Directory(k *seal.Keys, c int) (*pack.Column, error) {
	payload := p.Payload(c)
	return pack.OpenDirectory(k, p.Header, c, payload[len(payload)-int(p.Header.DirLen[c]):])
}

// ReadPack reads a pack whole from any k shards that prove themselves, the data shards first, and rebuilds what is
// missing. It costs k shards of memory. The error wraps the damage of each shard that was tried.
func (a *Archive) ReadPack(ctx context.Context, id pack.ID, kind chunk.Type) (*PackShards, error) {
	n := a.geom.N() // all packs of a v1 archive have the layout of its card
	got := make([][]byte, n)
	heads := make([]*pack.Header, n)
	errs := make([]error, n)
	try := func(js []int) {
		var wg sync.WaitGroup
		for _, j := range js {
			wg.Go(func() { got[j], heads[j], errs[j] = a.readShard(ctx, id, kind, j) })
		}
		wg.Wait()
	}
	try(seq(0, a.geom.K))
	if countGood(got) < a.geom.K && ctx.Err() == nil {
		try(seq(a.geom.K, n))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &PackShards{}
	for j := range n {
		if errs[j] != nil {
			p.Bad = append(p.Bad, ShardDamage{Pack: id, Kind: kind, Shard: j, Member: a.memberOf(id, j), Err: errs[j]})
		} else if heads[j] != nil && p.Header == nil {
			p.Header = heads[j]
		}
	}
	if countGood(got) < a.geom.K {
		return nil, a.notEnough(id, kind, countGood(got), p.Bad)
	}
	if countGood(got[:a.geom.K]) == a.geom.K {
		p.shards = got[:a.geom.K]
		return p, nil
	}
	all, err := pack.RebuildShards(p.Header, got)
	if err != nil {
		return nil, fmt.Errorf("rebuild pack %s: %w", id.Short(), err)
	}
	p.shards = all[:a.geom.K]
	return p, nil
}

// readShard reads and proves one whole shard.
func (a *Archive) readShard(ctx context.Context, id pack.ID, kind chunk.Type, j int) ([]byte, *pack.Header, error) {
	data, err := a.set.GetShard(ctx, object(id, kind, a.geom, 0), j, 0, -1, nil)
	if err != nil {
		return nil, nil, err
	}
	h, err := pack.CheckShard(id, data)
	if err != nil {
		return nil, nil, err
	}
	if h.Shard != j {
		return nil, nil, fmt.Errorf("this is shard %d, not %d", h.Shard, j)
	}
	if h.Geometry != a.geom || h.Archive != a.id {
		return nil, nil, fmt.Errorf("shard belongs to archive %.8s with layout %d+%d", h.Archive, h.Geometry.K, h.Geometry.M)
	}
	return data, h, nil
}

// memberOf names the member on which shard j of a pack lies.
func (a *Archive) memberOf(id pack.ID, j int) string {
	return a.set.Members()[pack.Member(id, j, a.geom.N())].Label
}

// MemberOf names the member on which shard j of a pack lies.
func (a *Archive) MemberOf(id pack.ID, j int) string { return a.memberOf(id, j) }

// notEnough tells damage (the members answered, the shards are bad) from absence (too few members are there to say).
func (a *Archive) notEnough(id pack.ID, kind chunk.Type, good int, bad []ShardDamage) error {
	err := &PackDamage{Pack: id, Kind: kind, Good: good, Need: a.geom.K, Bad: bad}
	if missing := a.set.Degraded(); a.geom.N()-len(missing) < a.geom.K {
		return fmt.Errorf("%w: %w", &stripe.TooFewError{Need: a.geom.K, Have: a.geom.N() - len(missing), Missing: missing}, err)
	}
	return err
}

// PackDamage means that fewer than k shards of a pack are good: what it holds is lost unless shards turn up.
type PackDamage struct {
	Pack       pack.ID
	Kind       chunk.Type
	Good, Need int
	Bad        []ShardDamage
}

func (e *PackDamage) Error() string {
	s := fmt.Sprintf("%s pack %s: %d of the %d shards it needs are good", e.Kind, e.Pack.Short(), e.Good, e.Need)
	for i := range e.Bad {
		s += "; " + e.Bad[i].Error()
	}
	return s
}

func countGood(shards [][]byte) int {
	good := 0
	for _, s := range shards {
		if s != nil {
			good++
		}
	}
	return good
}

func seq(from, to int) []int {
	s := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		s = append(s, i)
	}
	return s
}

// GetShard reads one shard object whole, as it is: nothing is verified and nothing is rebuilt.
func (a *Archive) GetShard(ctx context.Context, id pack.ID, kind chunk.Type, shard int, dst []byte) ([]byte, error) {
	return a.set.GetShard(ctx, object(id, kind, a.geom, 0), shard, 0, -1, dst)
}

// OpenColumn opens every blob of a data column and calls fn for those that do not open. The error is about the
// directory: without it nothing in the column can be opened.
func (a *Archive) OpenColumn(h *pack.Header, column int, payload []byte, fn func(pack.Entry, error)) error {
	if int64(h.DirLen[column]) > int64(len(payload)) {
		return fmt.Errorf("directory of column %d is longer than the column", column)
	}
	c, err := pack.OpenDirectory(a.keys, h, column, payload[len(payload)-int(h.DirLen[column]):])
	if err != nil {
		return err
	}
	plain := buffers.Get().(*[]byte)
	defer buffers.Put(plain)
	for _, e := range c.Entries {
		session, err := a.session(c.SessionOf(e))
		if err == nil {
			var out []byte
			if out, err = session.Open((*plain)[:0], c.Blob(e), payload[e.Offset:e.Offset+e.Stored]); cap(out) > cap(*plain) {
				*plain = out
			}
		}
		if err != nil {
			fn(e, err)
		}
	}
	return nil
}

// VerifyCard reads a member's card again and compares it with its MAC and its canonical form.
func (a *Archive) VerifyCard(ctx context.Context, member int) error {
	data, err := remote.ReadAll(ctx, a.set.Members()[member].Store, cardName, maxCard)
	if err != nil {
		return err
	}
	c, err := parseCard(data)
	if err != nil {
		return err
	}
	if err := c.verify(a.keys); err != nil {
		return err
	}
	if canonical, err := c.encode(); err != nil || !bytes.Equal(canonical, data) {
		return errors.New("card is not in its canonical form")
	}
	return nil
}
