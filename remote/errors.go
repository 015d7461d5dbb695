package remote

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrUnavailable marks errors that say: the whole store cannot be used at the moment, another
// request would fail as well. remote/stripe then leaves the store alone for a while.
var ErrUnavailable = errors.New("store unavailable")

// ErrSlowDown marks errors by which a store asks for fewer requests. Trying again helps, after a longer pause than
// other errors need (remote/retry).
var ErrSlowDown = errors.New("store asks to slow down")

// permanent marks an error that trying again cannot cure.
type permanent struct{ err error }

func (e *permanent) Error() string { return e.err.Error() }
func (e *permanent) Unwrap() error { return e.err }

// Permanent marks err as one that trying again cannot cure; remote/retry passes it on at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

// IsPermanent says whether err, or an error it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

// hinted is an error with the operator's next step.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }
func (e *hinted) Hint() string  { return e.hint }

// WithHint adds the operator's next step to an error, without changing its text. WithHint(nil, …) is nil.
func WithHint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	return &hinted{err, hint}
}

// Hint returns the outermost hint of err and the errors it wraps: of any error type with a
// method Hint() string. It is empty when there is none.
func Hint(err error) string {
	var h interface{ Hint() string }
	for errors.As(err, &h) {
		if hint := h.Hint(); hint != "" {
			return hint
		}
		// An error type may have the method and nothing to say this time; then look further in.
		err = errors.Unwrap(h.(error))
	}
	return ""
}

// TooLargeError means that an object is larger than anything that may have this name.
type TooLargeError struct {
	Name string
	Max  int64 // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("object %s: larger than %d bytes", e.Name, e.Max)
}

// ErrLocked marks a deletion that was refused because the object is still under retention (object lock, WORM). It can be
// deleted later.
var ErrLocked = errors.New("object is locked against deletion")

// Refused says whether a deletion failed because it is not allowed: for these keys, or as long as a lock holds. Whoever only cleans up behind himself
// leaves the object then, because a client without the right to delete is a way to run an archive, not a fault.
func Refused(err error) bool { return errors.Is(err, ErrLocked) || errors.Is(err, fs.ErrPermission) }
