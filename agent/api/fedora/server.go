package fedora

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"cairn/agent/secret"
	"cairn/remote"
)

// Backend does what is asked for. A name is that of a source; empty is all of them.
type Backend interface {
	// Backup makes a snapshot and writes what belongs into the directory, which is empty.
	Backup(ctx context.Context, name, dir string) error
	// Restore brings back what a directory that Backup filled stands for.
	Restore(ctx context.Context, name, dir string) error
}

// Options say who may ask for what. Root is needed.
type Options struct {
	Root         string // directories that are named in requests lie below it
	Sources      []string
	User         string // empty: only this machine may ask, without a password
	Password     secret.Hidden
	AllowRestore bool
	TLS          *tls.Config
	Grace        time.Duration // for a job that is at work when the server is to end; default a minute
	Log          func(format string, args ...any)
}

const (
	defaultGrace   = time.Minute
	lastGrace      = 30 * time.Second // for a job to return once its context has ended
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 30 * time.Second
	maxBody        = 8 << 10 // bytes: a path
	maxHeader      = 32 << 10
	maxConnections = 64
)

// Server is the front.
type Server struct {
	o       Options
	root    string // Options.Root, links resolved
	backend Backend
	guard   *http.CrossOriginProtection

	jobs   sync.WaitGroup
	ctx    context.Context // of jobs
	cancel context.CancelFunc

	mu      sync.Mutex
	busy    string // what is at work
	since   time.Time
	closing bool
}

// New checks the options.
func New(b Backend, o Options) (*Server, error) {
	root, err := resolve(o.Root)
	if err != nil {
		return nil, remote.WithHint(fmt.Errorf("root: %w", err), "make the directory in which requests may name others")
	}
	if (o.User == "") != o.Password.IsZero() {
		return nil, errors.New("user and password go together")
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	s := &Server{o: o, root: root, backend: b, guard: http.NewCrossOriginProtection()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve answers until ctx ends, and until a job that is at work then has ended. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.cancel()
	if s.o.User == "" && !loopback(l.Addr()) {
		return errors.Join(remote.WithHint(fmt.Errorf("listen on %s: everybody in the network could ask for backups", l.Addr()),
			"set a user and a password, or listen on 127.0.0.1"), l.Close())
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		TLSConfig: s.o.TLS, ErrorLog: log.New(logWriter(s.o.Log), "", 0)}
	l = &limited{Listener: l, slots: make(chan struct{}, maxConnections)}
	if s.o.TLS != nil {
		l = tls.NewListener(l, s.o.TLS)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	return s.end(server, served)
}

// end lets the job that is at work come to its end.
func (s *Server) end(server *http.Server, served <-chan error) error {
	s.mu.Lock()
	s.closing = true
	if s.busy != "" {
		s.o.Log("waiting at most %s for the end of a %s", s.o.Grace, s.busy)
	}
	s.mu.Unlock()
	late, cancel := context.WithTimeout(context.Background(), s.o.Grace)
	defer cancel()
	err := server.Shutdown(late) // waits for answers, so for jobs whose clients are still there
	idle := make(chan struct{})
	go func() { s.jobs.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-late.Done():
		s.cancel()
		select {
		case <-idle:
		case <-time.After(lastGrace):
			err = errors.New("a job did not end when it was told to")
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-served
	return err
}

// Handler is the front without a listener.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, top := range []string{"/rest", "/fcrepo/rest"} {
		for _, way := range []struct {
			endpoint string
			handle   http.HandlerFunc
		}{{"fcr:backup", s.backup}, {"fcr:restore", s.restore}} {
			mux.HandleFunc("POST "+top+"/"+way.endpoint, way.handle)
			mux.HandleFunc("POST "+top+"/{source}/"+way.endpoint, way.handle)
		}
		mux.HandleFunc("GET "+top+"/{$}", s.hello)
		mux.HandleFunc("GET "+top, s.hello)
	}
	return s.guard.Handler(s.admit(mux))
}

// admit lets those in who may ask.
func (s *Server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if s.o.User == "" {
			// A name that leads here is not enough: a page may have made its own name lead to this machine.
			if !localName(r.Host) {
				s.say(w, http.StatusForbidden, "without a user and password only localhost may be asked, not "+r.Host)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		user, password, _ := r.BasicAuth()
		if !same(user, s.o.User) || !same(password, s.o.Password.Reveal()) {
			select { // guessing takes its time
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="fcrepo"`)
			s.say(w, http.StatusUnauthorized, "user and password, please")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// same compares in a time that tells nothing of the texts.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func loopback(a net.Addr) bool {
	at, ok := a.(*net.TCPAddr)
	return !ok || at.IP.IsLoopback() // a socket of the file system has its mode
}

func localName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(trimBrackets(host))
	return err == nil && ip.IsLoopback()
}

func trimBrackets(host string) string {
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}

func (s *Server) known(name string) bool { return name == "" || slices.Contains(s.o.Sources, name) }

// logWriter gives the lines of net/http to a function.
type logWriter func(format string, args ...any)

func (l logWriter) Write(p []byte) (int, error) {
	l("%s", p)
	return len(p), nil
}

// limited lets so many connections be open at once as there are slots.
type limited struct {
	net.Listener
	slots chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &slotted{Conn: c, slots: l.slots}, nil
		default:
			_ = c.Close() // it is one too many
		}
	}
}

type slotted struct {
	net.Conn
	once  sync.Once
	slots chan struct{}
}

func (s *slotted) Close() error {
	s.once.Do(func() { <-s.slots })
	return s.Conn.Close()
}
