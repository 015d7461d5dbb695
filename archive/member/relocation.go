package member

import "context"

// Relocator is what a rewrite of packs does in the steps of a Relocation. Each method is called again until it returns done, so that a
// test can let it do one request at a time; an error ends the relocation, and everything may be left as it is then.
//
// Copy relies on what it stores, and where a blob has a live copy already, on that. Lacks says whether any of that is condemned by now. What
// can be copied no more, because another collector has deleted a condemned pack, that collector has seen to.
type Relocator interface {
	Records(ctx context.Context) (done bool, err error) // read the gc records of all members
	Index(ctx context.Context) (done bool, err error)   // and after them the index
	Copy(ctx context.Context) (done bool, err error)    // copy the blobs of the packs; after the first time: those without a live copy
	Name(ctx context.Context) (done bool, err error)    // publish the index segments of the copies
	Condemn(ctx context.Context) (done bool, err error) // put the record of the packs on ALL members
	Lacks(ctx context.Context) (bool, error)            // whether a copy that was relied on is condemned
	Unname(ctx context.Context) (done bool, err error)  // replace the segments that name the packs, on all members
	Delete(ctx context.Context) (done bool, err error)  // delete the packs
}

// Relocation is the side of whoever rewrites packs of the protocol that needs no locks and no clocks (see archive.Publication and
// prune.Collection). To others it is a collector that takes all blobs of the packs for needed: so it lists no snapshots, and looks
// after its record was published only whether its copies are live. Without the record a collector could choose the old copy of a
// blob, and condemn the new one, while this deletes the old; and who relied on an old pack would not learn that it goes.
//
//	records → index → copy → name → condemn → records → index → lacks? ─ no → unname → delete → done
//	                                             └──── name ← copy ← yes
//
// It is a value, to be copied and compared by the test that tries all interleavings. The zero value is at the beginning.
type Relocation struct{ at relocationStep }

type relocationStep uint8

const (
	firstRecords relocationStep = iota
	firstIndex
	firstCopy
	firstName
	condemning
	thenRecords
	thenIndex
	copyAnew
	nameAnew
	unnaming
	deleting
	relocated
)

// Condemned says whether the record is on all members.
func (l Relocation) Condemned() bool { return l.at > condemning }

// Done says whether the relocation is at its end.
func (l Relocation) Done() bool { return l.at == relocated }

// Step does the next step, or a part of it.
func (l *Relocation) Step(ctx context.Context, r Relocator) error {
	switch l.at {
	case firstRecords:
		return l.step(ctx, firstIndex, r.Records)
	case firstIndex:
		return l.step(ctx, firstCopy, r.Index)
	case firstCopy:
		return l.step(ctx, firstName, r.Copy)
	case firstName:
		return l.step(ctx, condemning, r.Name)
	case condemning:
		return l.step(ctx, thenRecords, r.Condemn)
	case thenRecords:
		return l.step(ctx, thenIndex, r.Records)
	case thenIndex:
		done, err := r.Index(ctx)
		if err != nil || !done {
			return err
		}
		lacks, err := r.Lacks(ctx)
		if err != nil {
			return err
		}
		if l.at = unnaming; lacks {
			l.at = copyAnew
		}
		return nil
	case copyAnew:
		return l.step(ctx, nameAnew, r.Copy)
	case nameAnew:
		// A collector may have condemned these as well, before they were named: look again.
		return l.step(ctx, thenRecords, r.Name)
	case unnaming:
		return l.step(ctx, deleting, r.Unname)
	case deleting:
		return l.step(ctx, relocated, r.Delete)
	}
	return nil
}

func (l *Relocation) step(ctx context.Context, next relocationStep, do func(context.Context) (bool, error)) error {
	done, err := do(ctx)
	if err == nil && done {
		l.at = next
	}
	return err
}
