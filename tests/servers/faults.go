package servers

import (
	"net/http"
	"strings"
	"time"
)

// Faults is what a Proxy does to requests. The zero value passes all of them on at once.
type Faults struct {
	// The way to the server.
	Latency   time.Duration // before each request is passed on
	Bandwidth int64         // bytes a second in each direction, of all requests together; 0: unlimited
	Rate      float64       // requests a second above which the answer is SlowDown; 0: unlimited

	// What happens to some requests.
	Do    Action
	Any   []Action             // instead of Do: one of these at random
	Only  func(r Request) bool // nil: to all
	Share float64              // of those, to so many at random; 0: to each
	After int64                // Cut: body bytes that still pass
}

// Action is what happens to a request.
type Action int

// The actions. Those that change an answer leave requests alone whose answer has no body to change.
const (
	Pass     Action = iota // nothing
	SlowDown               // 503 SlowDown
	Error                  // 500 InternalError
	Expired                // 400 ExpiredToken, as AWS documents it
	Denied                 // 403 AccessDenied
	Full                   // 507 on PUT: the disk is full
	Hang                   // no answer, until the faults are changed
	Reset                  // the connection is reset before the request is passed on
	Cut                    // the connection ends after Faults.After bytes of the request's or the answer's body
	Lose                   // the request is done and its answer lost: the connection ends instead
	Stale                  // the first answer to the same request since Remember, if there was one
	Flip                   // one bit of the answer's body is another, at a random place
	Swap                   // the body is of another object of the same size and kind
	Short                  // an answer that is well-formed and lacks the last half of the body, as if the object were shorter
)

// refusals are the answers that the proxy gives itself.
var refusals = map[Action]struct {
	status        int
	code, message string
}{
	SlowDown: {http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."},
	Error:    {http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again."},
	Expired:  {http.StatusBadRequest, "ExpiredToken", "The provided token has expired."},
	Denied:   {http.StatusForbidden, "AccessDenied", "Access Denied."},
	Full:     {http.StatusInsufficientStorage, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold."},
}

// Request is what a rule sees of a request.
type Request struct {
	Method string // GET, PUT, HEAD, DELETE, POST, or LIST for a GET of the bucket
	Key    string // of the object; of a LIST the prefix
	New    bool   // a PUT only if there is no such object
	Bulk   bool   // a POST that deletes many objects
}

// Deletes says whether a request is to delete something.
func (r Request) Deletes() bool { return r.Method == http.MethodDelete || r.Bulk }

// Kind is the first element of the key: binaries, index, snapshots, keys, cairn.json.
func (r Request) Kind() string {
	kind, _, _ := strings.Cut(r.Key, "/")
	return kind
}

func parse(r *http.Request) Request {
	q := Request{Method: r.Method, New: r.Header.Get("If-None-Match") != "", Bulk: r.Method == http.MethodPost && r.URL.Query().Has("delete")}
	_, q.Key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method == http.MethodGet && q.Key == "" {
		q.Method, q.Key = "LIST", r.URL.Query().Get("prefix")
	}
	return q
}

// Counts is what passed a proxy since its last Reset.
type Counts struct {
	By       map[string]int // requests by "METHOD kind", refused and lost ones included
	Refused  int            // answered by the proxy itself, or not at all
	Up, Down int64          // bytes of bodies, of what was passed on
}

// Requests is how many there were of the given methods; of all, if none is given.
func (c Counts) Requests(methods ...string) (n int) {
	for key, k := range c.By {
		method, _, _ := strings.Cut(key, " ")
		if len(methods) == 0 {
			n += k
		}
		for _, m := range methods {
			if m == method {
				n += k
			}
		}
	}
	return n
}

// Add adds the counts of another proxy.
func (c Counts) Add(d Counts) Counts {
	by := map[string]int{}
	for _, m := range []map[string]int{c.By, d.By} {
		for k, n := range m {
			by[k] += n
		}
	}
	return Counts{by, c.Refused + d.Refused, c.Up + d.Up, c.Down + d.Down}
}
