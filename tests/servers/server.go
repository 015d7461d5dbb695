package servers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"
)

// What every server has.
const (
	Bucket = "cairn"
	Region = "us-east-1"
)

// patience is how long a server may take to be ready: on an idle machine it is 0.1 s, with all cores busy seconds.
const patience = 60 * time.Second

// Options of servers. The zero value is versitygw over temporary directories with one pair of keys for all.
type Options struct {
	Kind    Kind
	Dir     string // below which each has its directory; "": a temporary one of the test
	OwnKeys bool   // each has keys of its own, which its URL tells by credentials=FILE
	Lock    bool   // buckets keep versions and can lock them; a test on MinIO or versitygw
}

// Server is one S3 server.
type Server struct {
	t       testing.TB
	kind    Kind
	program string
	name    string // for logs
	addr    string // host:port
	root    string // the directory it serves
	sidecar string // where it keeps attributes if the file system cannot; "" if it can
	past    string // where it keeps versions; "": it keeps none
	lock    bool   // the bucket is made with object lock
	log     tail

	access, secret string
	keyFile        string // "": the keys are in the environment

	mu   sync.Mutex
	proc *process // nil: not running
}

// Start starts n servers with an empty bucket each and waits until they answer.
func Start(t testing.TB, n int) []*Server {
	t.Helper()
	return StartWith(t, n, Options{})
}

// StartWith is Start with options.
func StartWith(t testing.TB, n int, o Options) []*Server {
	t.Helper()
	program, err := builds[o.Kind]()
	if err != nil {
		t.Fatal(err)
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	access, secret := newKeys()
	list := make([]*Server, n)
	for i := range list {
		s := &Server{t: t, kind: o.Kind, program: program, name: fmt.Sprintf("%v %d", o.Kind, i), access: access, secret: secret}
		if o.OwnKeys {
			s.access, s.secret = newKeys()
			s.keyFile = filepath.Join(o.Dir, fmt.Sprintf("keys%d", i))
			text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s.access, s.secret)
			if err := os.WriteFile(s.keyFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.lock = o.Lock
		s.place(filepath.Join(o.Dir, fmt.Sprintf("s3-%d", i)))
		t.Cleanup(s.end)
		list[i] = s
		s.launchAnywhere()
	}
	for _, s := range list { // launched first, then waited for: they start at the same time
		s.ready()
	}
	return list
}

func newKeys() (access, secret string) { return "AK" + rand.Text()[:18], rand.Text() + rand.Text() }

// place makes the directories.
func (s *Server) place(dir string) {
	s.t.Helper()
	s.root = filepath.Join(dir, "data")
	if err := os.MkdirAll(s.root, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if s.lock && s.kind == Versity {
		s.past = filepath.Join(dir, "versions")
		if err := os.Mkdir(s.past, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if unix.Setxattr(s.root, "user.cairn-test", []byte("x"), 0) != nil {
		s.sidecar = filepath.Join(dir, "sidecar")
		if err := os.Mkdir(s.sidecar, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
}

// URL is the server's bucket as a member of an archive.
func (s *Server) URL() string { return s.url(s.addr) }

func (s *Server) url(addr string) string {
	q := url.Values{"insecure": {"1"}, "region": {Region}, "style": {"path"}}
	if s.keyFile != "" {
		q.Set("credentials", s.keyFile)
	}
	return "s3://" + addr + "/" + Bucket + "?" + q.Encode()
}

// Env is what a program needs in its environment to be let in, and nothing else that could let it in elsewhere.
func (s *Server) Env() []string {
	env := []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_SESSION_TOKEN=", "AWS_PROFILE="}
	if s.keyFile != "" {
		return append(env, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
	}
	return append(env, "AWS_ACCESS_KEY_ID="+s.access, "AWS_SECRET_ACCESS_KEY="+s.secret)
}

// Keys are the server's keys.
func (s *Server) Keys() (access, secret string) { return s.access, s.secret }

// Dir is where the objects of versitygw are: object a/b is the file a/b below it.
func (s *Server) Dir() string { return filepath.Join(s.root, Bucket) }

// Client is a plain client of the server, for what tests do beside Cairn.
func (s *Server) Client() *minio.Core { return s.client(s.addr) }

func (s *Server) client(addr string) *minio.Core {
	c, err := minio.NewCore(addr, &minio.Options{Creds: credentials.NewStaticV4(s.access, s.secret, ""), Region: Region, MaxRetries: 1, BucketLookup: minio.BucketLookupPath})
	if err != nil {
		s.t.Fatal(err) // only an address that makes no sense
	}
	return c
}

// Kill ends the server as a power cut would: SIGKILL. It is gone when Kill returns.
func (s *Server) Kill() { s.stop(unix.SIGKILL) }

// Stop ends the server in good order.
func (s *Server) Stop() { s.stop(unix.SIGTERM) }

func (s *Server) stop(signal unix.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.stop(signal)
		s.proc = nil
	}
}

// Start starts a server that was stopped or killed, at the same address with the same objects, and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.launch(); err != nil {
		s.t.Fatalf("start %s: %v", s.name, err)
	}
	s.ready()
}

// Clear replaces a stopped server's objects by nothing: the disk is new. Start makes the bucket again.
func (s *Server) Clear() {
	s.t.Helper()
	for _, dir := range []string{s.root, s.sidecar, s.past} {
		if dir == "" {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			s.t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
}

// launchAnywhere starts the server on a free port.
func (s *Server) launchAnywhere() {
	s.t.Helper()
	s.addr = address(s.t)
	if err := s.launch(); err != nil {
		s.t.Fatalf("start %s: %v", s.name, err)
	}
}

func (s *Server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return fmt.Errorf("it is running")
	}
	args, env := s.commandLine()
	p, err := launch(s.program, args, env, &s.log)
	s.proc = p
	return err
}

func (s *Server) commandLine() (args, env []string) {
	// A variable of the machine that runs the tests must not set up a server.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "VGW_") && !strings.HasPrefix(v, "ROOT_") && !strings.HasPrefix(v, "MINIO_") && !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	if s.kind == MinIO {
		env = append(env, "MINIO_ROOT_USER="+s.access, "MINIO_ROOT_PASSWORD="+s.secret, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_REGION_NAME="+Region)
		return []string{"server", "--address", s.addr, s.root}, env
	}
	env = append(env, "ROOT_ACCESS_KEY="+s.access, "ROOT_SECRET_KEY="+s.secret)
	args = []string{"--port", s.addr, "--region", Region, "--keep-alive", "posix", "--disableotmp"}
	// Without keep-alive it closes the connection after each answer. With O_TMPFILE, its default, a listing shows temporary names
	// (.NAME.sgwtmp.NUMBER) beside an object that is being replaced, which no other S3 server does.
	if s.sidecar != "" {
		args = append(args, "--sidecar", s.sidecar)
	}
	if s.past != "" {
		args = append(args, "--versioning-dir", s.past)
	}
	return append(args, s.root), env
}

// ready waits until the server has its bucket.
func (s *Server) ready() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := s.Client()
	for {
		err := c.MakeBucket(ctx, Bucket, minio.MakeBucketOptions{Region: Region, ObjectLocking: s.lock})
		code := minio.ToErrorResponse(err).Code
		if err == nil || code == "BucketAlreadyOwnedByYou" || code == "BucketAlreadyExists" {
			return
		}
		select {
		case <-s.ended():
			s.t.Fatalf("%s ended instead of serving at %s:\n%s", s.name, s.addr, s.log.String())
		case <-ctx.Done():
			s.t.Fatalf("%s does not serve at %s: %v\n%s", s.name, s.addr, err, s.log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	return s.proc.ended
}

// end is the end of the test.
func (s *Server) end() {
	s.Kill()
	if s.t.Failed() {
		s.t.Logf("the last of what %s at %s said:\n%s", s.name, s.addr, s.log.String())
	}
}
