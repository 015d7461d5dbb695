package archive

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// UnreadSegment is an index pack that is listed and could not be read.
type UnreadSegment struct {
	ID  pack.ID
	Err error
}

// unread notes that a segment could not be read, and tells of it once.
func (a *Archive) unread(id pack.ID, err error) {
	if _, told := a.synced.bad[id]; !told {
		a.opts.Notice(fmt.Sprintf("index segment %s: %v (`cairn repair --index` finds what it named in the packs)", id.Short(), err))
	}
	if a.synced.bad == nil {
		a.synced.bad = map[pack.ID]error{}
	}
	a.synced.bad[id] = err
}

// stillUnread forgets those that are gone or condemned by now.
func (a *Archive) stillUnread(idx Index, listed map[pack.ID]struct{}) error {
	for id := range a.synced.bad {
		condemned, err := idx.Condemned(id)
		if err != nil {
			return err
		}
		if _, ok := listed[id]; !ok || condemned {
			delete(a.synced.bad, id)
		}
	}
	return nil
}

// UnreadSegments returns the segments that could not be read when the index was brought up to date last, in the order of their ids. What only
// they name is unknown: who would take that for garbage must not.
func (a *Archive) UnreadSegments() []UnreadSegment {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	var list []UnreadSegment
	for _, id := range slices.SortedFunc(maps.Keys(a.synced.bad), func(x, y pack.ID) int { return strings.Compare(string(x[:]), string(y[:])) }) {
		list = append(list, UnreadSegment{id, a.synced.bad[id]})
	}
	return list
}

// blind says whether the index may lack what the archive's segments name: one could not be read.
func (a *Archive) blind() bool { return len(a.UnreadSegments()) > 0 }

// Fleeting says whether an error of reading a pack may be gone with the next try: members did not answer that may make up for what is lacking.
func Fleeting(err error) bool {
	var few *stripe.TooFewError
	return errors.As(err, &few) || errors.Is(err, remote.ErrUnavailable)
}
