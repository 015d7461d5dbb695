package check

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
)

// Subset chooses packs by their ids, so that a part can be read each night.
type Subset struct {
	n, m    uint64  // part n of m, or
	percent float64 // a share chosen at random, or
	bytes   uint64  // about so many bytes chosen at random
	seed    maphash.Seed
}

// ParseSubset reads N/M, P% or a size; size parses the latter.
func ParseSubset(text string, size func(string) (uint64, error)) (Subset, error) {
	s := Subset{seed: maphash.MakeSeed()}
	if n, m, ok := strings.Cut(text, "/"); ok {
		a, errA := strconv.ParseUint(n, 10, 32)
		b, errB := strconv.ParseUint(m, 10, 32)
		if errA != nil || errB != nil || a < 1 || a > b {
			return s, fmt.Errorf("subset %q is not N/M with 1 ≤ N ≤ M", text)
		}
		s.n, s.m = a, b
		return s, nil
	}
	if p, ok := strings.CutSuffix(text, "%"); ok {
		f, err := strconv.ParseFloat(p, 64)
		if err != nil || !(f > 0 && f <= 100) { // NaN, too
			return s, fmt.Errorf("subset %q is not a percentage above 0 and up to 100", text)
		}
		s.percent = f
		return s, nil
	}
	n, err := size(text)
	if err != nil || n == 0 {
		return s, fmt.Errorf("subset %q is not N/M, P%% or a size", text)
	}
	s.bytes = n
	return s, nil
}

// Has says whether a pack belongs to the subset; total is the size of all packs in bytes.
func (s Subset) Has(id [32]byte, total uint64) bool {
	if s.m > 0 {
		return (uint64(id[0])<<24|uint64(id[1])<<16|uint64(id[2])<<8|uint64(id[3]))%s.m == s.n-1
	}
	share := s.percent / 100
	if s.bytes > 0 && total > 0 {
		share = float64(s.bytes) / float64(total)
	}
	if share == 0 || share >= 1 {
		return true
	}
	return float64(maphash.Bytes(s.seed, id[:]))/float64(1<<63)/2 < share
}
