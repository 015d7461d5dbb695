package archive

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"cairn/chunk"
	"cairn/pack"
)

// RebuildReport tells what RebuildIndex found.
type RebuildReport struct {
	Segments  int // index packs read
	Packs     int // data and tree packs whose directories had to be read, because no segment named them
	Blobs     int // blobs in those
	Published int // columns that a new segment names now
	Damaged   []error
}

// RebuildIndex makes the local index anew from the archive's segments. Packs that no readable segment names are found
// by listing, and their directories are read from the tails of their shards (rebuilt from the others where a shard is
// gone) and published as new segments, so that afterwards every machine can do with segments alone.
//
// Memory: about 100 bytes for each pack, and 65,536 entries that are not published yet.
func (a *Archive) RebuildIndex(ctx context.Context) (*RebuildReport, error) {
	if _, err := a.Index(ctx); err != nil {
		return nil, err
	}
	w, err := a.newWriter(ctx)
	if err != nil {
		return nil, err
	}
	defer w.end()
	r := &rebuild{a: a, w: w, report: &RebuildReport{}}
	if err := r.reread(ctx); err != nil {
		return r.report, err
	}
	return r.report, r.unnamed(ctx)
}

// rebuild is one call of RebuildIndex.
type rebuild struct {
	a     *Archive
	w     *Writer
	known map[columnKey]struct{}

	mu      sync.Mutex
	report  *RebuildReport
	columns []pack.Column // found, and in no segment yet
	blobs   int           // in columns
	weak    []pack.Column // of packs with fewer than k shards
}

// columnKey names one data column.
type columnKey struct {
	pack   pack.ID
	column int
}

// reread fills the index from the segments.
func (r *rebuild) reread(ctx context.Context) error {
	r.known = map[columnKey]struct{}{}
	return r.a.ReloadIndex(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if Unfinished(err) {
			return nil
		}
		if err != nil {
			r.damaged(fmt.Errorf("index segment %s: %w", id.Short(), err))
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
	if err := r.publish(ctx, 0); err != nil {
		return err
	}
	return r.rescue(ctx)
}

// pack reads the directories of one pack that are not known.
func (r *rebuild) pack(ctx context.Context, id pack.ID, shards int) error {
	found := 0
	at, err := r.a.PlacementOf(ctx, id, chunk.Data)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.damaged(err)
		return nil
	}
	for c := range at.Geometry.K {
		if _, ok := r.known[columnKey{id, c}]; ok {
			continue
		}
		column, err := r.a.ReadDirectory(ctx, id, c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.damaged(fmt.Errorf("directory %d of pack %s: %w", c, id.Short(), err))
			continue
		}
		if len(column.Entries) == 0 {
			continue
		}
		found++
		r.mu.Lock()
		if shards < at.Geometry.K {
			r.weak = append(r.weak, *column)
		} else {
			r.columns = append(r.columns, *column)
			r.blobs += len(column.Entries)
		}
		r.mu.Unlock()
	}
	if found == 0 {
		return nil
	}
	r.mu.Lock()
	r.report.Packs++
	r.mu.Unlock()
	return r.publish(ctx, publishBlobs)
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
	if err := r.w.putSegments(ctx, columns); err != nil {
		return fmt.Errorf("publish index: %w", err)
	}
	return nil
}

// rescue publishes columns of packs with fewer than k shards, if nothing else holds their blobs: mostly they were left by an
// upload that failed and was made again later, and then nothing may come to depend on them.
func (r *rebuild) rescue(ctx context.Context) error {
	for _, c := range r.weak {
		known, err := r.w.knows(ctx, c)
		if err != nil {
			return err
		}
		if !known {
			r.damaged(fmt.Errorf("pack %s has fewer than %d shards: column %d is named for what can still be read of it", c.Pack.Short(), c.K, c.Number))
			r.columns, r.blobs = append(r.columns, c), r.blobs+len(c.Entries)
		}
	}
	return r.publish(ctx, 0)
}

// ReloadIndex empties the local index and fills it from the archive's segments. fn sees each segment, or the error that
// keeps it from being read.
func (a *Archive) ReloadIndex(ctx context.Context, fn func(pack.ID, []pack.Column, error) error) error {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	idx, err := a.openIndex(ctx)
	if err != nil {
		return err
	}
	if err := idx.Drop(); err != nil {
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

// ReadSegments reads all index segments one after the other.
func (a *Archive) ReadSegments(ctx context.Context, fn func(pack.ID, []pack.Column, error) error) error {
	for id, err := range a.Packs(ctx, indexPrefix) {
		if err != nil {
			return err
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
