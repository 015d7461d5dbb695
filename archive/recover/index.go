package recover

import (
	"context"

	"cairn/archive"
)

// IndexReport says what Index found.
type IndexReport struct {
	archive.RebuildReport
	// Local means that fewer than k members are there: what was found is known to this machine's index only, for reading what
	// can still be read (archive.Options.Salvage).
	Local bool
	// Members there, and how many of them a pack needs.
	Members, Need int
}

// Index makes the index anew from whatever is left: segments, and the directories at the ends of data columns. With fewer members than a
// pack needs no segment could be published that anybody could read, so nothing is written to those that are there; o.Local is set then.
func Index(ctx context.Context, a *archive.Archive, o archive.RebuildOptions) (*IndexReport, error) {
	r := &IndexReport{Members: there(a), Need: a.Geometry().K}
	o.Local = r.Members < r.Need
	r.Local = o.Local
	found, err := a.RebuildIndex(ctx, o)
	if found != nil {
		r.RebuildReport = *found
	}
	return r, err
}

// there counts the members of the current layout that could be opened.
func there(a *archive.Archive) int {
	n := 0
	for _, m := range a.Set().Members() {
		if m.Store != nil {
			n++
		}
	}
	return n
}
