package ocfl

import (
	"io/fs"
	"strings"
	"testing"
)

// C4: an inventory that is let pass has an algorithm, versions up to its head, and no path of it that counts as inside leads out.
func FuzzInventory(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	f.Add([]byte(`{"id":"x","digestAlgorithm":"sha256","head":"v1","manifest":{"` + digest + `":["v1/content/a"]},"versions":{"v1":{"state":{"` + digest + `":["a"]}}}}`))
	f.Add([]byte(`{"id":"x","digestAlgorithm":"sha256","head":"v1","contentDirectory":"..","versions":{"v1":{}}}`))
	f.Add([]byte(`{"id":"x","digestAlgorithm":"sha512","head":"v0999999999999","versions":{"v1":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := parseInventory(data)
		if err != nil {
			return
		}
		if _, there := inv.Versions[inv.Head]; !there || inv.ID == "" {
			t.Errorf("let %+v pass", inv)
		}
		for digest, names := range inv.Manifest {
			if len(digest) != 2*newHash(inv.Algorithm).Size() {
				t.Errorf("digest %q", digest)
			}
			for _, name := range names {
				if inv.inside(name) && (!fs.ValidPath(name) || strings.Count(name, "/") < 2) {
					t.Errorf("%q counts as inside", name)
				}
			}
		}
		inv.unknownStates()
	})
}
