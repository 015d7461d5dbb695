package snapshot

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The small part of CBOR (RFC 8949) that trees, lists and snapshots use, always in the core
// deterministic encoding. It is written by hand because a backup encodes every node of every changed
// directory: a typical node takes 180 ns to encode and 400 ns to decode without an allocation of its
// own, where fxamacker/cbor takes 560 and 2000 ns with 8 allocations, and the decoder refuses what is
// not canonical at the byte where it stands. TestAgainstLibrary compares the two.

// Major types of CBOR, already in place in the initial byte.
const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
	majorMap   = 5 << 5

	simpleTrue = 0xf5
)

// FormatError says where an encoding is not what docs/format.md allows. The bytes had the right
// hash when they came from an archive, so it means a faulty or hostile writer and not a bad disk.
type FormatError struct {
	What   string // "tree piece", "content list", "snapshot"
	Offset int    // of the item that was refused
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("malformed %s at byte %d: %s", e.What, e.Offset, e.Reason)
}

func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= 0xff:
		return append(dst, major|24, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

func appendUint(dst []byte, n uint64) []byte { return appendHead(dst, majorUint, n) }

func appendInt(dst []byte, n int64) []byte {
	if n < 0 {
		return appendHead(dst, majorNeg, uint64(^n))
	}
	return appendHead(dst, majorUint, uint64(n))
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(b))), b...)
}

// appendText writes what is not UTF-8 as U+FFFD: CBOR text must be UTF-8, and a backup must not
// fail at its end because an error message quotes a file name.
func appendText(dst []byte, s string) []byte {
	s = CleanText(s)
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

// CleanText returns s as the text fields of nodes and snapshots store it: what is not UTF-8 is
// replaced by U+FFFD. Whoever looks for a series made from a path compares with the clean form.
func CleanText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func appendTime(dst []byte, t Time) []byte {
	return appendUint(appendInt(append(dst, majorArray|2), t.Sec), uint64(t.Nsec))
}

// A decoder reads canonical CBOR. The first error sticks and moves the position to the end, so that
// callers need to look at err only where they would allocate or loop. Strings are substrings of data.
type decoder struct {
	what string
	data string
	pos  int
	err  error
}

func (d *decoder) failAt(offset int, format string, args ...any) {
	if d.err == nil {
		d.err = &FormatError{d.what, offset, fmt.Sprintf(format, args...)}
	}
	d.pos = len(d.data)
}

func (d *decoder) left() int { return len(d.data) - d.pos }

// head reads the initial byte of an item and its argument, which must have its shortest form.
func (d *decoder) head() (major byte, n uint64) {
	at := d.pos
	if at >= len(d.data) {
		d.failAt(at, "ends too early")
		return 0xff, 0
	}
	first := d.data[at]
	major, info := first&0xe0, first&0x1f
	if info < 24 {
		d.pos = at + 1
		return major, uint64(info)
	}
	if info > 27 {
		d.failAt(at, "item with initial byte %#02x", first)
		return 0xff, 0
	}
	size := 1 << (info - 24)
	if d.left() < 1+size {
		d.failAt(at, "ends too early")
		return 0xff, 0
	}
	for _, b := range []byte(d.data[at+1 : at+1+size]) {
		n = n<<8 | uint64(b)
	}
	// The smallest value that needs this size: 24, 2^8, 2^16, 2^32.
	if least := [4]uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]; n < least {
		d.failAt(at, "number %d is not in its shortest form", n)
		return 0xff, 0
	}
	d.pos = at + 1 + size
	return major, n
}

// expect reads a head of one major type.
func (d *decoder) expect(major byte, name string) uint64 {
	at := d.pos
	got, n := d.head()
	if got != major && d.err == nil {
		d.failAt(at, "want %s, got initial byte %#02x", name, d.data[at])
	}
	if d.err != nil {
		return 0
	}
	return n
}

// uint reads a number up to limit.
func (d *decoder) uint(limit uint64) uint64 {
	at := d.pos
	n := d.expect(majorUint, "a number")
	if n > limit {
		d.failAt(at, "number %d is above %d", n, limit)
		return 0
	}
	return n
}

// nonZero reads a number up to limit that is not zero: zero fields must be absent.
func (d *decoder) nonZero(limit uint64) uint64 {
	at := d.pos
	n := d.uint(limit)
	if n == 0 {
		d.failAt(at, "zero field is present")
	}
	return n
}

func (d *decoder) int() int64 {
	at := d.pos
	major, n := d.head()
	if d.err != nil {
		return 0
	}
	if major != majorUint && major != majorNeg || n > 1<<63-1 {
		d.failAt(at, "want a signed number of 64 bits")
		return 0
	}
	if major == majorNeg {
		return ^int64(n)
	}
	return int64(n)
}

func (d *decoder) span(major byte, name string) string {
	at := d.pos
	n := d.expect(major, name)
	if n > uint64(d.left()) {
		d.failAt(at, "%s of %d bytes where %d are left", name, n, d.left())
		return ""
	}
	s := d.data[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return s
}

func (d *decoder) bytes() string { return d.span(majorBytes, "a byte string") }

func (d *decoder) text() string {
	at := d.pos
	s := d.span(majorText, "a text")
	if !utf8.ValidString(s) {
		d.failAt(at, "text is not UTF-8")
		return ""
	}
	return s
}

// some checks that a string field that is present is not empty.
func (d *decoder) some(s string) string {
	if s == "" {
		d.failAt(d.pos, "empty field is present")
	}
	return s
}

// count reads the head of an array or map with 1 to limit elements of at least size bytes each, so
// that the caller may allocate for that many.
func (d *decoder) count(major byte, name string, limit, size int) int {
	at := d.pos
	n := d.expect(major, name)
	switch {
	case d.err != nil:
		return 0
	case n == 0:
		d.failAt(at, "empty %s is present", name)
		return 0
	case n > uint64(limit):
		d.failAt(at, "%s with %d elements, more than %d", name, n, limit)
		return 0
	case n > uint64(d.left()/size):
		d.failAt(at, "%s with %d elements in %d bytes", name, n, d.left())
		return 0
	}
	return int(n)
}

func (d *decoder) array(limit, size int) int { return d.count(majorArray, "array", limit, size) }

// tuple reads the head of an array with exactly n elements.
func (d *decoder) tuple(n uint64) {
	at := d.pos
	if got := d.expect(majorArray, "array"); got != n {
		d.failAt(at, "array with %d elements, want %d", got, n)
	}
}

// key reads a map key, which must be above the one before.
func (d *decoder) key(last uint64) uint64 {
	at := d.pos
	k := d.uint(1<<64 - 1)
	if k <= last && d.err == nil {
		d.failAt(at, "map key %d after %d", k, last)
	}
	return k
}

// time reads a time that is not zero.
func (d *decoder) time() Time {
	at := d.pos
	d.tuple(2)
	t := Time{Sec: d.int(), Nsec: uint32(d.uint(999_999_999))}
	if t.IsZero() {
		d.failAt(at, "zero field is present")
	}
	return t
}

func (d *decoder) isTrue() bool {
	if d.left() == 0 || d.data[d.pos] != simpleTrue {
		d.failAt(d.pos, "want true")
		return false
	}
	d.pos++
	return true
}

// end returns the first error; bytes that are left are one.
func (d *decoder) end() error {
	if d.left() > 0 {
		d.failAt(d.pos, "%d bytes after the end", d.left())
	}
	return d.err
}
