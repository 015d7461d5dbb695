package remote

import "context"

// NewPutter is the optional ability to create an object only if its name is free. Find it with As.
type NewPutter interface {
	// PutNew is Put, but returns an error that wraps fs.ErrExist, and changes nothing, when the name is
	// taken: of several concurrent calls for one name exactly one succeeds. It returns an error that wraps
	// errors.ErrUnsupported when this store turns out to be unable to (a file system without hard links).
	PutNew(ctx context.Context, name string, data []byte) error
}

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
