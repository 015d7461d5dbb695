package backup

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cairn/chunk"
	"cairn/snapshot"
)

// sample is a memory with every field of a node in use.
func sample(n int) *memory {
	m := &memory{content: []chunk.ID{{1}, {2}}, whole: true}
	var part []known
	for i := range n {
		node := snapshot.Node{
			Name: fmt.Sprintf("f%06d", i), Type: snapshot.File, Mode: 0o4755, UID: 1, GID: 1 << 31, User: "u", Group: "g\xff",
			Mtime: snapshot.Time{Sec: -1, Nsec: 999_999_999}, Ctime: snapshot.Time{Sec: 1 << 40}, Inode: 1 << 63,
		}
		switch i % 5 {
		case 0:
			node.Size, node.Content, node.Depth = 1<<50, []chunk.ID{{3}, {4}}, 1
			node.Holes = []snapshot.Range{{Offset: 0, Length: 5}, {Offset: 1 << 40, Length: 1}}
			node.Link = &snapshot.LinkID{Device: 1 << 60, Inode: 7}
			node.Atime = snapshot.Time{Sec: 5, Nsec: 6}
		case 1:
			node.Type, node.Target = snapshot.Symlink, "to\n\xfe"
		case 2:
			node.Type, node.Device = snapshot.BlockDevice, &snapshot.Device{Major: 8, Minor: 1 << 19}
		case 3:
			node.Type, node.Error = snapshot.Dir, "permission denied"
			node.Xattrs = []snapshot.Xattr{{Name: "user.a"}, {Name: "user.b", Value: []byte{0, 255}}}
		}
		part = append(part, known{node, i%3 == 0})
	}
	m.add(part)
	return m
}

// put stores a memory as a backup does.
func put(c Cache, path string, stamp uint64, m *memory) error {
	all := slices.Concat(m.parts...)
	return storeMemory(c, path, stamp, m, func() (*snapshot.Node, bool) {
		if len(all) == 0 {
			return nil, false
		}
		k := &all[0]
		all = all[1:]
		return &k.node, k.trusted
	})
}

var memoryOpts = cmp.Options{cmp.AllowUnexported(memory{}, known{}), cmpopts.IgnoreFields(memory{}, "cached"), cmpopts.EquateEmpty()}

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 7, 20_000} {
		c, m := newCache(), sample(n)
		check(t, put(c, "/a/b", 42, m))
		got, err := loadMemory(c, "/a/b")
		check(t, err)
		if n < 100 { // cmp takes seconds for thousands
			if diff := cmp.Diff(m, got, memoryOpts); diff != "" {
				t.Errorf("%d entries: %s", n, diff)
			}
		} else if !slices.EqualFunc(slices.Concat(m.parts...), slices.Concat(got.parts...), func(a, b known) bool { return a.trusted == b.trusted && sameNode(&a.node, &b.node) }) {
			t.Errorf("%d entries differ", n)
		}
		for key, v := range c.values {
			if len(v) > maxRecord+1024 {
				t.Errorf("part %q has %d bytes", key, len(v))
			}
		}
		if n == 20_000 {
			if len(c.values) < 3 {
				t.Errorf("%d parts", len(c.values))
			}
			t.Logf("%d parts", len(c.values))
			// A part of another backup does not belong to it.
			other := newCache()
			check(t, put(other, "/a/b", 43, m))
			key := string(recordKey(kindDir, "/a/b", 1))
			c.values[key] = other.values[key]
			if got, _ := loadMemory(c, "/a/b"); got != nil {
				t.Error("parts of two backups were joined")
			}
			delete(c.values, key)
			if got, _ := loadMemory(c, "/a/b"); got != nil {
				t.Error("a record with a part missing was taken")
			}
		}
	}
}

func TestChunksRoundTrip(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, idsInPart, idsInPart + 1, 3*idsInPart + 5} {
		c, ids := newCache(), make([]chunk.ID, n)
		for i := range ids {
			ids[i] = chunk.Sum([]byte(fmt.Sprint(i)))
		}
		check(t, storeChunks(c, "/x", 1, ids))
		got, err := loadChunks(c, "/x")
		check(t, err)
		if !slices.Equal(ids, got) {
			t.Errorf("%d ids: got %d", n, len(got))
		}
	}
}

func TestRecordDamage(t *testing.T) {
	t.Parallel()
	c := newCache()
	check(t, put(c, "/a", 42, sample(6)))
	whole := c.values[string(recordKey(kindDir, "/a", 0))]
	for i := range whole {
		if _, _, err := decodePart(whole[:i], 0, new(memory)); err == nil {
			t.Errorf("truncated at %d: no error", i)
		}
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x10
		if _, _, err := decodePart(bad, 0, new(memory)); err == nil {
			t.Errorf("byte %d flipped: no error", i)
		}
	}
}

func TestRecordKey(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	long := strings.Repeat("/x", 10_000)
	for _, path := range []string{"/", "/a", "/a/b", long, long + "y"} {
		for _, kind := range []byte{kindDir, kindChunks} {
			for part := range 3 {
				key := string(recordKey(kind, path, part))
				if seen[key] || len(key) > 2000 {
					t.Errorf("key of %d bytes for %.20q %c %d", len(key), path, kind, part)
				}
				seen[key] = true
			}
		}
	}
}

// FuzzRecord: whatever is decoded is valid and is the same after another round.
func FuzzRecord(f *testing.F) {
	for _, n := range []int{0, 1, 6} {
		c := newCache()
		if err := put(c, "/", 1, sample(n)); err != nil {
			f.Fatal(err)
		}
		v := c.values[string(recordKey(kindDir, "/", 0))]
		f.Add(v[:len(v)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := encoder{buf: append([]byte(nil), b...)} // with a good checksum, or nothing gets in
		b = sum.sealed()
		m := new(memory)
		_, last, err := decodePart(b, 0, m)
		if err != nil {
			return
		}
		for _, k := range slices.Concat(m.parts...) {
			if err := k.node.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		if !last {
			return
		}
		c := newCache()
		check(t, put(c, "/", 7, m))
		again, err := loadMemory(c, "/")
		check(t, err)
		if diff := cmp.Diff(m, again, memoryOpts); diff != "" {
			t.Fatal(diff)
		}
	})
}
