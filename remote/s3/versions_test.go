package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"cairn/remote"
	"cairn/remote/remotetest"
)

// hide deletes an object as a client does that knows nothing of versions.
func hide(s *Store) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		return s.client.RemoveObject(ctx, s.o.Bucket, s.prefix+name, minio.RemoveObjectOptions{})
	}
}

// TestProtected: versions and locks as Amazon documents them, with small pages, with answers that do not say why, and with keys that may
// not ask about the bucket.
func TestProtected(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*history, *Store){
		"plain": func(*history, *Store) {},
		"pages": func(_ *history, s *Store) { s.page = 3 },
		"mute":  func(h *history, _ *Store) { h.mute = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remotetest.RunProtected(t, func(t *testing.T) remotetest.Protected {
				f, h := keepHistory(t, nil)
				s := f.open(t)
				change(h, s)
				var off atomic.Int64
				h.clock = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
				return remotetest.Protected{Store: s, Hide: hide(s), Clock: h.clock, Advance: func(d time.Duration) { off.Add(int64(d)) }}
			})
		})
	}
}

// TestDeleteRequests: what a deletion costs where versions are kept, and that nothing but the object's own versions goes.
func TestDeleteRequests(t *testing.T) {
	t.Parallel()
	f, h := keepHistory(t, nil)
	s := f.open(t)
	for _, name := range []string{"a", "a", "ab", "b"} {
		if err := s.Put(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	f.log()
	for _, name := range []string{"a", "b", "none"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"GET ", "GET ", "DELETE p/q/a", "DELETE p/q/a", "GET ", "DELETE p/q/b", "GET "} // versioning; versions and DELETEs
	if d := cmp.Diff(want, f.log()); d != "" {
		t.Errorf("requests: -want +got\n%s", d)
	}
	if len(h.versions) != 1 || len(h.versions["p/q/ab"]) != 1 {
		t.Errorf("left: %v", h.versions)
	}
}

// TestManyVersions: an attacker may have stored an object any number of times.
func TestManyVersions(t *testing.T) {
	t.Parallel()
	f, h := keepHistory(t, nil)
	s := f.open(t)
	s.page = 10
	then := time.Now().Add(-time.Hour)
	h.clock = func() time.Time { return then }
	h.add("p/q/a", &fakeVersion{fakeObject: fakeObject{data: []byte("good")}})
	h.add("p/q/b", &fakeVersion{fakeObject: fakeObject{data: []byte("good b")}})
	h.clock = time.Now
	for range 57 {
		h.add("p/q/a", &fakeVersion{fakeObject: fakeObject{data: []byte("garbage")}})
		h.add("p/q/a", &fakeVersion{marker: true})
	}
	view := s.AsOf(then.Add(time.Minute))
	var names []string
	for info, err := range view.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(info.Name, " ", info.Size))
	}
	if d := cmp.Diff([]string{"a 4", "b 6"}, names); d != "" {
		t.Errorf("listed: -want +got\n%s", d)
	}
	if got, err := view.Get(t.Context(), "a", 0, -1, nil); err != nil || string(got) != "good" {
		t.Errorf("a: %q, %v", got, err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if len(h.versions["p/q/a"]) > 0 {
		t.Errorf("%d versions are left", len(h.versions["p/q/a"]))
	}
}

// TestLockedStaysSeen: a deletion that a lock forbids adds no marker, and removes none.
func TestLockedStaysSeen(t *testing.T) {
	t.Parallel()
	for _, mute := range []bool{false, true} {
		f, h := keepHistory(t, nil)
		h.mute = mute
		s := f.open(t)
		if err := s.PutRetained(t.Context(), "a", []byte("x"), remote.Retention{Until: time.Now().Add(time.Hour), Mode: remote.Compliance}); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "a"); !errors.Is(err, remote.ErrLocked) || remote.Hint(err) == "" && !mute {
			t.Errorf("delete: %v, hint %q", err, remote.Hint(err))
		}
		if got := listNames(t, s, ""); !slices.Equal(got, []string{"a"}) {
			t.Errorf("listed: %q", got)
		}
		if err := hide(s)(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "a"); !errors.Is(err, remote.ErrLocked) {
			t.Errorf("delete of what is hidden and locked: %v", err)
		}
		if got := listNames(t, s, ""); len(got) > 0 {
			t.Errorf("a refused deletion brought %q back to light", got)
		}
	}
}

// TestDeleteDenied: keys that may not delete are told apart from locks, and need not be able to ask anything.
func TestDeleteDenied(t *testing.T) {
	t.Parallel()
	for _, denied := range []string{"delete", "delete ask", "delete ask versions"} {
		f, h := keepHistory(t, nil)
		h.denied = denied
		s := f.open(t)
		if err := s.Put(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		err := s.Delete(t.Context(), "a")
		if !remote.Refused(err) || errors.Is(err, remote.ErrLocked) || errors.Is(err, remote.ErrUnavailable) || !strings.Contains(remote.Hint(err), "s3:DeleteObject") {
			t.Errorf("keys without %s: %v; hint %q", denied, err, remote.Hint(err))
		}
		if err := s.PutNew(t.Context(), "new", nil); err != nil { // whose probe cannot be removed
			t.Errorf("keys without %s: PutNew: %v", denied, err)
		}
	}
}

// TestDefaultRetention: a bucket with a default retention takes no object without an MD5.
func TestDefaultRetention(t *testing.T) {
	t.Parallel()
	f, h := keepHistory(t, nil)
	h.standard = "30"
	s := f.open(t)
	for range 2 {
		if err := s.Put(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"PUT p/q/a", "PUT p/q/a", "PUT p/q/a"}, f.log()); d != "" { // refused once only
		t.Errorf("requests: -want +got\n%s", d)
	}
	got, err := s.Protection(t.Context())
	want := remote.Protection{Versions: remote.Yes, Locks: remote.Yes, Default: 30 * 24 * time.Hour, Mode: remote.Governance}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v; -want +got\n%s", err, d)
	}
}

// TestNoLocks: a bucket without object lock takes nothing that must be locked, says what to do, and has no locks to tell of.
func TestNoLocks(t *testing.T) {
	t.Parallel()
	lock := remote.Retention{Until: time.Now().Add(time.Hour), Mode: remote.Governance}
	for _, versions := range []bool{true, false} {
		f, h := keepHistory(t, nil)
		h.lock = false
		if !versions {
			f.past = nil
		}
		s := f.open(t)
		got, err := s.Protection(t.Context())
		want := remote.Protection{Versions: remote.No, Locks: remote.No}
		if versions {
			want.Versions = remote.Yes
		}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%v; -want +got\n%s", err, d)
		}
		if !versions {
			for _, err := range s.AsOf(time.Now()).List(t.Context(), "") {
				if !errors.Is(err, remote.ErrNoHistory) || !errors.Is(err, remote.ErrUnavailable) || remote.Hint(err) == "" {
					t.Errorf("view of a bucket without versions: %v", err)
				}
			}
			continue
		}
		if err := s.PutRetained(t.Context(), "a", []byte("x"), lock); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(remote.Hint(err), "object-lock-enabled") {
			t.Errorf("put locked: %v, hint %q", err, remote.Hint(err))
		}
		if err := s.Put(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.Retain(t.Context(), "a", lock); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("lock: %v", err)
		}
		if got, err := s.Retention(t.Context(), "a"); err != nil || !got.Until.IsZero() {
			t.Errorf("lock of: %v, %v", got, err)
		}
	}
}

// TestProtectionUnknown: what cannot be found out is said, and no error.
func TestProtectionUnknown(t *testing.T) {
	t.Parallel()
	f, h := keepHistory(t, nil)
	h.denied = "ask"
	got, err := f.open(t).Protection(t.Context())
	if err != nil || got.Versions != remote.Unknown || got.Locks != remote.Unknown || len(got.Doubts) != 2 || !strings.Contains(got.Doubts[0], "s3:GetBucketVersioning") {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.open(t, func(o *Options) { o.Bucket = "nosuchbucket" }).Protection(t.Context()); !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("of a bucket that is not there: %v", err)
	}
}

// TestAsOfRequests: what is still the newest version costs a view one request, as ever.
func TestAsOfRequests(t *testing.T) {
	t.Parallel()
	f, h := keepHistory(t, nil)
	s := f.open(t)
	then := time.Now().Add(-time.Hour)
	h.clock = func() time.Time { return then }
	for _, name := range []string{"kept", "covered"} {
		if err := s.Put(t.Context(), name, []byte("good")); err != nil {
			t.Fatal(err)
		}
	}
	h.clock = time.Now
	if err := s.Put(t.Context(), "covered", []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	f.log()
	view := s.AsOf(then.Add(time.Minute))
	for _, name := range []string{"kept", "kept", "covered", "covered"} {
		if got, err := view.Get(t.Context(), name, 0, 4, nil); err != nil || string(got) != "good" {
			t.Fatalf("%s: %q, %v", name, got, err)
		}
	}
	const r = " bytes=0-3"
	want := []string{"GET ", "GET p/q/kept" + r, "GET p/q/kept" + r, "GET p/q/covered" + r, "GET ", "GET p/q/covered" + r, "GET p/q/covered" + r}
	if d := cmp.Diff(want, f.log()); d != "" {
		t.Errorf("requests: -want +got\n%s", d)
	}
}
