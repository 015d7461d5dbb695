package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"
)

// ErrNoHistory means that a store keeps nothing of what was replaced or deleted.
var ErrNoHistory = errors.New("the store keeps no earlier versions")

// Historian is the optional ability to show what a store held at an earlier time. Find it with As, or call AsOf.
type Historian interface {
	// AsOf returns the store as it was at a time by its own clock, to whole seconds: of each object the newest version that is not
	// younger. What was put, replaced or deleted later is seen as it was. It makes no request: a store without versions shows with the
	// first, by an error that wraps ErrNoHistory. The view can only be read: Put and Delete fail with ReadOnly.
	AsOf(at time.Time) Store
}

// AsOf returns a store as it was at a time. Of one that is no Historian every call fails with ErrNoHistory.
func AsOf(s Store, at time.Time) Store {
	if h, ok := As[Historian](s); ok {
		return h.AsOf(at)
	}
	return noHistory{}
}

// NotAfter says whether something that happened at t had happened at the time of a view. Whole seconds count, because some
// answers of S3 have no more.
func NotAfter(t, at time.Time) bool { return !t.Truncate(time.Second).After(at.Truncate(time.Second)) }

// ReadOnly is the error of an operation that would change a view.
func ReadOnly(op, name string) error {
	return WithHint(Permanent(fmt.Errorf("%s %s: this is a view of an earlier time: %w", op, name, fs.ErrPermission)),
		"without --as-of (CAIRN_AS_OF) the command works on the archive as it is now")
}

// NoHistory is the error of everything that is asked of a view of a store that keeps no versions. It wraps ErrUnavailable, so that an archive
// goes on with those members that keep some.
func NoHistory(why string) error {
	return WithHint(Permanent(fmt.Errorf("%s: %w: %w", why, ErrNoHistory, ErrUnavailable)),
		"only buckets with versioning show an earlier time; without --as-of the command works on the archive as it is now")
}

// noHistory is the view of a store that is no Historian.
type noHistory struct{}

var errNoVersions = NoHistory("this kind of store has no versions")

func (noHistory) Put(_ context.Context, name string, _ []byte) error { return ReadOnly("put", name) }
func (noHistory) Delete(_ context.Context, name string) error        { return ReadOnly("delete", name) }
func (noHistory) Stat(context.Context, string) (Info, error)         { return Info{}, errNoVersions }
func (noHistory) Get(context.Context, string, int64, int64, []byte) ([]byte, error) {
	return nil, errNoVersions
}
func (noHistory) List(context.Context, string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) { yield(Info{}, errNoVersions) }
}
