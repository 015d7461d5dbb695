package stripe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/reedsolomon"

	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/remote/remotetest"
)

// rig is a Set over n faulty memory stores.
type rig struct {
	*Set
	mems   []*mem.Store
	faults []*fault.Store
	events []Event
}

func newRig(n int) *rig { return newRigOf(n, Options{}) }

func newRigOf(n int, o Options) *rig {
	r := &rig{}
	o.Reconstruct = reconstruct
	o.Event = func(e Event) { r.events = append(r.events, e) }
	var members []remote.Store
	var labels []string
	for i := range n {
		m := mem.New()
		f := fault.New(m)
		r.mems, r.faults = append(r.mems, m), append(r.faults, f)
		members, labels = append(members, f), append(labels, fmt.Sprintf("disk%d", i))
	}
	r.Set = New(members, labels, o)
	return r
}

// reconstruct is what pack.Reconstruct does, without its cache.
func reconstruct(k, m int, cols [][]byte, want []int) error {
	if m == 0 {
		return errors.New("no parity")
	}
	enc, err := reedsolomon.New(k, m)
	if err != nil {
		return err
	}
	required := make([]bool, k+m)
	for _, j := range want {
		required[j] = true
	}
	return enc.ReconstructSome(cols, required)
}

var errDown = fmt.Errorf("dial: %w", syscall.ECONNREFUSED)

func (r *rig) down(members ...int) {
	for _, i := range members {
		r.faults[i].Set(fault.Rule{Err: errDown})
	}
}

func TestStore(t *testing.T) {
	for _, n := range []int{1, 3, 6} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			remotetest.Run(t, func(*testing.T) remote.Store { return newRig(n).Set })
		})
	}
}

// TestStoreDegraded: a Set with members that are missing, or failing all the time, is still a Store.
func TestStoreDegraded(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Store {
		r := newRig(4)
		r.down(0)
		return New([]remote.Store{r.faults[0], nil, r.mems[2], Missing(errDown)}, nil, Options{})
	})
}

func TestMembers(t *testing.T) {
	t.Parallel()
	s := New([]remote.Store{mem.New(), nil, Missing(errDown)}, []string{"/a", "", "/c"}, Options{})
	got := s.Members()
	if got[0].Label != "/a" || got[0].Store == nil || got[0].Err != nil {
		t.Errorf("good member: %+v", got[0])
	}
	if got[1].Label != "member 1" || got[1].Store != nil || got[1].Err == nil {
		t.Errorf("nil member: %+v", got[1])
	}
	if got[2].Store != nil || got[2].Err != errDown {
		t.Errorf("missing member: %+v", got[2])
	}
	if d := s.Degraded(); !slices.Equal(d, []string{"member 1", "/c"}) {
		t.Errorf("Degraded: %q", d)
	}
}

// TestSelect: a Set of some members, in another order, shares what is known of them.
func TestSelect(t *testing.T) {
	t.Parallel()
	r := newRig(4)
	view := r.Select([]int{3, 1})
	must(t, view.Put(t.Context(), "a", []byte("x")))
	for i, want := range []bool{false, true, false, true} {
		if _, err := r.mems[i].Stat(t.Context(), "a"); (err == nil) != want {
			t.Errorf("member %d: %v", i, err)
		}
	}
	r.down(3)
	must(t, view.Put(t.Context(), "b", nil))
	if d := r.Degraded(); !slices.Equal(d, []string{"disk3"}) || view.Members()[0].Label != "disk3" {
		t.Errorf("Degraded of the other Set: %q", d)
	}
}

func TestMirrorPut(t *testing.T) {
	t.Parallel()
	r := newRig(3)
	res, err := r.PutAll(t.Context(), "keys/a", []byte("one"))
	if err != nil || !res.Full() || len(r.Degraded()) != 0 {
		t.Fatalf("PutAll: %+v, %v, degraded %q", res, err, r.Degraded())
	}
	r.faults[1].Set(fault.Rule{Op: fault.Put, Err: syscall.ENOSPC})
	res, err = r.PutAll(t.Context(), "keys/b", []byte("two"))
	if err != nil || res.Count() != 2 || res.Acked[1] || !errors.Is(res.Errs[1], syscall.ENOSPC) || !strings.Contains(res.Errs[1].Error(), "disk1") {
		t.Errorf("PutAll with one full: %+v, %v", res, err)
	}
	if d := r.Degraded(); !slices.Equal(d, []string{"disk1"}) || r.Members()[1].Err == nil {
		t.Errorf("Degraded: %q, %v", d, r.Members()[1].Err)
	}
	for i, want := range []bool{true, false, true} {
		if _, err := r.mems[i].Stat(t.Context(), "keys/b"); (err == nil) != want {
			t.Errorf("member %d: %v", i, err)
		}
	}
	r.down(0, 1, 2)
	err = r.Put(t.Context(), "keys/c", nil)
	var few *TooFewError
	if !errors.As(err, &few) || !errors.Is(err, ErrTooFew) || few.Need != 1 || few.Have != 0 || len(few.Missing) != 3 {
		t.Errorf("Put with none: %v", err)
	}
	for _, label := range []string{"disk0", "disk1", "disk2"} {
		if !strings.Contains(err.Error(), label) || !strings.Contains(remote.Hint(err), label) {
			t.Errorf("%s is not named: %v; hint %q", label, err, remote.Hint(err))
		}
	}
}

func TestMirrorGet(t *testing.T) {
	t.Parallel()
	r := newRig(3)
	get := func() (string, error) {
		b, err := r.Get(t.Context(), "a", 0, -1, nil)
		return string(b), err
	}
	must(t, r.mems[2].Put(t.Context(), "a", []byte("third")))
	if got, err := get(); got != "third" || err != nil {
		t.Errorf("only the third has it: %q, %v", got, err)
	}
	must(t, r.mems[1].Put(t.Context(), "a", []byte("second")))
	r.faults[1].Set(fault.Rule{Op: fault.Get, Err: syscall.EIO})
	if got, err := get(); got != "third" || err != nil {
		t.Errorf("the second fails: %q, %v", got, err)
	}
	must(t, r.mems[2].Delete(t.Context(), "a"))
	if _, err := get(); !errors.Is(err, syscall.EIO) || errors.Is(err, remote.ErrNotExist) {
		t.Errorf("the one that has it fails: %v", err)
	}
	r.down(1)
	if _, err := get(); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("all that are reachable say no: %v", err)
	}
	r.down(0, 2)
	if _, err := get(); !errors.Is(err, ErrTooFew) || errors.Is(err, remote.ErrNotExist) {
		t.Errorf("none reachable: %v", err)
	}
}

func TestGetVerified(t *testing.T) {
	t.Parallel()
	r := newRig(3)
	errBad := errors.New("wrong hash")
	verify := func(b []byte) error {
		if string(b) != "good" {
			return errBad
		}
		return nil
	}
	for i, content := range []string{"bad", "good", "good"} {
		must(t, r.mems[i].Put(t.Context(), "a", []byte(content)))
	}
	r.down(1)
	if b, err := r.GetVerified(t.Context(), "a", verify); err != nil || string(b) != "good" {
		t.Errorf("one bad, one down, one good: %q, %v", b, err)
	}
	must(t, r.mems[2].Delete(t.Context(), "a"))
	if _, err := r.GetVerified(t.Context(), "a", verify); !errors.Is(err, errBad) || !strings.Contains(err.Error(), "disk0") {
		t.Errorf("one bad, one down, one without: %v", err)
	}
	if _, err := r.GetVerified(t.Context(), "b", verify); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("none has it: %v", err)
	}
}

func TestMirrorList(t *testing.T) {
	t.Parallel()
	r := newRig(3)
	for i, names := range [][]string{{"k/a", "k/b"}, {"k/b", "k/c"}, {"k/d", "x"}} {
		for _, name := range names {
			must(t, r.mems[i].Put(t.Context(), name, nil))
		}
	}
	listed := func() (string, error) {
		var names []string
		for info, err := range r.List(t.Context(), "k/") {
			if err != nil {
				return "", err
			}
			names = append(names, info.Name)
		}
		slices.Sort(names)
		return strings.Join(names, " "), nil
	}
	if got, err := listed(); got != "k/a k/b k/c k/d" || err != nil {
		t.Errorf("List: %s, %v", got, err)
	}
	var each []string
	errs, err := r.ListEach(t.Context(), "k/", func(member int, info remote.Info) error {
		each = append(each, fmt.Sprint(member, info.Name))
		return nil
	})
	slices.Sort(each)
	if want := []string{"0k/a", "0k/b", "1k/b", "1k/c", "2k/d"}; err != nil || errors.Join(errs...) != nil || !slices.Equal(each, want) {
		t.Errorf("ListEach: %q, %v, %v", each, errs, err)
	}
	r.faults[1].Set(fault.Rule{Op: fault.List, Do: fault.Lose}) // breaks off after one object
	r.down(2)
	errs, err = r.ListAll(t.Context(), "k/", func(remote.Info) error { return nil })
	if err != nil || errs[0] != nil || errs[1] == nil || errs[2] == nil {
		t.Errorf("ListAll with two failing: %v, %v", errs, err)
	}
	if _, err := listed(); err != nil {
		t.Errorf("List with two failing: %v", err)
	}
	r.down(0)
	if _, err := listed(); !errors.Is(err, ErrTooFew) {
		t.Errorf("List with all failing: %v", err)
	}
	stop := errors.New("enough")
	if _, err := newRigWith(t, 2, 1000).ListEach(t.Context(), "", func(int, remote.Info) error { return stop }); err != stop {
		t.Errorf("error of fn: %v", err)
	}
}

func newRigWith(t *testing.T, n, objects int) *rig {
	r := newRig(n)
	for i := range objects {
		must(t, r.Put(t.Context(), fmt.Sprint("o/", i), nil))
	}
	return r
}

func TestMirrorDelete(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, 3, 1)
	r.down(2)
	if err := r.Delete(t.Context(), "o/0"); err != nil {
		t.Errorf("one unreachable: %v", err)
	}
	if d := r.Degraded(); !slices.Equal(d, []string{"disk2"}) {
		t.Errorf("Degraded: %q", d)
	}
	r.faults[1].Set(fault.Rule{Op: fault.Delete, Err: fs.ErrPermission})
	res, err := r.DeleteAll(t.Context(), "o/0")
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "disk1") || !res.Acked[0] || res.Acked[1] {
		t.Errorf("one refuses: %+v, %v", res, err)
	}
	r.down(0, 1)
	if err := r.Delete(t.Context(), "o/0"); !errors.Is(err, ErrTooFew) {
		t.Errorf("none reachable: %v", err)
	}
}

// TestBench: an unreachable member is asked once, then left alone for a while, but asked when nobody else is left.
func TestBench(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, 3, 5)
	r.down(0)
	before := r.faults[0].Count(fault.Any)
	for i := range 5 {
		if _, err := r.Stat(t.Context(), fmt.Sprint("o/", i)); err != nil {
			t.Error(err)
		}
	}
	if n := r.faults[0].Count(fault.Any) - before; n != 1 {
		t.Errorf("a dead member was asked %d times, want once", n)
	}
	if err := r.Members()[0].Err; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Err of the benched member: %v", err)
	}
	r.faults[0].Set() // it is back, but nobody knows
	r.down(1, 2)
	if _, err := r.Stat(t.Context(), "o/0"); err != nil {
		t.Errorf("only the benched member is left: %v", err)
	}
	if err := r.Members()[0].Err; err != nil {
		t.Errorf("Err of a member that recovered: %v", err)
	}
	res, _ := r.PutAll(t.Context(), "o/y", nil)
	if !errors.Is(res.Errs[2], remote.ErrUnavailable) || !errors.Is(res.Errs[2], syscall.ECONNREFUSED) {
		t.Errorf("error of a benched member: %v", res.Errs[2])
	}
}

// TestCanceledSaysNothing: a caller that gives up does not bench a member.
func TestCanceledSaysNothing(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, 2, 1)
	r.faults[0].Set(fault.Rule{Do: fault.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := r.Put(ctx, "a", nil); err != context.DeadlineExceeded {
		t.Errorf("Put: %v", err)
	}
	if _, err := r.Get(ctx, "a", 0, -1, nil); err != context.DeadlineExceeded {
		t.Errorf("Get: %v", err)
	}
	r.faults[0].Set()
	if res, err := r.PutAll(t.Context(), "b", nil); err != nil || !res.Full() {
		t.Errorf("afterwards: %+v, %v", res, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		errDown: true, remote.ErrUnavailable: true, syscall.ESTALE: true, syscall.ETIMEDOUT: true,
		syscall.ENOSPC: false, syscall.EACCES: false, syscall.EIO: false, remote.ErrNotExist: false, errors.New("x"): false, fs.ErrPermission: false,
	} {
		if got := unreachable(fmt.Errorf("get: %w", err)); got != want {
			t.Errorf("unreachable(%v) = %v", err, got)
		}
	}
}
