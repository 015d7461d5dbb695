package restore

import (
	"bytes"
	"testing"

	"cairn/snapshot"
)

// The spans of any cut of the content are the file without its holes.
func FuzzLayout(f *testing.F) {
	f.Add([]byte{3, 2, 1, 5}, uint16(3), uint8(2))
	f.Add([]byte{0, 4, 0, 4}, uint16(0), uint8(1))
	f.Add([]byte{}, uint16(9), uint8(3))
	f.Fuzz(func(t *testing.T, gaps []byte, tail uint16, cut uint8) {
		n := snapshot.Node{Type: snapshot.File}
		var file []byte // 1 where there is content
		for i := 0; i+1 < len(gaps); i += 2 {
			file = append(file, bytes.Repeat([]byte{1}, int(gaps[i]))...)
			if gaps[i+1] > 0 {
				n.Holes = append(n.Holes, snapshot.Range{Offset: uint64(len(file)), Length: uint64(gaps[i+1])})
				file = append(file, make([]byte, gaps[i+1])...)
			}
		}
		file = append(file, bytes.Repeat([]byte{1}, int(tail))...)
		n.Size = uint64(len(file))
		l, err := newLayout(&n)
		if err != nil {
			t.Fatal(err)
		}
		at, end := uint64(0), int64(0)
		for at < l.data {
			step := min(uint64(cut)+1, l.data-at)
			sum := int64(0)
			for s := range l.spans(at, step) {
				if s.off < end || s.n <= 0 {
					t.Fatalf("span %+v after %d", s, end)
				}
				for i := s.off; i < s.off+s.n; i++ {
					if file[i] != 1 {
						t.Fatalf("byte %d lies in a hole or came twice", i)
					}
					file[i] = 2
				}
				end, sum = s.off+s.n, sum+s.n
			}
			if sum != int64(step) {
				t.Fatalf("%d bytes in spans of %d", sum, step)
			}
			at += step
		}
		if bytes.IndexByte(file, 1) >= 0 {
			t.Fatal("content is left")
		}
	})
}

func FuzzLayoutHostile(f *testing.F) {
	f.Add(uint64(10), uint64(1), uint64(2), uint64(2), uint64(1<<63))
	f.Add(uint64(1<<64-1), uint64(1<<63), uint64(1<<63), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, size, o1, l1, o2, l2 uint64) {
		l, err := newLayout(&snapshot.Node{Size: size, Holes: []snapshot.Range{{Offset: o1, Length: l1}, {Offset: o2, Length: l2}}})
		if err != nil {
			return
		}
		if l.data > size {
			t.Fatalf("%d bytes of content in %d", l.data, size)
		}
		for s := range l.spans(0, min(l.data, 1000)) {
			if s.off < 0 || s.n <= 0 || uint64(s.off)+uint64(s.n) > size {
				t.Fatalf("span %+v in %d", s, size)
			}
		}
	})
}

func FuzzNonZero(f *testing.F) {
	f.Add(uint32(100<<10), uint32(70<<10), uint32(5), int64(1))
	f.Add(uint32(0), uint32(200<<10), uint32(0), int64(4095))
	f.Fuzz(func(t *testing.T, a, zero, b uint32, off int64) {
		data := bytes.Repeat([]byte{7}, int(a%300000))
		data = append(data, make([]byte, zero%300000)...)
		data = append(data, bytes.Repeat([]byte{8}, int(b%300000))...)
		off &= 1<<40 - 1
		got := make([]byte, len(data))
		last := 0
		for from, to := range nonZero(data, off) {
			if from < last || to <= from {
				t.Fatalf("%d … %d after %d", from, to, last)
			}
			copy(got[from:to], data[from:to])
			last = to
		}
		if !bytes.Equal(got, data) {
			t.Fatal("data was left out")
		}
	})
}
