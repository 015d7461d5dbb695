package archive

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/pack"
)

// RebuildOptions say what RebuildIndex may change. The zero value repairs the archive's index and the local one.
type RebuildOptions struct {
	// Local is for when fewer members are there than a pack needs: nothing can be published then, and what is found is known to
	// this machine's index only, until a command is run that is no salvage (see salvagedSegment).
	Local bool
	// DryRun looks and changes nothing.
	DryRun bool
	// GiveUp gives up index packs that cannot be read also when directories of packs cannot be read either, so that nothing else may tell
	// what those hold.
	GiveUp bool
	// Program is noted in the record that gives up index packs.
	Program string
}

// RebuildReport tells what RebuildIndex found.
type RebuildReport struct {
	Segments  int // index packs read
	Partial   int // with Local: index packs of which some columns could be read
	Packs     int // data and tree packs whose directories had to be read, because no segment named them
	Blobs     int // blobs in those
	Published int // columns that a new segment names now; with Local, that the local index has now
	Weak      int // columns of packs with fewer than k shards whose blobs nothing else holds
	Restored  int // blobs of those that were stored anew
	// GivenUp are index packs that cannot be read: all that they could name is named by others, and they are condemned, or in a
	// dry run would be. Unread are those that stay, and WhyUnread says why.
	GivenUp, Unread []UnreadSegment
	WhyUnread       error
	Damaged         []error // directories and packs
}

// RebuildIndex makes the local index anew from the archive's segments. Packs that no readable segment names are found
// by listing, and their directories are read from the tails of their shards (rebuilt from the others where a shard is
// gone) and published as new segments, so that afterwards every machine can do with segments alone. What can still be read of
// packs with fewer than k shards is stored anew, if nothing else holds it: nothing may come to depend on a pack that has no
// redundancy and was perhaps never finished. Condemned packs are passed over. Segments that cannot be read are given up in the end (see giveUp),
// because no collector goes on while there are any.
//
// Memory: about 100 bytes for each pack, and 65,536 entries that are not published yet.
func (a *Archive) RebuildIndex(ctx context.Context, o RebuildOptions) (*RebuildReport, error) {
	r := newRebuild(a, o)
	if o.Local {
		return r.report, r.local(ctx)
	}
	if _, err := a.Index(ctx); err != nil {
		return nil, err
	}
	if !o.DryRun {
		w, err := a.newWriter(ctx)
		if err != nil {
			return nil, err
		}
		defer w.end()
		r.w = w
	}
	if err := r.reread(ctx); err != nil {
		return r.report, err
	}
	if err := r.unnamed(ctx); err != nil {
		return r.report, err
	}
	if err := r.rescue(ctx); err != nil {
		return r.report, err
	}
	return r.report, r.giveUp(ctx)
}

// rebuild is one call of RebuildIndex.
type rebuild struct {
	a     *Archive
	o     RebuildOptions
	w     *Writer // nil when nothing is published
	idx   Index   // with Local
	known map[columnKey]struct{}

	mu      sync.Mutex
	report  *RebuildReport
	columns []pack.Column // found, and in no segment yet
	blobs   int           // in columns
	weak    []columnKey   // of packs with fewer than k shards
	doubts  []columnKey   // whose directories could not be read
	last    bool          // those are read once more
}

func newRebuild(a *Archive, o RebuildOptions) *rebuild {
	return &rebuild{a: a, o: o, known: map[columnKey]struct{}{}, report: &RebuildReport{}}
}

// columnKey names one data column.
type columnKey struct {
	pack   pack.ID
	column int
}

// reread fills the index from the segments.
func (r *rebuild) reread(ctx context.Context) error {
	read := r.a.ReloadIndex
	if r.o.DryRun {
		read = r.a.ReadSegments
	}
	return read(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if Unfinished(err) {
			return nil
		}
		if err != nil {
			r.report.Unread = append(r.report.Unread, UnreadSegment{id, err})
			return nil
		}
		r.report.Segments++
		for _, c := range columns {
			r.known[columnKey{c.Pack, c.Number}] = struct{}{}
		}
		return nil
	})
}

func (r *rebuild) damaged(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Damaged = append(r.report.Damaged, err)
}

// directoryReads is how many packs are read at once: small requests that mostly wait.
const directoryReads = 8

// unnamed reads the directories of all packs that are not known, and publishes them.
func (r *rebuild) unnamed(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(directoryReads)
	_, listErr := r.a.ListPacks(groupCtx, packPrefix, func(p *PackListing) error {
		if groupCtx.Err() == nil {
			shards := 0
			for _, s := range p.Shards {
				if s.Size > 0 {
					shards++
				}
			}
			id := p.Pack
			group.Go(func() error { return r.pack(groupCtx, id, shards) })
		}
		return groupCtx.Err()
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if listErr != nil {
		return fmt.Errorf("list packs: %w", listErr)
	}
	if err := r.again(ctx); err != nil {
		return err
	}
	return r.publish(ctx, 0)
}

// pack reads the directories of one pack that are not known. One that is condemned must not be named again. With Local nothing is published,
// and what is left of it may be all there is.
func (r *rebuild) pack(ctx context.Context, id pack.ID, shards int) error {
	if !r.o.Local {
		if is, err := r.a.Condemned(ctx, id); err != nil || is {
			return err
		}
	}
	at, err := r.a.PlacementOf(ctx, id, chunk.Data)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.damaged(err)
		return nil
	}
	found := 0
	for c := range at.Geometry.K {
		ok, err := r.column(ctx, at, columnKey{id, c}, shards)
		if err != nil {
			return err
		}
		if ok {
			found++
		}
	}
	if found == 0 {
		return nil
	}
	r.mu.Lock()
	r.report.Packs++
	r.mu.Unlock()
	return r.publish(ctx, publishBlobs)
}

// column reads one directory, if it is not known, and says whether there is anything in it.
func (r *rebuild) column(ctx context.Context, at Placement, key columnKey, shards int) (found bool, err error) {
	if _, ok := r.known[key]; ok {
		return false, nil
	}
	column, err := r.a.ReadDirectory(ctx, key.pack, key.column)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		r.lostDirectory(key, shards, at.Geometry, err)
		return false, nil
	}
	if len(column.Entries) == 0 {
		return false, nil
	}
	r.take(column, shards < at.Geometry.K)
	return true, nil
}

// take keeps a column for the next segment. Of weak ones only the names are kept, until it is known what else is there.
func (r *rebuild) take(column *pack.Column, weak bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if weak && !r.o.Local {
		r.weak = append(r.weak, columnKey{column.Pack, column.Number})
		return
	}
	r.columns = append(r.columns, *column)
	r.blobs += len(column.Entries)
}

// publish makes segments of what was found, if it names at least so many blobs.
func (r *rebuild) publish(ctx context.Context, least int) error {
	r.mu.Lock()
	columns := r.columns
	if len(columns) == 0 || r.blobs < least {
		r.mu.Unlock()
		return nil
	}
	r.report.Published += len(columns)
	r.report.Blobs += r.blobs
	r.columns, r.blobs = nil, 0
	r.mu.Unlock()
	switch {
	case r.o.DryRun:
		return nil
	case r.o.Local:
		return r.a.apply(r.idx, salvagedSegment, columns)
	}
	if err := r.w.putSegments(ctx, columns); err != nil {
		return fmt.Errorf("publish index: %w", err)
	}
	return nil
}

// ReloadIndex empties the local index and fills it from the gc records and the archive's segments. fn sees each segment, or the error
// that keeps it from being read.
func (a *Archive) ReloadIndex(ctx context.Context, fn func(pack.ID, []pack.Column, error) error) error {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	idx, err := a.openIndex(ctx)
	if err != nil {
		return err
	}
	if err := a.readRecords(ctx); err != nil {
		return err
	}
	if err := idx.Drop(); err != nil {
		return err
	}
	if err := a.condemn(idx); err != nil {
		return err
	}
	return a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if err == nil {
			if err := a.apply(idx, id, columns); err != nil {
				return err
			}
		}
		return fn(id, columns, err)
	})
}

// ReadSegments reads all index segments one after the other, but those that are condemned.
func (a *Archive) ReadSegments(ctx context.Context, fn func(pack.ID, []pack.Column, error) error) error {
	for id, err := range a.Packs(ctx, indexPrefix) {
		if err != nil {
			return err
		}
		if condemned, err := a.Condemned(ctx, id); err != nil {
			return err
		} else if condemned {
			continue
		}
		columns, err := a.ReadSegment(ctx, id)
		if a.hopeless(ctx, err) {
			return err
		}
		if err := fn(id, columns, err); err != nil {
			return err
		}
	}
	return nil
}
