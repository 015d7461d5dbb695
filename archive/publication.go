package archive

import "context"

// Publisher is what a client of the protocol does in the steps of a Publication. Each method is called again until it returns
// done, so that a test can let it do one request at a time; an error ends the publication.
//
// Lacks judges what the client relied on, or made, before it read the records: each such pack was named then, so a collector that condemns it
// later finds it. A copy that only the index shows which was read after them is relied on by Store, and judged in the next round: it may have
// been condemned as an orphan before it was named, by a collector that saw the snapshot and no copy of what that needs.
type Publisher interface {
	Records(ctx context.Context) (done bool, err error) // read the gc records, at whatever members are reached
	Index(ctx context.Context) (done bool, err error)   // and after them the index
	Store(ctx context.Context) (done bool, err error)   // store what has no live copy; after the first time: store it anew
	Name(ctx context.Context) (done bool, err error)    // publish the index segments of what was stored
	Publish(ctx context.Context) (done bool, err error) // put the snapshot on whatever members are reached, at least one
	Lacks(ctx context.Context) (bool, error)            // whether something that was relied on is condemned by now
	Mark(ctx context.Context) (done bool, err error)    // write the snapshot's mark
}

// Publication is the client's side of the protocol that needs no locks and no clocks (docs/design.md, Writers and collectors): it
// publishes its snapshot and only then looks whether what it needs was condemned meanwhile. A collector condemns first
// and then lists the snapshots. So of a client and a collector at least one sees the other.
//
//	records → index → store → name → publish → records → index → lacks? ─ no → mark → done
//	                                             └──────── name ← store ← yes
//
// It is a value, to be copied and compared by the test that tries all interleavings. The zero value is at the beginning.
type Publication struct{ at publicationStep }

type publicationStep uint8

const (
	firstRecords publicationStep = iota
	firstIndex
	firstStore
	firstName
	publishing
	thenRecords
	thenIndex
	storeAnew
	nameAnew
	marking
	published
)

// Begun says whether the client has read records and index, and may store.
func (p Publication) Begun() bool { return p.at >= firstStore }

// Published says whether the snapshot is on a member, for all that the client knows.
func (p Publication) Published() bool { return p.at > publishing }

// Done says whether the snapshot is marked: success may be reported.
func (p Publication) Done() bool { return p.at == published }

// Step does the next step, or a part of it.
func (p *Publication) Step(ctx context.Context, c Publisher) error {
	switch p.at {
	case firstRecords:
		return p.step(firstIndex, c.Records, ctx)
	case firstIndex:
		return p.step(firstStore, c.Index, ctx)
	case firstStore:
		return p.step(firstName, c.Store, ctx)
	case firstName:
		return p.step(publishing, c.Name, ctx)
	case publishing:
		return p.step(thenRecords, c.Publish, ctx)
	case thenRecords:
		return p.step(thenIndex, c.Records, ctx)
	case thenIndex:
		done, err := c.Index(ctx)
		if err != nil || !done {
			return err
		}
		lacks, err := c.Lacks(ctx)
		if err != nil {
			return err
		}
		if p.at = marking; lacks {
			p.at = storeAnew
		}
		return nil
	case storeAnew:
		return p.step(nameAnew, c.Store, ctx)
	case nameAnew:
		// What was stored anew may be condemned by now as well, by a collector that knew nothing of the snapshot: look again.
		return p.step(thenRecords, c.Name, ctx)
	case marking:
		return p.step(published, c.Mark, ctx)
	}
	return nil
}

func (p *Publication) step(next publicationStep, do func(context.Context) (bool, error), ctx context.Context) error {
	done, err := do(ctx)
	if err == nil && done {
		p.at = next
	}
	return err
}
