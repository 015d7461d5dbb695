package check

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote/stripe"
)

// checker is one run.
type checker struct {
	a       *archive.Archive
	o       Options
	keyless bool // Shards: no index, no keys

	mu     sync.Mutex
	report Report

	inv     *archive.Inventory
	layouts []layout
	missed  []atomic.Int32                  // by member of the inventory: shards that are not there
	insist  bool                            // ask for every shard that is not listed
	blindTo map[string]bool                 // members that could not be listed: what lies on them is neither good nor bad
	packs   map[archive.PackName]*packState // what the index names; nil in Shards
	total   uint64                          // bytes of all shards of data and tree packs that should be there
	gone    map[archive.PackName][]Damage   // packs of which nothing is left: they may have been replaced by others
	blind   bool                            // an index segment could not be read: what is not in the index may be in a pack all the same
	named   map[string]bool
	bad     map[blobKey]string
}

type blobKey struct {
	t  chunk.Type
	id chunk.ID
}

// layout is a placement with the inventory's numbers of its members.
type layout struct {
	archive.Placement
	lineup []int
}

// packState is what is known of one pack: what the index says, and which shards proved good so far.
type packState struct {
	kind    chunk.Type // 0 while it is data or tree and not known which
	layout  *layout    // nil: not known
	geom    pack.Geometry
	length  int64  // L; 0 when not known
	columns uint32 // columns that a segment names
	have    uint32 // shards listed in full length
	broken  uint32 // shards whose payload is bad for certain: missing, of the wrong length, or not proving itself
	absent  uint32 // those of the broken that are missing
}

// lost says whether too few shards are left to rebuild what the broken ones held.
func (p *packState) lost() bool { return bits.OnesCount32(p.broken) > p.layout.Geometry.M }

func newChecker(a *archive.Archive, o Options) *checker {
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	return &checker{a: a, o: o, blindTo: map[string]bool{}, gone: map[archive.PackName][]Damage{}, named: map[string]bool{}, bad: map[blobKey]string{}}
}

// Run checks an archive that was opened with a key that can read.
func Run(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	if a.Keys() == nil || !a.Keys().CanRead() {
		return nil, archive.ErrNoKey
	}
	c := newChecker(a, o)
	c.packs = map[archive.PackName]*packState{}
	return c.run(ctx, c.copies, c.segments, c.listing, c.data, c.losses, c.snapshots)
}

// run takes the steps one after the other.
func (c *checker) run(ctx context.Context, steps ...func(context.Context) error) (*Report, error) {
	for _, step := range steps {
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
		c.packs[archive.NameOf(id, chunk.Index)] = &packState{kind: chunk.Index}
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
	name := archive.NameOf(col.Pack, col.Kind)
	p := c.packs[name]
	if p == nil {
		p = &packState{kind: col.Kind, length: col.L, geom: col.Geometry}
		c.packs[name] = p
		c.total += uint64(pack.ShardSize(col.L)) * uint64(col.N())
	}
	if p.columns&(1<<col.Number) == 0 {
		c.report.Blobs += uint64(len(col.Entries))
	}
	p.columns |= 1 << col.Number
}

// fatal tells errors that concern more than one object.
func fatal(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, stripe.ErrTooFew))
}
