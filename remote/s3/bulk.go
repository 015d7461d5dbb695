package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"golang.org/x/sync/errgroup"

	"cairn/remote"
)

// bulk is how many objects one request deletes: what the protocol allows.
const bulk = 1000

// DeleteAll removes objects, a thousand with one request; in a bucket that keeps versions several at once. It tries again what may go well the second time.
func (s *Store) DeleteAll(ctx context.Context, names iter.Seq[string]) error {
	var batch []string
	for name := range names {
		if err := check(ctx, name); err != nil {
			return err
		}
		if batch = append(batch, name); len(batch) < bulk {
			continue
		}
		if err := s.deleteBatch(ctx, batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
	if len(batch) == 0 {
		return ctx.Err()
	}
	return s.deleteBatch(ctx, batch)
}

func (s *Store) deleteBatch(ctx context.Context, names []string) error {
	versioned, err := s.keepsVersions(ctx)
	if err != nil {
		return err
	}
	if versioned {
		return s.deleteEach(ctx, names)
	}
	bulky := !s3utils.IsGoogleEndpoint(url.URL{Host: s.o.Host}) // which has no such request
	if bulky {
		err := s.again(ctx, func() error { return s.deleteMany(ctx, names) })
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return s.deleteEach(ctx, names)
}

// deleteEach deletes objects one by one, several at once. What is locked does not keep the others.
func (s *Store) deleteEach(ctx context.Context, names []string) error {
	var mu sync.Mutex
	var locked error
	group, sub := errgroup.WithContext(ctx)
	group.SetLimit(listers)
	for _, name := range names {
		group.Go(func() error {
			err := s.again(sub, func() error { return s.Delete(sub, name) })
			if !errors.Is(err, remote.ErrLocked) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if locked == nil {
				locked = err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return locked
}

// deleteMany makes one request and believes what the answer says of each object.
func (s *Store) deleteMany(ctx context.Context, names []string) error {
	return s.do(ctx, opDeleteAll, "", func(r *request) error {
		results, err := s.client.RemoveObjectsWithIter(r.ctx, s.o.Bucket, func(yield func(minio.ObjectInfo) bool) {
			for _, name := range names {
				if !yield(minio.ObjectInfo{Key: s.prefix + name}) {
					return
				}
			}
		}, minio.RemoveObjectsOptions{})
		if err != nil {
			return err
		}
		left := make(map[string]bool, len(names))
		for _, name := range names {
			left[s.prefix+name] = true
		}
		var failed error
		for result := range results {
			var answer minio.ErrorResponse
			if result.Err != nil && (!errors.As(result.Err, &answer) || answer.Code != minio.NoSuchKey) {
				if answer.Key == "" {
					answer.Key = result.ObjectName
				}
				if failed = result.Err; answer.Code != "" {
					failed = answer
				}
			}
			delete(left, result.ObjectName)
		}
		if failed == nil && len(left) > 0 {
			failed = fmt.Errorf("the server does not say of %d of %d objects whether they are gone", len(left), len(names))
		}
		return failed
	})
}

// Make makes the bucket if it does not exist.
func (s *Store) Make(ctx context.Context) (made bool, err error) {
	_, err = s.listPage(ctx, "", "", 1)
	var e *Error
	if !errors.As(err, &e) || e.Code != minio.NoSuchBucket {
		return false, err
	}
	err = s.do(ctx, opMake, "", func(r *request) error {
		return s.client.MakeBucket(r.ctx, s.o.Bucket, minio.MakeBucketOptions{Region: s.o.Region, ObjectLocking: s.o.ObjectLock})
	})
	if errors.As(err, &e) && e.Status == http.StatusConflict {
		// Somebody was faster: ourselves (another member below the same bucket), or another account, which a listing tells.
		_, err = s.listPage(ctx, "", "", 1)
		return false, err
	}
	return err == nil, err
}

func randomHex() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

var (
	_ remote.Store       = (*Store)(nil)
	_ remote.NewPutter   = (*Store)(nil)
	_ remote.BulkDeleter = (*Store)(nil)
	_ remote.Maker       = (*Store)(nil)
)
