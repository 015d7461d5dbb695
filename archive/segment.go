package archive

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// publish writes the columns that are stored but not named yet into an index pack and then into the local index.
// Only after that may the pending set forget them.
func (w *Writer) publish(ctx context.Context) error {
	w.publishing.Lock()
	defer w.publishing.Unlock()
	w.mu.Lock()
	columns := w.ready
	w.ready, w.blobs, w.lastPub = nil, 0, time.Now()
	w.mu.Unlock()
	if len(columns) == 0 {
		return nil
	}
	if err := w.putSegments(ctx, columns); err != nil {
		w.mu.Lock()
		w.ready = append(w.ready, columns...)
		for _, c := range columns {
			w.blobs += len(c.Entries)
		}
		w.mu.Unlock()
		return fmt.Errorf("publish index: %w", err)
	}
	w.mu.Lock()
	for _, c := range columns {
		for _, e := range c.Entries {
			delete(w.pending, blobKey{c.Kind, e.ID})
		}
	}
	w.mu.Unlock()
	w.journal.published(columns)
	return nil
}

// maxSegments bounds what one index pack names, in bytes: many small columns, each with a session of its own, make 1.3 KB a
// blob. One column may have more; the largest, a 16 MiB column of the smallest trees, has 10 MB.
const maxSegments = 4 << 20

// putSegments stores the columns in index packs of at most publishBlobs entries (one column may have more).
func (w *Writer) putSegments(ctx context.Context, columns []pack.Column) error {
	columns = once(columns)
	for len(columns) > 0 {
		n, blobs, bytes := 0, 0, 0
		for n < len(columns) {
			blobs += len(columns[n].Entries)
			bytes += columns[n].SegmentSize()
			if n > 0 && (blobs > publishBlobs || bytes > maxSegments) {
				break
			}
			n++
		}
		if err := w.putSegment(ctx, columns[:n]); err != nil {
			return err
		}
		columns = columns[n:]
	}
	return nil
}

// once leaves out columns that are there twice: two collectors that replaced one index pack have both published what it names. Dealt to
// two segments, such a column would make equal ones, which no pack takes.
func once(columns []pack.Column) []pack.Column {
	type place struct {
		pack   pack.ID
		number int
	}
	seen := make(map[place][]pack.Entry, len(columns))
	var list []pack.Column
	for _, c := range columns {
		at := place{c.Pack, c.Number}
		if entries, ok := seen[at]; ok && slices.Equal(entries, c.Entries) {
			continue
		}
		seen[at] = c.Entries
		list = append(list, c)
	}
	return list
}

// putSegment makes one index pack: the columns are dealt to k segments of about equal size, one for each data column.
func (w *Writer) putSegment(ctx context.Context, columns []pack.Column) error {
	p := pack.NewWriter(w.a.keys, w.session, chunk.Index, w.a.geom, 0)
	session := w.a.keys.IndexSession(w.session.ID())
	for _, share := range deal(columns, w.a.geom.K) {
		plain, err := pack.EncodeSegment(share)
		if err != nil {
			return err
		}
		id := chunk.Sum(plain)
		sealed, compression, err := session.Seal(nil, chunk.Index, id, plain)
		if err != nil {
			return err
		}
		b := seal.Sealed{ID: id, Type: chunk.Index, Compression: compression, Plain: uint32(len(plain)), Session: w.session.ID()}
		if _, err := p.Add(b, sealed, nil); err != nil {
			return err
		}
	}
	p.Level() // one segment for each column
	stored, err := w.put(ctx, p, func(c []pack.Column) { w.journal.segment(c[0].Pack) })
	if err != nil {
		return err
	}
	w.journal.segmentDone(stored[0].Pack)
	w.mu.Lock()
	w.named[stored[0].Pack] = packsOf(columns)
	w.mu.Unlock()
	idx, err := w.a.Index(ctx)
	if err != nil {
		return err
	}
	return w.a.apply(idx, stored[0].Pack, columns)
}

func packsOf(columns []pack.Column) []pack.ID {
	var list []pack.ID
	for _, c := range columns {
		list = append(list, c.Pack)
	}
	slices.SortFunc(list, func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(list)
}

// nameAnew names once more what condemned index packs of this session named: a collector that took the session for dead found one of which not
// all shards had arrived. The packs themselves tell what is in them.
func (w *Writer) nameAnew(ctx context.Context, segments []pack.ID) error {
	for _, segment := range segments {
		for _, id := range w.named[segment] {
			kind, ok := w.reliance()[id]
			if !ok {
				continue // condemned itself: what was needed of it is named elsewhere
			}
			shards, err := w.a.ReadPack(ctx, id, kind)
			if err != nil {
				return fmt.Errorf("name pack %s again, because a collector condemned the index pack that did: %w", id.Short(), err)
			}
			for n := range shards.Header.Geometry.K {
				column, err := shards.Directory(w.a.keys, n)
				if err != nil {
					return err
				}
				w.mu.Lock()
				w.ready = append(w.ready, *column)
				w.mu.Unlock()
			}
		}
		delete(w.named, segment)
	}
	return nil
}

// deal spreads columns over at most k shares, the largest first to the smallest share.
func deal(columns []pack.Column, k int) [][]pack.Column {
	sorted := slices.Clone(columns)
	slices.SortFunc(sorted, func(a, b pack.Column) int { return cmp.Compare(b.SegmentSize(), a.SegmentSize()) })
	shares := make([][]pack.Column, k)
	sizes := make([]int, k)
	for _, c := range sorted {
		least := slices.Index(sizes, slices.Min(sizes))
		shares[least] = append(shares[least], c)
		sizes[least] += c.SegmentSize()
	}
	return slices.DeleteFunc(shares, func(s []pack.Column) bool { return len(s) == 0 })
}
