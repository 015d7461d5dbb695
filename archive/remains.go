package archive

import (
	"context"

	"cairn/chunk"
	"cairn/pack"
)

// Remains is what the members still give of a pack, however little: all shards, those that do not prove themselves included. It holds their
// memory, n shards.
type Remains struct{ r *packRepair }

// ReadRemains reads all shards of a pack as RepairPack does, and writes nothing. A condemned pack is read as well. The error is ctx's.
func (a *Archive) ReadRemains(ctx context.Context, p Placement, id pack.ID, kind chunk.Type) (*Remains, error) {
	n := p.Geometry.N()
	r := &packRepair{a: a, p: p, o: RepairOptions{DryRun: true}, reads: make([]shardRead, n),
		report: &PackRepair{Pack: id, Kind: kind, Geometry: p.Geometry, Shards: make([]ShardRepair, n)}}
	r.each(func(int) bool { return true }, func(j int) { r.reads[j] = a.readShard(ctx, p, id, kind, j) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.chooseHeader()
	r.judge()
	if !r.report.Whole() {
		r.rebuild()
	}
	return &Remains{r}, nil
}

// Lost says whether too few shards are good to make the others, and no member that is away can change that.
func (m *Remains) Lost() bool { return m.r.report.Lost != nil }

// Away says whether a member did not answer.
func (m *Remains) Away() bool {
	for i := range m.r.reads {
		if m.r.reads[i].away {
			return true
		}
	}
	return false
}

// Shards tells the state of each shard.
func (m *Remains) Shards() []ShardRepair { return m.r.report.Shards }

// Bytes is what is listed of the pack on all members, as far as it has the length that it must have.
func (m *Remains) Bytes() (n int64) {
	for i := range m.r.reads {
		n += int64(len(m.r.reads[i].raw))
	}
	return n
}

// Blobs returns what is left of a column, put together block by block where other shards help, and which of its entries can be opened: those
// lie in their places in the payload, and are what their ids say. All else in it is of any value. c is what an index segment or the
// directory says.
func (m *Remains) Blobs(c *pack.Column) (payload []byte, good []int) {
	read := &m.r.reads[c.Number]
	var cut []byte // what is there of a shard that does not prove itself, as it is
	switch {
	case read.object != nil:
		payload = read.object[pack.HeaderSize:][:read.header.L]
	default:
		if payload = salvage(m.r.p.Geometry, m.r.reads, c.Number); len(read.raw) > pack.HeaderSize {
			cut = read.raw[pack.HeaderSize:]
		}
		if payload == nil && cut != nil {
			payload = make([]byte, len(cut))
		}
	}
	for i, e := range c.Entries {
		from, to := int64(e.Offset), int64(e.Offset)+int64(e.Stored)
		s, err := m.r.a.session(c.SessionOf(e))
		switch {
		case err != nil:
		case to <= int64(len(payload)) && s.Prove(c.Blob(e), payload[from:to]) == nil:
			good = append(good, i)
		case to <= int64(len(payload)) && to <= int64(len(cut)) && s.Prove(c.Blob(e), cut[from:to]) == nil:
			copy(payload[from:to], cut[from:to]) // the payload is one that salvage made
			good = append(good, i)
		}
	}
	return payload, good
}
