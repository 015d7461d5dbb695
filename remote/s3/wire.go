package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cairn/remote"
)

// dialTime is the time for a connection, and for its TLS handshake. A host that drops packets costs it twice.
const dialTime = 10 * time.Second

// dial opens a connection whose kernel buffer takes at most 256 KiB that were not sent yet. Without that limit it takes up to 4 MiB
// (tcp_wmem), which on a line of 1 Mbit/s are on their way for half a minute without any sign of progress.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime, KeepAlive: 15 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		// A kernel without the option sends as well.
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 256<<10) })
	}}
	return d.DialContext(ctx, network, addr)
}

// stallError ends a request in which nothing moved.
type stallError struct {
	after time.Duration
	doing string
}

func (e *stallError) Error() string {
	return fmt.Sprintf("no progress for %v while %s", e.after.Round(time.Millisecond), e.doing)
}
func (e *stallError) Unwrap() error { return remote.ErrUnavailable }

// request is one operation: one request on the wire, or the few of a resumed Get or of a page. It ends when nothing moves
// for a while, and remembers what the library does not tell about an answer.
type request struct {
	ctx    context.Context // of the requests; ends with a *stallError
	parent context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	doing  atomic.Pointer[string]
	ended  atomic.Bool
	begun  time.Time
	up     Pace
	down   Pace

	// Of the last answer. They are written and read by the goroutine that calls the library.
	status int
	header http.Header
	spoken bool // an error answer is one of S3: it has a code in XML
	sent   int  // requests so far
	limit  int64
}

type requestKey struct{}

// Bounds of one operation against a server that answers without end: an answer that is not an object has at most 8 MiB (a page of 1000
// keys of 1 KiB, each escaped threefold, has 4), and a page is put together from at most 100 answers.
const (
	maxAnswer   = 8 << 20
	maxRequests = 100
	maxError    = 64 << 10 // of an error answer
	maxObject   = 50 << 40 // bytes: more than any S3 keeps in one object
)

func newRequest(parent context.Context, stall time.Duration, up, down Pace) *request {
	r := &request{parent: parent, stall: stall, up: up, down: down, begun: time.Now(), limit: maxAnswer}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, requestKey{}, r))
	r.ctx, r.cancel = ctx, cancel
	r.state("connecting")
	r.timer = time.AfterFunc(stall, func() { cancel(&stallError{stall, *r.doing.Load()}) })
	return r
}

// state says what is waited for now, and that something moved.
func (r *request) state(doing string) {
	r.doing.Store(&doing)
	r.moved(r.stall)
}

// moved gives the request another while.
func (r *request) moved(d time.Duration) {
	if r.timer != nil && !r.ended.Load() {
		r.timer.Reset(d)
	}
}

// hold stops the clock while we ourselves make the request wait.
func (r *request) hold() { r.timer.Stop() }

func (r *request) end() {
	r.ended.Store(true)
	r.timer.Stop()
	r.cancel(nil)
}

// cause replaces what a canceled request reports by the reason for canceling it.
func (r *request) cause(err error) error {
	if err == nil {
		return nil
	}
	if err := r.parent.Err(); err != nil {
		return err
	}
	var stalled *stallError
	if errors.As(context.Cause(r.ctx), &stalled) {
		return stalled
	}
	return err
}

// wire is the transport below the library: it watches the progress of the requests, slows their bodies down, and keeps what
// their answers say.
type wire struct{ base http.RoundTripper }

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	r, ok := req.Context().Value(requestKey{}).(*request)
	if !ok {
		return w.base.RoundTrip(req)
	}
	if r.sent++; r.sent > maxRequests {
		return nil, fmt.Errorf("the server's answer does not end after %d requests", maxRequests)
	}
	r.state("waiting for an answer")
	if req.Body != nil && req.Body != http.NoBody {
		body := req.Body
		req = req.WithContext(req.Context()) // a copy: a transport must not change the caller's
		req.Body = &meter{body: body, r: r, pace: r.up, sending: req.ContentLength}
		r.state("sending")
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, r.cause(err)
	}
	r.state("receiving")
	r.status, r.header = resp.StatusCode, resp.Header
	resp.Body = &meter{body: resp.Body, r: r, pace: r.down}
	if resp.StatusCode >= 300 && req.Method != http.MethodHead {
		return r.keepError(resp)
	}
	if r.limit >= 0 {
		resp.Body = &capped{ReadCloser: resp.Body, left: r.limit}
	}
	return resp, nil
}

// keepError reads the body of an error answer to see whether it is S3 that speaks. The library takes every 404 for a missing object, a web
// server's too.
func (r *request) keepError(resp *http.Response) (*http.Response, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	resp.Body.Close()
	if err != nil && len(data) == 0 {
		return nil, r.cause(err)
	}
	r.spoken = bytes.Contains(data, []byte("<Code>"))
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, nil
}

// meter is a body on its way.
type meter struct {
	body    io.ReadCloser
	r       *request
	pace    Pace
	sending int64 // bytes that are left to send
}

// piece is as much as waits for the pace at once: 32 KiB is what net/http copies with.
const piece = 32 << 10

func (m *meter) Read(p []byte) (int, error) {
	if m.pace != nil {
		p = p[:min(len(p), piece)]
	}
	n, err := m.body.Read(p)
	if n > 0 && m.pace != nil {
		m.r.hold()
		if waitErr := m.pace.Wait(m.r.ctx, n); waitErr != nil {
			return 0, m.r.cause(waitErr)
		}
	}
	if n > 0 {
		m.r.moved(m.r.stall)
	}
	if m.sending > 0 {
		if m.sending -= int64(n); m.sending <= 0 {
			// All is handed over: the server now makes it durable, for which a busy disk may take longer.
			doing := "waiting for the server to store it"
			m.r.doing.Store(&doing)
			m.r.moved(m.r.stall * 5 / 3)
		}
	}
	if err != nil && err != io.EOF {
		err = m.r.cause(err)
	}
	return n, err
}

func (m *meter) Close() error { return m.body.Close() }

// capped ends an answer that is longer than it can be.
type capped struct {
	io.ReadCloser
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server's answer is longer than %d bytes", int64(maxAnswer))
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
