package tests

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"cairn/tests/servers"
)

// objects lists all versions of all objects of a server.
func objects(t *testing.T, s *servers.Server) (list []minio.ObjectInfo) {
	t.Helper()
	for o := range s.Client().Client.ListObjectsIter(t.Context(), servers.Bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		list = append(list, o)
	}
	return list
}

// destroy does what somebody with the keys of a client can: he covers each object with garbage, deletes it, and tries to delete every version.
// It returns how many versions he could not delete, and demands that those of everything that an archive needs are among them.
func destroy(t *testing.T, s *servers.Server) (kept int) {
	t.Helper()
	c := s.Client()
	before := objects(t, s)
	garbage := []byte("pay 1 coin")
	for i, o := range before {
		if i%2 == 0 {
			if _, err := c.Client.PutObject(t.Context(), servers.Bucket, o.Key, bytes.NewReader(garbage), int64(len(garbage)), minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Client.RemoveObject(t.Context(), servers.Bucket, o.Key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range before {
		err := c.Client.RemoveObject(t.Context(), servers.Bucket, o.Key, minio.RemoveObjectOptions{VersionID: o.VersionID})
		if err != nil {
			kept++
		} else if !o.IsDeleteMarker && !strings.HasPrefix(o.Key, "sessions/") && !strings.HasPrefix(o.Key, "probe") {
			t.Errorf("%s: the only version of %s could be deleted", s.URL(), o.Key)
		}
	}
	return kept
}

// ransom: an archive under retention survives somebody who has the writers' credentials: he destroys everything as far as he can on all
// members, and as of the moment before, every snapshot is listed and restored exactly, on a machine that knows nothing but the key.
func ransom(t *testing.T, o servers.Options) {
	o.Lock = true
	c := newClusterWith(t, 2, 1, false, o, "--retain", "1h", "--retain-mode", "compliance")
	trees := map[string]string{}
	for i := range 3 {
		tree := c.write(fmt.Sprint("tree", i), files{"same": string(random("same", 3<<20)), "own": fmt.Sprint("number ", i), "dir/more": string(random(fmt.Sprint(i), 300_000))})
		trees[c.backup(tree).text("snapshot")] = tree
	}
	c.check()
	time.Sleep(1100 * time.Millisecond) // views count whole seconds
	at := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	time.Sleep(1100 * time.Millisecond)
	for _, s := range c.servers {
		if kept := destroy(t, s); kept < 10 {
			t.Errorf("%d versions of %s could not be deleted", kept, s.URL())
		}
	}
	if r := c.run("snapshots"); r.code == 0 || strings.Contains(r.stdout, "tree") {
		t.Errorf("after everything was destroyed: %v", r)
	}
	for _, m := range []*cluster{c, c.elsewhere()} {
		var found []string
		for _, s := range m.ok("snapshots", "--json", "--as-of", at).of("snapshot") {
			found = append(found, s.text("id"))
		}
		if len(found) != len(trees) {
			t.Fatalf("as of %s there are %d of %d snapshots", at, len(found), len(trees))
		}
		for id, tree := range trees {
			if !slices.Contains(found, id) {
				t.Errorf("snapshot %s is not listed", id)
			}
			target := m.path("restored " + id[:8])
			m.ok("restore", id, "--as-of", at, "--to", target)
			same(t, tree, target+tree)
		}
		m.ok("check", "--read-data", "--as-of", at)
	}
	c.must(2, "backup", "--as-of", at, c.path("tree0")).says("works on the archive as it is now")
	if r := c.run("snapshots", "--as-of", "2001-01-01"); r.code == 0 {
		t.Errorf("as of a time when there was no archive: %v", r)
	}
}

// TestRansom: at versitygw.
func TestRansom(t *testing.T) {
	t.Parallel()
	ransom(t, servers.Options{})
}

// TestSoakRansomMinIO: the same at another server. Its build takes minutes.
func TestSoakRansomMinIO(t *testing.T) {
	if !soaking() {
		t.Skip("CAIRN_SOAK is not set: building MinIO takes minutes")
	}
	t.Parallel()
	ransom(t, servers.Options{Kind: servers.MinIO})
}
