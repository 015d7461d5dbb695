package remote

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"
)

// ReadAll reads a whole object of at most max bytes with one request. A larger one is a *TooLargeError, found
// without reading or allocating more than max+1 bytes, whatever size the store claims.
func ReadAll(ctx context.Context, s Store, name string, max int64) ([]byte, error) {
	if max < 0 || max == math.MaxInt64 {
		return nil, Permanent(fmt.Errorf("read %s: limit of %d bytes: %w", name, max, fs.ErrInvalid))
	}
	// The last max+1 bytes are all bytes of an object within the limit.
	data, err := s.Get(ctx, name, -(max + 1), 0, nil)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, Permanent(&TooLargeError{Name: name, Max: max})
	}
	return data, nil
}

// Span turns the range arguments of Store.Get into a start and a length within an object of the given size.
// The error wraps io.ErrUnexpectedEOF when the range ends behind the object.
func Span(name string, size, off, n int64) (start, length int64, err error) {
	switch {
	case off == math.MinInt64 || off < -size: // -off would overflow, or more than all
		return 0, size, nil
	case off < 0:
		return size + off, -off, nil
	case off > size, n > size-off: // size-off cannot overflow: both are >= 0
		return 0, 0, fmt.Errorf("object %s: range of %d bytes at %d in %d bytes: %w", name, n, off, size, io.ErrUnexpectedEOF)
	case n < 0:
		return off, size - off, nil
	}
	return off, n, nil
}

// Into returns dst[:n] if its capacity is enough, a new slice otherwise: where drivers put what they read.
func Into(dst []byte, n int64) []byte {
	if int64(cap(dst)) >= n {
		return dst[:n]
	}
	return make([]byte, n)
}
