package index

import (
	"errors"
	"fmt"

	"cairn/pack"
)

var (
	// ErrClosed means that the index or stat cache was closed before.
	ErrClosed = errors.New("index is closed")
	// ErrBusy means that other processes hold the stat cache or all slots of the index. Work without it.
	ErrBusy = errors.New("in use by another process")
	// ErrNoSpace means that the file system of the cache is nearly full. Badger writes through memory maps, and a full
	// file system would end the process by SIGBUS, so nothing is written when less than Options.Reserve is free. What
	// was written before stays usable.
	ErrNoSpace = errors.New("too little space left for the cache")
)

// BrokenError means that the local database cannot be read or written any more: damaged, removed under our feet, or
// its disk failed. Every later call gives the same error until Drop. Nothing is lost: Drop and fill it again.
type BrokenError struct {
	Dir string // the slot
	Op  string // what was being done
	Err error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("local cache %s: %s: %v", e.Dir, e.Op, e.Err)
}

func (e *BrokenError) Unwrap() error { return e.Err }

// Hint names the operator's next step.
func (e *BrokenError) Hint() string {
	return "the cache can be removed at any time: run `cairn index drop`, and check the disk that holds it"
}

// errGone is inside a BrokenError when somebody removed the directory of an open cache.
var errGone = errors.New("its directory was removed or replaced while it was open")

// ConflictError means that two columns contradict each other about one pack, whose id commits to all of it: the segment
// that carries the second was made wrongly. Apply writes nothing of it.
type ConflictError struct {
	Pack pack.ID
	What string
}

// ConflictingPack is Pack, for those who know this package by an interface.
func (e *ConflictError) ConflictingPack() pack.ID { return e.Pack }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("pack %s: %s differs from what another directory says", e.Pack, e.What)
}
