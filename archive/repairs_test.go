package archive

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
)

func TestRepairsFile(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	dir := filepath.Join(t.TempDir(), "not", "yet")
	one, two := b.openWith(b.inDir(dir)), b.openWith(b.inDir(dir))
	want := map[Suspect]Suspicion{}
	var wg sync.WaitGroup
	for i := range 40 {
		id := pack.ID{byte(i)}
		want[Suspect{id, chunk.Data, i % 3}] = FoundBad
		for _, a := range []*Archive{one, two} {
			wg.Go(func() { a.Suspect(id, chunk.Tree, i%3); a.Suspect(id, chunk.Data, i%3) })
		}
	}
	wg.Wait()
	for _, a := range []*Archive{one, two} {
		if diff := cmp.Diff(want, a.Suspects()); diff != "" {
			t.Error(diff)
		}
	}
	name := filepath.Join(dir, "repairs")
	info, err := os.Stat(name)
	if err != nil || info.Size() > 80*repairRecord || info.Size() < 40*repairRecord {
		t.Errorf("%v bytes, %v", info, err)
	}
	for s := range want {
		if s.Shard == 0 {
			two.Repaired(s.Pack, s.Kind, s.Shard)
			delete(want, s)
		}
	}
	if diff := cmp.Diff(want, one.Suspects()); diff != "" {
		t.Error(diff)
	}
	// Out of range, torn, damaged.
	one.Suspect(pack.ID{1}, chunk.Data, -1)
	one.Suspect(pack.ID{1}, chunk.Data, pack.MaxShards)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damaged := append(slices.Clone(data), "torn"...)
	damaged[5] ^= 1
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	three := b.openWith(b.inDir(dir))
	if got := three.Suspects(); len(got) != len(want)-1 {
		t.Errorf("%d of %d are left", len(got), len(want))
	}
	three.Suspect(pack.ID{99}, chunk.Index, 2)
	if got := one.Suspects(); len(got) != len(want) || got[Suspect{pack.ID{99}, chunk.Index, 2}] != FoundBad {
		t.Errorf("after a torn record: %v", got)
	}
	for n := range len(damaged) {
		readSuspects(strings.NewReader(string(damaged[:n])))
	}
}

func FuzzSuspects(f *testing.F) {
	f.Add(appendSuspect(nil, Suspect{pack.ID{1}, chunk.Data, 2}, NotThere))
	f.Fuzz(func(t *testing.T, data []byte) {
		for s, why := range readSuspects(strings.NewReader(string(data))) {
			again := readSuspects(strings.NewReader(string(appendSuspect(nil, s, why))))
			if again[s] != why || s.Shard >= pack.MaxShards {
				t.Errorf("%v: %v", s, again)
			}
		}
	})
}
