package index

import (
	"testing"
)

// open opens an index that must open without any notice.
func open(t *testing.T, dir string, o Options) *Index {
	t.Helper()
	o.Notice = func(s string) { t.Errorf("notice: %s", s) }
	x, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}
