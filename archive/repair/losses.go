package repair

import (
	"context"
	"maps"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
)

// losses tells the packs that are lost from those whose upload was interrupted: a segment names the former. It also finds those
// of which no member lists anything. What is named was whole before, so it is read again: it may have been on its way when
// it was read first. And what is lost then is told of only if it is named still, and not condemned: others may have copied its
// blobs out and removed it.
func (r *run) losses(ctx context.Context) error {
	sure, err := r.readNamed(ctx)
	if err != nil {
		return err
	}
	for name := range r.short {
		switch {
		case !sure:
			r.named[name] = nil
			r.report.Unsure = true
		case !r.isNamed(name):
			r.looked(name)
			r.report.Unfinished++
		}
	}
	r.last = true
	if err := r.each(ctx, maps.Keys(r.named)); err != nil || len(r.held) == 0 {
		return err
	}
	return r.confirm(ctx, sure)
}

func (r *run) isNamed(name archive.PackName) bool {
	_, ok := r.named[name]
	return ok
}

// hold keeps what is to be told of a pack that seems to be lost.
func (r *run) hold(name archive.PackName, tell func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[name] = tell
}

// confirm tells of the packs that are lost and still wanted. The records are read first: a pack is condemned before it is unnamed.
func (r *run) confirm(ctx context.Context, sure bool) error {
	if _, err := r.a.Records(ctx); err != nil {
		return err
	}
	listed := map[pack.ID]bool{}
	if sure {
		if err := r.relist(ctx, listed); err != nil {
			return err
		}
	}
	for name, tell := range r.held {
		condemned, err := r.a.Condemned(ctx, name.ID)
		if err != nil {
			return err
		}
		switch {
		case condemned:
			r.report.Condemned++
		case !sure || name.Index && listed[name.ID] || r.namedBy(name, listed):
			tell()
		}
	}
	return ctx.Err()
}

// namedBy says whether a segment that is listed names the pack.
func (r *run) namedBy(name archive.PackName, listed map[pack.ID]bool) bool {
	for _, segment := range r.named[name] {
		if listed[segment] {
			return true
		}
	}
	return false
}

// relist lists the segments, and reads those that were published since.
func (r *run) relist(ctx context.Context, listed map[pack.ID]bool) error {
	for id, err := range r.a.Packs(ctx, "index/") {
		if err != nil {
			return err
		}
		listed[id] = true
	}
	for id := range listed {
		if r.segments[id] {
			continue
		}
		if condemned, err := r.a.Condemned(ctx, id); err != nil {
			return err
		} else if condemned {
			continue
		}
		columns, err := r.a.ReadSegment(ctx, id)
		if r.a.Stops(ctx, err) {
			return err
		}
		for i := range columns { // one that cannot be read is a finding of its own in the next run
			if name := archive.NameOf(columns[i].Pack, columns[i].Kind); r.isNamed(name) {
				r.named[name] = append(r.named[name], id)
			}
		}
	}
	return nil
}

// readNamed reads the index segments, if there is a key, and notes which of the packs that are short, or that no member lists,
// they name. It is not sure without a key, nor when a segment cannot be read.
func (r *run) readNamed(ctx context.Context) (sure bool, err error) {
	if r.a.Keys() == nil {
		return false, nil
	}
	sure = true
	err = r.a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		r.segments[id] = true
		if err != nil && !archive.Unfinished(err) {
			sure = false
			if name := archive.NameOf(id, chunk.Index); r.short[name] {
				r.named[name] = nil
			}
		}
		for i := range columns {
			name := archive.NameOf(columns[i].Pack, columns[i].Kind)
			if r.short[name] || !r.inv.Has(name) && r.chosen(name) {
				r.named[name] = append(r.named[name], id)
			}
		}
		return nil
	})
	return sure, err
}
