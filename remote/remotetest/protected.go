package remotetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"cairn/remote"
)

// Protected is a store that keeps versions and locks objects.
type Protected struct {
	remote.Store
	// Hide does to an object what another client's plain deletion does: it adds a marker.
	Hide func(ctx context.Context, name string) error
	// Clock is the store's, which Advance moves; nil: it has the real one.
	Clock   func() time.Time
	Advance func(d time.Duration)
}

func (s Protected) now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}

func (s Protected) governed(d time.Duration) remote.Retention {
	return remote.Retention{Until: s.now().Add(d), Mode: remote.Governance}
}

// after waits until a lock has passed, or until what comes now is later than a view of the time.
func (s Protected) after(t *testing.T, until time.Time) {
	t.Helper()
	d := until.Sub(s.now()) + 1100*time.Millisecond
	if s.Advance != nil {
		s.Advance(d)
		return
	}
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// RunProtected tests remote.Retainer, remote.Protector and remote.Historian, and how Delete behaves with them. Each test opens a store of
// its own, empty or below an empty prefix. With a real clock it takes about ten seconds, because locks and views count whole
// ones.
func RunProtected(t *testing.T, open func(t *testing.T) Protected) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Protected)
	}{
		{"Retain", testRetain},
		{"RetainMissing", testRetainMissing},
		{"LockedIsNotDeleted", testLockedIsNotDeleted},
		{"DeleteFreesAll", testDeleteFreesAll},
		{"DeleteAllLocked", testDeleteAllLocked},
		{"AsOf", testAsOf},
		{"AsOfReadOnly", testAsOfReadOnly},
		{"AsOfMany", testAsOfMany},
		{"Retaining", testRetaining},
		{"Protection", testProtection},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

func retainer(t *testing.T, s remote.Store) remote.Retainer {
	t.Helper()
	r, ok := remote.As[remote.Retainer](s)
	if !ok {
		t.Fatal("the store is no Retainer")
	}
	return r
}

// holds fails unless the lock of an object is the wanted one, to the second.
func holds(t *testing.T, r remote.Retainer, name string, want remote.Retention) {
	t.Helper()
	got, err := r.Retention(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if off := got.Until.Sub(want.Until); got.Mode != want.Mode || off < 0 || off >= time.Second {
		t.Errorf("lock of %s: %v, want %v", name, got, want)
	}
}

func testRetain(t *testing.T, s Protected) {
	r := retainer(t, s.Store)
	mustPut(t, s.Store, "dir/plain", []byte("x"))
	if got, err := r.Retention(t.Context(), "dir/plain"); err != nil || got.Until.After(s.now()) {
		t.Errorf("lock of an object that was put without: %v, %v", got, err)
	}
	first := s.governed(time.Hour)
	if err := r.PutRetained(t.Context(), "dir/a", []byte("one"), first); err != nil {
		t.Fatal(err)
	}
	if got := mustGet(t, s.Store, "dir/a"); string(got) != "one" {
		t.Errorf("locked object: %q", got)
	}
	holds(t, r, "dir/a", first)
	longer := s.governed(2 * time.Hour)
	for _, name := range []string{"dir/a", "dir/plain"} {
		for range 2 { // the same again is no error
			if err := r.Retain(t.Context(), name, longer); err != nil {
				t.Errorf("lock %s for longer: %v", name, err)
			}
		}
		holds(t, r, name, longer)
	}
	if err := r.Retain(t.Context(), "dir/a", first); err == nil {
		t.Error("a lock could be made shorter")
	}
	holds(t, r, "dir/a", longer)
	if err := r.PutRetained(t.Context(), "dir/b", nil, remote.Retention{Until: first.Until, Mode: "whim"}); err == nil {
		t.Error("an unknown mode is taken")
	}
}

func testRetainMissing(t *testing.T, s Protected) {
	r := retainer(t, s.Store)
	if err := r.Retain(t.Context(), "none", s.governed(time.Hour)); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("Retain of a missing object: %v", err)
	}
	if _, err := r.Retention(t.Context(), "none"); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("Retention of a missing object: %v", err)
	}
	mustPut(t, s.Store, "hidden", []byte("x"))
	if err := s.Hide(t.Context(), "hidden"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Retention(t.Context(), "hidden"); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("Retention of a hidden object: %v", err)
	}
	if _, err := s.Stat(t.Context(), "hidden"); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("Stat of a hidden object: %v", err)
	}
}

func testLockedIsNotDeleted(t *testing.T, s Protected) {
	r := retainer(t, s.Store)
	lock := s.governed(3 * time.Second)
	for _, name := range []string{"a", "covered"} {
		if err := r.PutRetained(t.Context(), name, []byte("kept"), lock); err != nil {
			t.Fatal(err)
		}
	}
	mustPut(t, s.Store, "covered", []byte("garbage"))
	for _, name := range []string{"a", "covered"} {
		if err := s.Delete(t.Context(), name); !errors.Is(err, remote.ErrLocked) || !remote.IsPermanent(err) || !remote.Refused(err) {
			t.Fatalf("delete of the locked %s: %v", name, err)
		}
		if got := list(t, s.Store, ""); !slices.Contains(got, name) {
			t.Errorf("after a refused deletion %s is hidden: %q", name, got)
		}
	}
	if got := mustGet(t, s.Store, "a"); string(got) != "kept" {
		t.Errorf("after a refused deletion: %q", got)
	}
	s.after(t, lock.Until)
	for _, name := range []string{"a", "covered"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("delete of %s after its lock has passed: %v", name, err)
		}
	}
	if got := list(t, s.Store, ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// testDeleteFreesAll: what was deleted is in no view any more, covered and hidden versions included.
func testDeleteFreesAll(t *testing.T, s Protected) {
	for i := range 3 {
		mustPut(t, s.Store, "x/a", []byte{byte(i)})
	}
	mustPut(t, s.Store, "x/ab", []byte("neighbour"))
	if err := s.Hide(t.Context(), "x/a"); err != nil {
		t.Fatal(err)
	}
	s.after(t, s.now())
	if err := s.Delete(t.Context(), "x/a"); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{s.now(), s.now().Add(-time.Second)} {
		if got := list(t, remote.AsOf(s.Store, at), ""); !slices.Equal(got, []string{"x/ab"}) {
			t.Errorf("as of %v: %q", at, got)
		}
	}
	for _, name := range []string{"x/a", "none"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("delete of what is gone: %v", err)
		}
	}
}

func testDeleteAllLocked(t *testing.T, s Protected) {
	if err := retainer(t, s.Store).PutRetained(t.Context(), "b", nil, s.governed(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "c"} {
		mustPut(t, s.Store, name, nil)
	}
	if err := remote.DeleteAll(t.Context(), s.Store, slices.Values([]string{"a", "b", "c", "none"})); !errors.Is(err, remote.ErrLocked) {
		t.Errorf("DeleteAll with a locked object: %v", err)
	}
	if got := list(t, s.Store, ""); !slices.Equal(got, []string{"b"}) {
		t.Errorf("left: %q", got)
	}
}

// testAsOf: what an attacker covered and hid is there in a view of the time before, and what came later is not.
func testAsOf(t *testing.T, s Protected) {
	at := map[string]time.Time{"nothing": s.now().Add(-2 * time.Second)}
	step := func(name string) {
		at[name] = s.now()
		s.after(t, at[name])
	}
	for _, name := range []string{"d/kept", "d/covered", "d/hidden", "d/both"} {
		mustPut(t, s.Store, name, []byte("good "+name))
	}
	step("good")
	mustPut(t, s.Store, "d/covered", []byte("garbage that is longer"))
	mustPut(t, s.Store, "d/both", []byte("garbage"))
	for _, name := range []string{"d/hidden", "d/both"} {
		if err := s.Hide(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	mustPut(t, s.Store, "d/later", []byte("later"))
	step("attacked")
	mustPut(t, s.Store, "d/hidden", []byte("again"))
	step("again")
	for name, want := range map[string]map[string]string{
		"nothing":  {},
		"good":     {"d/kept": "good d/kept", "d/covered": "good d/covered", "d/hidden": "good d/hidden", "d/both": "good d/both"},
		"attacked": {"d/kept": "good d/kept", "d/covered": "garbage that is longer", "d/later": "later"},
		"again":    {"d/kept": "good d/kept", "d/covered": "garbage that is longer", "d/later": "later", "d/hidden": "again"},
	} {
		sees(t, name, remote.AsOf(s.Store, at[name]), want)
	}
}

// sees fails unless all ways to look at a view show the wanted objects.
func sees(t *testing.T, what string, view remote.Store, want map[string]string) {
	t.Helper()
	names := []string{}
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	for range 2 { // a view may remember what it found
		for _, name := range []string{"d/kept", "d/covered", "d/hidden", "d/both", "d/later", "d"} {
			content, there := want[name]
			got, err := view.Get(t.Context(), name, 0, -1, nil)
			info, statErr := view.Stat(t.Context(), name)
			part, partErr := view.Get(t.Context(), name, -3, 0, nil)
			if !there {
				if !errors.Is(err, remote.ErrNotExist) || !errors.Is(statErr, remote.ErrNotExist) || !errors.Is(partErr, remote.ErrNotExist) {
					t.Errorf("%s: %s: %q, %v, %v, %v; want nothing", what, name, got, err, statErr, partErr)
				}
				continue
			}
			if err != nil || statErr != nil || partErr != nil || string(got) != content || info.Size != int64(len(content)) ||
				info.Name != name || string(part) != content[len(content)-3:] {
				t.Errorf("%s: %s: %q, %v; %+v, %v; %q, %v; want %q", what, name, got, err, info, statErr, part, partErr, content)
			}
		}
		if got := list(t, view, "d/"); !slices.Equal(got, names) {
			t.Errorf("%s: listed %q, want %q", what, got, names)
		}
	}
}

func testAsOfReadOnly(t *testing.T, s Protected) {
	mustPut(t, s.Store, "a", []byte("x"))
	view := remote.AsOf(s.Store, s.now().Add(time.Minute))
	if err := view.Put(t.Context(), "a", []byte("y")); !errors.Is(err, fs.ErrPermission) || !remote.IsPermanent(err) || remote.Hint(err) == "" {
		t.Errorf("Put to a view: %v", err)
	}
	if err := view.Delete(t.Context(), "a"); !errors.Is(err, fs.ErrPermission) || !remote.IsPermanent(err) {
		t.Errorf("Delete in a view: %v", err)
	}
	if got := mustGet(t, view, "a"); string(got) != "x" {
		t.Errorf("after that: %q", got)
	}
	for _, name := range []string{"", "../up"} {
		if _, err := view.Get(t.Context(), name, 0, -1, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Get(%q) of a view: %v", name, err)
		}
	}
	for _, err := range view.List(t.Context(), "x") {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("List of an invalid prefix: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := view.Get(ctx, "a", 0, -1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Get when canceled: %v", err)
	}
}

// testAsOfMany: listings of a view have pages as well, also when every object has several versions.
func testAsOfMany(t *testing.T, s Protected) {
	want := []string{}
	for i := range 25 {
		name := fmt.Sprintf("m/%02d", i)
		want = append(want, name)
		for v := range 1 + i%4 {
			mustPut(t, s.Store, name, []byte{byte(v)})
		}
	}
	at := s.now()
	s.after(t, at)
	for _, name := range want {
		if err := s.Hide(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(t, s.Store, ""); len(got) > 0 {
		t.Errorf("not hidden: %q", got)
	}
	view := remote.AsOf(s.Store, at)
	if got := list(t, view, "m/"); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	for i, name := range want {
		if got := mustGet(t, view, name); len(got) != 1 || int(got[0]) != i%4 {
			t.Errorf("%s: %v, want the newest version, %d", name, got, i%4)
		}
	}
}

func testRetaining(t *testing.T, s Protected) {
	exempt := func(name string) bool { return name == "free" }
	p := remote.Policy{Period: time.Hour, Mode: remote.Governance, Exempt: exempt, Now: s.now}
	kept := remote.Retaining(s.Store, p)
	mustPut(t, kept, "locked", []byte("x"))
	mustPut(t, kept, "free", []byte("x"))
	want := s.governed(time.Hour)
	want.Until = want.Until.Add(-10 * time.Second) // what the requests took
	got, err := retainer(t, kept).Retention(t.Context(), "locked")
	if err != nil || got.Until.Before(want.Until) || got.Mode != want.Mode {
		t.Errorf("lock by policy: %v, %v", got, err)
	}
	if err := kept.Delete(t.Context(), "locked"); !errors.Is(err, remote.ErrLocked) {
		t.Errorf("delete of what the policy locked: %v", err)
	}
	if err := kept.Delete(t.Context(), "free"); err != nil {
		t.Errorf("delete of what it exempts: %v", err)
	}
	if n, ok := remote.As[remote.NewPutter](kept); ok {
		switch err := n.PutNew(t.Context(), "new", []byte("x")); {
		case errors.Is(err, errors.ErrUnsupported):
		case err != nil:
			t.Errorf("PutNew: %v", err)
		default:
			if got, err := retainer(t, kept).Retention(t.Context(), "new"); err != nil || got.Until.Before(want.Until) {
				t.Errorf("lock of what is new: %v, %v", got, err)
			}
		}
	}
}

func testProtection(t *testing.T, s Protected) {
	p, ok := remote.As[remote.Protector](s.Store)
	if !ok {
		t.Fatal("the store is no Protector")
	}
	if got, err := p.Protection(t.Context()); err != nil || got.Versions != remote.Yes || got.Locks != remote.Yes || len(got.Doubts) > 0 {
		t.Errorf("Protection: %+v, %v", got, err)
	}
}
