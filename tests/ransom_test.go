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
	c.ok("init", "--new-key-file", c.path("other key"), c.path("rescue"))
	c.ok("copy", "--as-of", at, "--to", c.path("rescue"), "--to-key-file", c.path("other key"))
	if n := len(c.ok("snapshots", "--json", "-a", c.path("rescue"), "--key-file", c.path("other key")).of("snapshot")); n != len(trees) {
		t.Errorf("%d of %d snapshots were copied out", n, len(trees))
	}
	c.must(2, "backup", "--as-of", at, c.path("tree0")).says("works on the archive as it is now")
	if r := c.run("snapshots", "--as-of", "2001-01-01"); r.code == 0 {
		t.Errorf("as of a time when there was no archive: %v", r)
	}
}

// TestRansom: E12: at versitygw.
func TestRansom(t *testing.T) {
	t.Parallel()
	ransom(t, servers.Options{})
}

// TestRetention: prune lets what is locked be, and deletes it for good when the locks are over; what is needed is locked for longer. Retention is
// given to an archive that has none, and taken from it.
func TestRetention(t *testing.T) {
	t.Parallel()
	c := newClusterWith(t, 1, 1, false, servers.Options{Lock: true})
	tree := c.write("tree", files{"a": string(random("a", 500_000))})
	first := c.backup(tree).text("snapshot")
	c.ok("member", "retain", "14s").says("everything stored is locked against deletion: 14s, governance")
	c.write("tree", files{"a": string(random("b", 500_000))})
	c.backup(tree)
	c.ok("forget", first)
	o := c.ok("prune", "--json", "--max-unused", "0").one("prune")
	begin := time.Now()
	if locked := o["locked"].(map[string]any); locked["packs"].(float64) == 0 || o["deleted"].(map[string]any)["packs"].(float64) != 0 {
		t.Errorf("prune of what is locked: %v", o)
	}
	before := versions(t, c)
	time.Sleep(time.Until(begin.Add(16 * time.Second)))
	o = c.ok("prune", "--json", "--max-unused", "0").one("prune")
	if o["deleted"].(map[string]any)["packs"].(float64) == 0 || o["locked"].(map[string]any)["packs"].(float64) != 0 || o.number("locks_extended") == 0 {
		t.Errorf("prune when the locks are over: %v", o)
	}
	if after := versions(t, c); after >= before-800_000 {
		t.Errorf("%d bytes in all versions before, %d after: nothing was freed", before, after)
	}
	c.check()
	same(t, tree, c.restore("latest", tree))
	c.ok("member", "retain", "off")
	c.must(1, "member", "retain", "off")
	c.must(2, "member", "retain", "soon")
}

// TestRetentionOfNewMember: a bucket that takes a member's place is made with object lock, and everything that is copied there is locked.
func TestRetentionOfNewMember(t *testing.T) {
	t.Parallel()
	c := newClusterWith(t, 1, 1, false, servers.Options{Lock: true}, "--retain", "1h")
	tree := c.write("tree", files{"a": string(random("a", 500_000))})
	c.backup(tree)
	fresh := strings.Replace(c.urls()[1], "/"+servers.Bucket+"?", "/another?", 1)
	c.ok("member", "replace", c.urls()[0], fresh)
	client, n := c.servers[1].Client().Client, 0
	for o := range client.ListObjectsIter(t.Context(), "another", minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		st, err := client.StatObject(t.Context(), "another", o.Key, minio.StatObjectOptions{})
		if n++; err != nil || st.Metadata.Get("X-Amz-Object-Lock-Mode") != "GOVERNANCE" {
			t.Errorf("%s: %v, locked %q", o.Key, err, st.Metadata.Get("X-Amz-Object-Lock-Mode"))
		}
	}
	if n < 5 {
		t.Errorf("%d objects on the new member", n)
	}
}

// versions is how many bytes there are in all versions of everything.
func versions(t *testing.T, c *cluster) (n int64) {
	t.Helper()
	for _, s := range c.servers {
		for _, o := range objects(t, s) {
			n += o.Size
		}
	}
	return n
}

// TestRetentionRefused: what cannot keep what --retain asks for is refused before anything is made.
func TestRetentionRefused(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, 1)[0] // without object lock
	m := newMachine(t)
	m.env = append(m.env, s.Env()...)
	r := m.must(1, "init", "--retain", "30d", "--new-key-file", m.path("key"), s.URL())
	r.says("--retain is not possible", "hint: object lock is given to a bucket when it is made")
	m.must(1, "init", "--retain", "30d", "--new-key-file", m.path("key"), m.path("dir")).says("a directory cannot lock", "hint: name S3 buckets")
	m.must(2, "init", "--retain", "a while", "--new-key-file", m.path("key"), s.URL())
	m.must(2, "init", "--retain-mode", "compliance", "--new-key-file", m.path("key"), s.URL())
	if list := objects(t, s); len(list) > 0 {
		t.Errorf("left in the bucket: %v", list)
	}
	m.ok("init", "--new-key-file", m.path("key"), s.URL()).says("keeps no versions")
	m.use(m.path("key"), s.URL())
	tree := m.write("tree", files{"a": "x"})
	m.backup(tree)
	m.must(5, "snapshots", "--as-of", "2026-01-01").says("no versioning", "hint: only buckets with versioning")
}

// TestSoakRansomMinIO: the same at another server. Its build takes minutes.
func TestSoakRansomMinIO(t *testing.T) {
	if !soaking() {
		t.Skip("CAIRN_SOAK is not set: building MinIO takes minutes")
	}
	t.Parallel()
	ransom(t, servers.Options{Kind: servers.MinIO})
}
