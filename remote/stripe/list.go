package stripe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"cairn/remote"
)

// List yields what any member has, each name once. It is an error only if no member can be listed to its end; ListAll
// tells which could not. It remembers the names of a Set of several members (about 100 bytes each) until it ends.
func (s *Set) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		_, err := s.ListAll(ctx, prefix, func(info remote.Info) error {
			if !yield(info, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(remote.Info{}, err)
		}
	}
}

var errStop = errors.New("stop")

// ListAll is List that says which members could not be listed to their end: errs is indexed by member, and what only
// those have may be missing. It ends early with the error of fn.
func (s *Set) ListAll(ctx context.Context, prefix string, fn func(remote.Info) error) (errs []error, err error) {
	seen := make(map[string]struct{})
	return s.ListEach(ctx, prefix, func(_ int, info remote.Info) error {
		if len(s.members) > 1 {
			if _, ok := seen[info.Name]; ok {
				return nil
			}
			seen[info.Name] = struct{}{}
		}
		return fn(info)
	})
}

// ListEach lists all members at once and calls fn with every object of each, one call at a time, in no
// particular order. What a member has only in part shows by comparing the calls. Errors are as with ListAll.
func (s *Set) ListEach(ctx context.Context, prefix string, fn func(member int, info remote.Info) error) (errs []error, err error) {
	if err := remote.ValidPrefix(prefix); err != nil {
		return s.none(err).Errs, err
	}
	now, later, res := s.lineup()
	for _, group := range [][]int{now, later} {
		if err := s.listGroup(ctx, prefix, group, res, fn); err != nil {
			return res.Errs, err
		}
		if res.Count() > 0 {
			return res.Errs, nil
		}
	}
	return res.Errs, fmt.Errorf("list %q: %w", prefix, s.tooFew(1, res))
}

// batchSize is how many names cross the channel at once: enough that the channel costs nothing beside the listing.
const batchSize = 256

// batch is some objects of a member, or that it is done.
type batch struct {
	member int
	infos  []remote.Info
	done   bool
}

// listGroup lists some members at once; fn is called in the caller's goroutine. A member of which nothing comes for so long
// after others are done as a write waits for stragglers is given up.
func (s *Set) listGroup(ctx context.Context, prefix string, group []int, res Result, fn func(int, remote.Info) error) error {
	sub, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait() // after cancel: also when fn never returns (runtime.Goexit), nobody is left behind
	defer cancel(nil)
	ch, begun := make(chan batch), time.Now()
	for _, i := range group {
		wg.Go(func() {
			err := s.listMember(sub, prefix, i, begun, ch)
			res.Acked[i], res.Errs[i] = err == nil, err
			select {
			case ch <- batch{member: i, done: true}:
			case <-sub.Done():
			}
		})
	}
	grace, bounded := s.o.grace(0)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for done := 0; done < len(group); {
		select {
		case b := <-ch:
			for _, info := range b.infos {
				if err := fn(b.member, info); err != nil {
					return err
				}
			}
			if b.done {
				done++
				grace, _ = s.o.grace(time.Since(begun))
			}
		case <-timer.C:
			if bounded && done > 0 {
				cancel(errGivenUp)
				wg.Wait()
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		timer.Reset(grace)
	}
	return ctx.Err()
}

// listMember lists one member and settles what that says about it.
func (s *Set) listMember(ctx context.Context, prefix string, i int, begun time.Time, ch chan<- batch) error {
	m := s.members[i]
	sub, leave := m.enter(ctx, m.benched.Load())
	defer leave()
	err := listOne(sub, m.store, prefix, i, ch)
	if err != nil && context.Cause(ctx) == errGivenUp {
		return s.giveUp(m, begun, err)
	}
	return s.settle(sub, m, err)
}

// listOne sends the objects of one store in batches.
func listOne(ctx context.Context, store remote.Store, prefix string, i int, ch chan<- batch) error {
	var infos []remote.Info
	flush := func() error {
		if len(infos) == 0 {
			return nil
		}
		select {
		case ch <- batch{member: i, infos: infos}:
			infos = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for info, err := range store.List(ctx, prefix) {
		if err != nil {
			return errors.Join(err, flush())
		}
		if infos = append(infos, info); len(infos) == batchSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
