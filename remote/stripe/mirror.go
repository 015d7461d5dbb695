package stripe

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cairn/remote"
)

// MaxVerified is the largest object that GetVerified reads: more than anything that is mirrored
// (docs/format.md §10: 64 MiB for a snapshot).
const MaxVerified = 64<<20 + 4096

// Result says which members took a write. Both slices are indexed by member, in layout order.
type Result struct {
	Acked []bool
	Errs  []error // nil where Acked
}

// Count returns how many members acknowledged.
func (r Result) Count() int {
	n := 0
	for _, ok := range r.Acked {
		if ok {
			n++
		}
	}
	return n
}

// Full says whether every member acknowledged.
func (r Result) Full() bool { return r.Count() == len(r.Acked) }

// Put copies an object to all members and succeeds if at least one acknowledged it; Degraded tells afterwards whether
// one did not. With none it is a *TooFewError.
func (s *Set) Put(ctx context.Context, name string, data []byte) error {
	_, err := s.PutAll(ctx, name, data)
	return err
}

// PutAll is Put that says which members have the object.
func (s *Set) PutAll(ctx context.Context, name string, data []byte) (Result, error) {
	if err := remote.ValidName(name); err != nil {
		return s.none(err), err
	}
	return s.write(ctx, 1, func(i int) error { return s.members[i].store.Put(ctx, name, data) })
}

// Delete removes an object from every member that can be reached. It is an error if one of those fails, or if there is none.
func (s *Set) Delete(ctx context.Context, name string) error {
	_, err := s.DeleteAll(ctx, name)
	return err
}

// DeleteAll is Delete that says on which members the object certainly is no more.
func (s *Set) DeleteAll(ctx context.Context, name string) (Result, error) {
	if err := remote.ValidName(name); err != nil {
		return s.none(err), err
	}
	res, err := s.write(ctx, 1, func(i int) error { return s.members[i].store.Delete(ctx, name) })
	if err != nil {
		return res, err
	}
	for i, err := range res.Errs {
		if err != nil && s.members[i].store != nil && !unreachable(err) {
			return res, fmt.Errorf("delete %s: %w", name, err)
		}
	}
	return res, nil
}

// write calls do for all members at once. Benched members are called only if fewer than need others acknowledge. Which
// members did not is in the result and remembered.
func (s *Set) write(ctx context.Context, need int, do func(i int) error) (Result, error) {
	if err := ctx.Err(); err != nil {
		return s.none(err), err
	}
	now, later, res := s.lineup()
	s.each(ctx, now, res, do)
	if res.Count() < need && len(later) > 0 {
		s.each(ctx, later, res, do)
	}
	if err := ctx.Err(); err != nil && !res.Full() {
		return res, err
	}
	for i, m := range s.members {
		if !res.Acked[i] && m.store != nil {
			m.setBehind(res.Errs[i])
		}
	}
	if res.Count() < need {
		return res, s.tooFew(need, res)
	}
	return res, nil
}

// each calls do for the given members at once and waits for all.
func (s *Set) each(ctx context.Context, members []int, res Result, do func(i int) error) {
	one := func(i int) {
		err := s.settle(ctx, s.members[i], do(i))
		res.Acked[i], res.Errs[i] = err == nil, err
	}
	if len(members) == 1 { // the default archive: one directory, no goroutine
		one(members[0])
		return
	}
	var wg sync.WaitGroup
	for _, i := range members {
		wg.Go(func() { one(i) })
	}
	wg.Wait()
}

// lineup returns the members to ask now, those to ask only if needed, and a result that says why the others are not asked.
func (s *Set) lineup() (now, later []int, res Result) {
	res = Result{make([]bool, len(s.members)), make([]error, len(s.members))}
	for i, m := range s.members {
		switch {
		case m.store == nil:
			res.Errs[i] = fmt.Errorf("%s: %w", m.label, m.missed)
		case s.onBench(m):
			later = append(later, i)
			res.Errs[i] = m.benchedError()
		default:
			now = append(now, i)
		}
	}
	return now, later, res
}

func (m *member) benchedError() error {
	cause := m.trouble()
	if cause == nil {
		cause = errors.New("did not answer")
	}
	return fmt.Errorf("%s: %w, not asked again for now: %w", m.label, remote.ErrUnavailable, cause)
}

func (s *Set) none(err error) Result {
	res := Result{make([]bool, len(s.members)), make([]error, len(s.members))}
	for i := range res.Errs {
		res.Errs[i] = err
	}
	return res
}

func (s *Set) tooFew(need int, res Result) *TooFewError {
	e := &TooFewError{Need: need, Have: res.Count()}
	for i, err := range res.Errs {
		if err != nil {
			e.Missing = append(e.Missing, s.members[i].label)
			e.Causes = append(e.Causes, err)
		}
	}
	return e
}

// Get reads a range from the first member that answers well. It is ErrNotExist only if no member has the object and at
// least one says so; a member that has it but fails is passed over.
func (s *Set) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	return first(ctx, s, name, func(m remote.Store) ([]byte, error) { return m.Get(ctx, name, off, n, dst) })
}

// Stat asks as Get does.
func (s *Set) Stat(ctx context.Context, name string) (remote.Info, error) {
	return first(ctx, s, name, func(m remote.Store) (remote.Info, error) { return m.Stat(ctx, name) })
}

// GetVerified reads a whole mirrored object of at most MaxVerified bytes from the first member whose copy passes
// verify. Its errors are Get's, or verify's if there are copies and none is good.
func (s *Set) GetVerified(ctx context.Context, name string, verify func([]byte) error) ([]byte, error) {
	return first(ctx, s, name, func(m remote.Store) ([]byte, error) {
		data, err := remote.ReadAll(ctx, m, name, MaxVerified)
		if err == nil {
			err = verify(data)
		}
		return data, err
	})
}

// first asks one member after the other, benched ones last and only if no other knew.
func first[T any](ctx context.Context, s *Set, name string, ask func(remote.Store) (T, error)) (T, error) {
	var zero T
	if err := remote.ValidName(name); err != nil {
		return zero, err
	}
	now, later, res := s.lineup()
	for _, group := range [][]int{now, later} {
		for _, i := range group {
			v, err := ask(s.members[i].store)
			if err = s.settle(ctx, s.members[i], err); err == nil {
				return v, nil
			}
			if ctx.Err() != nil {
				return zero, ctx.Err()
			}
			res.Errs[i] = err
		}
		if err := s.verdict(name, res.Errs); errors.Is(err, remote.ErrNotExist) {
			return zero, err
		}
	}
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	return zero, s.verdict(name, res.Errs)
}

// verdict makes one error of what all members said about a mirrored object.
func (s *Set) verdict(name string, errs []error) error {
	var missing, other error
	for i, err := range errs {
		switch {
		case errors.Is(err, remote.ErrNotExist):
			missing = err
		case s.members[i].store != nil && !unreachable(err) && other == nil:
			other = err
		}
	}
	switch {
	case other != nil:
		return fmt.Errorf("object %s: %w", name, other)
	case missing != nil:
		return fmt.Errorf("object %s: %w", name, missing)
	}
	return s.tooFew(1, Result{make([]bool, len(errs)), errs})
}
