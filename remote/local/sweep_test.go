package local

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cairn/remote"
)

// TestSweep: temporary files are invisible, stay while they may be alive, and are removed a day later.
func TestSweep(t *testing.T) {
	s := open(t, Options{NoSync: true})
	if err := s.Put(t.Context(), "a/b/object", nil); err != nil {
		t.Fatal(err)
	}
	temps := []string{"", "a", "a/b"}
	for i, dir := range temps {
		temps[i] = filepath.Join(s.dir, dir, remote.TempPrefix+"ABCDEF")
		if err := os.WriteFile(temps[i], []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ age, ahead time.Duration }{
		{0, 0}, {staleAge - time.Minute, 0}, {time.Minute, 365 * 24 * time.Hour}, {staleAge + time.Minute, 0},
	} {
		age := c.age
		for _, temp := range temps {
			if err := os.Chtimes(temp, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		s.now = func() time.Time { return time.Now().Add(c.ahead) } // a clock that is wrong removes nothing
		if got := names(t, s); !slices.Equal(got, []string{"a/b/object"}) {
			t.Errorf("List: %q", got)
		}
		for _, temp := range temps {
			if _, err := os.Stat(temp); (err == nil) != (age < staleAge) {
				t.Errorf("after %v: stat %s: %v", age, temp, err)
			}
		}
	}
}

// TestSweepAbove: what lies beside the folders of a member goes, too, though only those are listed.
func TestSweepAbove(t *testing.T) {
	for _, member := range []string{"", "m00"} {
		s := open(t, Options{NoSync: true})
		if err := s.Put(t.Context(), path.Join(member, "keys/k"), nil); err != nil {
			t.Fatal(err)
		}
		old, fresh := filepath.Join(s.dir, member, remote.TempPrefix+"A"), filepath.Join(s.dir, member, remote.TempPrefix+"B")
		for _, temp := range []string{old, fresh} {
			if err := os.WriteFile(temp, []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(old, time.Time{}, time.Now().Add(-staleAge-time.Minute)); err != nil {
			t.Fatal(err)
		}
		for _, err := range s.List(t.Context(), path.Join(member, "keys")+"/") {
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(old); err == nil {
			t.Errorf("%s is still there", old)
		}
		if _, err := os.Stat(fresh); err != nil {
			t.Error(err)
		}
	}
}
