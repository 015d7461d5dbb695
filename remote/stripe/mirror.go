package stripe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/remote"
)

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

// Put copies an object to all members, waits for them as PutShards does, and succeeds if at least one acknowledged it; Degraded tells afterwards whether
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
	return s.write(ctx, 1, func(ctx context.Context, i int) error { return s.members[i].store.Put(ctx, name, data) })
}

// Delete removes an object from every member that can be reached. It is an error if one of those fails or refuses (remote.Refused), or if there
// is none.
func (s *Set) Delete(ctx context.Context, name string) error {
	_, err := s.DeleteAll(ctx, name)
	return err
}

// refusal is a deletion that a member does not allow. The member lacks nothing by that.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

func refused(err error) error {
	if remote.Refused(err) {
		return &refusal{err}
	}
	return err
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// DeleteAll is Delete that says on which members the object certainly is no more.
func (s *Set) DeleteAll(ctx context.Context, name string) (Result, error) {
	if err := remote.ValidName(name); err != nil {
		return s.none(err), err
	}
	res, err := s.write(ctx, 1, func(ctx context.Context, i int) error { return refused(s.members[i].store.Delete(ctx, name)) })
	if err != nil && !slices.ContainsFunc(res.Errs, isRefusal) {
		return res, err
	}
	for i, err := range res.Errs {
		if err != nil && s.members[i].store != nil && !unreachable(err) {
			return res, fmt.Errorf("delete %s: %w", name, err)
		}
	}
	return res, nil
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
