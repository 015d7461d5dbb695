package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Proxy stands in front of a Server. What it passes on it does not change, the Host header included, because the
// client's signature covers it.
type Proxy struct {
	t         testing.TB
	server    *Server
	addr      string
	transport http.Transport
	handlers  sync.WaitGroup
	up, down  limiter

	mu       sync.Mutex
	http     *http.Server // nil: connections are refused
	faults   Faults
	changed  chan struct{} // closed when faults are replaced
	rnd      *rand.Rand
	counts   Counts
	window   time.Time // Faults.Rate: the second that is counted
	inWindow float64
	memory   *memory // nil: nothing is remembered
}

// NewProxy starts a proxy in front of s. What it does at random follows from the seed.
func NewProxy(t testing.TB, s *Server, seed uint64) *Proxy {
	t.Helper()
	p := &Proxy{t: t, server: s, rnd: rand.New(rand.NewPCG(seed, 0)), changed: make(chan struct{})}
	p.transport = http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, ExpectContinueTimeout: time.Second}
	p.addr = address(t)
	p.Accept()
	t.Cleanup(func() {
		p.Refuse()
		p.handlers.Wait()
		p.transport.CloseIdleConnections()
	})
	return p
}

// NewProxies starts a proxy in front of each server.
func NewProxies(t testing.TB, list []*Server, seed uint64) []*Proxy {
	t.Helper()
	proxies := make([]*Proxy, len(list))
	for i, s := range list {
		proxies[i] = NewProxy(t, s, seed+uint64(i))
	}
	return proxies
}

func (p *Proxy) serve(l net.Listener) {
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	p.mu.Lock()
	p.http = server
	p.mu.Unlock()
	p.handlers.Go(func() { _ = server.Serve(l) }) // until Refuse
}

// URL is the server's bucket, as seen through the proxy, as a member of an archive.
func (p *Proxy) URL() string { return p.server.url(p.addr) }

// Server is the server behind.
func (p *Proxy) Server() *Server { return p.server }

// Set replaces the faults. Requests that hang are let go.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	close(p.changed)
	p.changed = make(chan struct{})
}

// Refuse closes the port and all connections, as if there was no server, until Accept.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	server := p.http
	p.http = nil
	p.mu.Unlock()
	p.Set(Faults{})
	if server != nil {
		_ = server.Close() // of the listener
	}
}

// Accept opens the port again.
func (p *Proxy) Accept() {
	p.t.Helper()
	l, err := net.Listen("tcp4", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.serve(l)
}

// Remember begins to remember answers for Stale, and forgets those of before.
func (p *Proxy) Remember() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory = &memory{answers: map[string]answer{}}
}

// Counts returns what passed since the last Reset.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.By = maps.Clone(c.By)
	return c
}

// Reset counts anew, and returns what was counted.
func (p *Proxy) Reset() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	p.counts = Counts{}
	return c
}

// Total is the sum of the counts of all proxies, which count anew.
func Total(proxies []*Proxy) (c Counts) {
	for _, p := range proxies {
		c = c.Add(p.Reset())
	}
	return c
}

// plan decides what happens to a request.
func (p *Proxy) plan(r Request) (f Faults, changed chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts.By == nil {
		p.counts.By = map[string]int{}
	}
	p.counts.By[r.Method+" "+r.Kind()]++
	f = p.faults
	if len(f.Any) > 0 {
		f.Do = f.Any[p.rnd.IntN(len(f.Any))]
	}
	switch {
	case p.tooMany(f.Rate):
		f.Do = SlowDown
	case f.Only != nil && !f.Only(r), f.Share > 0 && p.rnd.Float64() >= f.Share, f.Do == Full && r.Method != http.MethodPut:
		f.Do = Pass
	}
	p.up.set(f.Bandwidth)
	p.down.set(f.Bandwidth)
	return f, p.changed
}

// tooMany counts requests of the running second. The lock is held.
func (p *Proxy) tooMany(rate float64) bool {
	if rate <= 0 {
		return false
	}
	if now := time.Now(); now.Sub(p.window) > time.Second {
		p.window, p.inWindow = now, 0
	}
	p.inWindow++
	return p.inWindow > rate
}

func (p *Proxy) random(n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rnd.Int64N(n)
}

func (p *Proxy) count(up, down int64, refused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Up += up
	p.counts.Down += down
	p.counts.Refused += refused
}

// ServeHTTP is for the HTTP server.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.handlers.Add(1)
	defer p.handlers.Done()
	q := parse(r)
	f, changed := p.plan(q)
	if f.Latency > 0 {
		select {
		case <-time.After(f.Latency):
		case <-r.Context().Done():
		}
	}
	if refusal, ok := refusals[f.Do]; ok {
		p.count(0, 0, 1)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(refusal.status)
		fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>PROXY%d</RequestId></Error>",
			refusal.code, refusal.message, p.random(1e9))
		return
	}
	switch f.Do {
	case Hang:
		p.count(0, 0, 1)
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case Reset:
		p.count(0, 0, 1)
		reset(w)
		return
	case Stale:
		if a, ok := p.remembered(r); ok {
			a.write(w)
			return
		}
	}
	p.pass(w, r, q, f)
}

// reset ends the connection with RST instead of FIN.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it is closed in any case
		}
		_ = conn.Close()
	}
}

// pass asks the server and gives its answer, as the fault leaves it.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request, q Request, f Faults) {
	body := io.Reader(&slow{r.Context(), &p.up, r.Body})
	if f.Do == Cut {
		body = &cut{body, f.After}
	}
	up := &counter{Reader: body}
	out := (&http.Request{
		Method: r.Method, Header: r.Header.Clone(), Host: r.Host, ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, Body: io.NopCloser(up),
		URL: &url.URL{Scheme: "http", Host: p.server.addr, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
	}).WithContext(r.Context())
	out.Close = f.Do == Cut // half a request must not be the beginning of the next
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", "") // else the transport gives it one
	}
	resp, err := p.transport.RoundTrip(out)
	p.count(up.n, 0, 0)
	if err != nil {
		p.count(0, 0, 1)
		panic(http.ErrAbortHandler) // a server that is gone does not answer for itself
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	if f.Do == Lose {
		p.count(0, 0, 1)
		panic(http.ErrAbortHandler)
	}
	if q.Method == http.MethodGet || q.Method == "LIST" || q.Method == http.MethodHead {
		p.remember(r, resp)
	}
	if err := p.lie(resp, q, f); err != nil {
		p.t.Errorf("proxy of %s: %s %s: %v", p.server.name, q.Method, q.Key, err)
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	from := io.Reader(&slow{r.Context(), &p.down, resp.Body})
	if f.Do == Cut {
		from = &cut{from, f.After}
	}
	n, err := io.Copy(w, from)
	p.count(0, n, 0)
	if err != nil {
		_ = http.NewResponseController(w).Flush() // what passed before the cut is to arrive
		panic(http.ErrAbortHandler)
	}
}

// counter counts what is read.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

var errCut = errors.New("connection cut")

// cut ends after n bytes, unless the data ends first.
type cut struct {
	r io.Reader
	n int64
}

func (c *cut) Read(b []byte) (int, error) {
	if c.n <= 0 {
		return 0, errCut
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.n)])
	c.n -= int64(n)
	return n, err
}

// slow reads through a limiter.
type slow struct {
	ctx context.Context
	l   *limiter
	r   io.Reader
}

func (s *slow) Read(b []byte) (int, error) {
	n, err := s.r.Read(b[:min(len(b), 32<<10)])
	if wait := s.l.take(n); wait > 0 {
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			return n, s.ctx.Err()
		}
	}
	return n, err
}

// limiter says how long to wait so that so many bytes a second pass.
type limiter struct {
	mu   sync.Mutex
	rate int64
	free time.Time // when the line has carried all that was taken
}

func (l *limiter) set(rate int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
}

func (l *limiter) take(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate <= 0 {
		return 0
	}
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return l.free.Sub(now)
}

// length is an answer's body length, or -1.
func length(resp *http.Response) int64 {
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil {
		return n
	}
	return -1
}
