package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"cairn/remote"
)

// Get reads a range with one GET.
func (s *Store) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	return s.get(ctx, name, off, n, dst, which{})
}

func (s *Store) get(ctx context.Context, name string, off, n int64, dst []byte, w which) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	if off >= 0 && (n == 0 || n > math.MaxInt64-off) { // HTTP has no range of these kinds
		info, err := s.stat(ctx, name, w)
		if err == nil {
			_, _, err = remote.Span(name, info.Size, off, n)
		}
		if err != nil {
			return nil, err
		}
		return dst[:0], nil
	}
	var got []byte
	ask := header(off, n)
	err := s.do(ctx, opGet, name, func(r *request) (err error) {
		g := &get{s: s, r: r, name: name, off: off, n: n, which: w}
		got, err = g.run(ask, dst)
		return err
	})
	if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusRequestedRangeNotSatisfiable {
		return s.unsatisfiable(ctx, name, off, n, dst, w, err)
	}
	if err != nil {
		return nil, err
	}
	return got, nil
}

// header is the Range that covers what is wanted; empty for the whole object.
func header(off, n int64) string {
	switch {
	case off < -maxObject: // nothing is that long
		return ""
	case off < 0:
		return fmt.Sprintf("bytes=%d", off)
	case n > 0:
		return fmt.Sprintf("bytes=%d-%d", off, off+n-1)
	case off > 0:
		// One byte more in front: "from the end on" is allowed, and no server has a range for it.
		return fmt.Sprintf("bytes=%d-", off-1)
	}
	return ""
}

// unsatisfiable makes an answer of 416, "no such range". For the last n bytes it means that the object is empty; a server may also mean
// that it has fewer than n.
func (s *Store) unsatisfiable(ctx context.Context, name string, off, n int64, dst []byte, w which, refused error) ([]byte, error) {
	info, err := s.stat(ctx, name, w)
	if err != nil {
		return nil, err
	}
	_, length, err := remote.Span(name, info.Size, off, n)
	switch {
	case err != nil:
		return nil, err
	case length == 0:
		return dst[:0], nil
	case off < 0 && length == info.Size:
		return s.get(ctx, name, 0, length, dst, w)
	}
	return nil, refused
}

// get is one range on its way, over as many bodies as it takes.
type get struct {
	s      *Store
	r      *request
	name   string
	off, n int64
	which  which

	body          io.ReadCloser
	etag          string
	start, length int64 // in the object
	total         int64
}

// maxResumes bounds how often a body that breaks off is gone on with; each time at least a byte must have come.
const maxResumes = 5

func (g *get) run(ask string, dst []byte) ([]byte, error) {
	if err := g.open(ask); err != nil {
		return nil, err
	}
	defer func() { g.body.Close() }()
	// A length that the caller gave is his to answer for; one that only the server claims is believed as bytes come.
	var buf []byte
	if g.n > 0 || g.off < 0 {
		buf = remote.Into(dst, g.length)[:0]
	} else {
		buf = remote.Into(dst, min(g.length, max(firstAlloc, int64(cap(dst)))))[:0]
	}
	for resumes, before := 0, -1; ; resumes++ {
		var err error
		buf, err = fill(buf, g.length, g.body)
		if err == nil {
			return buf, nil
		}
		if g.r.ctx.Err() != nil {
			return nil, err
		}
		if resumes == maxResumes || len(buf) == before || g.etag == "" {
			return nil, fmt.Errorf("connection broke after %d of %d bytes: %s", len(buf), g.length, err)
		}
		before = len(buf)
		if err := g.resume(int64(len(buf))); err != nil {
			return nil, err
		}
	}
}

// firstAlloc is taken for an object whose length only the server knows.
const firstAlloc = 64 << 20

// fill appends to buf until it has n bytes. Its error is never io.EOF or io.ErrUnexpectedEOF.
func fill(buf []byte, n int64, body io.Reader) ([]byte, error) {
	for int64(len(buf)) < n {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, int(min(n-int64(len(buf)), int64(len(buf)))))
		}
		k, err := body.Read(buf[len(buf):min(int64(cap(buf)), n)])
		buf = buf[:len(buf)+k]
		if err != nil && int64(len(buf)) < n {
			return buf, broken{err}
		}
	}
	return buf, nil
}

// broken hides io.ErrUnexpectedEOF, which callers take for a range that ends behind the object.
type broken struct{ err error }

func (e broken) Error() string { return e.err.Error() }

// hideEOF makes an answer that broke off an error that is tried again.
func hideEOF(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return broken{err}
	}
	return err
}

// open asks for a range and stands at its first wanted byte.
func (g *get) open(ask string) error {
	header, err := g.request(ask, "")
	if err != nil {
		return err
	}
	first, length, total, err := contentRange(header)
	if err == nil {
		g.total = total
		g.start, g.length, err = remote.Span(g.name, total, g.off, g.n)
	}
	if err == nil && (g.start < first || g.start+g.length > first+length) {
		err = fmt.Errorf("the server answered bytes %d to %d of %d to %q", first, first+length-1, total, ask)
	}
	if err == nil && g.start > first {
		// One byte before the wanted ones, or the whole object from a server that knows no ranges.
		if _, err = io.CopyN(io.Discard, g.body, g.start-first); err != nil {
			err = broken{err}
		}
	}
	if err != nil {
		g.body.Close()
	}
	return err
}

// resume asks for the rest, of the very same object.
func (g *get) resume(have int64) error {
	g.body.Close()
	g.body = http.NoBody
	from := g.start + have
	header, err := g.request(fmt.Sprintf("bytes=%d-%d", from, g.start+g.length-1), g.etag)
	if err != nil {
		if g.r.status == http.StatusPreconditionFailed || g.r.status == http.StatusRequestedRangeNotSatisfiable {
			return errors.New("the object was replaced while it was read")
		}
		return err
	}
	first, length, total, err := contentRange(header)
	switch {
	case err != nil:
	case total != g.total || strings.Trim(header.Get("ETag"), `"`) != g.etag:
		err = errors.New("the object was replaced while it was read")
	case first != from || length != g.length-have:
		err = fmt.Errorf("the server went on with bytes %d to %d instead of %d to %d", first, first+length-1, from, g.start+g.length-1)
	}
	if err != nil {
		g.body.Close()
		g.body = http.NoBody
	}
	return err
}

func (g *get) request(ask, etag string) (http.Header, error) {
	opts := minio.GetObjectOptions{VersionID: g.which.version}
	if ask != "" {
		opts.Set("Range", ask)
	}
	if etag != "" {
		if err := opts.SetMatchETag(etag); err != nil {
			return nil, err
		}
	}
	g.r.limit = -1
	body, st, header, err := minio.Core{Client: g.s.client}.GetObject(g.r.ctx, g.s.o.Bucket, g.s.prefix+g.name, opts)
	if err != nil {
		return nil, hideEOF(err)
	}
	if err := g.which.fits(st.LastModified); err != nil {
		body.Close()
		return nil, err
	}
	g.body = body
	if etag == "" {
		g.etag = strings.Trim(header.Get("ETag"), `"`)
	}
	return header, nil
}

// contentRange reads which bytes an answer has, and of how many.
func contentRange(h http.Header) (first, length, total int64, err error) {
	size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil || size < 0 {
		return 0, 0, 0, fmt.Errorf("answer with Content-Length %q", h.Get("Content-Length"))
	}
	text := h.Get("Content-Range")
	if text == "" {
		return 0, size, size, nil
	}
	bad := fmt.Errorf("answer with Content-Range %q and Content-Length %d", text, size)
	span, of, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	from, to, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 {
		return 0, 0, 0, bad
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total, err3 := strconv.ParseInt(of, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || first < 0 || last < first-1 || last >= total || last-first+1 != size {
		return 0, 0, 0, bad
	}
	return first, size, total, nil
}
