package chunk

import (
	"math/bits"
	"strings"
	"testing"

	"github.com/restic/chunker"
)

func TestParamsValidate(t *testing.T) {
	t.Parallel()
	good := DefaultParams()
	if err := good.Validate(); err == nil {
		t.Error("parameters without a polynomial are accepted")
	}
	good.Poly = testPoly
	for _, p := range []Params{good, {testPoly, 65, 65, 10}, {testPoly, 8 << 20, 8 << 20, 24}} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		if _, err := NewCutter(p); err != nil {
			t.Error(err)
		}
	}
	for name, change := range map[string]func(*Params){
		"min 64": func(p *Params) { p.Min = 64 }, "min 0": func(p *Params) { p.Min = 0 }, "min < 0": func(p *Params) { p.Min = -1 },
		"max < min": func(p *Params) { p.Max = p.Min - 1 }, "max too large": func(p *Params) { p.Max = 8<<20 + 1 },
		"bits 9": func(p *Params) { p.Bits = 9 }, "bits 25": func(p *Params) { p.Bits = 25 },
		"no polynomial": func(p *Params) { p.Poly = 0 }, "degree 52": func(p *Params) { p.Poly >>= 1 },
		"degree 54": func(p *Params) { p.Poly = p.Poly<<1 | 1 }, "even": func(p *Params) { p.Poly &^= 1 },
	} {
		p := good
		change(&p)
		if err := p.Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
		if _, err := NewCutter(p); err == nil {
			t.Errorf("%s makes a cutter", name)
		}
	}
}

// TestDerivePoly pins the derivation: another polynomial for the same seed would end deduplication in every archive.
func TestDerivePoly(t *testing.T) {
	t.Parallel()
	var seed [32]byte
	seen := map[uint64]bool{}
	for i := range 20 {
		seed[0] = byte(i)
		p, err := DerivePoly(seed)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := DerivePoly(seed); again != p {
			t.Errorf("seed %d: %#x and %#x", i, p, again)
		}
		if bits.Len64(p) != 54 || !chunker.Pol(p).Irreducible() || ValidPoly(p) != nil || seen[p] {
			t.Errorf("seed %d: bad polynomial %#x", i, p)
		}
		seen[p] = true
		if i == 0 && p != goldenPoly {
			t.Errorf("zero seed: %#x, want %#x", p, uint64(goldenPoly))
		}
	}
}

const goldenPoly = 0x26869c2410b7b1

func TestID(t *testing.T) {
	t.Parallel()
	id := Sum([]byte("abc"))
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if id.String() != want || id.Short() != want[:8] || id.IsZero() || !(ID{}).IsZero() {
		t.Errorf("%s", id)
	}
	if got, err := ParseID(want); err != nil || got != id {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := ParseID(strings.ToUpper(want)); err != nil || got != id {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", want[1:], want + "0", "x" + want[1:], strings.Repeat("y", 500)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		} else if len(err.Error()) > 250 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}

func TestType(t *testing.T) {
	t.Parallel()
	for typ, want := range map[Type]string{Data: "data", Tree: "tree", Index: "index", 0: "type 0", 4: "type 4"} {
		if typ.String() != want || typ.Valid() != (typ >= 1 && typ <= 3) {
			t.Errorf("%d: %s", uint8(typ), typ)
		}
	}
}
