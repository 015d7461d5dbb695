package s3

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/remote"
	"cairn/remote/remotetest"
)

func TestStore(t *testing.T) {
	remotetest.Run(t, func(t *testing.T) remote.Store { return newFake(t, nil).open(t) })
}

// TestStoreSmallPages: a server whose pages are smaller than what is asked for.
func TestStoreSmallPages(t *testing.T) {
	remotetest.Run(t, func(t *testing.T) remote.Store {
		f := newFake(t, nil)
		f.page = 70
		return f.open(t, func(o *Options) { o.Prefix = "" })
	})
}

// TestHeaders: the hash of the content is signed, nothing is sent in pieces, and only packs have a storage class.
func TestHeaders(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil) // refuses another hash than the content's
	s := f.open(t, func(o *Options) { o.StorageClass = "STANDARD_IA" })
	pack := remote.PairTree("binaries", strings.Repeat("ab", 32))
	for name, class := range map[string]string{
		pack: "STANDARD_IA", "m03/" + pack: "STANDARD_IA", remote.PairTree("index", strings.Repeat("ab", 32)): "", "cairn.json": "", "snapshots/x": "",
	} {
		sizes := []int{0, 1}
		if name == pack {
			sizes = append(sizes, 17<<20) // which the library would send in parts, if it were left to it
		}
		for _, size := range sizes {
			data := make([]byte, size)
			if err := s.Put(t.Context(), name, data); err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			if len(f.requests) != 1 {
				t.Errorf("%d requests for one Put", len(f.requests))
			}
			r := f.requests[0]
			f.requests = nil
			f.mu.Unlock()
			if r.Method != http.MethodPut || r.URL.RawQuery != "" || r.ContentLength != int64(len(data)) || len(r.TransferEncoding) > 0 || len(r.Trailer) > 0 {
				t.Errorf("%s %s: %d bytes, %v, trailers %v", r.Method, r.URL, r.ContentLength, r.TransferEncoding, r.Trailer)
			}
			for key := range r.Header {
				if k := strings.ToLower(key); strings.Contains(k, "trailer") || strings.Contains(k, "checksum") || k == "x-amz-decoded-content-length" {
					t.Errorf("header %s", key)
				}
			}
			if got := r.Header.Get("X-Amz-Storage-Class"); got != class {
				t.Errorf("%s: class %q, want %q", name, got, class)
			}
		}
	}
}

// TestOneRequest: each operation on an object that is there is one request.
func TestOneRequest(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s := f.open(t)
	if err := s.Put(t.Context(), "a", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	f.log()
	s.versions.Store(int32(unable)) // or the first DELETE asks
	get := func(off, n int64) func() error {
		return func() error { _, err := s.Get(t.Context(), "a", off, n, nil); return err }
	}
	for _, test := range []struct {
		do   func() error
		want string
	}{
		{get(0, -1), "GET p/q/a"},
		{get(3, -1), "GET p/q/a bytes=2-"},
		{get(3, 4), "GET p/q/a bytes=3-6"},
		{get(-4, 0), "GET p/q/a bytes=-4"},
		{get(3, 0), "HEAD p/q/a"},
		{func() error { _, err := s.Stat(t.Context(), "a"); return err }, "HEAD p/q/a"},
		{func() error {
			_, err := s.Stat(t.Context(), "none") // the bucket was there a moment ago
			if !errors.Is(err, remote.ErrNotExist) {
				return err
			}
			return nil
		}, "HEAD p/q/none"},
		{func() error {
			for _, err := range s.List(t.Context(), "") {
				return err
			}
			return nil
		}, "GET "},
		{func() error { return s.Delete(t.Context(), "a") }, "DELETE p/q/a"},
	} {
		if err := test.do(); err != nil {
			t.Errorf("%s: %v", test.want, err)
		}
		if d := cmp.Diff([]string{test.want}, f.log()); d != "" {
			t.Errorf("requests: -want +got\n%s", d)
		}
	}
}

// TestMissing: an object is missing only if the bucket is there and S3 says so.
func TestMissing(t *testing.T) {
	t.Parallel()
	web := false
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if web {
			http.NotFound(w, r)
		}
		return web
	})
	ops := map[string]func(s *Store) error{
		"get":  func(s *Store) error { _, err := s.Get(t.Context(), "a", 0, -1, nil); return err },
		"stat": func(s *Store) error { _, err := s.Stat(t.Context(), "a"); return err },
	}
	more := map[string]func(s *Store) error{
		"put":    func(s *Store) error { return s.Put(t.Context(), "a", nil) },
		"delete": func(s *Store) error { return s.Delete(t.Context(), "a") },
		"list": func(s *Store) error {
			for _, err := range s.List(t.Context(), "") {
				return err
			}
			return nil
		},
	}
	for name, op := range ops {
		more[name] = op
		s := f.open(t)
		for range 3 {
			if err := op(s); !errors.Is(err, remote.ErrNotExist) || errors.Is(err, remote.ErrUnavailable) {
				t.Errorf("%s of a missing object: %v", name, err)
			}
		}
		if n := len(f.log()); n > 4 { // a second request only for the first Stat
			t.Errorf("%s of a missing object, three times: %d requests", name, n)
		}
	}
	check := func(what, name string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, remote.ErrNotExist) || !errors.Is(err, remote.ErrUnavailable) || !remote.IsPermanent(err) || remote.Hint(err) == "" {
			t.Errorf("%s %s: %v; hint %q", name, what, err, remote.Hint(err))
		}
	}
	for name, op := range more {
		err := op(f.open(t, func(o *Options) { o.Bucket = "nosuchbucket" }))
		check("in a missing bucket", name, err)
		if !strings.Contains(remote.Hint(err), "aws s3 mb s3://nosuchbucket") {
			t.Errorf("%s in a missing bucket: hint %q", name, remote.Hint(err))
		}
	}
	web = true
	for name, op := range more {
		check("from a web server", name, op(f.open(t)))
	}
}

func TestMake(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s := f.open(t, func(o *Options) { o.Bucket = "fresh"; o.Region = "eu-central-1" })
	for i, want := range []bool{true, false} {
		if made, err := s.Make(t.Context()); err != nil || made != want {
			t.Errorf("Make number %d: %v, %v", i+1, made, err)
		}
	}
	if err := s.Put(t.Context(), "a", nil); err != nil {
		t.Error(err)
	}
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			refuse(w, http.StatusForbidden, "AccessDenied")
		}
		return r.Method == http.MethodPut
	}
	made, err := f.open(t, func(o *Options) { o.Bucket = "other" }).Make(t.Context())
	if made || !remote.IsPermanent(err) || !strings.Contains(remote.Hint(err), "s3:CreateBucket") {
		t.Errorf("Make without permission: %v, %v, hint %q", made, err, remote.Hint(err))
	}
}

// TestPutNewProbe: a server that does not know the condition, or takes no notice of it, is found out.
func TestPutNewProbe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		plain bool
		hook  func(w http.ResponseWriter, r *http.Request) bool
	}{
		{"takes no notice", true, nil},
		{"refuses", false, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("If-None-Match") == "" {
				return false
			}
			refuse(w, http.StatusNotImplemented, "NotImplemented")
			return true
		}},
	} {
		f := newFake(t, test.hook)
		f.plain = test.plain
		s := f.open(t)
		for range 2 {
			if err := s.PutNew(t.Context(), "a", nil); !errors.Is(err, errors.ErrUnsupported) || !remote.IsPermanent(err) {
				t.Errorf("a server that %s: %v", test.name, err)
			}
		}
		if got := listNames(t, s, ""); len(got) > 0 {
			t.Errorf("a server that %s: %q is left", test.name, got)
		}
	}
}

// TestPutNewProbeLeft: a probe that cannot be removed is no reason to fail, and serves the next one.
func TestPutNewProbeLeft(t *testing.T) {
	t.Parallel()
	var broken atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete && broken.Add(-1) >= 0 {
			panic(http.ErrAbortHandler) // the connection is reset
		}
		return false
	})
	for _, test := range []struct {
		broken int32
		left   []string
	}{{1, nil}, {100, []string{newProbe}}, {0, nil}} {
		broken.Store(test.broken)
		s := f.open(t)
		if err := s.PutNew(t.Context(), "a", nil); err != nil {
			t.Errorf("PutNew with %d resets: %v", test.broken, err)
		}
		if err := s.PutNew(t.Context(), "a", nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("PutNew of what exists, with %d resets: %v", test.broken, err)
		}
		broken.Store(0)
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if got := listNames(t, s, ""); !slices.Equal(got, test.left) {
			t.Errorf("after %d resets %q is left, want %q", test.broken, got, test.left)
		}
	}
}

// TestPutNewProbeRemoved: a probe that another machine removes in between does not make the server one that cannot.
func TestPutNewProbeRemoved(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	var puts atomic.Int32
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-None-Match") != "" && puts.Add(1) == 2 {
			f.mu.Lock()
			delete(f.buckets["bucket"], "p/q/"+newProbe)
			f.mu.Unlock()
		}
		return false
	}
	s := f.open(t)
	if err := s.PutNew(t.Context(), "a", nil); err != nil {
		t.Error(err)
	}
	if got := listNames(t, s, ""); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q is there", got)
	}
}

// TestPutNewRace: an answer of 409 means that another writer is at it, not that the object is there.
func TestPutNewRace(t *testing.T) {
	t.Parallel()
	left := 2
	f := newFake(t, nil)
	s := f.open(t)
	s.putNew = able
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if left--; left < 0 {
			return false
		}
		refuse(w, http.StatusConflict, "ConditionalRequestConflict")
		return true
	}
	if err := s.PutNew(t.Context(), "a", nil); err != nil {
		t.Error(err)
	}
	if err := s.PutNew(t.Context(), "a", nil); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
}

func listNames(t *testing.T, s *Store, prefix string) []string {
	t.Helper()
	var names []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func TestDeleteAll(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s := f.open(t)
	var names []string
	for i := range 2300 {
		names = append(names, remote.PairTree("binaries", strings.Repeat("0", 60)+hex4(i)))
		f.buckets["bucket"]["p/q/"+names[i]] = fakeObject{}
	}
	f.buckets["bucket"]["p/q/keep"] = fakeObject{}
	sub, ok := remote.As[remote.BulkDeleter](remote.Sub(s, "m01"))
	if !ok {
		t.Fatal("Sub hides DeleteAll")
	}
	if err := remote.DeleteAll(t.Context(), s, func(yield func(string) bool) {
		for _, name := range append(names, "none") {
			if !yield(name) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"GET ", "POST ", "POST ", "POST "}, f.log()); d != "" {
		t.Errorf("requests: -want +got\n%s", d)
	}
	if d := cmp.Diff([]string{"keep"}, listNames(t, s, "")); d != "" {
		t.Errorf("left: -want +got\n%s", d)
	}
	for name, valid := range map[string]bool{"x": true, "../x": false} {
		err := sub.DeleteAll(t.Context(), func(yield func(string) bool) { yield(name) })
		if valid != (err == nil) {
			t.Errorf("DeleteAll of %s in a Sub: %v", name, err)
		}
	}
	err := s.DeleteAll(t.Context(), func(yield func(string) bool) { _ = yield("a") && yield("locked") && yield("b") })
	var e *Error
	if !errors.As(err, &e) || e.Key != "p/q/locked" || e.Code != "AccessDenied" || !remote.IsPermanent(err) || errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("DeleteAll with a locked object: %v", err)
	}
}

// TestDeleteAllOneByOne: a server without that request.
func TestDeleteAllOneByOne(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			refuse(w, http.StatusNotImplemented, "NotImplemented")
		}
		return r.Method == http.MethodPost
	})
	s := f.open(t)
	f.buckets["bucket"]["p/q/a"] = fakeObject{}
	if err := s.DeleteAll(t.Context(), func(yield func(string) bool) { _ = yield("a") && yield("b") }); err != nil {
		t.Fatal(err)
	}
	if got := listNames(t, s, ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// TestAnonymous: without keys nothing is sent.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(context.Context) (Keys, error){
		"none":  func(context.Context) (Keys, error) { return Keys{}, nil },
		"half":  func(context.Context) (Keys, error) { return Keys{AccessKey: "key"}, nil },
		"error": func(context.Context) (Keys, error) { return Keys{}, &keysError{"nowhere"} },
	} {
		f := newFake(t, nil)
		s := f.open(t, func(o *Options) { o.Keys = find })
		err := s.Put(t.Context(), "a", nil)
		if !errors.Is(err, remote.ErrUnavailable) || !remote.IsPermanent(err) || !strings.Contains(remote.Hint(err), "AWS_ACCESS_KEY_ID") {
			t.Errorf("%s: %v, hint %q", name, err, remote.Hint(err))
		}
		if got := f.log(); len(got) > 0 {
			t.Errorf("%s: requests %q", name, got)
		}
	}
}
