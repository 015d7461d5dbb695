package servers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

func put(t *testing.T, c *minio.Core, key string, data []byte) error {
	t.Helper()
	_, err := c.PutObject(t.Context(), Bucket, key, bytes.NewReader(data), int64(len(data)), "", "", minio.PutObjectOptions{})
	return err
}

func get(t *testing.T, c *minio.Core, key string) ([]byte, error) {
	t.Helper()
	body, _, _, err := c.GetObject(t.Context(), Bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func mustPut(t *testing.T, c *minio.Core, key string, data []byte) {
	t.Helper()
	if err := put(t, c, key, data); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// TestServers: six start within seconds, keep what they acknowledge when they are killed, and come back under their address.
func TestServers(t *testing.T) {
	t.Parallel()
	start := time.Now()
	list := Start(t, 6)
	t.Logf("six servers are ready after %v", time.Since(start).Round(time.Millisecond))
	for i, s := range list {
		c := s.Client()
		mustPut(t, c, "a/b", fmt.Appendf(nil, "server %d", i))
		if onDisk, err := os.ReadFile(filepath.Join(s.Dir(), "a/b")); string(onDisk) != fmt.Sprint("server ", i) {
			t.Errorf("the object is not the file: %q, %v", onDisk, err)
		}
		if i > 1 {
			continue
		}
		s.Kill()
		if data, err := get(t, c, "a/b"); err == nil {
			t.Errorf("a killed server answers %q", data)
		}
		s.Start()
		if data, err := get(t, c, "a/b"); string(data) != fmt.Sprint("server ", i) {
			t.Errorf("after the restart: %q, %v", data, err)
		}
	}
	list[5].Stop()
	list[5].Clear()
	list[5].Start()
	if _, err := get(t, list[5].Client(), "a/b"); minio.ToErrorResponse(err).Code != "NoSuchKey" {
		t.Errorf("a server with a new disk: %v", err)
	}
}

// TestKeys: servers with keys of their own let nobody else in.
func TestKeys(t *testing.T) {
	t.Parallel()
	list := StartWith(t, 2, Options{OwnKeys: true})
	if err := put(t, list[0].client(list[1].addr), "x", nil); err == nil {
		t.Error("the keys of one server open another")
	} else {
		t.Logf("%s, %d: %v", minio.ToErrorResponse(err).Code, minio.ToErrorResponse(err).StatusCode, err)
	}
	text, err := os.ReadFile(list[0].keyFile)
	if access, secret := list[0].Keys(); err != nil || !strings.Contains(string(text), access) || !strings.Contains(string(text), secret) {
		t.Errorf("credentials file: %v", err)
	}
	if !strings.Contains(list[0].URL(), "credentials=") {
		t.Error(list[0].URL())
	}
}

// proxied is a server with a proxy and three objects of one size behind it.
func proxied(t *testing.T) (*Proxy, *minio.Core) {
	t.Helper()
	s := Start(t, 1)[0]
	for i := range 3 {
		mustPut(t, s.Client(), fmt.Sprintf("binaries/%d", i), bytes.Repeat([]byte{byte(i)}, 100_000))
	}
	p := NewProxy(t, s, 1)
	return p, s.client(p.addr)
}

// TestProxyPasses: signed requests pass unchanged, and are counted.
func TestProxyPasses(t *testing.T) {
	t.Parallel()
	p, c := proxied(t)
	mustPut(t, c, "odd/~ +%25é", []byte("x"))
	if data, err := get(t, c, "odd/~ +%25é"); string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
	data, err := get(t, c, "binaries/2")
	if err != nil || len(data) != 100_000 || data[0] != 2 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := c.StatObject(t.Context(), Bucket, "binaries/2", minio.StatObjectOptions{}); err != nil {
		t.Error(err)
	}
	list, err := c.ListObjectsV2(Bucket, "binaries/", "", "", "", 0)
	if err != nil || len(list.Contents) != 3 {
		t.Errorf("%d objects, %v", len(list.Contents), err)
	}
	if err := c.RemoveObject(t.Context(), Bucket, "binaries/1", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
	n := p.Reset()
	for key, want := range map[string]int{"PUT odd": 1, "GET odd": 1, "GET binaries": 1, "HEAD binaries": 1, "LIST binaries": 1, "DELETE binaries": 1} {
		if n.By[key] != want {
			t.Errorf("%s: %d, want %d", key, n.By[key], want)
		}
	}
	if n.Requests() != 6 || n.Requests("GET", "PUT") != 3 || n.Down < 100_001 || n.Up < 1 || n.Refused != 0 {
		t.Errorf("%+v", n)
	}
}

// TestProxyRefuses: each refusal has its code, and ends when the faults do.
func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	p, c := proxied(t)
	for action, code := range map[Action]string{SlowDown: "SlowDown", Error: "InternalError", Expired: "ExpiredToken", Denied: "AccessDenied"} {
		p.Set(Faults{Do: action})
		if _, err := get(t, c, "binaries/0"); minio.ToErrorResponse(err).Code != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	p.Set(Faults{Do: Full})
	if err := put(t, c, "new", []byte("x")); minio.ToErrorResponse(err).StatusCode != http.StatusInsufficientStorage {
		t.Errorf("full: %v", err)
	}
	if _, err := get(t, c, "binaries/0"); err != nil {
		t.Errorf("a full disk can be read: %v", err)
	}
	p.Set(Faults{Do: Denied, Only: func(r Request) bool { return r.Key == "binaries/1" }})
	if _, err := get(t, c, "binaries/0"); err != nil {
		t.Error(err)
	}
	if _, err := get(t, c, "binaries/1"); err == nil {
		t.Error("Only is not looked at")
	}
	p.Set(Faults{Rate: 5})
	refused := 0
	for range 20 {
		if _, err := get(t, c, "binaries/0"); minio.ToErrorResponse(err).Code == "SlowDown" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no request was too many")
	}
	p.Set(Faults{Do: Denied, Share: 0.5})
	refused = 0
	for range 40 {
		if _, err := get(t, c, "binaries/0"); err != nil {
			refused++
		}
	}
	if refused < 5 || refused > 35 { // the seed makes it always the same
		t.Errorf("a half of 40 is %d", refused)
	}
}

// TestProxyBreaks: connections that end, at every stage.
func TestProxyBreaks(t *testing.T) {
	t.Parallel()
	p, c := proxied(t)
	p.Set(Faults{Do: Reset})
	if _, err := get(t, c, "binaries/0"); err == nil {
		t.Error("reset: no error")
	}
	p.Set(Faults{Do: Cut, After: 5000})
	if data, err := get(t, c, "binaries/0"); !errors.Is(err, io.ErrUnexpectedEOF) || len(data) != 5000 {
		t.Errorf("cut: %d bytes, %v", len(data), err)
	}
	if err := put(t, c, "binaries/cut", make([]byte, 50_000)); err == nil {
		t.Error("cut: the upload succeeded")
	}
	p.Set(Faults{Do: Lose})
	if err := put(t, c, "binaries/lost", []byte("x")); err == nil {
		t.Error("lose: there was an answer")
	}
	p.Refuse()
	if _, err := get(t, c, "binaries/0"); err == nil {
		t.Error("refused: no error")
	}
	p.Accept()
	if data, err := get(t, c, "binaries/lost"); string(data) != "x" {
		t.Errorf("what was done without an answer: %q, %v", data, err)
	}
	if _, err := get(t, c, "binaries/cut"); err == nil {
		t.Error("half an upload is an object")
	}
	p.Set(Faults{Do: Hang})
	answered := make(chan error, 1)
	go func() { _, err := get(t, c, "binaries/0"); answered <- err }()
	select {
	case err := <-answered:
		t.Errorf("hang: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	p.Set(Faults{})
	<-answered // the connection ended; the HTTP client may have tried again by itself
}

// TestProxyLies: what is served is wrong and looks right.
func TestProxyLies(t *testing.T) {
	t.Parallel()
	p, c := proxied(t)
	right, err := get(t, c, "binaries/1")
	if err != nil {
		t.Fatal(err)
	}
	p.Set(Faults{Do: Flip})
	data, err := get(t, c, "binaries/1")
	different := 0
	for i := range min(len(data), len(right)) {
		if data[i] != right[i] {
			different++
		}
	}
	if err != nil || len(data) != len(right) || different != 1 {
		t.Errorf("flip: %d bytes, %d different, %v", len(data), different, err)
	}
	p.Set(Faults{Do: Swap})
	if data, err = get(t, c, "binaries/1"); err != nil || len(data) != len(right) || data[0] == 1 {
		t.Errorf("swap: %d bytes of %d, %v", len(data), data[0], err)
	}
	p.Set(Faults{Do: Short})
	if data, err = get(t, c, "binaries/1"); err != nil || len(data) != len(right)/2 {
		t.Errorf("short: %d bytes, %v", len(data), err)
	}
	p.Set(Faults{})
	p.Remember()
	mustPut(t, c, "card", []byte("old"))
	_, _ = get(t, c, "card")
	mustPut(t, c, "card", []byte("new"))
	for action, want := range map[Action]string{Stale: "old", Pass: "new"} {
		p.Set(Faults{Do: action})
		if data, err := get(t, c, "card"); string(data) != want {
			t.Errorf("%q instead of %q, %v", data, want, err)
		}
	}
	if data, err := get(t, c, "binaries/1"); !bytes.Equal(data, right) {
		t.Errorf("never asked before: %d bytes, %v", len(data), err)
	}
}

// TestProxyIsSlow: latency and bandwidth.
func TestProxyIsSlow(t *testing.T) {
	t.Parallel()
	p, c := proxied(t)
	for _, test := range []struct {
		f    Faults
		want time.Duration
	}{{Faults{Latency: 150 * time.Millisecond}, 150 * time.Millisecond}, {Faults{Bandwidth: 500_000}, 190 * time.Millisecond}} {
		p.Set(test.f)
		start := time.Now()
		if _, err := get(t, c, "binaries/1"); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < test.want {
			t.Errorf("%+v: only %v", test.f, took)
		}
	}
}
