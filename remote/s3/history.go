package s3

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"cairn/remote"
)

// AsOf returns the bucket as it was at a time. What is the newest version now and not younger than that costs one request to read, as ever:
// nothing is older than what it covers. Of all else the versions are listed first.
func (s *Store) AsOf(at time.Time) remote.Store {
	return &view{s: s, at: at, ids: make(map[string]string)}
}

// view is a bucket at an earlier time. It is safe for concurrent use.
type view struct {
	s  *Store
	at time.Time

	mu    sync.Mutex
	ready bool              // the bucket keeps versions
	ids   map[string]string // of versions that are covered now, by name
}

// maxIDs bounds the versions that a view remembers, at about 10 MB; without them a read costs two requests more.
const maxIDs = 1 << 16

// which says what to read of an object: a version, or the newest one if it is not younger than a time. The zero value is the newest.
type which struct {
	version  string
	notAfter time.Time
}

// errYounger means that the newest version of an object is younger than what is wanted.
var errYounger = errors.New("the newest version is younger")

func (w which) fits(modified time.Time) error {
	if !w.notAfter.IsZero() && !remote.NotAfter(modified, w.notAfter) {
		return errYounger
	}
	return nil
}

// prepare finds out once whether there is a history to look at. Keys that may not ask find out with the first listing of versions.
func (v *view) prepare(ctx context.Context) error {
	v.mu.Lock()
	ready := v.ready
	v.mu.Unlock()
	if ready {
		return nil
	}
	status, err := v.s.versioning(ctx)
	switch {
	case err == nil && status == "", errors.Is(err, errors.ErrUnsupported):
		return remote.NoHistory("bucket " + v.s.place + " has no versioning")
	case err != nil && !denied(err):
		return err
	}
	v.mu.Lock()
	v.ready = true
	v.mu.Unlock()
	return nil
}

func (v *view) Put(_ context.Context, name string, _ []byte) error {
	return remote.ReadOnly("put", name)
}

func (v *view) Delete(_ context.Context, name string) error { return remote.ReadOnly("delete", name) }

func (v *view) String() string { return v.s.String() + " as of " + v.at.UTC().Format(time.RFC3339) }

// Get reads a range.
func (v *view) Get(ctx context.Context, name string, off, n int64, dst []byte) (b []byte, err error) {
	err = v.read(ctx, name, func(w which) error {
		b, err = v.s.get(ctx, name, off, n, dst, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Stat asks for the size and time of an object.
func (v *view) Stat(ctx context.Context, name string) (info remote.Info, err error) {
	err = v.read(ctx, name, func(w which) error {
		info, err = v.s.stat(ctx, name, w)
		return err
	})
	if err != nil {
		return remote.Info{}, err
	}
	return info, nil
}

// read calls f for the version that counts: first for the newest one, which it usually is.
func (v *view) read(ctx context.Context, name string, f func(which) error) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if err := v.prepare(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	id := v.ids[name]
	v.mu.Unlock()
	if id == "" {
		err := f(which{notAfter: v.at})
		if !errors.Is(err, errYounger) && !errors.Is(err, remote.ErrNotExist) {
			return err
		}
		list, err := v.s.versionsOf(ctx, name)
		if err != nil {
			return err
		}
		then := v.pick(list)
		if then == nil {
			return remote.Permanent(&missing{v.s.place + "/" + v.s.prefix + name, v.at})
		}
		id = then.id
		v.remember(name, id)
	}
	return f(which{version: id})
}

type missing struct {
	place string
	at    time.Time
}

func (e *missing) Error() string {
	return e.place + ": not there at " + e.at.UTC().Format(time.RFC3339)
}
func (e *missing) Unwrap() error { return remote.ErrNotExist }

func (v *view) remember(name, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.ids) >= maxIDs {
		clear(v.ids)
	}
	v.ids[name] = id
}

// pick finds among the versions of one object the one that was the newest then; nil if there was none. Of versions of the same
// moment the first listed is the newest.
func (v *view) pick(list []version) *version {
	var best *version
	for i := range list {
		o := &list[i]
		if remote.NotAfter(o.info.Modified, v.at) && (best == nil || o.info.Modified.After(best.info.Modified)) {
			best = o
		}
	}
	if best == nil || best.marker {
		return nil
	}
	return best
}

// List lists the versions page by page and yields those that count.
func (v *view) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		err := remote.ValidPrefix(prefix)
		if err == nil {
			err = v.prepare(ctx)
		}
		if err == nil {
			err = v.list(ctx, prefix, func(info remote.Info) error {
				if !yield(info, nil) {
					return errStop
				}
				return nil
			})
		}
		if err != nil && err != errStop {
			yield(remote.Info{}, err)
		}
	}
}

func (v *view) list(ctx context.Context, prefix string, emit func(remote.Info) error) error {
	after := ""
	for {
		var p versionPage
		err := v.s.again(ctx, func() (err error) {
			p, err = v.s.listVersions(ctx, prefix, after, v.s.page)
			return err
		})
		if err != nil {
			return err
		}
		for begin := 0; begin < len(p.versions); {
			end := begin + 1
			for end < len(p.versions) && p.versions[end].name == p.versions[begin].name {
				end++
			}
			if o := v.pick(p.versions[begin:end]); o != nil {
				if o.id != p.versions[begin].id { // something covers it now
					v.remember(o.name, o.id)
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := emit(o.info); err != nil {
					return err
				}
			}
			begin = end
		}
		if !p.more {
			return ctx.Err()
		}
		if p.last <= after {
			return remote.Permanent(errors.New("list versions of " + v.s.String() + ": the server answers with the same page again"))
		}
		after = p.last
	}
}

var _ remote.Historian = (*Store)(nil)
