package check

import (
	"context"
	"fmt"
	"sync"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// checker is one run.
type checker struct {
	a     *archive.Archive
	o     Options
	index archive.Index

	mu     sync.Mutex
	report Report

	packs map[pack.ID]*packState
	total uint64 // bytes of all shards that should be there
	bad   map[blobKey]string
}

type blobKey struct {
	t  chunk.Type
	id chunk.ID
}

// packState is what is known of one pack: what the index says, and which shards proved good so far.
type packState struct {
	kind    chunk.Type
	length  int64  // L
	columns uint32 // columns that a segment names
	have    uint32 // shards listed in full length
	broken  uint32 // shards that are bad for certain: missing, of the wrong length, or not proving themselves
}

// Run checks an archive that was opened with a key that can read.
func Run(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	if a.Keys() == nil || !a.Keys().CanRead() {
		return nil, archive.ErrNoKey
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	c := &checker{a: a, o: o, index: idx, packs: map[pack.ID]*packState{}, bad: map[blobKey]string{}}
	for _, step := range []func(context.Context) error{c.copies, c.segments, c.listing, c.data, c.losses, c.snapshots} {
		if err := step(ctx); err != nil {
			return &c.report, err
		}
		if err := ctx.Err(); err != nil {
			return &c.report, err
		}
	}
	return &c.report, nil
}

// found records a damage.
func (c *checker) found(d Damage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Damaged++
	if d.Lost {
		c.report.Lost++
	}
	if d.Path != "" {
		c.report.FilesLost++
	}
	if len(c.report.Damages) < maxDamages {
		c.report.Damages = append(c.report.Damages, d)
	}
	if c.o.Found != nil {
		c.o.Found(d)
	}
}

// segments reads every index pack with all its shards and fills the local index with what they say.
func (c *checker) segments(ctx context.Context) error {
	return c.a.ReloadIndex(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if err != nil {
			c.found(Damage{Object: id.Name(chunk.Index), Problem: fmt.Sprintf("index segment cannot be read: %v", err), Lost: true})
			return nil
		}
		c.report.Segments++
		for i := range columns {
			c.addColumn(&columns[i])
		}
		return nil
	})
}

func (c *checker) addColumn(col *pack.Column) {
	p := c.packs[col.Pack]
	if p == nil {
		p = &packState{kind: col.Kind, length: col.L}
		c.packs[col.Pack] = p
		c.total += uint64(pack.ShardSize(col.L)) * uint64(col.N())
	}
	if p.columns&(1<<col.Number) == 0 {
		c.report.Blobs += uint64(len(col.Entries))
	}
	p.columns |= 1 << col.Number
}

// reachable says whether a member answers; what lies on a missing one is neither good nor bad.
func (c *checker) reachable(member int) bool { return c.a.Set().Members()[member].Store != nil }
