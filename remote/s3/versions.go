package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"cairn/remote"
)

// version is one of the versions of a key, or a marker that it was deleted.
type version struct {
	name   string // of the object
	id     string
	info   remote.Info
	marker bool
}

// versionPage is some versions in the order of keys; more says that there are others behind the key last.
type versionPage struct {
	versions []version
	last     string
	more     bool
}

// listVersions asks for all versions of some keys after a key: about a page of them, and never a part of those of one key. They are
// in the order of names, those of a name as the server has them, the newest first.
func (s *Store) listVersions(ctx context.Context, prefix, after string, n int) (versionPage, error) {
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, WithVersions: true, StartAfter: after, MaxKeys: n}
	var p versionPage
	err := s.do(ctx, opVersions, prefix, func(r *request) error {
		p = versionPage{}
		var keys []string
		for o := range s.client.ListObjectsIter(r.ctx, s.o.Bucket, opts) {
			if o.Err != nil {
				return hideEOF(o.Err)
			}
			keys = append(keys, o.Key)
			if name, ok := strings.CutPrefix(o.Key, s.prefix); ok && remote.ValidName(name) == nil {
				info := remote.Info{Name: name, Size: o.Size, Modified: made(r, o)}
				p.versions = append(p.versions, version{name, o.VersionID, info, o.IsDeleteMarker})
			}
			// At the end of a page (the iterator would fetch the next one) the last key may not be complete. One key alone is gone on with.
			if len(keys)%n == 0 && slices.Min(keys) < slices.Max(keys) {
				p.cut(s.prefix, keys)
				break
			}
		}
		return r.ctx.Err()
	})
	if err != nil {
		return versionPage{}, err
	}
	// versitygw gives the markers of a page after all versions.
	slices.SortStableFunc(p.versions, func(a, b version) int { return strings.Compare(a.name, b.name) })
	return p, nil
}

// cut ends the page with the last key but one: what there is of the last one comes again on the next page.
func (p *versionPage) cut(prefix string, keys []string) {
	last := slices.Max(keys)
	p.more, p.last = true, ""
	for _, key := range keys {
		if key < last {
			p.last = max(p.last, key)
		}
	}
	p.versions = slices.DeleteFunc(p.versions, func(v version) bool { return prefix+v.name == last })
}

// made is when a version was made. versitygw tells of a covered version when it was covered, and of a marker when what it covers was made; but
// its ids are ULIDs, which begin with the time.
func made(r *request, o minio.ObjectInfo) time.Time {
	if at, ok := ulidTime(o.VersionID); ok && strings.EqualFold(r.header.Get("Server"), "versitygw") {
		return at
	}
	return o.LastModified
}

// ulidTime reads the milliseconds since 1970 in the first ten of a ULID's 26 characters of Crockford's base 32.
func ulidTime(id string) (time.Time, bool) {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	if len(id) != 26 || id[0] > '7' {
		return time.Time{}, false
	}
	var ms int64
	for i := range 26 {
		d := strings.IndexByte(digits, id[i])
		if d < 0 {
			return time.Time{}, false
		}
		if i < 10 {
			ms = ms<<5 | int64(d)
		}
	}
	return time.UnixMilli(ms), true
}

// keepsVersions says whether a DELETE only covers an object in this bucket. A bucket of which these keys may not ask that may do so.
func (s *Store) keepsVersions(ctx context.Context) (bool, error) {
	known := ability(s.versions.Load())
	if known != unknown {
		return known == able, nil
	}
	status, err := s.versioning(ctx)
	var e *Error
	switch {
	case err == nil && status == "":
		known = unable
	case err == nil:
		known = able
	case errors.Is(err, errors.ErrUnsupported):
		known = unable
	case errors.As(err, &e) && (e.Code == minio.AccessDenied || badQuestion(e)):
		known = able // listing the versions tells; without them it is a plain DELETE
	default:
		return false, err
	}
	s.versions.Store(int32(known))
	return known == able, nil
}

// maxRounds bounds how often the versions of one object are listed to be deleted, a thousand each time.
const maxRounds = 1000

// Delete removes an object for good. In a bucket that keeps versions those are deleted one by one, because a plain DELETE would only hide them
// and free nothing; one that is locked stays, and is not hidden: that is remote.ErrLocked.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	versioned, err := s.keepsVersions(ctx)
	if err != nil {
		return err
	}
	for range maxRounds {
		var list []version
		if versioned {
			list, err = s.versionsOf(ctx, name)
		}
		switch {
		case err != nil && !denied(err) && !errors.Is(err, errors.ErrUnsupported):
			return err
		case !versioned, err != nil:
			return s.deleteOne(ctx, name, "")
		case len(list) == 0:
			return nil
		}
		if err := s.deleteVersions(ctx, list); err != nil || len(list) < s.page {
			return err
		}
	}
	return fmt.Errorf("delete %s/%s: it has more than %d versions", s, name, maxRounds*s.page)
}

// Hide adds a marker, in a bucket that keeps versions.
func (s *Store) Hide(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if versioned, err := s.keepsVersions(ctx); err != nil || !versioned {
		return errors.Join(err, errors.ErrUnsupported)
	}
	return s.again(ctx, func() error { return s.deleteOne(ctx, name, "") })
}

// versionsOf lists the versions of one object, the newest first; at most about a page.
func (s *Store) versionsOf(ctx context.Context, name string) ([]version, error) {
	p, err := s.listVersions(ctx, name, "", s.page)
	if err != nil {
		return nil, err
	}
	var list []version
	for _, v := range p.versions {
		if v.name == name { // others begin with it
			list = append(list, v)
		}
	}
	return list, nil
}

// deleteVersions deletes the content first and markers after all of it, so that nothing comes back to light that could not be
// deleted.
func (s *Store) deleteVersions(ctx context.Context, list []version) error {
	var locked error
	for _, v := range slices.Backward(list) { // the oldest first: versitygw copies what comes to light
		if v.marker {
			continue
		}
		err := s.deleteOne(ctx, v.name, v.id)
		if err != nil && !errors.Is(err, remote.ErrLocked) {
			return err
		}
		if err != nil && locked == nil {
			locked = err
		}
	}
	if locked != nil {
		return locked
	}
	for _, v := range list {
		if !v.marker {
			continue
		}
		if err := s.deleteOne(ctx, v.name, v.id); err != nil {
			return err
		}
	}
	return nil
}

// deleteOne makes one DELETE, of a version if there are such.
func (s *Store) deleteOne(ctx context.Context, name, id string) error {
	err := s.do(ctx, opDelete, name, func(r *request) error {
		return s.client.RemoveObject(r.ctx, s.o.Bucket, s.prefix+name, minio.RemoveObjectOptions{VersionID: id})
	})
	var e *Error
	if errors.Is(err, remote.ErrNotExist) || id != "" && errors.As(err, &e) && e.Code == "InvalidArgument" { // versitygw says so of a version that is gone
		return nil
	}
	if err == nil || errors.Is(err, remote.ErrLocked) || !denied(err) {
		return err
	}
	// The server refuses without saying why: keys that may not delete, or a lock.
	if lock, lockErr := s.retention(ctx, name, id); lockErr == nil && lock.Until.After(time.Now()) {
		return remote.Permanent(fmt.Errorf("%w: %w until %s", err, remote.ErrLocked, lock.Until.UTC().Format(time.RFC3339)))
	}
	return err
}

// denied says whether the server refuses these keys something.
func denied(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case minio.AccessDenied, "Forbidden", "AllAccessDisabled", "AccessForbidden":
		return true
	}
	return false
}
