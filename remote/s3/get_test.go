package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/remote"
)

func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// cut answers with the right headers and breaks the connection after so many bytes of the body.
func cut(f *fake, w http.ResponseWriter, r *http.Request, after int) {
	rec := httptest.NewRecorder()
	f.mu.Lock()
	f.serveObject(rec, r, f.buckets["bucket"], strings.TrimPrefix(r.URL.Path, "/bucket/"), nil)
	f.mu.Unlock()
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	body := rec.Body.Bytes()
	w.Write(body[:min(after, len(body))])
	w.(http.Flusher).Flush()
	if after < len(body) {
		panic(http.ErrAbortHandler)
	}
}

// TestResume: a body that breaks off is gone on with where it broke, whatever the range.
func TestResume(t *testing.T) {
	t.Parallel()
	data := content(300_000)
	for _, test := range []struct {
		off, n int64
		want   []string
	}{
		{0, -1, []string{"GET p/q/a", "GET p/q/a bytes=100000-299999", "GET p/q/a bytes=200000-299999"}},
		{1000, 250_000, []string{"GET p/q/a bytes=1000-250999", "GET p/q/a bytes=101000-250999", "GET p/q/a bytes=201000-250999"}},
		{-250_000, 0, []string{"GET p/q/a bytes=-250000", "GET p/q/a bytes=150000-299999", "GET p/q/a bytes=250000-299999"}},
		{50_001, -1, []string{"GET p/q/a bytes=50000-", "GET p/q/a bytes=150000-299999", "GET p/q/a bytes=250000-299999"}},
	} {
		f := newFake(t, nil)
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				cut(f, w, r, 100_000)
			}
			return r.Method == http.MethodGet
		}
		s := f.open(t)
		if err := s.Put(t.Context(), "a", data); err != nil {
			t.Fatal(err)
		}
		f.log()
		got, err := s.Get(t.Context(), "a", test.off, test.n, nil)
		start, length, _ := remote.Span("a", int64(len(data)), test.off, test.n)
		if err != nil || !bytes.Equal(got, data[start:start+length]) {
			t.Errorf("Get(%d, %d): %d bytes, %v", test.off, test.n, len(got), err)
		}
		if got := f.log(); !slices.Equal(got, test.want) {
			t.Errorf("Get(%d, %d): requests %q, want %q", test.off, test.n, got, test.want)
		}
	}
}

// TestResumeEnds: an object that is replaced meanwhile is never mixed, and a server that always breaks off is not asked for ever.
func TestResumeEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		hook  func(f *fake, w http.ResponseWriter, r *http.Request)
		calls int
	}{
		{"replaced", func(f *fake, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-Match") != "" {
				f.mu.Lock()
				f.buckets["bucket"]["p/q/a"] = fakeObject{make([]byte, 1000), time.Now()}
				f.mu.Unlock()
			}
			cut(f, w, r, 300)
		}, 2},
		{"replaced, by a server that takes no notice of If-Match", func(f *fake, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-Match") != "" {
				r.Header.Del("If-Match")
				f.mu.Lock()
				f.buckets["bucket"]["p/q/a"] = fakeObject{make([]byte, 1000), time.Now()}
				f.mu.Unlock()
			}
			cut(f, w, r, 300)
		}, 2},
		{"trickle", func(f *fake, w http.ResponseWriter, r *http.Request) { cut(f, w, r, 10) }, maxResumes + 1},
		{"nothing more", func(f *fake, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-Match") != "" {
				cut(f, w, r, 0)
			}
			cut(f, w, r, 100)
		}, 2},
		{"no tag", func(f *fake, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			w.Write(make([]byte, 10))
		}, 1},
	} {
		f := newFake(t, nil)
		f.buckets["bucket"]["p/q/a"] = fakeObject{content(1000), time.Now()}
		calls := 0
		f.hook = func(w http.ResponseWriter, r *http.Request) bool { calls++; test.hook(f, w, r); return true }
		got, err := f.open(t).Get(t.Context(), "a", 0, -1, nil)
		if err == nil || len(got) > 0 || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, remote.ErrNotExist) || remote.IsPermanent(err) {
			t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
		}
		if calls != test.calls {
			t.Errorf("%s: %d requests, want %d", test.name, calls, test.calls)
		}
	}
}

// TestWrongAnswers: a server that answers another range than the one asked for is not believed, and no claim of a length makes
// us allocate.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, length, rng string
		status            int
		off, n            int64
	}{
		{"another range", "10", "bytes 5-14/100", 206, 0, 10},
		{"a shorter range of a longer object", "10", "bytes 0-9/100", 206, 0, 20},
		{"length and range differ", "10", "bytes 0-19/100", 206, 0, 20},
		{"not a range", "10", "bytes x-y/z", 206, 0, 10},
		{"reversed", "10", "bytes 9-0/100", 206, 0, 10},
		{"behind its own end", "10", "bytes 95-104/100", 206, -10, 0},
		{"size unknown", "10", "bytes 0-9/*", 206, 0, 10},
		{"no length", "", "", 200, 0, -1},
		{"a petabyte", "1125899906842624", "", 200, 0, -1},
		{"a petabyte as the last ten bytes", "1125899906842624", "bytes 0-1125899906842623/1125899906842624", 206, -10, 0},
	} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			if test.rng != "" {
				w.Header().Set("Content-Range", test.rng)
			}
			if test.length != "" {
				w.Header().Set("Content-Length", test.length)
			}
			w.WriteHeader(test.status)
			w.Write(make([]byte, 10))
			w.(http.Flusher).Flush()
			return true
		})
		got, err := f.open(t).Get(t.Context(), "a", test.off, test.n, nil)
		if err == nil || len(got) > 0 || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, remote.ErrNotExist) {
			t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
		}
	}
}

// TestNoRanges: a server, or a proxy, that answers each range with the whole object.
func TestNoRanges(t *testing.T) {
	t.Parallel()
	data := content(1000)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool { r.Header.Del("Range"); return false })
	f.buckets["bucket"]["p/q/a"] = fakeObject{data, time.Now()}
	s := f.open(t)
	for _, r := range [][2]int64{{0, -1}, {10, 20}, {10, -1}, {999, 1}, {-10, 0}, {-2000, 0}, {1000, -1}} {
		start, length, _ := remote.Span("a", 1000, r[0], r[1])
		got, err := s.Get(t.Context(), "a", r[0], r[1], nil)
		if err != nil || !bytes.Equal(got, data[start:start+length]) {
			t.Errorf("Get(%d, %d): %d bytes, %v", r[0], r[1], len(got), err)
		}
	}
	if _, err := s.Get(t.Context(), "a", 990, 20, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("behind the end: %v", err)
	}
}

// TestLongSuffix: a server that refuses the last 2000 bytes of an object of 1000.
func TestLongSuffix(t *testing.T) {
	t.Parallel()
	data := content(1000)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		n, err := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Range"), "bytes=-"))
		if refused := err == nil && n > 1000; refused {
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return true
		}
		return false
	})
	f.buckets["bucket"]["p/q/a"] = fakeObject{data, time.Now()}
	if got, err := f.open(t).Get(t.Context(), "a", -2000, 0, nil); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/100", "10")
	f.Add("bytes 0-9223372036854775807/9223372036854775807", "-1")
	f.Add("", "7")
	f.Fuzz(func(t *testing.T, text, size string) {
		h := http.Header{"Content-Range": {text}, "Content-Length": {size}}
		first, length, total, err := contentRange(h)
		if err == nil && (first < 0 || length < 0 || total < 0 || first+length > total || first+length < 0) {
			t.Errorf("%q, %q: %d, %d, %d", text, size, first, length, total)
		}
		if err == nil && text != "" && fmt.Sprint(length) != strings.TrimLeft(size, "+0") && length != 0 {
			t.Errorf("%q, %q: length %d", text, size, length)
		}
	})
}
