package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

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

// PackDamage means that fewer than k shards of a pack are good: what it holds is lost, at least in part, unless shards
// turn up.
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
// missing. It costs k shards of memory, more when shards are bad. It is a *PackDamage if fewer are good, and a
// *stripe.TooFewError if members that did not answer could make up for it.
func (a *Archive) ReadPack(ctx context.Context, id pack.ID, kind chunk.Type) (*PackShards, error) {
	p, err := a.PlacementOf(ctx, id, kind)
	if err != nil {
		return nil, err
	}
	reads, err := a.readShards(ctx, p, id, kind)
	if err != nil {
		return nil, err
	}
	return a.wholePack(p, id, kind, reads)
}

// shardRead is what became of reading one shard.
type shardRead struct {
	object []byte       // the shard, if its payload proved itself
	raw    []byte       // what was read, if its header is one of this pack
	header *pack.Header // of raw
	err    error        // what is wrong with it; with a good payload, what is wrong around that
	away   bool         // its member did not answer: nothing is known of the shard
}

// readShards reads shards until k are good or all were tried: as many at once as are lacking.
func (a *Archive) readShards(ctx context.Context, p Placement, id pack.ID, kind chunk.Type) ([]shardRead, error) {
	n := p.Geometry.N()
	reads := make([]shardRead, n)
	for next := 0; next < n; {
		lack := p.Geometry.K - countGood(reads)
		if lack <= 0 {
			break
		}
		end := min(next+lack, n)
		var wg sync.WaitGroup
		for j := next; j < end; j++ {
			wg.Go(func() { reads[j] = a.readShard(ctx, p, id, kind, j) })
		}
		wg.Wait()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		next = end
	}
	return reads, nil
}

func countGood(reads []shardRead) int {
	good := 0
	for i := range reads {
		if reads[i].object != nil {
			good++
		}
	}
	return good
}

// readShard reads and proves one whole shard.
func (a *Archive) readShard(ctx context.Context, p Placement, id pack.ID, kind chunk.Type, j int) shardRead {
	data, err := a.GetShard(ctx, p, id, kind, j, nil)
	if err != nil {
		return shardRead{err: err, away: !Gone(err)}
	}
	h, err := a.ProveShard(p, id, kind, j, data)
	if h == nil {
		return shardRead{err: err}
	}
	r := shardRead{raw: data, header: h, err: err}
	if err == nil || PayloadGood(err) {
		r.object = data
	}
	return r
}

// ProveShard compares a whole shard with its name and its place. The header is returned with an error, too, if one of its
// two copies is good and it is that of shard j.
func (a *Archive) ProveShard(p Placement, id pack.ID, kind chunk.Type, j int, data []byte) (*pack.Header, error) {
	h, err := pack.CheckShard(id, data)
	if h == nil {
		return nil, err
	}
	if err := a.isShard(h, p, kind, j); err != nil {
		return nil, err
	}
	return h, err
}

// isShard says whether a header is that of shard j of a pack of the archive.
func (a *Archive) isShard(h *pack.Header, p Placement, kind chunk.Type, j int) error {
	switch {
	case h.Archive != a.id || h.Geometry != p.Geometry:
		return fmt.Errorf("it belongs to archive %.8s with layout %d+%d", h.Archive, h.Geometry.K, h.Geometry.M)
	case h.Shard != j:
		return fmt.Errorf("it is shard %d, not %d", h.Shard, j)
	case (h.Kind == chunk.Index) != (kind == chunk.Index):
		return fmt.Errorf("it is of a pack of kind %s", h.Kind)
	}
	return nil
}

// ProveByOpening proves a shard of a pack without parity by opening all that is in it, which spares its SHA-256. Its column holds blobs
// without gaps, padding and the directory: the header is that of the pack's name, directory and blobs are authentic, the blobs
// what their names say, and the checksums of all blocks tell any accident to the padding, of which nothing is ever made. What is not
// seen is that somebody who can write to the member changed padding and checksum together; a restore does not read either, and
// a proof by the name sees it. With parity the padding counts: other columns are calculated from it.
//
// It returns nil for other packs, and whenever anything is wrong: ProveShard and OpenColumn then tell what.
func (a *Archive) ProveByOpening(p Placement, id pack.ID, kind chunk.Type, j int, data []byte) *pack.Header {
	if a.keys == nil || p.Geometry.M > 0 || kind == chunk.Index {
		return nil
	}
	h, err := pack.CheckFrame(id, data)
	if err != nil || a.isShard(h, p, kind, j) != nil || j >= h.Geometry.K {
		return nil
	}
	whole := true
	err = a.OpenColumn(h, j, data[pack.HeaderSize:pack.HeaderSize+h.L], func(pack.Entry, error) { whole = false })
	if err != nil || !whole {
		return nil
	}
	return h
}

// PayloadGood says whether an error of ProveShard is about what is around the payload only.
func PayloadGood(err error) bool {
	var c *pack.CorruptError
	return errors.As(err, &c) && c.PayloadGood()
}

// Gone says whether an error of GetShard tells that the shard is no use while its member is there.
func Gone(err error) bool {
	return errors.Is(err, remote.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EIO)
}

// wholePack makes a pack of the shards that were read.
func (a *Archive) wholePack(at Placement, id pack.ID, kind chunk.Type, reads []shardRead) (*PackShards, error) {
	p := &PackShards{}
	objects := make([][]byte, len(reads))
	whole := true
	for j, r := range reads {
		objects[j] = r.object
		if r.err != nil {
			p.Bad = append(p.Bad, ShardDamage{Pack: id, Kind: kind, Shard: j, Member: at.MemberOf(id, j), Err: r.err})
		}
		if r.object != nil {
			p.Header = r.header
		}
		whole = whole && (r.object != nil || j >= at.Geometry.K)
	}
	if countGood(reads) < at.Geometry.K {
		return nil, notEnough(at, id, kind, reads, p.Bad)
	}
	if !whole {
		var err error
		if objects, err = pack.RebuildShards(p.Header, objects); err != nil {
			return nil, fmt.Errorf("rebuild pack %s: %w", id.Short(), err)
		}
	}
	p.shards = objects[:at.Geometry.K]
	return p, nil
}

// notEnough tells damage (the members answered, the shards are bad) from absence (too few members are there to say).
func notEnough(p Placement, id pack.ID, kind chunk.Type, reads []shardRead, bad []ShardDamage) error {
	good := countGood(reads)
	few := &stripe.TooFewError{Need: p.Geometry.K, Have: good}
	for j, r := range reads {
		if r.away {
			few.Missing = append(few.Missing, p.MemberOf(id, j))
			few.Causes = append(few.Causes, r.err)
		}
	}
	if good+len(few.Missing) >= p.Geometry.K {
		return fmt.Errorf("%s pack %s: %w", kind, id.Short(), few)
	}
	return &PackDamage{Pack: id, Kind: kind, Good: good, Need: p.Geometry.K, Bad: bad}
}

// maxShard is the size of the largest shard. Of an object that is larger, its last maxShard+1 bytes are read, which no
// check accepts, instead of all there is.
var maxShard = pack.ShardSize(pack.MaxColumn)

// GetShard reads one shard object whole, as it is: nothing is verified and nothing is rebuilt.
func (a *Archive) GetShard(ctx context.Context, p Placement, id pack.ID, kind chunk.Type, shard int, dst []byte) ([]byte, error) {
	return p.Set.GetShard(ctx, object(id, kind, p.Geometry, 0), shard, -(maxShard + 1), 0, dst)
}

// OpenColumn opens every blob of a data column and calls fn for those that do not open. The error is about the
// directory: without it nothing in the column can be opened.
func (a *Archive) OpenColumn(h *pack.Header, column int, payload []byte, fn func(pack.Entry, error)) error {
	if a.keys == nil {
		return ErrNoKey
	}
	if column < 0 || column >= len(h.DirLen) || int64(h.DirLen[column]) > int64(len(payload)) {
		return fmt.Errorf("column %d of %d bytes has no directory", column, len(payload))
	}
	c, err := pack.OpenDirectory(a.keys, h, column, payload[len(payload)-int(h.DirLen[column]):])
	if err != nil {
		return err
	}
	arena := a.keys.Arena()
	for _, e := range c.Entries {
		session, err := a.session(c.SessionOf(e))
		if err == nil {
			plain := arena.Take(seal.OpenRoom(e.Plain))
			_, err = session.Open(plain, c.Blob(e), payload[e.Offset:e.Offset+e.Stored])
			arena.Put(plain)
		}
		if err != nil {
			fn(e, err)
		}
	}
	return nil
}
