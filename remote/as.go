package remote

import (
	"context"
	"errors"
	"iter"
)

// NewPutter is the optional ability to create an object only if its name is free. Find it with As.
type NewPutter interface {
	// PutNew is Put, but returns an error that wraps fs.ErrExist, and changes nothing, when the name is
	// taken: of several concurrent calls for one name exactly one succeeds. It returns an error that wraps
	// errors.ErrUnsupported when this store turns out to be unable to (a file system without hard links).
	PutNew(ctx context.Context, name string, data []byte) error
}

// BulkDeleter is the optional ability to delete many objects with few requests. Find it with As, or call DeleteAll.
type BulkDeleter interface {
	// DeleteAll removes objects durably. What is not there is not an error. After an error some, all or none are gone. It
	// tries again by itself what may go well the second time. What is locked stays, does not keep the others, and makes the error wrap ErrLocked.
	DeleteAll(ctx context.Context, names iter.Seq[string]) error
}

// DeleteAll removes objects from s: many with one request if s can, else one by one until the first error. What is locked stays and does not
// keep the others; then the error wraps ErrLocked.
func DeleteAll(ctx context.Context, s Store, names iter.Seq[string]) error {
	if b, ok := As[BulkDeleter](s); ok {
		return b.DeleteAll(ctx, names)
	}
	var locked error
	for name := range names {
		err := s.Delete(ctx, name)
		if err != nil && !errors.Is(err, ErrLocked) {
			return err
		}
		if locked == nil {
			locked = err
		}
	}
	return locked
}

// Maker is the optional ability to make the place in which a Store keeps its objects: a bucket. Find it with As.
type Maker interface {
	// Make makes the place if it does not exist, and says whether it did. No other call makes one.
	Make(ctx context.Context) (made bool, err error)
}

// Near is the optional ability of a store on this machine: a request costs no more than a call of the system, and what is asked for in
// several requests comes as fast as in one. Find it with As.
type Near interface{ Near() }

// As finds an optional ability, or a certain driver, in s or in the Stores it wraps: the outermost
// value of type T along Unwrap() Store. A wrapper that changes names has no Unwrap and offers
// the abilities itself, because one found behind it would see the wrong names.
func As[T any](s Store) (T, bool) {
	for s != nil {
		if t, ok := s.(T); ok {
			return t, true
		}
		w, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = w.Unwrap()
	}
	var zero T
	return zero, false
}
