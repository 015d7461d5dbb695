package check

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// DataProgress may be read while Data runs.
type DataProgress struct{ Files, Bytes atomic.Int64 }

// DataReport tells what was read of a snapshot.
type DataReport struct {
	Files   int64
	Bytes   int64 // of blobs, each as often as it was read
	Damaged []DataDamage
	Lost    int // also beyond the list
}

// DataDamage is a path that a restore of the snapshot would not bring back whole.
type DataDamage struct {
	Path string
	Err  error
}

const (
	maxDataDamage = 1000
	dataBatch     = 4096    // ids that are fetched together, about 4 GiB
	maxDataSeen   = 1 << 20 // ids that are remembered to read a blob once: 64 MB
)

// Data reads everything that a snapshot consists of from the archive, and compares it with its hashes: what a restore would do, without writing.
// Damage of the archive is listed with a path that needs it, not with all; so is what the backup itself could not read whole. The error is about the archive as a whole.
func Data(ctx context.Context, a *archive.Archive, s *snapshot.Snapshot, p *DataProgress) (*DataReport, error) {
	if p == nil {
		p = new(DataProgress)
	}
	d := &dataReader{a: a, p: p, seen: map[chunk.ID]struct{}{}}
	w := a.Walker()
	w.OnError = func(path string, err error) error {
		if a.Stops(ctx, err) {
			return err
		}
		d.damaged(path, err)
		return nil
	}
	err := w.Walk(ctx, s.Content, s.Depth, func(path string, n *snapshot.Node) error { return d.node(ctx, path, n) })
	if err == nil {
		err = d.flush(ctx)
	}
	d.r.Files, d.r.Bytes = p.Files.Load(), p.Bytes.Load()
	return &d.r, err
}

// dataReader collects the blobs of many files, to read them pack by pack.
type dataReader struct {
	a     *archive.Archive
	p     *DataProgress
	r     DataReport
	seen  map[chunk.ID]struct{}
	ids   []chunk.ID
	files []batchFile
}

// batchFile is a file of which blobs are in the batch.
type batchFile struct {
	path     string
	from, to int // in ids
}

func (d *dataReader) damaged(path string, err error) {
	if d.r.Lost++; len(d.r.Damaged) < maxDataDamage {
		d.r.Damaged = append(d.r.Damaged, DataDamage{path, err})
	}
}

func (d *dataReader) node(ctx context.Context, path string, n *snapshot.Node) error {
	if n.Error != "" {
		d.damaged(path, fmt.Errorf("was not read whole by the backup: %s", n.Error))
	}
	if n.Type != snapshot.File {
		return nil
	}
	d.p.Files.Add(1)
	from := len(d.ids)
	for id, err := range snapshot.Content(ctx, d.a.LoadTree, n.Content, n.Depth) {
		if err != nil {
			if d.a.Stops(ctx, err) {
				return err
			}
			d.damaged(path, err)
			break
		}
		if _, known := d.seen[id]; known {
			continue
		}
		if len(d.seen) >= maxDataSeen {
			clear(d.seen)
		}
		d.seen[id] = struct{}{}
		if d.ids = append(d.ids, id); len(d.ids) == dataBatch {
			d.files = append(d.files, batchFile{path, from, len(d.ids)})
			if err := d.flush(ctx); err != nil {
				return err
			}
			from = 0
		}
	}
	if len(d.ids) > from {
		d.files = append(d.files, batchFile{path, from, len(d.ids)})
	}
	return nil
}

// flush reads the batch, and finds the files of which something is lost.
func (d *dataReader) flush(ctx context.Context) error {
	if len(d.ids) == 0 {
		return nil
	}
	err := d.a.Fetch(ctx, chunk.Data, d.ids, func(_ chunk.ID, plain []byte) error {
		d.p.Bytes.Add(int64(len(plain)))
		return nil
	})
	var lost *archive.FetchError
	switch {
	case err == nil:
	case !errors.As(err, &lost) || ctx.Err() != nil:
		return err
	default:
		bad := map[chunk.ID]error{}
		for _, b := range lost.Damaged {
			bad[b.ID] = b
			delete(d.seen, b.ID) // the next file that needs it is damaged, too
		}
		for _, m := range lost.Missing {
			bad[m.ID] = m
			delete(d.seen, m.ID)
		}
		for _, f := range d.files {
			for _, id := range d.ids[f.from:f.to] {
				if bad[id] != nil {
					d.damaged(f.path, bad[id])
					break
				}
			}
		}
	}
	d.ids, d.files = d.ids[:0], d.files[:0]
	return nil
}
