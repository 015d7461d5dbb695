package check

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
)

// checker is one run.
type checker struct {
	a *archive.Archive
	o Options

	mu     sync.Mutex
	report Report

	packs    map[pack.ID]*packState
	total    uint64              // bytes of all shards of data and tree packs that should be there
	missed   [pack.MaxShards]int // by member: shards that are not there
	unlisted uint32              // members that could not be listed: what lies on them is neither good nor bad
	blind    bool                // an index segment could not be read: what is not in the index may be in a pack all the same
	named    map[string]bool
	bad      map[blobKey]string
}

type blobKey struct {
	t  chunk.Type
	id chunk.ID
}

// packState is what is known of one pack: what the index says, and which shards proved good so far.
type packState struct {
	kind    chunk.Type
	length  int64  // L; 0 for index packs, which are read whole anyway
	columns uint32 // columns that a segment names
	have    uint32 // shards listed in full length
	broken  uint32 // shards whose payload is bad for certain: missing, of the wrong length, or not proving itself
}

// lost says whether too few shards are left to rebuild what the broken ones held.
func (p *packState) lost(g pack.Geometry) bool { return bits.OnesCount32(p.broken) > g.M }

// Run checks an archive that was opened with a key that can read.
func Run(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	if a.Keys() == nil || !a.Keys().CanRead() {
		return nil, archive.ErrNoKey
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	c := &checker{a: a, o: o, packs: map[pack.ID]*packState{}, named: map[string]bool{}, bad: map[blobKey]string{}}
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
	if d.Path != "" && d.Lost {
		c.report.FilesLost++
	}
	if d.Object != "" && d.Lost {
		c.named[d.Object] = true
	}
	if len(c.report.Damages) < maxDamages {
		c.report.Damages = append(c.report.Damages, d)
	}
	if c.o.Found != nil {
		c.o.Found(d)
	}
}

func (c *checker) note(object, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Notes = append(c.report.Notes, Note{object, text})
}

// rebuildable ends the description of what a lost index segment causes.
const rebuildable = "; `cairn index rebuild` finds again what a lost index segment named"

// segments reads every index pack and fills the local index with what they say.
func (c *checker) segments(ctx context.Context) error {
	return c.a.ReloadIndex(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if archive.Unfinished(err) {
			c.report.Unreferenced++ // an interrupted backup left it; what it named is in later segments, or was not needed
			return nil
		}
		c.packs[id] = &packState{kind: chunk.Index}
		if err != nil {
			c.blind = true
			c.found(Damage{Object: id.Name(chunk.Index), Problem: fmt.Sprintf("index segment cannot be read: %v%s", err, rebuildable)})
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
		c.total += uint64(pack.ShardSize(col.L)) * uint64(c.a.Geometry().N())
	}
	if p.columns&(1<<col.Number) == 0 {
		c.report.Blobs += uint64(len(col.Entries))
	}
	p.columns |= 1 << col.Number
}

// reachable says whether a member answers; what lies on one that does not is neither good nor bad.
func (c *checker) reachable(member int) bool {
	return c.a.Set().Members()[member].Store != nil && c.unlisted&(1<<member) == 0
}

// fatal tells errors that concern more than one object.
func fatal(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, stripe.ErrTooFew))
}
