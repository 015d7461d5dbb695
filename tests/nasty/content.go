package nasty

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// sizes are files around the borders that matter: nothing, a page, the smallest chunk, the largest one.
func (t *tree) sizes() {
	t.dir("sizes")
	list := []int{0, 1, 2, 63, 64, 65, 511, 4095, 4096, 4097, 128*kib - 1, 128 * kib, 128*kib + 1, 512*kib - 1, 512 * kib, 512*kib + 1}
	if !t.o.Small {
		list = append(list, 8*mib-1, 8*mib, 8*mib+1, 20*mib)
		t.file("sizes/zero-20MiB", make([]byte, 20*mib))
		t.file("sizes/text-5MiB", text(5*mib))
	}
	for _, n := range list {
		name := fmt.Sprintf("sizes/random-%d", n)
		t.file(name, t.bytes(name, n))
	}
	t.file("sizes/zero-1MiB", make([]byte, mib))
	t.file("sizes/text-100KiB", text(100*kib))
	t.dir("sizes/empty directory")
	if t.o.Big {
		t.big("sizes/random-over-4GiB", 4*gib+5*mib+1)
	}
}

// text is what compresses well.
func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d: the quick brown fox jumps over the lazy dog\n", i)
	}
	return b.Bytes()[:n]
}

func (t *tree) big(name string, n int64) {
	if t.err != nil {
		return
	}
	t.made++
	f, err := t.root.Create(name)
	if err == nil {
		_, err = io.CopyN(f, t.random(name), n)
		err = firstError(err, f.Close())
	}
	t.fail("write", name, err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sparse files: where the data lies, in which size. Each stretch is 64 KiB of random bytes unless the size ends.
func (t *tree) sparse() {
	t.dir("sparse")
	for _, c := range []struct {
		name string
		size int64
		data []int64
	}{
		{"hole first", 2 * mib, []int64{2*mib - 64*kib}},
		{"hole middle", 2 * mib, []int64{0, 2*mib - 64*kib}},
		{"hole last", 2 * mib, []int64{0}},
		{"all hole", 16 * mib, nil},
		{"one page hole", 12 * kib, nil},
		{"odd end", 3*mib + 17, []int64{mib, 3*mib - 64*kib + 17}},
		{"comb", 8 * mib, []int64{0, mib, 2 * mib, 3 * mib, 4 * mib, 5 * mib, 6 * mib, 7 * mib}},
		{"1GiB", gib, []int64{0, 300 * mib, gib - 64*kib}},
		{"5GiB", 5 * gib, []int64{mib, 4*gib - 32*kib, 4*gib + mib, 5*gib - 64*kib}},
		{"5GiB all hole", 5*gib + 1, nil},
	} {
		t.sparseFile("sparse/"+c.name, c.size, c.data)
	}
	t.preallocated("sparse/preallocated", 3*mib)
}

func (t *tree) sparseFile(name string, size int64, data []int64) {
	if t.err != nil {
		return
	}
	f, err := t.root.Create(name)
	if err != nil {
		t.fail("create", name, err)
		return
	}
	defer f.Close()
	t.made++
	if err := f.Truncate(size); err != nil { // a file system without 64-bit sizes, or a limit
		t.try(fmt.Sprintf("%s of %d bytes", name, size), err)
		t.made--
		t.fail("remove", name, t.root.Remove(name))
		return
	}
	for _, at := range data {
		_, err := f.WriteAt(t.bytes(fmt.Sprintf("%s %d", name, at), 64*kib), at)
		t.fail("write", name, err)
	}
}

// preallocated has room on the disk that was never written: it reads as zeros and may come back as a hole.
func (t *tree) preallocated(name string, size int64) {
	if t.err != nil {
		return
	}
	f, err := t.root.Create(name)
	if err != nil {
		t.fail("create", name, err)
		return
	}
	defer f.Close()
	t.made++
	if t.try(name, unix.Fallocate(int(f.Fd()), 0, 0, size)) {
		_, err = f.WriteAt([]byte("data"), size/2)
		t.fail("write", name, err)
	}
}

// duplicates are equal files, and files that differ by one byte in the middle or in front.
func (t *tree) duplicates() {
	n := 3 * mib
	if t.o.Small {
		n = 600 * kib
	}
	t.dir("same")
	t.dir("same/elsewhere")
	b := t.bytes("same", n)
	for _, name := range []string{"one", "two", "elsewhere/three"} {
		t.file("same/"+name, b)
	}
	t.file("same/inserted in the middle", bytes.Join([][]byte{b[:n/2], b[n/2:]}, []byte{'x'}))
	t.file("same/inserted in front", append([]byte{'x'}, b...))
	t.file("same/twice", append(bytes.Clone(b), b...))
	t.dir("same/tree 1")
	t.dir("same/tree 2")
	for _, name := range []string{"same/tree 1/", "same/tree 2/"} {
		t.file(name+"a", []byte("a"))
		t.file(name+"b", []byte("b"))
		t.pinned[name+"a"], t.pinned[name+"b"] = unix.Timespec{Sec: 1e9}, unix.Timespec{Sec: 1e9}
	}
}

// Remove deletes a tree that Build made, also where a normal user locked himself out.
func Remove(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	err = walk(f, "", func(v visit) error {
		if v.stat.Mode&unix.S_IFMT == unix.S_IFDIR && !v.after {
			return unix.Fchmodat(v.dir, v.name, 0o700, 0)
		}
		return nil
	})
	return firstError(err, os.RemoveAll(dir))
}
