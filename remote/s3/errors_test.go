package s3

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/remote"
)

// TestAnswers: what each refusal means, and what the operator is told.
func TestAnswers(t *testing.T) {
	t.Parallel()
	get := func(s *Store) error { _, err := s.Get(t.Context(), "a", 0, -1, nil); return err }
	put := func(s *Store) error { return s.Put(t.Context(), "a", []byte("x")) }
	stat := func(s *Store) error { _, err := s.Stat(t.Context(), "a"); return err }
	list := func(s *Store) error {
		for _, err := range s.List(t.Context(), "") {
			return err
		}
		return nil
	}
	del := func(s *Store) error { return s.Delete(t.Context(), "a") }
	for _, test := range []struct {
		status      int
		code        string
		do          func(*Store) error
		is          error // remote.ErrUnavailable, remote.ErrSlowDown, or nil: neither
		permanent   bool
		hint        string
		header, val string
	}{
		{403, "AccessDenied", get, remote.ErrUnavailable, true, "s3:GetObject on arn:aws:s3:::bucket/p/q/*", "", ""},
		{403, "AccessDenied", stat, remote.ErrUnavailable, true, "s3:ListBucket on arn:aws:s3:::bucket", "", ""},
		{403, "AccessDenied", put, remote.ErrUnavailable, true, "s3:PutObject on arn:aws:s3:::bucket/p/q/*", "", ""},
		{403, "AccessDenied", list, remote.ErrUnavailable, true, "s3:ListBucket on arn:aws:s3:::bucket", "", ""},
		{403, "AccessDenied", del, nil, true, "s3:DeleteObject", "", ""},
		{403, "InvalidAccessKeyId", get, remote.ErrUnavailable, true, "AWS_ACCESS_KEY_ID", "", ""},
		{404, "XAdminUserNotFound", get, remote.ErrUnavailable, true, "AWS_ACCESS_KEY_ID", "", ""},
		{403, "SignatureDoesNotMatch", stat, remote.ErrUnavailable, true, "secret key", "", ""},
		{403, "RequestTimeTooSkewed", put, remote.ErrUnavailable, true, "this clock is 2h0m", "Date", time.Now().Add(2*time.Hour + time.Second).UTC().Format(http.TimeFormat)},
		{403, "RequestTimeTooSkewed", stat, remote.ErrUnavailable, true, "ahead of the server's", "Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)},
		{400, "AuthorizationHeaderMalformed", get, remote.ErrUnavailable, true, "?region=eu-west-3", "X-Amz-Bucket-Region", "eu-west-3"},
		{301, "PermanentRedirect", get, remote.ErrUnavailable, true, "?region=eu-west-3", "X-Amz-Bucket-Region", "eu-west-3"},
		{301, "PermanentRedirect", stat, remote.ErrUnavailable, true, "?region=eu-west-3", "X-Amz-Bucket-Region", "eu-west-3"},
		{301, "PermanentRedirect", put, remote.ErrUnavailable, true, "correct the host", "", ""},
		{404, "NoSuchBucket", put, remote.ErrUnavailable, true, "cairn init", "", ""},
		{403, "InvalidObjectState", get, nil, true, "restore-object --bucket bucket --key p/q/a", "", ""},
		{403, "QuotaExceeded", put, nil, true, "quota", "", ""},
		{507, "XMinioStorageFull", put, nil, true, "make room", "", ""},
		{507, "SomethingElse", put, nil, true, "make room", "", ""},
		{503, "SlowDown", put, remote.ErrSlowDown, false, "throttles", "", ""},
		{503, "SlowDown", stat, remote.ErrSlowDown, false, "throttles", "", ""},
		{429, "Whatever", get, remote.ErrSlowDown, false, "", "", ""},
		{503, "Whatever", get, nil, false, "", "", ""},
		{500, "InternalError", get, nil, false, "", "", ""},
		{400, "BadDigest", put, nil, false, "", "", ""},
		{400, "RequestTimeout", put, nil, false, "", "", ""},
		{409, "OperationAborted", put, nil, false, "", "", ""},
		{400, "InvalidArgument", put, nil, true, "", "", ""},
		{400, "InvalidStorageClass", put, nil, true, "?class=", "", ""},
		{403, "Strange", get, remote.ErrUnavailable, true, "", "", ""},
	} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
			if test.header != "" {
				w.Header().Set(test.header, test.val)
			}
			if r.Method == http.MethodHead {
				w.WriteHeader(test.status) // has no body to say more
			} else {
				refuse(w, test.status, test.code)
			}
			return true
		})
		err := test.do(f.open(t))
		name := test.code
		var e *Error
		if !errors.As(err, &e) || e.Code != test.code || e.Status != test.status || e.RequestID != "REQ1" {
			t.Errorf("%s: %#v", name, err)
			continue
		}
		if want := f.host() + "/bucket"; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "REQ1") || !strings.Contains(err.Error(), test.code) {
			t.Errorf("%s: message %q", name, err)
		}
		if e.Op != "list" && !strings.Contains(err.Error(), "p/q/a") {
			t.Errorf("%s: message without the key: %q", name, err)
		}
		for _, kind := range []error{remote.ErrUnavailable, remote.ErrSlowDown, remote.ErrNotExist} {
			if errors.Is(err, kind) != (kind == test.is) {
				t.Errorf("%s: %q is %v: %v", name, err, kind, errors.Is(err, kind))
			}
		}
		if remote.IsPermanent(err) != test.permanent || !strings.Contains(remote.Hint(err), test.hint) || test.hint == "" != (remote.Hint(err) == "") {
			t.Errorf("%s: permanent %v, hint %q, want %v, %q", name, remote.IsPermanent(err), remote.Hint(err), test.permanent, test.hint)
		}
	}
}

func (f *fake) host() string { return strings.TrimPrefix(f.URL, "http://") }

// TestTerminal: what a server says cannot control the terminal or flood it.
func TestTerminal(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(500)
		w.Write([]byte("<Error><Code>Bad&#x9b;31m</Code><Message>a&#x85;b" + strings.Repeat("ü", 5000) + "</Message></Error>"))
		return true
	})
	err := f.open(t).Put(t.Context(), "a", nil)
	if text := err.Error(); len(text) > 600 || strings.ContainsAny(text, "\u009b\u0085\n") {
		t.Errorf("%d bytes: %.200q", len(text), text)
	}
}

// TestTLS: E14: a certificate of one's own needs ca=, plain HTTP needs insecure=1, and both errors say so.
func TestTLS(t *testing.T) {
	t.Parallel()
	f := &fake{buckets: map[string]map[string]fakeObject{"bucket": {}}, page: 1000, keys: map[string]bool{"key": true}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	host := strings.TrimPrefix(f.URL, "https://")
	open := func(change func(*Options)) error {
		o := Options{Host: host, Bucket: "bucket", Keys: staticKeys}
		change(&o)
		s, err := Open(o)
		if err != nil {
			return err
		}
		return s.Put(t.Context(), "a", []byte("x"))
	}
	err := open(func(*Options) {})
	if !errors.Is(err, remote.ErrUnavailable) || !remote.IsPermanent(err) || !strings.Contains(remote.Hint(err), "ca=") {
		t.Errorf("untrusted: %v, hint %q", err, remote.Hint(err))
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(func(o *Options) { o.CAFile = ca }); err != nil {
		t.Errorf("trusted: %v", err)
	}
	if err := open(func(o *Options) { o.CAFile = ca; o.Insecure = true }); !remote.IsPermanent(err) || !strings.Contains(remote.Hint(err), "insecure=1") {
		t.Errorf("HTTP to HTTPS: %v, hint %q", err, remote.Hint(err))
	}
	plain := newFake(t, nil)
	host = plain.host()
	if err := open(func(*Options) {}); !errors.Is(err, remote.ErrUnavailable) || !remote.IsPermanent(err) || !strings.Contains(remote.Hint(err), "insecure=1") {
		t.Errorf("HTTPS to HTTP: %v, hint %q", err, remote.Hint(err))
	}
	for _, bad := range []string{ca + "x", os.Args[0]} {
		if err := open(func(o *Options) { o.CAFile = bad }); !remote.IsPermanent(err) || remote.Hint(err) == "" {
			t.Errorf("ca %s: %v", bad, err)
		}
	}
}

// TestCanceled: a caller who gives up gets his own error, whatever was going on.
func TestCanceled(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	f := newFake(t, func(http.ResponseWriter, *http.Request) bool { <-quit; return true })
	defer close(quit)
	s := f.open(t, func(o *Options) { o.Concurrency = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ch := make(chan error)
	for range 3 { // one in flight, two that wait
		go func() { ch <- s.Put(ctx, "a", nil) }()
	}
	for range 3 {
		if err := <-ch; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, remote.ErrUnavailable) {
			t.Error(err)
		}
	}
}
