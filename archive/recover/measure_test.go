package recover

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"cairn/snapshot"
)

// TestMeasure compares what is measured with what is lost, byte by byte, for random files of blobs that can be read, that are lost
// with their length known, and that are lost without.
func TestMeasure(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	exact, vague, joined := 0, 0, 0
	for range 4000 {
		var n snapshot.Node
		var gone []bool // for each byte of the file
		var steps []func(*measure)
		many := rng.IntN(30) == 0
		blobs := rng.IntN(12)
		if many {
			blobs = 300
		}
		unknown := rng.IntN(2) == 0
		for range blobs {
			if rng.IntN(4) == 0 {
				hole := 1 + rng.IntN(9)
				n.Holes = append(n.Holes, snapshot.Range{Offset: uint64(len(gone)), Length: uint64(hole)})
				gone = append(gone, make([]bool, hole)...)
			}
			size := 1 + rng.IntN(5)
			lost := rng.IntN(3) == 0
			for range size {
				gone = append(gone, lost)
			}
			switch {
			case !lost:
				steps = append(steps, func(m *measure) { m.have(uint64(size)) })
			case unknown && rng.IntN(2) == 0:
				steps = append(steps, func(m *measure) { m.unknown() })
			default:
				steps = append(steps, func(m *measure) { m.lost(uint64(size)) })
			}
		}
		n.Size = uint64(len(gone))
		m := newMeasure(&n)
		for _, s := range steps {
			s(m)
		}
		m.end()

		missing := uint64(0)
		for _, g := range gone {
			if g {
				missing++
			}
		}
		if m.missing != missing || m.wrong != (missing > 0) {
			t.Fatalf("%d bytes missing of %d, says %+v", missing, n.Size, m)
		}
		told := make([]bool, len(gone))
		end := uint64(0)
		for i, r := range m.ranges {
			if r.Length == 0 || i > 0 && r.Offset < end || r.Offset+r.Length > n.Size {
				t.Fatalf("ranges %v of a file of %d", m.ranges, n.Size)
			}
			end = r.Offset + r.Length
			for j := r.Offset; j < end; j++ {
				told[j] = true
			}
		}
		for i, g := range gone {
			if g && !told[i] || m.exact && g != told[i] {
				t.Fatalf("byte %d is lost: %v, told: %v (%+v)", i, g, told[i], m)
			}
		}
		switch {
		case len(m.ranges) > maxRanges:
			t.Fatalf("%d ranges", len(m.ranges))
		case len(m.ranges) == maxRanges:
			joined++
		case !m.exact:
			vague++
		case missing > 0:
			exact++
		}
	}
	if exact == 0 || vague == 0 || joined == 0 {
		t.Errorf("%d exact, %d vague, %d joined: that proves nothing", exact, vague, joined)
	}
}

// TestMeasureBounded: a file of millions of blobs, every second of them lost.
func TestMeasureBounded(t *testing.T) {
	t.Parallel()
	m := newMeasure(&snapshot.Node{Size: 2_000_000})
	for range 1_000_000 {
		m.have(1)
		m.lost(1)
	}
	if len(m.ranges) > keptRanges {
		t.Errorf("%d ranges are kept", len(m.ranges))
	}
	m.end()
	if last := m.ranges[len(m.ranges)-1]; m.missing != 1_000_000 || m.exact || len(m.ranges) != maxRanges || last.Offset+last.Length != 2_000_000 {
		t.Errorf("%+v", fmt.Sprint(m.missing, m.exact, m.ranges))
	}
}
