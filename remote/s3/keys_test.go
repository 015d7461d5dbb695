package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/remote"
)

// TestExpired: keys that the server calls expired are looked up again, once for all requests that were signed with them.
func TestExpired(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	var calls atomic.Int32
	find := func(context.Context) (Keys, error) {
		return Keys{AccessKey: fmt.Sprintf("key%d", calls.Add(1)), SecretKey: "secret", SessionToken: "token"}, nil
	}
	f.keys = map[string]bool{"key1": true}
	s := f.open(t, func(o *Options) { o.Keys = find })
	if err := s.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.keys = map[string]bool{"key2": true}
	if got := f.requests[0].Header.Get("X-Amz-Security-Token"); got != "token" {
		t.Errorf("session token %q", got)
	}
	f.mu.Unlock()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := s.Put(t.Context(), fmt.Sprint(i), []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if calls.Load() != 2 {
		t.Errorf("keys were looked up %d times, want 2", calls.Load())
	}
	f.mu.Lock()
	f.keys = map[string]bool{}
	f.requests = nil
	f.mu.Unlock()
	err := s.Put(t.Context(), "a", nil)
	if !errors.Is(err, remote.ErrUnavailable) || !remote.IsPermanent(err) || !strings.Contains(remote.Hint(err), "expired") || len(f.log()) != 2 {
		t.Errorf("expired for good: %v, hint %q", err, remote.Hint(err))
	}
}

// TestRenewed: keys with a known end are renewed before it, and kept when that fails, until then.
func TestRenewed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	end := now.Add(time.Hour)
	calls := 0
	var fails error
	k := &keyring{now: func() time.Time { return now }, find: func(context.Context) (Keys, error) {
		calls++
		return Keys{AccessKey: "a", SecretKey: "b", Expires: end}, fails
	}}
	get := func() error {
		if !k.IsExpired() {
			return nil
		}
		_, err := k.Retrieve()
		return err
	}
	for _, step := range []struct {
		after time.Duration
		fails error
		calls int
		ok    bool
	}{
		{0, nil, 1, true},
		{54 * time.Minute, nil, 1, true},
		{2 * time.Minute, errNoKeys, 2, true}, // 4 minutes before the end: renewing fails, they still hold
		{5 * time.Second, errNoKeys, 2, true}, // and is not tried with every request
		{6 * time.Second, errNoKeys, 3, true},
		{4 * time.Minute, errNoKeys, 4, false}, // now they have expired
		{5 * time.Second, nil, 4, false},
		{6 * time.Second, nil, 5, true},
	} {
		now = now.Add(step.after)
		fails = step.fails
		if fails == nil && calls > 0 {
			end = now.Add(time.Hour)
		}
		if err := get(); (err == nil) != step.ok || calls != step.calls {
			t.Fatalf("%+v: %v after %d calls", step, err, calls)
		}
	}
}

// environment sets all variables of the chain, those that are not given to nothing.
func environment(t *testing.T, set map[string]string) {
	home := t.TempDir()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "MINIO_ROOT_USER",
		"MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"} {
		t.Setenv(name, set[name])
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("HOME", home)
	t.Setenv("HTTP_PROXY", "")
	t.Setenv("http_proxy", "")
}

// TestChain does not run beside other tests: it sets the environment.
func TestChain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = d\naws_secret_access_key = ds\n\n"+
		"[backup]\naws_access_key_id = b\naws_secret_access_key = bs\naws_session_token = bt\n\n[half]\naws_access_key_id = h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"AccessKeyId":"r","SecretAccessKey":"rs","Token":"rt","Expiration":"2999-01-01T00:00:00Z"}`)
	}))
	defer role.Close()
	aws := map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "as", "AWS_SESSION_TOKEN": "at"}
	with := func(base map[string]string, name, value string) map[string]string {
		m := map[string]string{name: value}
		for k, v := range base {
			m[k] = v
		}
		return m
	}
	for _, test := range []struct {
		name, profile, file string
		env                 map[string]string
		want                Keys
		err                 string
	}{
		{"environment", "", "", aws, Keys{AccessKey: "a", SecretKey: "as", SessionToken: "at"}, ""},
		{"environment of MinIO", "", "", map[string]string{"MINIO_ROOT_USER": "m", "MINIO_ROOT_PASSWORD": "ms"}, Keys{AccessKey: "m", SecretKey: "ms"}, ""},
		{"default profile", "", "", map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file}, Keys{AccessKey: "d", SecretKey: "ds"}, ""},
		{"AWS_PROFILE", "", "", map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_PROFILE": "backup"}, Keys{AccessKey: "b", SecretKey: "bs", SessionToken: "bt"}, ""},
		{"environment before file", "", "", with(aws, "AWS_SHARED_CREDENTIALS_FILE", file), Keys{AccessKey: "a", SecretKey: "as", SessionToken: "at"}, ""},
		{"a named profile before the environment", "backup", "", with(aws, "AWS_SHARED_CREDENTIALS_FILE", file), Keys{AccessKey: "b", SecretKey: "bs", SessionToken: "bt"}, ""},
		{"a named file before the environment", "", file, aws, Keys{AccessKey: "d", SecretKey: "ds"}, ""},
		{"a named profile that is not there", "other", file, aws, Keys{}, "other"},
		{"a named file that is not there", "", file + "x", aws, Keys{}, "none"},
		{"half a pair in the file", "half", file, aws, Keys{}, "partial"},
		{"half a pair in the environment", "", "", map[string]string{"AWS_ACCESS_KEY_ID": "a"}, Keys{}, "AWS_ACCESS_KEY_ID: only one of the two keys is set"},
		{"role of the container", "", "", map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": role.URL},
			Keys{AccessKey: "r", SecretKey: "rs", SessionToken: "rt", Expires: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)}, ""},
		{"nothing", "", "", nil, Keys{}, "no keys for S3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			environment(t, test.env)
			begin := time.Now()
			got, err := Chain(test.profile, test.file)(t.Context())
			if got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			var none *keysError
			if (err == nil) != (test.err == "") || err != nil && (!strings.Contains(err.Error(), test.err) || !errors.As(err, &none)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if took := time.Since(begin); took > metadataTime+time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
