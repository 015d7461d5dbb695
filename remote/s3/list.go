package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"cairn/remote"
)

// listers is how many parts of a pair-tree are listed at once. A page of 1000 takes a server 50 to 500 ms; 16 at a time list a million
// objects in half a minute instead of several.
const listers = 16

// List yields objects page by page. When a pair-tree has more than one page, its first level (256 prefixes, usually) is
// listed in parallel. Servers must list in the order of keys, as all do but Amazon's directory buckets.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		if err := remote.ValidPrefix(prefix); err != nil {
			yield(remote.Info{}, err)
			return
		}
		err := s.list(ctx, prefix, func(infos []remote.Info) error {
			for _, info := range infos {
				if err := ctx.Err(); err != nil {
					return err
				}
				if !yield(info, nil) {
					return errStop
				}
			}
			return nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && err != errStop {
			yield(remote.Info{}, err)
		}
	}
}

var errStop = errors.New("stop")

func (s *Store) list(ctx context.Context, prefix string, emit func([]remote.Info) error) error {
	first, err := s.listPage(ctx, prefix, "", s.page) // its retries are remote/retry's: nothing was yielded
	if err != nil {
		return err
	}
	if err := emit(first.infos); err != nil || !first.more {
		return err
	}
	if !first.tree(prefix) {
		return s.listOn(ctx, prefix, first.last, emit)
	}
	// Keys of the first page come again below, so that nothing depends on where it ended.
	seen := make(map[string]bool, len(first.infos))
	for _, info := range first.infos {
		seen[info.Name] = true
	}
	return s.listTree(ctx, prefix, func(infos []remote.Info) error {
		fresh := infos[:0]
		for _, info := range infos {
			if !seen[info.Name] {
				fresh = append(fresh, info)
			}
		}
		return emit(fresh)
	})
}

// listOn lists what comes after a key, page after page.
func (s *Store) listOn(ctx context.Context, prefix, after string, emit func([]remote.Info) error) error {
	for {
		var p page
		err := s.again(ctx, func() (err error) {
			p, err = s.listPage(ctx, prefix, after, s.page)
			return err
		})
		if err != nil {
			return err
		}
		if p.more && p.last <= after {
			return remote.Permanent(fmt.Errorf("list %s%s: the server answers with the same page again", s.place, "/"+s.prefix+prefix))
		}
		if err := emit(p.infos); err != nil || !p.more {
			return err
		}
		after = p.last
	}
}

// listTree lists what is right below prefix, and then each folder in it, several at once. emit is called by this goroutine.
func (s *Store) listTree(ctx context.Context, prefix string, emit func([]remote.Info) error) error {
	var top page
	err := s.again(ctx, func() (err error) {
		top, err = s.listFolders(ctx, prefix)
		return err
	})
	if err != nil {
		return err
	}
	if err := emit(top.infos); err != nil {
		return err
	}
	sub, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(errStop)
	pages, folders := make(chan []remote.Info), make(chan string)
	for range min(listers, len(top.folders)) {
		wg.Go(func() {
			for folder := range folders {
				if err := s.listOn(sub, folder, "", func(infos []remote.Info) error { return send(sub, pages, infos) }); err != nil {
					cancel(err)
				}
			}
		})
	}
	go func() {
		defer close(pages)
		defer wg.Wait()
		defer close(folders)
		for _, folder := range top.folders {
			if send(sub, folders, folder) != nil {
				return
			}
		}
	}()
	for infos := range pages {
		if err := emit(infos); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if sub.Err() != nil {
		return context.Cause(sub)
	}
	return nil
}

func send[T any](ctx context.Context, ch chan<- T, v T) error {
	select {
	case ch <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// page is a part of a listing.
type page struct {
	infos   []remote.Info
	folders []string // prefixes, when those were asked for
	last    string   // the greatest key, as the server knows it
	more    bool
}

// tree says whether a page is of a pair-tree that begins at prefix.
func (p *page) tree(prefix string) bool {
	n := 0
	for _, info := range p.infos {
		if tree, _, ok := remote.ParsePairTree(info.Name); ok && tree+"/" == prefix {
			n++
		}
	}
	return n > 0 && n >= len(p.infos)/2
}

// listPage asks for at most n keys after a key. What has no valid name is left out.
func (s *Store) listPage(ctx context.Context, prefix, after string, n int) (page, error) {
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, StartAfter: after, MaxKeys: n, FetchOwner: new(bool)}
	var p page
	err := s.do(ctx, opList, prefix, func(r *request) error {
		p = page{}
		keys := 0
		for o := range s.client.ListObjectsIter(r.ctx, s.o.Bucket, opts) {
			if o.Err != nil {
				return hideEOF(o.Err)
			}
			p.last = max(p.last, o.Key)
			s.add(&p, o)
			if keys++; keys == n { // the iterator would fetch the next page
				p.more = true
				break
			}
		}
		return r.ctx.Err() // at which the iterator ends without a word
	})
	return p, err
}

// listFolders lists what is right below prefix: objects, and folders as prefixes.
func (s *Store) listFolders(ctx context.Context, prefix string) (page, error) {
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, MaxKeys: s.page, FetchOwner: new(bool)}
	var p page
	err := s.do(ctx, opList, prefix, func(r *request) error {
		p = page{}
		known := make(map[string]bool)
		for o := range s.client.ListObjectsIter(r.ctx, s.o.Bucket, opts) {
			if o.Err != nil {
				return hideEOF(o.Err)
			}
			if !strings.HasSuffix(o.Key, "/") {
				s.add(&p, o)
				continue
			}
			folder := strings.TrimPrefix(o.Key, s.prefix)
			// Nothing below an invalid one can have a valid name. A web console makes an object of the prefix itself.
			if remote.ValidPrefix(folder) == nil && folder != prefix && !known[folder] {
				known[folder] = true
				p.folders = append(p.folders, folder)
			}
		}
		return r.ctx.Err()
	})
	return p, err
}

func (s *Store) add(p *page, o minio.ObjectInfo) {
	name, ok := strings.CutPrefix(o.Key, s.prefix)
	if ok && remote.ValidName(name) == nil {
		p.infos = append(p.infos, remote.Info{Name: name, Size: o.Size, Modified: o.LastModified})
	}
}

// again tries what is in the middle of something longer, which remote/retry cannot try again as a whole. The bounds are
// remote/retry's: five tries, a minute for a server that asks to slow down, one more after a stall.
func (s *Store) again(ctx context.Context, f func() error) error {
	begin, stalls := time.Now(), 0
	for try := 0; ; try++ {
		if err := s.wait(ctx, min(try, 6)); err != nil {
			return err
		}
		err := f()
		if err == nil || ctx.Err() != nil || remote.IsPermanent(err) || errors.Is(err, remote.ErrNotExist) {
			return err
		}
		if errors.Is(err, remote.ErrUnavailable) {
			if stalls++; stalls > 1 {
				return err
			}
		}
		if slow := errors.Is(err, remote.ErrSlowDown); !slow && try >= 4 || slow && time.Since(begin) > time.Minute {
			return err
		}
	}
}
