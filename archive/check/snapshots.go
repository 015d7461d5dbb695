package check

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// snapshots walks the trees of all snapshots, each distinct directory once, and checks that every blob is there. Only
// when something is bad does it walk again, to name the files.
func (c *checker) snapshots(ctx context.Context) error {
	list, damaged, err := c.a.Snapshots(ctx)
	if err != nil {
		return err
	}
	if err := c.a.Refresh(ctx); err != nil { // a snapshot made meanwhile may need newer segments
		return err
	}
	for _, d := range damaged {
		object := "snapshots/" + d.ID.String()
		if c.doubts[object] { // again tells of it
			continue
		}
		there, err := c.there(ctx, d.ID)
		if err != nil {
			return err
		}
		if there {
			c.found(Damage{Object: object, Problem: d.Err.Error(), Lost: true})
		}
	}
	c.chains(list, damaged)
	w := &walker{c: c, seen: map[treeKey]int32{}}
	for _, s := range list {
		if err := w.snapshot(ctx, s); err != nil {
			return err
		}
		c.o.Progress.Snapshots.Add(1)
	}
	c.report.Snapshots += len(list)
	c.report.Trees = len(w.seen)
	return nil
}

// there says whether a snapshot is still wanted: listed, and not forgotten.
func (c *checker) there(ctx context.Context, id chunk.ID) (bool, error) {
	if _, err := c.a.Records(ctx); err != nil { // SnapshotIDs may do with those of two seconds ago
		return false, err
	}
	ids, err := c.a.SnapshotIDs(ctx)
	if err != nil {
		return false, err
	}
	_, ok := ids[id]
	return ok, nil
}

// snapshot walks one snapshot. What it lacks is told of when the records and the index were read since, and the snapshot is
// still there after all of it was looked for.
func (w *walker) snapshot(ctx context.Context, s *snapshot.Snapshot) error {
	whole, err := w.sweep(ctx, s.Content, s.Depth)
	if err == nil && !whole {
		whole, err = w.dir(ctx, s.Content, s.Depth)
	}
	if err != nil || whole {
		return err
	}
	if err := w.c.refresh(ctx); err != nil {
		return err
	}
	w.forgetUnclean()
	clear(w.waiting)
	if whole, err = w.dir(ctx, s.Content, s.Depth); err != nil || whole {
		return err
	}
	named := 0
	err = w.name(ctx, s, "/", s.Content, s.Depth, func(d Damage) error {
		if w.found = append(w.found, d); len(w.found) < maxHeld {
			return nil
		}
		named += len(w.found)
		return w.confirm(ctx, s)
	})
	if named += len(w.found); err == nil {
		err = w.confirm(ctx, s)
	}
	if errors.Is(err, errForgotten) {
		w.c.report.Snapshots--
		w.c.note("snapshots/"+s.ID.String(), "was forgotten while it was checked")
		return nil
	}
	if err == nil && named == 0 { // what waits was told of
		for key := range w.seen {
			w.seen[key] = clean
		}
	}
	return err
}

// maxHeld damages are held back until it is known whether the snapshot is still there: 3 MB.
const maxHeld = 10_000

// errForgotten ends the search for what a snapshot lacks.
var errForgotten = errors.New("the snapshot is not there any more")

// confirm reports what was held back, if the snapshot is still there.
func (w *walker) confirm(ctx context.Context, s *snapshot.Snapshot) error {
	if len(w.found)+len(w.waiting) == 0 {
		return nil
	}
	there, err := w.c.there(ctx, s.ID)
	if err == nil && there {
		w.tell(s)
	} else if err == nil {
		err = errForgotten
	}
	w.found = w.found[:0]
	clear(w.waiting)
	return err
}

// tell reports what a snapshot lacks. One without its mark was never reported as done.
func (w *walker) tell(s *snapshot.Snapshot) {
	c := w.c
	object := "snapshots/" + s.ID.String()
	if n := len(w.waiting); n > 0 {
		c.report.Waiting += n
		c.note(object, fmt.Sprintf("needs %d blobs that only condemned packs hold, by an interrupted prune: the next one copies them out", n))
	}
	lost := 0
	for _, d := range w.found {
		if !s.Incomplete {
			c.found(d)
		} else if d.Lost {
			lost++
		}
	}
	if lost > 0 {
		c.note(object, fmt.Sprintf("the snapshot is incomplete and lacks %d files or directories, %s first: it was never reported as done", lost, strconv.Quote(w.found[0].Path)))
	}
}

// How often the index is read again on behalf of what is missing: the first times always, then every two seconds, because in
// an archive that lost packs each of a thousand snapshots may lack something.
const (
	refreshAlways = 8
	refreshEvery  = 2 * time.Second
)

func (c *checker) refresh(ctx context.Context) error {
	if c.refreshes++; c.refreshes > refreshAlways && time.Since(c.refreshed) < refreshEvery {
		return nil
	}
	if err := c.a.Refresh(ctx); err != nil {
		return err
	}
	c.refreshed = time.Now()
	return nil
}
