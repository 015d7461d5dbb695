package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// ShardState is what is known of one shard of a pack.
type ShardState uint8

// The states.
const (
	ShardGood    ShardState = iota // it proves itself
	ShardMissing                   // its member is there and does not have it
	ShardBad                       // it does not prove itself, or the medium does not give it
	ShardAway                      // its member does not answer: nothing is known
)

func (s ShardState) String() string {
	switch s {
	case ShardGood:
		return "good"
	case ShardMissing:
		return "missing"
	case ShardBad:
		return "bad"
	case ShardAway:
		return "member away"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// ShardRepair is one shard before and after a repair. Both states come from reading it.
type ShardRepair struct {
	Shard         int
	Member        string
	Before, After ShardState
	Err           error // what was wrong; nil when it was good
	Written       bool  // it was stored again
	WriteErr      error // why it is not good now although it could be made
}

// Healed says whether the shard was not good and is.
func (s *ShardRepair) Healed() bool { return s.Before != ShardGood && s.After == ShardGood }

// PackRepair is what RepairPack found and did.
type PackRepair struct {
	Pack     pack.ID
	Kind     chunk.Type // as the header says; when there is none, as it was asked for
	Geometry pack.Geometry
	Size     int64 // of each shard in bytes; 0 when no header was found
	Shards   []ShardRepair
	// Lost is set when too few shards are good to make the others, and no member that is away can change that.
	Lost error
	// Condemned is set when a record condemns the pack: it is garbage, and nothing was written. Shards is empty if that was known before
	// they were read.
	Condemned bool
	// Leaving is set when shards of an index pack that were good were gone a moment later: somebody is removing it, and nothing was written.
	Leaving bool
	// Salvaged is set when fewer than k shards were good, and those were put together from good blocks.
	Salvaged bool
}

// Good counts the good shards: before, and now.
func (r *PackRepair) Good() (before, after int) {
	for i := range r.Shards {
		if r.Shards[i].Before == ShardGood {
			before++
		}
		if r.Shards[i].After == ShardGood {
			after++
		}
	}
	return before, after
}

// Healed counts the shards that were not good and are.
func (r *PackRepair) Healed() (n int) {
	for i := range r.Shards {
		if r.Shards[i].Healed() {
			n++
		}
	}
	return n
}

// Whole says whether all n shards are good now.
func (r *PackRepair) Whole() bool { _, n := r.Good(); return n == len(r.Shards) }

// RepairOptions say how to repair a pack. The zero value heals what can be healed.
type RepairOptions struct {
	DryRun bool // look only
}

// RepairPack reads all shards of a pack whole, at once, and proves each. What is missing or bad is made from k good ones, or, if
// fewer are good, from the blocks of those that are not (a disk rarely damages the same block of two), stored on its
// member, read back and proved. The report tells what was read, before and after. It needs no key; with one, a
// shard whose signature is not the writer's is bad as well. kind may be chunk.Data for any pack below binaries/.
//
// Nothing that is being removed is made again: a pack that is condemned, before or after it was read, is left as it is, and so is an index
// pack whose shards vanish. Should a shard be written all the same, it is garbage that the next prune removes.
//
// The error is ctx's, or the whole operation's: that a pack is lost, or that members are away, is in the report.
// Memory: the n shards of the pack, up to twice that when most are bad; 4+2 makes 48 MiB, 10+4 56 MiB. A crash leaves shards
// that were written, each by itself good.
func (a *Archive) RepairPack(ctx context.Context, p Placement, id pack.ID, kind chunk.Type, o RepairOptions) (*PackRepair, error) {
	n := p.Geometry.N()
	r := &packRepair{a: a, p: p, o: o, reads: make([]shardRead, n),
		report: &PackRepair{Pack: id, Kind: kind, Geometry: p.Geometry, Shards: make([]ShardRepair, n)}}
	if r.condemned(ctx) {
		r.report.Shards = nil
		return r.report, ctx.Err()
	}
	r.each(func(j int) bool { return true }, func(j int) { r.reads[j] = a.readShard(ctx, p, id, kind, j) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.chooseHeader()
	r.judge()
	if r.report.Whole() {
		r.settle()
		return r.report, nil
	}
	objects := r.rebuild()
	if objects == nil || o.DryRun || r.condemned(ctx) || r.leaving(ctx) {
		return r.report, ctx.Err()
	}
	r.each(func(j int) bool {
		return r.report.Shards[j].Before != ShardGood && r.report.Shards[j].Before != ShardAway
	},
		func(j int) { r.write(ctx, j, objects[j]) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.settle()
	return r.report, nil
}

// condemned asks whether the pack is condemned by now. That the records cannot be read is no reason to leave a pack without its shards.
func (r *packRepair) condemned(ctx context.Context) bool {
	is, err := r.a.Condemned(ctx, r.report.Pack)
	if r.report.Condemned = err == nil && is; r.report.Condemned {
		r.a.leave(r.report.Pack, r.report.Kind)
	}
	return r.report.Condemned
}

// leaving says whether good shards of an index pack are gone by now. No record condemns those: they are removed when others name
// what they name, and must not come back with columns of packs that are gone.
func (r *packRepair) leaving(ctx context.Context) bool {
	if r.report.Kind != chunk.Index {
		return false
	}
	var gone atomic.Bool
	r.each(func(j int) bool { return r.report.Shards[j].Before == ShardGood }, func(j int) {
		store := r.p.Set.Members()[pack.Member(r.report.Pack, j, r.p.Geometry.N())].Store
		if _, err := store.Stat(ctx, r.report.Pack.Name(chunk.Index)); errors.Is(err, remote.ErrNotExist) {
			gone.Store(true)
		}
	})
	r.report.Leaving = gone.Load()
	return r.report.Leaving
}

// packRepair is one call of RepairPack.
type packRepair struct {
	a      *Archive
	p      Placement
	o      RepairOptions
	header *pack.Header
	reads  []shardRead
	report *PackRepair
}

// each runs fn for the chosen shards at once.
func (r *packRepair) each(chosen func(j int) bool, fn func(j int)) {
	eachShard(len(r.reads), func(j int) {
		if chosen(j) {
			fn(j)
		}
	})
}

// eachShard runs fn for n shards at once and waits for all: at most 32, each on a member of its own.
func eachShard(n int, fn func(j int)) {
	var wg sync.WaitGroup
	for j := range n {
		wg.Go(func() { fn(j) })
	}
	wg.Wait()
}

// chooseHeader takes the header that the others are made of. All headers of a pack have the same core; the signature is not in
// it, so it is the writer's if a key can tell, and otherwise what most shards have.
func (r *packRepair) chooseHeader() {
	votes, best := map[string]int{}, 0
	for j := range r.reads {
		h := r.reads[j].header
		if h == nil {
			continue
		}
		if err := r.a.verifySignature(h); err != nil {
			r.reads[j].err = err // the payload is proved by the pack's id all the same
			continue
		}
		sig := string(h.Signature.Sig[:]) + string(h.Signature.Cert[:])
		if votes[sig]++; votes[sig] > best {
			best, r.header = votes[sig], h
		}
	}
	if r.header != nil {
		r.report.Kind, r.report.Size = r.header.Kind, pack.ShardSize(r.header.L)
	}
}

// judge notes what each shard is.
func (r *packRepair) judge() {
	for j := range r.reads {
		read := &r.reads[j]
		s := &r.report.Shards[j]
		*s = ShardRepair{Shard: j, Member: r.p.MemberOf(r.report.Pack, j), Err: read.err}
		switch {
		case read.err == nil && read.object != nil && !r.sameSignature(read.header):
			s.Err, s.Before = errOtherSignature, ShardBad
		case read.err == nil && read.object != nil:
			s.Before = ShardGood
		case read.away:
			s.Before = ShardAway
		case errors.Is(read.err, remote.ErrNotExist):
			s.Before = ShardMissing
		default:
			s.Before = ShardBad
		}
		s.After = s.Before
	}
}

var errOtherSignature = errors.New("its signature differs from that of most other shards")

func (r *packRepair) sameSignature(h *pack.Header) bool { return h.Signature == r.header.Signature }

// rebuild makes all shards, or returns nil and says in the report why that cannot be.
func (r *packRepair) rebuild() [][]byte {
	good, away := 0, 0
	objects := make([][]byte, len(r.reads))
	for j := range r.reads {
		// A shard with a bad header, or another signature, has a payload all the same.
		if objects[j] = r.reads[j].object; objects[j] != nil {
			good++
		}
		if r.reads[j].away {
			away++
		}
	}
	if r.header == nil { // or none that a holder of the key has signed: nobody stored this here
		good = 0
	} else if good < r.p.Geometry.K {
		good += r.salvage(objects, good)
	}
	if good < r.p.Geometry.K {
		if good+away < r.p.Geometry.K {
			r.report.Lost = &PackDamage{Pack: r.report.Pack, Kind: r.report.Kind, Good: good, Need: r.p.Geometry.K, Bad: r.bad()}
		}
		return nil
	}
	rebuilt, err := pack.RebuildShards(r.header, objects)
	if err != nil {
		r.report.Lost = fmt.Errorf("rebuild pack %s: %w", r.report.Pack.Short(), err)
		return nil
	}
	return rebuilt
}

// salvage puts the payloads of bad shards together from blocks, until k shards are good. The hash in the header proves each.
func (r *packRepair) salvage(objects [][]byte, good int) (made int) {
	for j := range objects {
		if objects[j] != nil || good+made >= r.p.Geometry.K {
			continue
		}
		column := salvage(r.p.Geometry, r.reads, j)
		if !r.header.ProvesPayload(j, column) {
			continue
		}
		objects[j] = append(make([]byte, pack.HeaderSize, pack.HeaderSize+len(column)), column...) // RebuildShards writes the header
		made++
		r.report.Salvaged = true
	}
	return made
}

func (r *packRepair) bad() []ShardDamage {
	var list []ShardDamage
	for j := range r.report.Shards {
		if s := &r.report.Shards[j]; s.Before == ShardBad || s.Before == ShardMissing {
			list = append(list, ShardDamage{Pack: r.report.Pack, Kind: r.report.Kind, Shard: j, Member: s.Member, Err: s.Err})
		}
	}
	return list
}

// write stores one shard on its member and reads it back.
func (r *packRepair) write(ctx context.Context, j int, object []byte) {
	s := &r.report.Shards[j]
	id, kind := r.report.Pack, r.report.Kind
	store := r.p.Set.Members()[pack.Member(id, j, r.p.Geometry.N())].Store
	if s.WriteErr = store.Put(ctx, id.Name(kind), object); s.WriteErr != nil {
		return
	}
	s.Written = true
	got, err := store.Get(ctx, id.Name(kind), 0, -1, nil)
	if err == nil && !bytes.Equal(got, object) {
		err = errors.New("it reads back differently")
	}
	if err == nil {
		_, err = r.a.ProveShard(r.p, id, kind, j, got)
	}
	if s.WriteErr = err; err == nil {
		s.After = ShardGood
	} else {
		s.After = ShardBad
	}
}

// settle takes the shards that are good now off the list of those to be healed.
func (r *packRepair) settle() {
	var good []Suspect
	for j := range r.report.Shards {
		if r.report.Shards[j].After == ShardGood {
			good = append(good, suspect(r.report.Pack, r.report.Kind, j))
		}
	}
	r.a.repairs.drop(good)
}
