package stripe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"strings"
	"syscall"

	"cairn/remote"
)

// ErrTooFew is what errors.Is finds in every *TooFewError.
var ErrTooFew = errors.New("too few members reachable")

// TooFewError means that too few members could be reached for what was asked. Nothing is said about the object: it
// may well be whole. It does not wrap its causes, for one member's "does not exist" is not the Set's.
type TooFewError struct {
	Need, Have int
	Missing    []string // labels of the members that were not reached
	Causes     []error  // what they said, in the same order
}

func (e *TooFewError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "too few members reachable: %d needed, %d answered", e.Need, e.Have)
	for i, cause := range e.Causes {
		sep := ", "
		if i == 0 {
			sep = "; not: "
		}
		b.WriteString(sep + cause.Error())
	}
	return b.String()
}

// Is makes errors.Is(err, ErrTooFew) true.
func (e *TooFewError) Is(target error) bool { return target == ErrTooFew }

// Hint names the operator's next step: a member's own hint where there is one.
func (e *TooFewError) Hint() string {
	for _, cause := range e.Causes {
		if hint := remote.Hint(cause); hint != "" {
			return hint
		}
	}
	return "check that these are mounted or reachable, then run the command again: " + strings.Join(e.Missing, ", ")
}

// LostError means that a striped object cannot be read even if every member that did not answer had its shard: more than
// m of the others lack theirs or have a bad one. errors.Is finds remote.ErrNotExist in it only if all of those lack
// it: the object was deleted, or never written.
type LostError struct {
	Name       string
	Need, Have int     // shards
	Causes     []error // why each of the others is no use
}

func (e *LostError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "object %s: %d shards needed, %d usable", e.Name, e.Need, e.Have)
	for i, cause := range e.Causes {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + cause.Error())
	}
	return b.String()
}

// Unwrap returns the causes, without "does not exist" when another cause says that there is something.
func (e *LostError) Unwrap() []error {
	var other []error
	for _, cause := range e.Causes {
		if !errors.Is(cause, remote.ErrNotExist) && !unreachable(cause) {
			other = append(other, cause)
		}
	}
	if len(other) == 0 && e.Have == 0 {
		return e.Causes
	}
	return other
}

// Missing returns a Store for a member that could not be opened: every operation fails with err. New recognises it.
func Missing(err error) remote.Store { return &missing{err} }

type missing struct{ err error }

func (s *missing) Put(context.Context, string, []byte) error { return s.err }
func (s *missing) Get(context.Context, string, int64, int64, []byte) ([]byte, error) {
	return nil, s.err
}
func (s *missing) Stat(context.Context, string) (remote.Info, error) { return remote.Info{}, s.err }
func (s *missing) Delete(context.Context, string) error              { return s.err }
func (s *missing) List(context.Context, string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) { yield(remote.Info{}, s.err) }
}

// unreachable says whether an error is about the whole member, not about one object: another request now
// would fail too, and perhaps only after a long wait.
func unreachable(err error) bool {
	if errors.Is(err, remote.ErrUnavailable) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return true
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		var n net.Error // asked after Errno, because every Errno has its methods, a full disk's too
		return errors.As(err, &n)
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH, syscall.ENETDOWN,
		syscall.ENOTCONN, syscall.ESTALE, syscall.ENODEV, syscall.ENXIO, syscall.ENOMEDIUM:
		return true
	}
	return false
}

// gone says whether an error means that one shard is no use, while its member is there: asking again will not
// help. A read error of the medium counts, for it is most often a bad sector below this one object.
func gone(err error) bool {
	return errors.Is(err, remote.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.EIO) || errors.Is(err, errAvoided)
}

var errAvoided = errors.New("damaged shard")
