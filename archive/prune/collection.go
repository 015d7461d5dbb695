package prune

import "context"

// Collector is what a collector does in the steps of a Collection. Each method is called again until it returns done, so that a
// test can let it do one request at a time; an error ends the collection, and everything may be left as it is then.
//
// Unname leaves the names of what only others condemned: their collectors may have seen a snapshot that this one did not, and find by those
// names what it needs.
type Collector interface {
	Mark(ctx context.Context) (done bool, err error)    // list all snapshots on all members; find what they need
	Records(ctx context.Context) (done bool, err error) // read the gc records of all members
	Index(ctx context.Context) (done bool, err error)   // and after them the index
	Choose(ctx context.Context) (Choice, error)         // decide what to condemn, and whether live blobs are to be copied out first
	CopyOut(ctx context.Context) (done bool, err error) // copy the blobs that Choose or Lacks found into new packs
	Name(ctx context.Context) (done bool, err error)    // publish the index segments of the copies
	Condemn(ctx context.Context) (done bool, err error) // put the record on ALL members
	Lacks(ctx context.Context) (bool, error)            // whether something needed has no copy outside all condemned packs
	Unname(ctx context.Context) (done bool, err error)  // replace the segments that name what this collection condemned, on all members
	Delete(ctx context.Context) (done bool, err error)  // delete the condemned packs
}

// Choice is what Choose decided.
type Choice uint8

// The choices.
const (
	Nothing   Choice = iota // there is nothing to collect
	Condemn                 // condemn at once
	CopyFirst               // copy out live blobs of packs that are to be condemned, then condemn
)

// Collection is the collector's side of the protocol (see archive.Publication): it condemns, and only then lists the snapshots again.
// A snapshot that it does not see there was published later, so its client reads the record and stores anew what it needs.
//
//	mark → records → index → choose ─┬──────────────────→ condemn → mark → records → index → lacks? ─ no → unname → delete → done
//	                                 └ copy out → name ─────┘                 └── name ← copy out ← yes
//
// It is a value, to be copied and compared by the test that tries all interleavings. The zero value is at the beginning.
type Collection struct{ at step }

type step uint8

const (
	firstMark step = iota
	firstRecords
	firstIndex
	choosing
	copyFirst
	nameFirst
	condemning
	thenMark
	thenRecords
	thenIndex
	copyOut
	nameCopies
	unnaming
	deleting
	collected
)

// Done says whether the collection is at its end.
func (c Collection) Done() bool { return c.at == collected }

// Step does the next step, or a part of it.
func (c *Collection) Step(ctx context.Context, g Collector) error {
	switch c.at {
	case firstMark:
		return c.step(ctx, firstRecords, g.Mark)
	case firstRecords:
		return c.step(ctx, firstIndex, g.Records)
	case firstIndex:
		return c.step(ctx, choosing, g.Index)
	case choosing:
		choice, err := g.Choose(ctx)
		if err == nil {
			c.at = map[Choice]step{Nothing: collected, Condemn: condemning, CopyFirst: copyFirst}[choice]
		}
		return err
	case copyFirst:
		return c.step(ctx, nameFirst, g.CopyOut)
	case nameFirst:
		return c.step(ctx, condemning, g.Name)
	case condemning:
		return c.step(ctx, thenMark, g.Condemn)
	case thenMark:
		return c.step(ctx, thenRecords, g.Mark)
	case thenRecords:
		return c.step(ctx, thenIndex, g.Records)
	case thenIndex:
		done, err := g.Index(ctx)
		if err != nil || !done {
			return err
		}
		lacks, err := g.Lacks(ctx)
		if err != nil {
			return err
		}
		if c.at = unnaming; lacks {
			c.at = copyOut
		}
		return nil
	case copyOut:
		return c.step(ctx, nameCopies, g.CopyOut)
	case nameCopies:
		// Another collector may have condemned the copies before they were named: look again.
		return c.step(ctx, thenRecords, g.Name)
	case unnaming:
		return c.step(ctx, deleting, g.Unname)
	case deleting:
		return c.step(ctx, collected, g.Delete)
	}
	return nil
}

func (c *Collection) step(ctx context.Context, next step, do func(context.Context) (bool, error)) error {
	done, err := do(ctx)
	if err == nil && done {
		c.at = next
	}
	return err
}
