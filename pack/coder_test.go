package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/reedsolomon"

	"cairn/chunk"
)

// The parity rows of the format's matrix, frozen. Those of 4+2 are in the documentation of several programs that use this matrix
// (27 28 18 20, 28 27 20 18 in decimal).
func TestMatrixGolden(t *testing.T) {
	t.Parallel()
	for g, want := range map[Geometry]string{
		{K: 1, M: 2}: "01 01",
		{K: 2, M: 1}: "0302",
		{K: 4, M: 2}: "1b1c1214 1c1b1412",
		{K: 5, M: 1}: "0707060601",
	} {
		var rows [][]byte
		for _, row := range codingMatrix(g)[g.K:] {
			rows = append(rows, []byte(hex.EncodeToString(row)))
		}
		if got := string(bytes.Join(rows, []byte(" "))); got != want {
			t.Errorf("%s: %s, want %s", g, got, want)
		}
	}
	// All of them, as one number that was computed otherwise, by Lagrange's formula: M[j][c] = Π (j-i)/(c-i) over i ≠ c, i < k.
	// The rows for k+m columns are the first of those for k+(32-k).
	all := sha256.New()
	for k := 1; k <= MaxShards; k++ {
		for _, row := range codingMatrix(Geometry{K: k, M: MaxShards - k}) {
			all.Write(row)
		}
	}
	const want = "e8ed88f8208483113efb8d0e8b38f33b51714bfef9c76689c27e5002211a47ed"
	if got := hex.EncodeToString(all.Sum(nil)); got != want {
		t.Errorf("all matrices: %s, want %s", got, want)
	}
}

// M · T = V: the matrix is what the format defines, whatever way it was computed.
func TestMatrixDefinition(t *testing.T) {
	t.Parallel()
	for _, g := range geometries {
		m := codingMatrix(g)
		for r := range g.N() {
			for c := range g.K {
				var sum byte
				for i := range g.K {
					sum ^= gfMul(m[r][i], gfPow(byte(i), c))
				}
				if sum != gfPow(byte(r), c) {
					t.Fatalf("%s: row %d, column %d", g, r, c)
				}
			}
		}
	}
	if gfMul(2, 0x80) != 0x1D || gfPow(0, 0) != 1 || gfPow(0, 3) != 0 {
		t.Error("arithmetic")
	}
	for a := 1; a < 256; a++ {
		if gfMul(byte(a), gfInverse(byte(a))) != 1 {
			t.Errorf("inverse of %d", a)
		}
	}
}

// The parity of a real pack is that of the plain arithmetic, in each byte.
func TestParity(t *testing.T) {
	t.Parallel()
	for _, g := range []Geometry{{K: 1, M: 2}, {K: 4, M: 2}, {K: 10, M: 4}, {K: 16, M: 16}} {
		p, _ := sealPack(t, g, chunk.Data, someSizes(3)...)
		L := int(p.Columns[0].L)
		m := codingMatrix(g)
		for j := range g.N() {
			for b := 0; b < L; b += 7 {
				var sum byte
				for c := range g.K {
					sum ^= gfMul(m[j][c], p.Shards[c][HeaderSize+b])
				}
				if sum != p.Shards[j][HeaderSize+b] {
					t.Fatalf("%s: byte %d of shard %d", g, b, j)
				}
			}
		}
	}
}

// Every pair of k and m passes its self-test here, and one with another matrix does not.
func TestSelfTest(t *testing.T) {
	t.Parallel()
	for _, g := range []Geometry{{K: 1}, {K: 1, M: 1}, {K: 3, M: 29}, {K: 31, M: 1}, {K: 16, M: 16}} {
		if _, err := coderFor(g); err != nil {
			t.Error(err)
		}
	}
	if _, err := coderFor(Geometry{K: 33}); err == nil {
		t.Error("33 columns")
	}
	for name, o := range map[string]reedsolomon.Option{
		"cauchy": reedsolomon.WithCauchyMatrix(), "xor": reedsolomon.WithFastOneParityMatrix(), "jerasure": reedsolomon.WithJerasureMatrix(),
	} {
		enc, err := reedsolomon.New(4, 1, o)
		if err != nil {
			t.Fatal(err)
		}
		if (&coder{enc, Geometry{K: 4, M: 1}}).selfTest() == nil {
			t.Errorf("%s matrix passes", name)
		}
	}
}

func TestReconstruct(t *testing.T) {
	t.Parallel()
	g := Geometry{K: 4, M: 2}
	p, _ := sealPack(t, g, chunk.Data, someSizes(20)...)
	L := int(p.Columns[0].L)
	for _, r := range [][2]int{{0, L}, {100, 101}, {L / 2, L/2 + 100}, {L - 5, L}} { // any equal range of all columns
		for lost := range 1 << g.N() {
			columns := make([][]byte, g.N())
			var want []int
			for j := range columns {
				if lost&(1<<j) != 0 {
					want = append(want, j)
				} else {
					columns[j] = p.Shards[j][HeaderSize+r[0] : HeaderSize+r[1]]
				}
			}
			all := len(want)
			want = want[:min(len(want), 1+lost%2)] // not all are wanted
			err := Reconstruct(g, columns, want)
			if tooFew := all > g.M; tooFew != errors.Is(err, ErrTooFew) || !tooFew && err != nil {
				t.Fatalf("%06b lost: %v", lost, err)
			}
			if err != nil {
				continue
			}
			for j, c := range columns {
				if wanted := slices.Contains(want, j); (wanted || lost&(1<<j) == 0) && !bytes.Equal(c, p.Shards[j][HeaderSize+r[0]:HeaderSize+r[1]]) {
					t.Fatalf("%06b lost: column %d is wrong", lost, j)
				} else if !wanted && lost&(1<<j) != 0 && len(c) != 0 {
					t.Fatalf("%06b lost: column %d was not wanted", lost, j)
				}
			}
		}
	}
}

func TestReconstructRefuses(t *testing.T) {
	t.Parallel()
	g := Geometry{K: 2, M: 1}
	a, b := []byte{1, 2, 3}, []byte{4, 5}
	for name, err := range map[string]error{
		"geometry":       Reconstruct(Geometry{K: 0}, nil, nil),
		"few columns":    Reconstruct(g, [][]byte{a, nil}, []int{1}),
		"unequal":        Reconstruct(g, [][]byte{a, b, nil}, []int{2}),
		"want -1":        Reconstruct(g, [][]byte{a, a, nil}, []int{-1}),
		"want 3":         Reconstruct(g, [][]byte{a, a, nil}, []int{3}),
		"nothing there":  Reconstruct(g, [][]byte{nil, nil, nil}, []int{0}),
		"one there":      Reconstruct(g, [][]byte{nil, nil, a}, []int{0}),
		"no parity lost": Reconstruct(Geometry{K: 2}, [][]byte{nil, a}, []int{0}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// What is there need not be made; spare capacity is used.
	if err := Reconstruct(g, [][]byte{nil, a, nil}, []int{1}); err != nil {
		t.Error(err)
	}
	space := make([]byte, 0, 10)
	columns := [][]byte{a, a, space}
	if err := Reconstruct(g, columns, []int{2}); err != nil || &columns[2][0] != &space[:1][0] {
		t.Errorf("%v, or not in place", err)
	}
}

func TestReconstructConcurrently(t *testing.T) {
	t.Parallel()
	g := Geometry{K: 3, M: 3}
	p, _ := sealPack(t, g, chunk.Data, someSizes(5)...)
	var wg sync.WaitGroup
	for i := range g.K {
		wg.Go(func() {
			columns := make([][]byte, g.N())
			for j := range columns {
				if j != i {
					columns[j] = p.Shards[j][HeaderSize : HeaderSize+4096]
				}
			}
			if err := Reconstruct(g, columns, []int{i}); err != nil || !bytes.Equal(columns[i], p.Shards[i][HeaderSize:HeaderSize+4096]) {
				t.Errorf("column %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestRebuildShards(t *testing.T) {
	t.Parallel()
	for _, g := range []Geometry{{K: 1}, {K: 1, M: 2}, {K: 4, M: 2}} {
		p, _ := sealPack(t, g, chunk.Data, someSizes(20)...)
		h := parse(t, p.Shards[g.N()-1])
		for lost := range 1 << g.N() {
			shards := slices.Clone(p.Shards)
			n := 0
			for j := range shards {
				if lost&(1<<j) != 0 {
					shards[j], n = nil, n+1
				}
			}
			checkRebuilt(t, fmt.Sprintf("%s, %b lost", g, lost), p, h, shards, n <= g.M)
		}
	}
}

func checkRebuilt(t *testing.T, name string, p *Sealed, h *Header, shards [][]byte, can bool) {
	t.Helper()
	got, err := RebuildShards(h, shards)
	if (err == nil) != can {
		t.Fatalf("%s: %v", name, err)
	}
	if err != nil && !errors.Is(err, ErrTooFew) {
		t.Errorf("%s: %v", name, err)
	}
	for j := range got {
		if !bytes.Equal(got[j], p.Shards[j]) {
			t.Fatalf("%s: shard %d is not what the writer made, from byte %d on", name, j, firstDifference(got[j], p.Shards[j]))
		}
	}
}

func TestRebuildDamaged(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 2, M: 2}, chunk.Data, someSizes(20)...)
	h := parse(t, p.Shards[0])
	s, L := p.Shards, int(h.L)
	end := len(s[0])
	for name, c := range map[string]struct {
		shards [][]byte
		can    bool
	}{
		"header, copy, checksums": {[][]byte{flip(s[0], 5), flip(s[1], end-5), flip(s[2], HeaderSize+L), s[3]}, true},
		"all headers":             {[][]byte{flip(s[0], 5, end-5), flip(s[1], 5, end-5), flip(s[2], 5, end-5), flip(s[3], 5, end-5)}, true},
		"two payloads":            {[][]byte{flip(s[0], HeaderSize), flip(s[1], HeaderSize+9), s[2], s[3]}, true},
		"three payloads":          {[][]byte{flip(s[0], HeaderSize), flip(s[1], HeaderSize+9), s[2], flip(s[3], HeaderSize+L-1)}, false},
		"swapped":                 {[][]byte{s[1], s[0], s[2], s[3]}, true},
		"cut off behind payload":  {[][]byte{s[0][:HeaderSize+L], nil, nil, s[3][:HeaderSize+L+3]}, true},
		"cut off in payload":      {[][]byte{s[0][:HeaderSize+L-1], nil, nil, s[3]}, false},
		"longer":                  {[][]byte{append(bytes.Clone(s[0]), 1), nil, nil, s[3]}, true},
		"empty":                   {[][]byte{{}, {}, s[2], s[3]}, true},
	} {
		checkRebuilt(t, name, p, h, c.shards, c.can)
	}
	if _, err := RebuildShards(h, s[:3]); err == nil {
		t.Error("from a list of 3")
	}
	// Whole shards are not copied.
	got, err := RebuildShards(h, [][]byte{s[0], nil, s[2], nil})
	if err != nil || &got[0][0] != &s[0][0] {
		t.Errorf("%v, or copied", err)
	}
	// A pack whose parity was computed wrongly is noticed, not spread.
	wrong := *h
	wrong.Hashes = slices.Clone(h.Hashes)
	wrong.Hashes[3][0]++
	if _, err := RebuildShards(&wrong, [][]byte{s[0], s[1], s[2], nil}); err == nil {
		t.Error("a column that does not match its hash is returned")
	}
}
