package check

import (
	"fmt"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/pack"
)

// TestEveryObject damages every object of an archive without parity in every way: each is named, and so are the files
// that it costs.
func TestEveryObject(t *testing.T) {
	t.Parallel()
	b := three(t, 1, 0)
	for _, name := range b.objects(0, "") {
		whole := b.read(0, name)
		for _, m := range mutations(name, whole) {
			b.put(0, name, m.data)
			r, err := b.tryCheck(Options{ReadData: true})
			b.expect(name, m, r, err)
		}
		b.put(0, name, whole)
	}
	if r := b.check(Options{ReadData: true}); r.Damaged > 0 {
		t.Errorf("after all: %+v", r)
	}
}

func (b *bench) expect(name string, m mutation, r *Report, err error) {
	b.t.Helper()
	what := name[:min(len(name), 24)] + " " + m.name
	if name == "cairn.json" && err != nil {
		return // told by Open
	}
	if err != nil {
		b.t.Errorf("%s: %v", what, err)
		return
	}
	d := r.naming(name)
	if m.data == nil {
		b.expectDeleted(what, name, d, r)
		return
	}
	if d == nil {
		b.t.Errorf("%s: not named: %v %v", what, r.Damages, r.Notes)
		return
	}
	_, kind, isPack := pack.ParseName(name)
	affected := len(r.paths()) > 0
	switch {
	case !isPack:
		if affected {
			b.t.Errorf("%s: %v", what, r.paths())
		}
	case kind == chunk.Index:
		if r.Lost > 0 || !strings.Contains(fmt.Sprint(r.Damages), "repair --index") && affected {
			b.t.Errorf("%s: %v", what, r.Damages)
		}
	case (m.payload || m.name == "empty") && !affected:
		b.t.Errorf("%s: no file is named: %v", what, r.Damages)
	case affected && (r.FilesLost == 0 || !d.Lost):
		b.t.Errorf("%s: %+v", what, r)
	case m.name == "flip first", m.name == "flip last", m.name == "flip reserved", m.name == "flip checksums":
		if r.Lost > 0 || affected {
			b.t.Errorf("%s: the payload is good, but %v", what, r.Damages)
		}
	}
}

// expectDeleted knows what a deleted object can leave to be seen.
func (b *bench) expectDeleted(what, name string, d *Damage, r *Report) {
	b.t.Helper()
	_, kind, isPack := pack.ParseName(name)
	switch {
	case strings.HasPrefix(name, "keys/"):
		if r.Damaged > 0 {
			b.t.Errorf("%s: %v", what, r.Damages)
		}
	case strings.HasSuffix(name, ".ok"):
		if len(r.Notes) != 1 || r.Notes[0].Object != name || r.Damaged > 0 {
			b.t.Errorf("%s: %v, %v", what, r.Notes, r.Damages)
		}
	case isPack && kind == chunk.Index:
		if len(r.paths()) == 0 || r.Unreferenced == 0 {
			b.t.Errorf("%s: %v", what, r)
		}
	case d == nil || !d.Lost:
		b.t.Errorf("%s: not named: %v", what, r.Damages)
	case isPack && len(r.paths()) == 0:
		b.t.Errorf("%s: no file is named", what)
	}
}
