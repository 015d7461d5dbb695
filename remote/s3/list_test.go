package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/remote"
)

// fill puts a pair-tree of n objects into the fake, and what else may stand beside it.
func (f *fake) fill(prefix string, n int) []string {
	var names []string
	for i := range n {
		id := hex4(i*40503&0xffff) + hex4(i) + strings.Repeat("0", 56)
		names = append(names, remote.PairTree("binaries", id))
	}
	names = append(names, "binaries/direct", "binaries/zz/odd", "binaries/00/odd", "cairn.json", "keys/x")
	slices.Sort(names)
	for _, name := range names {
		f.buckets["bucket"][prefix+name] = fakeObject{[]byte("x"), time.Now()}
	}
	f.buckets["bucket"][prefix+"binaries/"] = fakeObject{}              // what a web console makes of a folder
	f.buckets["bucket"][prefix+"binaries/\u00e4/b"] = fakeObject{}      // no valid name
	f.buckets["bucket"][prefix+"binaries/00/.tmp-x/y"] = fakeObject{}   // neither
	f.buckets["bucket"]["elsewhere/binaries/00/00/00"] = fakeObject{}   // another prefix
	f.buckets["bucket"][strings.TrimSuffix(prefix, "/")] = fakeObject{} // a name that is our prefix
	return names
}

// idle checks that a Store has nothing in flight and nobody who waits.
func (s *Store) idle(t *testing.T) {
	t.Helper()
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if s.gate.busy != 0 || len(s.gate.waiting) != 0 {
		t.Errorf("%d requests in flight, %d waiting", s.gate.busy, len(s.gate.waiting))
	}
}

func withPrefix(names []string, prefix string) []string {
	var list []string
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			list = append(list, name)
		}
	}
	return list
}

// TestListParallel: a large pair-tree is listed in parallel, each object once, with few requests more than pages.
func TestListParallel(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		return false
	})
	names := f.fill("p/q/", 5000)
	s := f.open(t)
	s.page = 100
	got := listNames(t, s, "binaries/")
	slices.Sort(got)
	if want := withPrefix(names, "binaries/"); !slices.Equal(got, want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	if m := most.Load(); m < 4 || m > listers {
		t.Errorf("%d requests at once", m)
	}
	if n := len(f.log()); n > 2+258+5000/100 { // the first page, the folders, each of which has at least a page
		t.Errorf("%d requests", n)
	}
	// A small one costs one request, and what is no pair-tree is read page after page.
	f = newFake(t, nil)
	names = f.fill("p/q/", 300)
	s = f.open(t)
	if got := listNames(t, s, "binaries/"); !slices.Equal(got, withPrefix(names, "binaries/")) || len(f.log()) != 1 {
		t.Errorf("small: %d names", len(got))
	}
	s.page = 50
	if got := listNames(t, s, ""); !slices.Equal(got, names) {
		t.Errorf("all: %d names, want %d", len(got), len(names))
	}
	if n := len(f.log()); n > 8 {
		t.Errorf("all: %d requests", n)
	}
}

// TestListPageFails: a page that fails is asked for again; one that always fails ends the listing with its error, and nothing
// goes on behind it.
func TestListPageFails(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{false, true} {
		for _, prefix := range []string{"binaries/", ""} {
			var calls, failed atomic.Int32
			var asked sync.Map // every third page fails at first
			f := newFake(t, nil)
			names := f.fill("p/q/", 2000)
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				n := calls.Add(1)
				_, again := asked.LoadOrStore(r.URL.RawQuery, true)
				if n > 1 && (n%3 == 0 && !again || always && n > 6) {
					failed.Add(1)
					refuse(w, http.StatusInternalServerError, "InternalError")
					return true
				}
				return false
			}
			s := f.open(t)
			s.page = 150
			var got []string
			var last error
			for info, err := range s.List(t.Context(), prefix) {
				if last != nil {
					t.Error("goes on after an error")
				}
				if last = err; err == nil {
					got = append(got, info.Name)
				}
			}
			slices.Sort(got)
			var e *Error
			switch want := withPrefix(names, prefix); {
			case failed.Load() == 0:
				t.Errorf("%q: nothing failed", prefix)
			case always && (!errors.As(last, &e) || e.Code != "InternalError" || len(got) >= len(want)):
				t.Errorf("%q, pages that always fail: %d names, %v", prefix, len(got), last)
			case !always && (last != nil || !slices.Equal(got, want)):
				t.Errorf("%q, pages that fail sometimes: %d names of %d, %v", prefix, len(got), len(want), last)
			}
			s.idle(t)
		}
	}
}

// TestListCut: a listing that breaks off does not look like a range that ends behind an object, which nobody tries again: neither its
// first page, which remote/retry asks for again, nor a later one, nor the folders.
func TestListCut(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	names := f.fill("p/q/", 2000)
	for cut := range int32(3) {
		var calls atomic.Int32
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if calls.Add(1) != cut+1 {
				return false
			}
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "<?xml version=\"1.0\"?><ListBucketResult><Name>bucket</Name>")
			return true
		}
		s := f.open(t)
		s.page = 150
		var got []string
		for info, err := range s.List(t.Context(), "binaries/") {
			if err == nil {
				got = append(got, info.Name)
				continue
			}
			if cut > 0 || errors.Is(err, io.ErrUnexpectedEOF) || remote.IsPermanent(err) {
				t.Errorf("page %d is cut: %v", cut, err)
			}
		}
		slices.Sort(got)
		if want := withPrefix(names, "binaries/"); cut > 0 && !slices.Equal(got, want) {
			t.Errorf("page %d is cut: %d names of %d", cut, len(got), len(want))
		}
	}
}

// TestListStopsEarly: a loop that is left waits for nothing and leaves nothing behind.
func TestListStopsEarly(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	f.fill("p/q/", 3000)
	s := f.open(t)
	s.page = 100
	for _, stop := range []int{1, 150, 1000} {
		n := 0
		for _, err := range s.List(t.Context(), "binaries/") {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == stop {
				break
			}
		}
		s.idle(t)
	}
}

// TestListSamePage: a server that takes no notice of where to go on.
func TestListSamePage(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		q.Del("start-after")
		r.URL.RawQuery = q.Encode()
		return false
	})
	f.fill("p/q/", 300)
	s := f.open(t)
	s.page = 50
	n := 0
	var last error
	for _, err := range s.List(t.Context(), "") {
		n, last = n+1, err
	}
	if last == nil || !remote.IsPermanent(last) || n > 200 {
		t.Errorf("%d names, %v", n, last)
	}
}
