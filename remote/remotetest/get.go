package remotetest

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"cairn/remote"
)

// want returns what the contract says about a range: the bytes, or that it ends behind the object.
func want(data []byte, off, n int64) (part []byte, ok bool) {
	size := int64(len(data))
	switch {
	case off < 0:
		if off < -size {
			return data, true
		}
		return data[size+off:], true
	case off > size:
		return nil, false
	case n < 0:
		return data[off:], true
	case n > size-off:
		return nil, false
	}
	return data[off : off+n], true
}

func checkRange(t *testing.T, s remote.Store, data []byte, off, n int64) {
	t.Helper()
	got, err := s.Get(t.Context(), "object", off, n, nil)
	part, ok := want(data, off, n)
	switch {
	case ok && err != nil:
		t.Errorf("Get(%d, %d) of %d bytes: %v", off, n, len(data), err)
	case ok && !bytes.Equal(got, part):
		t.Errorf("Get(%d, %d) of %d bytes: %d bytes, other than the %d wanted", off, n, len(data), len(got), len(part))
	case !ok && !errors.Is(err, io.ErrUnexpectedEOF):
		t.Errorf("Get(%d, %d) of %d bytes: %d bytes, %v, want io.ErrUnexpectedEOF", off, n, len(data), len(got), err)
	case !ok && (len(got) != 0 || errors.Is(err, remote.ErrNotExist)):
		t.Errorf("Get(%d, %d) of %d bytes: %d bytes with error %v", off, n, len(data), len(got), err)
	}
}

func testRanges(t *testing.T, s remote.Store) {
	data := content(7, 10)
	mustPut(t, s, "object", data)
	// All ranges, and the extremes that overflow a sum.
	offs := []int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64}
	ns := []int64{math.MinInt64, math.MaxInt64, math.MaxInt64 - 5}
	for i := int64(-12); i <= 12; i++ {
		offs, ns = append(offs, i), append(ns, i)
	}
	for _, off := range offs {
		for _, n := range ns {
			checkRange(t, s, data, off, n)
		}
	}
}

func testRangesOfEmpty(t *testing.T, s remote.Store) {
	mustPut(t, s, "object", nil)
	for _, off := range []int64{math.MinInt64, -2, -1, 0, 1, math.MaxInt64} {
		for _, n := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
			checkRange(t, s, nil, off, n)
		}
	}
}

// testRangesOfBig reads from an object as large as a shard.
func testRangesOfBig(t *testing.T, s remote.Store) {
	const size = 17<<20 + 3
	data := content(9, size)
	mustPut(t, s, "object", data)
	for _, r := range [][2]int64{
		{0, -1}, {0, size}, {0, size + 1}, {size, 0}, {size, 1}, {size, -1}, {size + 1, -1}, {size + 1, 0},
		{-4096, 0}, {-size, 0}, {-size - 1, 0}, {0, 4096}, {16 << 20, 1 << 20}, {5<<20 - 1, 5 << 20}, {size - 1, 1},
	} {
		checkRange(t, s, data, r[0], r[1])
	}
}

func testDst(t *testing.T, s remote.Store) {
	data := content(3, 100)
	mustPut(t, s, "a", data)
	for _, test := range []struct {
		off, n      int64
		length, cap int
	}{
		{0, -1, 0, 100}, {0, -1, 0, 99}, {0, -1, 100, 100}, {0, -1, 7, 200}, {10, 20, 3, 20}, {10, 20, 3, 19}, {-30, 0, 0, 64}, {5, 0, 9, 10},
	} {
		part, _ := want(data, test.off, test.n)
		dst := make([]byte, test.length, test.cap)
		got, err := s.Get(t.Context(), "a", test.off, test.n, dst)
		if err != nil || !bytes.Equal(got, part) {
			t.Errorf("Get into %+v: %d bytes, %v", test, len(got), err)
			continue
		}
		inDst := cap(got) > 0 && &got[:1][0] == &dst[:1][0]
		if fits := len(part) <= test.cap; inDst != fits && len(part) > 0 {
			t.Errorf("Get into %+v: result is in dst: %v", test, inDst)
		}
	}
}

func testReadAll(t *testing.T, s remote.Store) {
	for _, size := range []int{0, 1, 1000} {
		data := content(1, size)
		mustPut(t, s, "a", data)
		got, err := remote.ReadAll(t.Context(), s, "a", int64(size))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("ReadAll of %d bytes: %d bytes, %v", size, len(got), err)
		}
		if size == 0 {
			continue
		}
		got, err = remote.ReadAll(t.Context(), s, "a", int64(size)-1)
		var large *remote.TooLargeError
		if !errors.As(err, &large) || got != nil {
			t.Errorf("ReadAll of %d bytes, one less allowed: %d bytes, %v", size, len(got), err)
		}
	}
	if _, err := remote.ReadAll(t.Context(), s, "none", 10); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("ReadAll of a missing object: %v", err)
	}
}
