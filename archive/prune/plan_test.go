package prune

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
)

// of makes a pack of 1000 bytes on the members, of which so many per mille are needed.
func of(name byte, used int64) *packUse {
	return &packUse{id: pack.ID{name}, number: uint32(name), kind: chunk.Data, geometry: pack.Geometry{K: 1}, length: 1000, shards: 1, listed: 1000, used: used, total: 1000}
}

func with(p *packUse, change func(*packUse)) *packUse { change(p); return p }

func busy(p *packUse)   { p.busy = true }
func zombie(p *packUse) { p.state = condemned }
func orphan(p *packUse) { p.state, p.number, p.total, p.used = unnamed, 0, 0, 0 }
func trees(p *packUse)  { p.kind = chunk.Tree }

func small(p *packUse) {
	p.length, p.listed = 100, 100+atLeast
	p.used, p.total = p.used/10, 100
}

// tiny packs are no more than what surrounds their blobs, and what is lost by rounding.
func tiny(p *packUse) {
	small(p)
	p.length, p.listed, p.used, p.total = 10, atLeast, p.used/10, 10
}

// atLeast is what a pack takes on the members beside its blobs, in these tests.
const atLeast = 20

var measured = measure{k: 1, n: 1, full: 1000, overhead: atLeast}

func TestPlan(t *testing.T) {
	t.Parallel()
	five := Limits{MaxUnused: 0.05}
	for _, c := range []struct {
		name  string
		packs []*packUse
		l     Limits
		want  string
	}{
		{"empty", nil, five, "condemn  repack  left 0"},
		{"all needed", []*packUse{of(1, 1000), of(2, 1000)}, five, "condemn  repack  left 0"},
		{"nothing needed", []*packUse{of(1, 0), of(2, 1000)}, five, "condemn 1 repack  left 0"},
		{"orphan", []*packUse{with(of(1, 0), orphan), of(2, 1000)}, five, "condemn 1 repack  left 0"},
		{"orphan of a session at work", []*packUse{with(with(of(1, 0), orphan), busy)}, five, "condemn  repack  left 1000"},
		{"sparse of a session at work", []*packUse{with(of(1, 100), busy)}, five, "condemn  repack  left 900"},
		{"zombie", []*packUse{with(of(1, 0), zombie)}, five, "condemn 1 repack  left 0"},
		{"zombie with the only copy", []*packUse{with(of(1, 10), zombie)}, Limits{MaxUnused: 1}, "condemn  repack 1 left 0"},
		{"zombie beyond what may be copied", []*packUse{with(of(1, 10), zombie), of(2, 10)}, Limits{MaxRepack: 1}, "condemn  repack 1 left 990 bounded"},
		// 1900 are needed, so 100 may stay.
		{"garbage below the limit", []*packUse{of(1, 1000), of(2, 900)}, five, "condemn  repack  left 100"},
		{"garbage above the limit", []*packUse{of(1, 1000), of(2, 890)}, five, "condemn  repack 2 left 0"},
		{"the worst first", []*packUse{of(1, 1000), of(2, 990), of(3, 500), of(4, 940), of(5, 990)}, five, "condemn  repack 3 left 80"},
		{"no garbage", []*packUse{of(1, 1000), of(2, 999), of(3, 500)}, Limits{}, "condemn  repack 2 3 left 0"},
		{"any garbage", []*packUse{of(1, 1), of(2, 0)}, Limits{MaxUnused: 1}, "condemn 2 repack  left 999"},
		{"so many bytes", []*packUse{of(1, 500), of(2, 600), of(3, 700)}, Limits{MaxUnusedBytes: 700}, "condemn  repack 1 left 700"},
		{"bounded", []*packUse{of(1, 500), of(2, 600), of(3, 100)}, Limits{MaxRepack: 650}, "condemn  repack 1 3 left 400 bounded"},
		{"ties go by name", []*packUse{of(3, 500), of(1, 500), of(2, 500)}, Limits{MaxUnusedBytes: 600}, "condemn  repack 1 2 left 500"},
		{"a few small ones", []*packUse{with(of(1, 1000), small), with(of(2, 1000), small), with(of(3, 1000), small)}, five, "condemn  repack  left 0"},
		{"several small ones", []*packUse{with(of(1, 1000), small), with(of(2, 1000), small), with(of(3, 1000), small), with(of(4, 1000), small), of(5, 1000)}, five,
			"condemn  repack 1 2 3 4 left 0"},
		{"small ones of two kinds", []*packUse{with(of(1, 1000), small), with(of(2, 1000), small), with(with(of(3, 1000), small), trees), with(with(of(4, 1000), small), trees)}, five,
			"condemn  repack  left 0"},
		{"small ones, and nothing shall be copied", []*packUse{with(of(1, 1000), small), with(of(2, 1000), small), with(of(3, 1000), small), with(of(4, 1000), small)}, Limits{MaxUnused: 1},
			"condemn  repack  left 0"},
		// Next to nothing is allowed to stay, but what would be written instead is as much.
		{"tiny, half garbage", []*packUse{with(of(1, 500), tiny)}, five, "condemn  repack  left 10"},
		{"tiny, half garbage, of two kinds", []*packUse{with(of(1, 500), tiny), with(with(of(2, 500), tiny), trees)}, five, "condemn  repack  left 20"},
		{"tiny, and no garbage shall stay", []*packUse{with(of(1, 500), tiny)}, Limits{}, "condemn  repack 1 left 0"},
		{"three tiny ones become one", []*packUse{with(of(1, 500), tiny), with(of(2, 500), tiny), with(of(3, 500), tiny)}, five, "condemn  repack 1 2 3 left 0"},
		{"two tiny ones are not worth a record", []*packUse{with(of(1, 500), tiny), with(of(2, 500), tiny)}, five, "condemn  repack  left 20"},
		{"two tiny ones, and there is a record anyway", []*packUse{with(of(1, 500), tiny), with(of(2, 500), tiny), of(3, 0)}, five, "condemn 3 repack 1 2 left 0"},
		{"several tiny ones without garbage", []*packUse{with(of(1, 1000), tiny), with(of(2, 1000), tiny), with(of(3, 1000), tiny), with(of(4, 1000), tiny), with(of(5, 1000), tiny)}, five,
			"condemn  repack 1 2 3 4 5 left 0"},
		{"tiny trees stay, data goes", []*packUse{of(1, 100), with(with(of(2, 500), tiny), trees)}, five, "condemn  repack 1 left 10"},
		{"a tiny one in the pack of what must go", []*packUse{with(of(1, 500), zombie), with(of(2, 500), tiny)}, Limits{MaxUnusedBytes: 1}, "condemn  repack 1 2 left 0"},
		{"a tiny one of another kind than what must go", []*packUse{with(of(1, 500), zombie), with(with(of(2, 500), tiny), trees)}, Limits{MaxUnusedBytes: 1},
			"condemn  repack 1 left 10"},
	} {
		if diff := cmp.Diff(c.want, tell(plan(c.packs, measured, c.l))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func tell(d decision) string {
	s := fmt.Sprintf("condemn %s repack %s left %d", names(d.condemn), names(d.repack), d.left)
	if d.bounded {
		s += " bounded"
	}
	return s
}

func names(list []*packUse) string {
	var all []string
	for _, p := range list {
		all = append(all, fmt.Sprint(p.id[0]))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestPlanHolds: whatever the packs, none that is needed is condemned, none of a session at work is touched, what stays is within the
// limit, and the order of the packs does not matter.
func TestPlanHolds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var packs []*packUse
		for i := range rng.IntN(40) {
			p := of(byte(i), int64(rng.IntN(3)*rng.IntN(501)))
			p.busy, p.kind = rng.IntN(8) == 0, chunk.Type(1+rng.IntN(2))
			if rng.IntN(4) == 0 {
				small(p)
			}
			if rng.IntN(8) == 0 {
				zombie(p)
			}
			packs = append(packs, p)
		}
		l := Limits{MaxUnused: float64(rng.IntN(30)) / 100, MaxRepack: int64(rng.IntN(2) * rng.IntN(9000))}
		m := measured
		if rng.IntN(2) == 0 {
			m.overhead = 0 // then it is always worth it
		}
		d := plan(packs, m, l)
		for _, p := range d.condemn {
			if p.used > 0 || p.busy {
				t.Errorf("seed %d: pack %d is condemned", seed, p.id[0])
			}
		}
		var needed, left int64
		chosen := map[*packUse]bool{}
		for _, p := range append(slices.Clone(d.condemn), d.repack...) {
			if chosen[p] || p.busy {
				t.Errorf("seed %d: pack %d is taken twice, or busy", seed, p.id[0])
			}
			chosen[p] = true
		}
		idle := int64(0)
		for _, p := range packs {
			if p.used > 0 || p.busy {
				needed += p.listed - p.unused()
			}
			if !chosen[p] {
				left += p.unused()
				if p.busy {
					idle += p.unused()
				}
				if p.used == 0 && !p.busy {
					t.Errorf("seed %d: pack %d stays, and nobody needs it", seed, p.id[0])
				}
			}
		}
		if left != d.left {
			t.Errorf("seed %d: %d bytes are left, not %d", seed, left, d.left)
		}
		if (m.overhead == 0 || l.strict()) && !d.bounded && left-idle > l.allowed(needed) {
			t.Errorf("seed %d: %d bytes of garbage stay, %d may", seed, left-idle, l.allowed(needed))
		}
		if !l.strict() {
			gains(t, seed, m, d)
		}
		rng.Shuffle(len(packs), func(i, j int) { packs[i], packs[j] = packs[j], packs[i] })
		if diff := cmp.Diff(tell(d), tell(plan(packs, m, l))); diff != "" {
			t.Errorf("seed %d: in another order: %s", seed, diff)
		}
	}
}

// gains fails when a kind of packs takes more after repacking than it did before.
func gains(t *testing.T, seed uint64, m measure, d decision) {
	t.Helper()
	for kind := chunk.Data; kind <= chunk.Tree; kind++ {
		var taken, used, forced, usedForced int64
		for _, p := range d.repack {
			if p.kind != kind {
				continue
			}
			taken, used = taken+p.listed, used+p.used
			if p.state == condemned {
				forced, usedForced = forced+p.listed, usedForced+p.used
			}
		}
		if chosen := taken - forced; chosen > 0 && m.cost(used) >= chosen+m.cost(usedForced) {
			t.Errorf("seed %d: %s packs of %d bytes become %d", seed, kind, chosen, m.cost(used)-m.cost(usedForced))
		}
	}
}
