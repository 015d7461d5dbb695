package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/remotetest"
	"cairn/remote/retry"
	"cairn/remote/s3"
	"cairn/tests/servers"
)

// bucket opens the driver on a server's URL, below a prefix.
func bucket(t testing.TB, s *servers.Server, url, prefix string) *s3.Store {
	t.Helper()
	u, err := remote.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s3.FromURL(u)
	if err != nil {
		t.Fatal(err)
	}
	o.Prefix = prefix
	access, secret := s.Keys()
	o.Keys = func(context.Context) (s3.Keys, error) { return s3.Keys{AccessKey: access, SecretKey: secret}, nil }
	store, err := s3.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// prefixes gives each test of a suite a prefix of its own in one bucket.
func prefixes() func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprintf("p%d/x", n.Add(1)) }
}

// conform runs the suite of all stores through a proxy. The suite's tests run after conform has returned, at the end of t.
func conform(t *testing.T, kind servers.Kind, f servers.Faults) {
	s := servers.StartWith(t, 1, servers.Options{Kind: kind})[0]
	url := s.URL()
	if len(f.Any) > 0 || f.Latency > 0 {
		p := servers.NewProxy(t, s, 1)
		// PutNew is not tried again: it would find its own object. Its first call makes probes.
		f.Only = func(r servers.Request) bool { return !r.New && !strings.Contains(r.Key, "/probe-") }
		p.Set(f)
		url = p.URL()
	}
	next := prefixes()
	remotetest.Run(t, func(t *testing.T) remote.Store {
		return retry.New(bucket(t, s, url, next()), retry.Options{Base: 10 * time.Millisecond, Attempts: 20})
	})
}

// TestS3: the driver, with the retries above it that every archive has, keeps the contract of all stores at a real server:
// plain, from afar, and with faults that both together must hide.
func TestS3(t *testing.T) {
	t.Parallel()
	latency := 2 * time.Millisecond
	if os.Getenv("CAIRN_SOAK") != "" {
		latency = 20 * time.Millisecond // a minute
	}
	t.Run("versitygw", func(t *testing.T) { t.Parallel(); conform(t, servers.Versity, servers.Faults{}) })
	t.Run("far away", func(t *testing.T) {
		t.Parallel()
		conform(t, servers.Versity, servers.Faults{Latency: latency})
	})
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		conform(t, servers.Versity, servers.Faults{Any: []servers.Action{servers.Error, servers.Reset, servers.Cut}, Share: 0.1, After: 3000})
	})
}

// TestSoakS3MinIO: the same at another server. Its build takes minutes.
func TestSoakS3MinIO(t *testing.T) {
	if os.Getenv("CAIRN_SOAK") == "" {
		t.Skip("CAIRN_SOAK is not set: building MinIO takes minutes")
	}
	t.Parallel()
	conform(t, servers.MinIO, servers.Faults{})
}

// TestS3FullDisk: a server whose disk is full refuses what does not fit, keeps what it has, and takes more once there is room.
func TestS3FullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("cairn-test", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := servers.StartWith(t, 1, servers.Options{Dir: dir})[0]
	store := bucket(t, s, s.URL(), "p")
	data := random("full", 2<<20)
	kept := 0
	var full error
	for ; full == nil && kept < 10; kept++ {
		full = store.Put(t.Context(), fmt.Sprintf("binaries/%d", kept), data)
	}
	if full == nil {
		t.Fatal("20 MiB fit into 8")
	}
	kept--
	t.Logf("after %d objects: %v", kept, full)
	if errors.Is(full, remote.ErrNotExist) {
		t.Errorf("a full disk is taken for a missing object: %v", full)
	}
	for i := range kept {
		got, err := store.Get(t.Context(), fmt.Sprintf("binaries/%d", i), 0, -1, nil)
		if err != nil || string(got) != string(data) {
			t.Errorf("object %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := store.Stat(t.Context(), fmt.Sprintf("binaries/%d", kept)); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("what did not fit: %v", err)
	}
	if err := store.Delete(t.Context(), "binaries/0"); err != nil {
		t.Errorf("delete on a full disk: %v", err)
	}
	if err := store.Put(t.Context(), "binaries/again", data); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// TestS3Refusals: E13: what is not an object's absence is never taken for it, says what to do, and ends soon.
func TestS3Refusals(t *testing.T) {
	t.Parallel()
	list := servers.StartWith(t, 2, servers.Options{OwnKeys: true})
	s := list[0]
	p := servers.NewProxy(t, s, 1)
	good := bucket(t, s, p.URL(), "p")
	if err := good.Put(t.Context(), "there", []byte("x")); err != nil {
		t.Fatal(err)
	}
	elsewhere := bucket(t, list[1], s.URL(), "p") // keys of another server
	nowhere := bucket(t, s, strings.Replace(p.URL(), "/"+servers.Bucket+"?", "/no-such-bucket?", 1), "p")
	for name, c := range map[string]struct {
		f     servers.Faults
		store *s3.Store
	}{
		"expired keys": {servers.Faults{Do: servers.Expired}, good},
		"denied":       {servers.Faults{Do: servers.Denied}, good},
		"wrong keys":   {servers.Faults{}, elsewhere},
		"no bucket":    {servers.Faults{}, nowhere},
	} {
		p.Set(c.f)
		for _, object := range []string{"there", "not there"} {
			start := time.Now()
			_, err := c.store.Get(t.Context(), object, 0, -1, nil)
			if err == nil || errors.Is(err, remote.ErrNotExist) || !errors.Is(err, remote.ErrUnavailable) || remote.Hint(err) == "" {
				t.Errorf("%s: get %s: %v; hint %q", name, object, err, remote.Hint(err))
			}
			if _, err := c.store.Stat(t.Context(), object); err == nil || errors.Is(err, remote.ErrNotExist) {
				t.Errorf("%s: stat %s: %v", name, object, err)
			}
			for _, err := range c.store.List(t.Context(), "") {
				if err == nil || errors.Is(err, remote.ErrNotExist) {
					t.Errorf("%s: list: %v", name, err)
				}
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s: said after %v", name, took)
			}
		}
	}
}

// TestS3CutListing: a listing that breaks off is asked for again. Its error must not look like a range that ends behind an object, which
// nobody tries again.
func TestS3CutListing(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, 1)[0]
	p := servers.NewProxy(t, s, 1)
	store := retry.New(bucket(t, s, p.URL(), "p"), retry.Options{Base: 50 * time.Millisecond})
	for i := range 20 {
		if err := store.Put(t.Context(), fmt.Sprint("a/", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	p.Reset()
	p.Set(servers.Faults{Do: servers.Cut, After: 500})
	for _, err := range store.List(t.Context(), "") {
		if n := p.Reset().Requests(); err == nil || n < 3 {
			t.Errorf("given up after %d requests: %v", n, err)
		}
		break
	}
}
