package snapshot

import (
	"errors"
	"strings"
	"testing"
)

// B2: a reference is found by its name, and never taken for a series or an id of the same spelling, nor those for it.
func TestSelectRef(t *testing.T) {
	t.Parallel()
	list := []*Snapshot{named("aaaa01", "web1", "2026-11-19T03:00:01"), named("aaaa02", "web1", "2026-11-20T03:00:01"), named("feed01", "both", "2026-11-20T04:00:00")}
	list[0].Refs = []string{"both", "feed", "live"}
	for spec, want := range map[string]string{
		"live": "aaaa01", "live:/etc": "aaaa01 /etc", "ref:live": "aaaa01", "ref:live:/etc": "aaaa01 /etc", "ref:both": "aaaa01", "both@now": "feed01", "both~0": "feed01",
		"ref:feed": "aaaa01", "feed01": "feed01", "latest": "feed01",
	} {
		s, path, err := Select(list, spec, selectNow)
		if err != nil || strings.TrimSpace(s.ID.String()[:6]+" "+path) != want {
			t.Errorf("%q: %v %q %v", spec, s, path, err)
		}
	}
	for spec, want := range map[string]struct {
		kind       error
		text, hint string
	}{
		"both":     {ErrAmbiguous, "both a reference and a series", "ref:both"},
		"both:/x":  {ErrAmbiguous, "both a reference and a series", "both@now"},
		"feed":     {ErrAmbiguous, "both a reference and the beginning of an id", "ref:feed"},
		"ref:gone": {ErrNotFound, `the reference "gone"`, "cairn tag list"},
		"gone":     {ErrNotFound, "nor a reference", "web1"},
	} {
		_, _, err := Select(list, spec, selectNow)
		var bad *SelectError
		if !errors.Is(err, want.kind) || !errors.As(err, &bad) || !strings.Contains(err.Error(), want.text) || !strings.Contains(bad.Hint(), want.hint) {
			t.Errorf("%q: %v", spec, err)
		}
	}
	if n := len((Filter{Ref: "live"}).Apply(list)); n != 1 {
		t.Errorf("%d snapshots have the reference", n)
	}
}
