package pack

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// coders is a cache of encoders by geometry: an encoder holds a matrix that costs up to 1 ms to make and test, and
// is safe for concurrent use. Losing an entry would change nothing but time.
var coders sync.Map // [2]int{k, m} → *coder

// coder codes packs of one geometry. One goroutine each: the caller codes several packs at a time, and one core
// makes 14 to 20 GB/s of it, ten times what sealing and hashing allow.
type coder struct {
	reedsolomon.Encoder
	g Geometry
}

// coderFor returns the coder of a geometry. A new one has to prove that it makes the format's parity.
func coderFor(g Geometry) (*coder, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	key := [2]int{g.K, g.M}
	if c, ok := coders.Load(key); ok {
		return c.(*coder), nil
	}
	// Options that choose another matrix change the stored bytes (WithFastOneParityMatrix, too).
	enc, err := reedsolomon.New(g.K, g.M, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("reed-solomon %d+%d: %w", g.K, g.M, err)
	}
	c := &coder{enc, g}
	if err := c.selfTest(); err != nil {
		return nil, err
	}
	coders.Store(key, c)
	return c, nil
}

// selfTest compares the parity that the library makes on this machine (it has code of its own for each processor)
// with the format's definition, computed the plain way. Bytes of every value meet every coefficient.
func (c *coder) selfTest() error {
	const size = 256 + 64 + 7 // wide and narrow loops and a rest
	columns := make([][]byte, c.g.N())
	for i := range columns {
		columns[i] = make([]byte, size)
	}
	for i, col := range columns[:c.g.K] {
		for b := range col {
			col[b] = byte(b*(2*i+1) + i)
		}
	}
	if err := c.Encode(columns); err != nil {
		return fmt.Errorf("reed-solomon %d+%d: self-test: %w", c.g.K, c.g.M, err)
	}
	m := codingMatrix(c.g)
	want := make([]byte, size)
	for j := c.g.K; j < c.g.N(); j++ {
		clear(want)
		for i := range c.g.K {
			for b, v := range columns[i] {
				want[b] ^= gfMul(m[j][i], v)
			}
		}
		if !bytes.Equal(want, columns[j]) {
			return fmt.Errorf("reed-solomon %d+%d: self-test: parity column %d is wrong on this machine", c.g.K, c.g.M, j)
		}
	}
	return nil
}

// Reconstruct fills in the wanted columns of a pack, or one equal range of all of them, from any k that are there.
// columns has n elements: nil (or empty) ones are missing, the others equally long; an empty one with enough capacity
// is filled in place. Columns that are neither there nor wanted stay missing. Nothing is verified here: a wrong
// column gives wrong results, so the caller checks them against the header's hashes or by opening blobs.
func Reconstruct(g Geometry, columns [][]byte, want []int) error {
	c, err := coderFor(g)
	if err != nil {
		return err
	}
	if len(columns) != g.N() {
		return fmt.Errorf("reconstruct %d+%d from %d columns", g.K, g.M, len(columns))
	}
	have, size := 0, 0
	for i, col := range columns {
		if len(col) == 0 {
			continue
		}
		if have++; have > 1 && len(col) != size {
			return fmt.Errorf("reconstruct %d+%d: column %d has %d bytes, others %d", g.K, g.M, i, len(col), size)
		}
		size = len(col)
	}
	required := make([]bool, g.N())
	missing := false
	for _, i := range want {
		if i < 0 || i >= len(required) {
			return fmt.Errorf("reconstruct %d+%d: column %d wanted", g.K, g.M, i)
		}
		required[i] = true
		missing = missing || len(columns[i]) == 0
	}
	if !missing {
		return nil
	}
	if have < g.K {
		return fmt.Errorf("reconstruct %d+%d: %w: %d", g.K, g.M, ErrTooFew, have)
	}
	if err := c.ReconstructSome(columns, required); err != nil {
		if errors.Is(err, reedsolomon.ErrTooFewShards) {
			err = ErrTooFew
		}
		return fmt.Errorf("reconstruct %d+%d: %w", g.K, g.M, err)
	}
	return nil
}
