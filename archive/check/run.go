package check

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// checker is one run.
type checker struct {
	a       *archive.Archive
	o       Options
	keyless bool // Shards: no index, no keys

	mu     sync.Mutex
	report Report

	records   records
	doubts    map[string]bool // objects of which a copy was missing or bad when they were read first
	looked    time.Time       // when something was found missing last
	inv       *archive.Inventory
	layouts   []layout
	missed    []atomic.Int32                  // by member of the inventory: shards that are not there
	insist    bool                            // ask for every shard that is not listed
	blindTo   map[string]bool                 // members that could not be listed: what lies on them is neither good nor bad
	packs     map[archive.PackName]*packState // what the index names; nil in Shards
	total     uint64                          // bytes of all shards of data and tree packs that should be there
	segmentOf []pack.ID                       // the segments that were read
	numbers   map[pack.ID]uint32              // and their places in segmentOf
	pending   map[archive.PackName][]Damage   // of packs that may not be wanted any more
	blind     bool                            // an index segment could not be read: what is not in the index may be in a pack all the same
	bad       map[blobKey]badBlob
	refreshed time.Time // when the index was read last on behalf of something that was missing
	refreshes int
}

type blobKey struct {
	t  chunk.Type
	id chunk.ID
}

// badBlob is a blob that a pack does not give.
type badBlob struct {
	text string
	pack pack.ID
}

// layout is a placement with the inventory's numbers of its members.
type layout struct {
	archive.Placement
	lineup []int
}

// packState is what is known of one pack: what the index says, and which shards proved good so far.
type packState struct {
	kind    chunk.Type // 0 while it is data or tree and not known which
	late    bool       // it was named after the members were listed
	layout  *layout    // nil: not known
	geom    pack.Geometry
	length  int64 // L; 0 when not known
	naming  []naming
	columns uint32 // columns that a segment names
	have    uint32 // shards listed in full length
	broken  uint32 // shards whose payload is bad for certain: missing, of the wrong length, or not proving itself
	absent  uint32 // those of the broken that are missing
}

// naming says which columns of a pack a segment names.
type naming struct {
	segment uint32 // in checker.segmentOf
	columns uint32
}

// lost says whether too few shards are left to rebuild what the broken ones held.
func (p *packState) lost() bool { return bits.OnesCount32(p.broken) > p.layout.Geometry.M }

func newChecker(a *archive.Archive, o Options) *checker {
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	return &checker{a: a, o: o, blindTo: map[string]bool{}, pending: map[archive.PackName][]Damage{}, doubts: map[string]bool{},
		numbers: map[pack.ID]uint32{}, bad: map[blobKey]badBlob{}}
}

// Run checks an archive that was opened with a key that can read.
func Run(ctx context.Context, a *archive.Archive, o Options) (*Report, error) {
	if a.Keys() == nil || !a.Keys().CanRead() {
		return nil, archive.ErrNoKey
	}
	c := newChecker(a, o)
	c.packs = map[archive.PackName]*packState{}
	return c.run(ctx, c.readRecords, c.copies, c.segments, c.listing, c.data, c.settle, c.losses, c.snapshots, c.again, c.garbage)
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

// wait waits until what was missing when it was looked for had time to arrive, or to be gone from everywhere.
func (c *checker) wait(ctx context.Context) error {
	timer := time.NewTimer(time.Until(c.looked.Add(c.o.Patience)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// found records a damage.
func (c *checker) found(d Damage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case d.Away:
		c.report.Unreachable++
	case d.Lacking:
		c.report.Lacking++
	default:
		c.report.Damaged++
	}
	if d.Lost {
		c.report.Lost++
	}
	if d.Path != "" && d.Lost {
		c.report.FilesLost++
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
