package treecmp

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func (c *comparison) xattrs(path string, a, b item) {
	x, err := c.readXattrs(a)
	if err != nil {
		c.unreadable(path, "A", err)
		return
	}
	y, err := c.readXattrs(b)
	if err != nil {
		c.unreadable(path, "B", err)
		return
	}
	all := maps.Clone(x)
	maps.Copy(all, y)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v, inA := x[name]
		w, inB := y[name]
		if inA != inB || !bytes.Equal(v, w) {
			c.differ(path, fmt.Sprintf("xattr %q", name), value(v, inA), value(w, inB))
		}
	}
}

// value shows an attribute's value, cut after 32 bytes.
func value(v []byte, present bool) string {
	switch {
	case !present:
		return "none"
	case len(v) > 32:
		return fmt.Sprintf("%x… (%d bytes)", v[:32], len(v))
	}
	return fmt.Sprintf("%q", v)
}

// readXattrs reads all attributes of an item that are not ignored. Linux has no calls for attributes relative
// to a directory (before 6.13), so the directory is named by its place in /proc.
func (c *comparison) readXattrs(i item) (map[string][]byte, error) {
	place := fmt.Sprintf("/proc/self/fd/%d/%s", i.dir, i.name)
	list, err := sized(func(buf []byte) (int, error) { return unix.Llistxattr(place, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listxattr: %w", err)
	}
	found := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if name == "" || slices.ContainsFunc(c.o.IgnoreXattrs, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		v, err := sized(func(buf []byte) (int, error) { return unix.Lgetxattr(place, name, buf) })
		if err != nil {
			return nil, fmt.Errorf("getxattr %q: %w", name, err)
		}
		found[name] = v
	}
	return found, nil
}

// sized calls read with a buffer of the size that it asks for.
func sized(read func([]byte) (int, error)) ([]byte, error) {
	n, err := read(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	n, err = read(buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}
