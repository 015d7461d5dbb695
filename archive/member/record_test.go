package member

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// TestRecord: what a run noted is read by the next one, and a file that a power cut tore counts as none.
func TestRecord(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	if _, err := takeRecord(""); err == nil {
		t.Error("a record without a directory")
	}
	take := func() *record {
		t.Helper()
		r, err := takeRecord(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := take()
	if r.begun() {
		t.Errorf("a new record: %+v", r)
	}
	if _, err := takeRecord(dir); !errors.Is(err, errRunning) {
		t.Errorf("two runs at once: %v", err)
	}
	for i, again := range []bool{false, true} {
		if err := r.copying(seal.SessionID{byte(i)}, []pack.ID{{1}, {2}}, again); err != nil {
			t.Fatal(err)
		}
	}
	gone := recordOf(pack.ID{3}, chunk.Index, 7)
	for range 2 {
		if err := r.removing(gone); err != nil {
			t.Fatal(err)
		}
	}
	r.unlock()
	r = take()
	if !r.begun() || len(r.Sessions) != 2 || len(r.Copying) != 2 || len(r.Removing) != 1 || r.Removing[0] != gone {
		t.Errorf("%+v", r)
	}
	r.unlock()
	if err := os.WriteFile(r.file, []byte(`{"sessions":["a`), 0o600); err != nil {
		t.Fatal(err)
	}
	r = take()
	if r.begun() {
		t.Errorf("of a torn file: %+v", r)
	}
	if err := r.remove(); err != nil {
		t.Error(err)
	}
	if err := r.remove(); err != nil {
		t.Error("twice:", err)
	}
	r.unlock()
	var none *record
	if none.begun() || none.copying(seal.SessionID{}, nil, false) != nil || none.removing(gone) != nil || none.remove() != nil {
		t.Error("a record that cannot be kept is an error")
	}
	none.unlock()
}
