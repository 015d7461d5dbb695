package archive

import (
	"context"
	"errors"
	"fmt"

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
func (a *Archive) RebuildIndex(ctx context.Context) (*RebuildReport, error) {
	idx, err := a.Index(ctx)
	if err != nil {
		return nil, err
	}
	report := &RebuildReport{}
	known, err := a.rereadSegments(ctx, report)
	if err != nil {
		return report, err
	}
	columns, err := a.unnamedColumns(ctx, known, report)
	if err != nil || len(columns) == 0 {
		return report, err
	}
	session, err := a.keys.NewSession()
	if err != nil {
		return report, err
	}
	w := &Writer{a: a, idx: idx, session: session, short: map[pack.ID]struct{}{}}
	if err := w.putSegments(ctx, columns); err != nil {
		return report, fmt.Errorf("publish index: %w", err)
	}
	report.Published = len(columns)
	return report, nil
}

// columnKey names one data column.
type columnKey struct {
	pack   pack.ID
	column int
}

func (a *Archive) rereadSegments(ctx context.Context, report *RebuildReport) (map[columnKey]struct{}, error) {
	known := map[columnKey]struct{}{}
	err := a.ReloadIndex(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if err != nil {
			report.Damaged = append(report.Damaged, fmt.Errorf("index segment %s: %w", id.Short(), err))
			return nil
		}
		report.Segments++
		for _, c := range columns {
			known[columnKey{c.Pack, c.Number}] = struct{}{}
		}
		return nil
	})
	return known, err
}

// ReloadIndex empties the local index and fills it from the archive's segments. fn sees each segment, or the error that
// keeps it from being read.
func (a *Archive) ReloadIndex(ctx context.Context, fn func(pack.ID, []pack.Column, error) error) error {
	idx, err := a.Index(ctx)
	if err != nil {
		return err
	}
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	if err := idx.Drop(); err != nil {
		return err
	}
	return a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		if err == nil {
			if err := idx.Apply(id, columns); err != nil {
				return err
			}
		}
		return fn(id, columns, err)
	})
}

// ReadSegments reads all index segments one after the other.
func (a *Archive) ReadSegments(ctx context.Context, fn func(pack.ID, []pack.Column, error) error) error {
	for id, err := range a.Packs(ctx, "index/") {
		if err != nil {
			return err
		}
		columns, err := a.ReadSegment(ctx, id)
		if err != nil && (ctx.Err() != nil || tooFew(err)) {
			return err
		}
		if err := fn(id, columns, err); err != nil {
			return err
		}
	}
	return nil
}

// unnamedColumns reads the directories of all columns that are not known.
func (a *Archive) unnamedColumns(ctx context.Context, known map[columnKey]struct{}, report *RebuildReport) ([]pack.Column, error) {
	var found []pack.Column
	for id, err := range a.Packs(ctx, "binaries/") {
		if err != nil {
			return nil, err
		}
		counted := false
		for c := range a.geom.K {
			if _, ok := known[columnKey{id, c}]; ok {
				continue
			}
			column, err := a.ReadDirectory(ctx, id, c)
			if err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				report.Damaged = append(report.Damaged, fmt.Errorf("directory %d of pack %s: %w", c, id.Short(), err))
				continue
			}
			if len(column.Entries) == 0 {
				continue
			}
			if !counted {
				counted = true
				report.Packs++
			}
			report.Blobs += len(column.Entries)
			found = append(found, *column)
		}
	}
	return found, nil
}

// Packs lists the packs below a prefix ("binaries/" or "index/"), each once, whichever members have shards of it.
func (a *Archive) Packs(ctx context.Context, prefix string) func(yield func(pack.ID, error) bool) {
	return func(yield func(pack.ID, error) bool) {
		for info, err := range a.set.List(ctx, prefix) {
			if err != nil {
				yield(pack.ID{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			if id, _, ok := pack.ParseName(info.Name); ok && !yield(id, nil) {
				return
			}
		}
	}
}

// firstTail is how much of a shard's end is read for its directory: the header's copy, the checksums of a 16 MiB column,
// and a directory of about 1400 blobs.
const firstTail = 64 << 10

// ReadDirectory reads the directory of one data column from the end of its shard, or from the other shards when that
// one does not give it.
func (a *Archive) ReadDirectory(ctx context.Context, id pack.ID, column int) (*pack.Column, error) {
	c, err := a.tailDirectory(ctx, id, column)
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	p, packErr := a.ReadPack(ctx, id, chunk.Data) // tree packs have names of the same form
	if packErr != nil {
		return nil, errors.Join(err, packErr)
	}
	return p.Directory(a.keys, column)
}

func (a *Archive) tailDirectory(ctx context.Context, id pack.ID, column int) (*pack.Column, error) {
	o := object(id, chunk.Data, a.geom, 0)
	n := int64(firstTail)
	for {
		tail, err := a.set.GetShard(ctx, o, column, -n, -1, nil)
		if err != nil {
			return nil, err
		}
		c, need, err := pack.ReadTail(a.keys, id, tail)
		if err != nil {
			return nil, err
		}
		if c != nil {
			if c.Number != column || c.Geometry != a.geom {
				return nil, fmt.Errorf("this is shard %d of layout %d+%d", c.Number, c.K, c.M)
			}
			return c, nil
		}
		if need <= n {
			return nil, fmt.Errorf("shard ends before its directory does")
		}
		n = need
	}
}
