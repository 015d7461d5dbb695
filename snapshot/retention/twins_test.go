package retention

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/snapshot"
)

// TestTwins: two snapshots of one backup, which a `tag` that was stopped leaves, take one place, and stay or go together. Copies of one
// without some files, which `rewrite` makes, are no twins.
func TestTwins(t *testing.T) {
	t.Parallel()
	made := func(id, original, tree byte, day int64) *snapshot.Snapshot {
		s := &snapshot.Snapshot{ID: chunk.ID{id}, Series: "s", Start: snapshot.Time{Sec: 1_800_000_000 + day*86400}, Content: []chunk.ID{{tree}}}
		if original > 0 {
			s.Original = chunk.ID{original}
		}
		return s
	}
	list := []*snapshot.Snapshot{
		made(1, 0, 1, 1), made(21, 2, 2, 2), made(2, 0, 2, 2), made(22, 2, 2, 2), // three of one
		made(3, 0, 3, 3), made(13, 3, 33, 3), // rewritten
		made(4, 0, 3, 4), made(5, 5, 3, 5),
	}
	list[2].Tags = []string{"monthly"}
	for _, c := range []struct {
		p    Policy
		want string
	}{
		{Policy{Last: 1}, "5"},
		{Policy{Last: 4}, "3 4 5 13"},
		{Policy{Last: 5}, "2 3 4 5 13 21 22"},
		{Policy{Last: 6}, "1 2 3 4 5 13 21 22"},
		{Policy{Daily: 4}, "2 4 5 13 21 22"},
		{Policy{Last: 1, Tags: []string{"monthly"}}, "2 5"},
	} {
		plan, err := Decide(list, c.p, time.Unix(1_800_000_000+30*86400, 0))
		if err != nil {
			t.Fatal(err)
		}
		kept := map[byte]bool{}
		for _, g := range plan.Groups {
			for _, d := range g.Decisions {
				if d.Keep {
					kept[d.Snapshot.ID[0]] = true
				}
			}
		}
		got := ""
		for id := range byte(30) {
			if kept[id] {
				got += fmt.Sprintf(" %d", id)
			}
		}
		if diff := cmp.Diff(" "+c.want, got); diff != "" {
			t.Errorf("%+v: %s", c.p, diff)
		}
	}
}
