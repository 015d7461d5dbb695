package s3

import (
	"context"
	"errors"
	"fmt"
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

// listVersions asks for all versions of some keys after a key: about a page of them, and never a part of those of one key.
func (s *Store) listVersions(ctx context.Context, prefix, after string, n int) (versionPage, error) {
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, WithVersions: true, StartAfter: after, MaxKeys: n}
	var p versionPage
	err := s.do(ctx, opVersions, prefix, func(r *request) error {
		p = versionPage{}
		count, begun := 0, 0 // versions so far, and before those of the last key
		key := ""
		for o := range s.client.ListObjectsIter(r.ctx, s.o.Bucket, opts) {
			if o.Err != nil {
				return hideEOF(o.Err)
			}
			if o.Key != key {
				if count >= n { // a key that filled the page is complete
					p.last, p.more = key, true
					break
				}
				p.last, key, begun = key, o.Key, len(p.versions)
			}
			if name, ok := strings.CutPrefix(o.Key, s.prefix); ok && remote.ValidName(name) == nil {
				info := remote.Info{Name: name, Size: o.Size, Modified: o.LastModified}
				p.versions = append(p.versions, version{name, o.VersionID, info, o.IsDeleteMarker})
			}
			if count++; count == n && p.last != "" { // the iterator would fetch the next page; the last key may go on there
				p.versions, p.more = p.versions[:begun], true
				break
			}
		}
		return r.ctx.Err()
	})
	return p, err
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
	for _, v := range list {
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
	if errors.Is(err, remote.ErrNotExist) {
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
