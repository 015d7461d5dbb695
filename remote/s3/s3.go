// Package s3 is a remote.Store in an S3 bucket: object "a/b" is the key PREFIX/a/b. It works with every server that speaks
// the S3 protocol, on github.com/minio/minio-go.
//
//	Put      one PUT with the SHA-256 of the content signed: the server refuses what arrived otherwise. Never multipart,
//	         so an object is there whole or not at all
//	Get      one GET of the range. A body that breaks off is gone on with where it broke
//	Stat     one HEAD. What a HEAD refuses is asked again by GET, because only that answer has a reason
//	List     pages of 1000; a pair-tree that has more is listed in parallel by its first level
//	Delete   one DELETE. In a bucket that keeps versions: all versions of the object are listed and deleted, the locked ones excepted
//	AsOf     a view of an earlier time, read from the versions
//
// The retry policy is remote/retry's, above; the library inside tries once. What only a driver can do again is done here: a page of
// a listing, the rest of a body, a request that was signed with keys that have expired. A request without progress
// ends with an error that wraps remote.ErrUnavailable. A server that asks to slow down gets fewer requests at once (gate).
//
// "Does not exist" is said only if the server says it of the object. A missing bucket, refused access, and a web server's
// 404 are something else: errors that wrap remote.ErrUnavailable, so that remote/stripe works without this member.
//
// Opening makes no request. A Store is safe for concurrent use, and so are any number of them on one bucket. Goroutines are
// started by List only and end with it. A crash leaves nothing: the server drops a PUT that did not arrive whole.
package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"cairn/remote"
)

// Store keeps objects in a bucket.
type Store struct {
	o      Options
	place  string // s3://host/bucket, for messages
	prefix string // of keys; empty or ends with "/"
	client *minio.Client
	keys   *keyring
	gate   *gate
	seen   atomic.Int64 // Unix nanoseconds when the bucket was last known to exist
	page   int          // keys asked for at once; tests lower it
	pause  time.Duration

	versions atomic.Int32 // the ability to keep what is deleted
	md5      atomic.Bool  // the bucket takes no object without one: it has a default retention

	mu     sync.Mutex // held while PutNew is tried out
	putNew ability
}

// Open returns a Store. It makes no request: whether the bucket is there shows with the first.
func Open(o Options) (*Store, error) {
	if err := o.validate(); err != nil {
		return nil, remote.Permanent(err)
	}
	o = o.applyDefaults()
	base, err := o.transport()
	if err != nil {
		return nil, remote.Permanent(err)
	}
	s := &Store{o: o, place: "s3://" + o.Host + "/" + o.Bucket, gate: newGate(o.Concurrency), keys: &keyring{find: o.Keys, now: time.Now},
		page: 1000, pause: 200 * time.Millisecond}
	if o.Prefix != "" {
		s.prefix = o.Prefix + "/"
	}
	s.client, err = minio.New(o.Host, &minio.Options{
		Creds: credentials.New(s.keys), Secure: !o.Insecure, Transport: &wire{base}, Region: o.Region, BucketLookup: o.lookup(),
		MaxRetries: 1, // remote/retry is the policy
	})
	if err != nil {
		return nil, remote.Permanent(fmt.Errorf("open %s: %w", s.place, err))
	}
	s.client.SetAppInfo("cairn", "1")
	return s, nil
}

// String returns the bucket and prefix, for messages.
func (s *Store) String() string { return strings.TrimSuffix(s.place+"/"+s.prefix, "/") }

// do makes one operation: f under the gate and the watch, its error explained. Keys that the server calls expired are looked up
// again, once.
func (s *Store) do(ctx context.Context, op, name string, f func(r *request) error) error {
	begun := time.Now()
	err := s.once(ctx, op, name, f)
	var e *Error
	if errors.As(err, &e) && expiredKeys(e.Code) {
		s.keys.refused(begun)
		err = s.once(ctx, op, name, f)
	}
	return err
}

func (s *Store) once(ctx context.Context, op, name string, f func(r *request) error) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	stall := s.o.Stall
	if op == opDeleteAll {
		stall *= 4 // a thousand deletions in one request
	}
	r := newRequest(ctx, stall, s.o.Up, s.o.Down)
	err := f(r)
	if err != nil {
		err = s.explain(r, op, name, err)
	}
	if err == nil || errors.Is(err, remote.ErrNotExist) {
		s.seen.Store(time.Now().UnixNano())
	}
	r.end()
	s.gate.leave(r.begun, err)
	return err
}

// The operations, as messages name them.
const (
	opPut       = "put"
	opPutNew    = "create"
	opGet       = "get"
	opStat      = "stat"
	opList      = "list"
	opDelete    = "delete"
	opDeleteAll = "delete objects"
	opMake      = "make bucket"

	opPutLocked  = "put locked"
	opLock       = "lock"
	opLockOf     = "lock of"
	opLockConfig = "object lock of"
	opVersioning = "versioning of"
	opVersions   = "list versions of"
)

func check(ctx context.Context, name string) error {
	if err := remote.ValidName(name); err != nil {
		return err
	}
	return ctx.Err()
}

// Put stores an object with one PUT.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	return s.put(ctx, opPut, name, data)
}

func (s *Store) put(ctx context.Context, op, name string, data []byte) error {
	err := s.putOnce(ctx, op, name, data)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(e.Message), "content-md5") && !s.md5.Load() {
		s.md5.Store(true)
		err = s.putOnce(ctx, op, name, data)
	}
	return err
}

func (s *Store) putOnce(ctx context.Context, op, name string, data []byte) error {
	sum := sha256.Sum256(data)
	// DisableContentSha256 means: no signature for each piece. The hash that is given is signed and checked instead.
	opts := minio.PutObjectOptions{DisableContentSha256: true, StorageClass: s.class(name)}
	if op == opPutNew {
		opts.SetMatchETagExcept("*")
	}
	md := ""
	if s.md5.Load() {
		md = md5Base64(data)
	}
	core := minio.Core{Client: s.client}
	return s.do(ctx, op, name, func(r *request) error {
		_, err := core.PutObject(r.ctx, s.o.Bucket, s.prefix+name, bytes.NewReader(data), int64(len(data)), md, hex.EncodeToString(sum[:]), opts)
		return err
	})
}

// class is the storage class of an object: packs have the one that was asked for.
func (s *Store) class(name string) string {
	tree, _, ok := remote.ParsePairTree(name)
	if ok && (tree == "binaries" || strings.HasSuffix(tree, "/binaries")) {
		return s.o.StorageClass
	}
	return ""
}

// proof is how long a bucket that was seen counts as there.
const proof = 10 * time.Second

// Stat asks for the size and time of an object.
func (s *Store) Stat(ctx context.Context, name string) (remote.Info, error) {
	return s.stat(ctx, name, which{})
}

func (s *Store) stat(ctx context.Context, name string, w which) (remote.Info, error) {
	if err := check(ctx, name); err != nil {
		return remote.Info{}, err
	}
	info := remote.Info{Name: name}
	err := s.do(ctx, opStat, name, func(r *request) error {
		st, err := s.client.StatObject(r.ctx, s.o.Bucket, s.prefix+name, minio.StatObjectOptions{VersionID: w.version})
		info.Size, info.Modified = st.Size, st.LastModified
		if err == nil || r.status < 300 {
			return err
		}
		if r.status == http.StatusNotFound && time.Now().UnixNano()-s.seen.Load() < int64(proof) {
			r.spoken = true // of the object: the bucket was there a moment ago
			return err
		}
		return s.ask(r, name, w, &info, err)
	})
	if err == nil {
		err = w.fits(info.Modified)
	}
	if err != nil {
		return remote.Info{}, err
	}
	return info, nil
}

// ask asks by GET for the reason of what a HEAD refused: a HEAD has no body, so a missing bucket, a wrong clock and a
// server that is busy look like a missing object, refused access and a broken server.
func (s *Store) ask(r *request, name string, w which, info *remote.Info, refused error) error {
	opts := minio.GetObjectOptions{VersionID: w.version}
	if err := opts.SetRange(0, 0); err != nil {
		return err
	}
	body, st, header, err := minio.Core{Client: s.client}.GetObject(r.ctx, s.o.Bucket, s.prefix+name, opts)
	if err != nil {
		if r.status == http.StatusRequestedRangeNotSatisfiable {
			return refused
		}
		return err
	}
	body.Close()
	_, _, total, err := contentRange(header)
	if err != nil {
		return refused
	}
	info.Size, info.Modified = total, st.LastModified
	return nil
}

// wait is the pause before try number n of something that is tried again here: none, then 0.2 s, doubling.
func (s *Store) wait(ctx context.Context, n int) error {
	if n == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(s.pause << (n - 1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
