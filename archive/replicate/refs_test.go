package replicate

import (
	"testing"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/snapshot"
)

// B2, E8: a replica has the references of its source; what is changed in the replica stays until the source changes it again.
func TestReplicaRefs(t *testing.T) {
	t.Parallel()
	from, to := source(t, 1, 0), newBench(t, 1, 0)
	list := from.list()
	set := func(b *bench, s *snapshot.Snapshot) {
		t.Helper()
		if _, _, err := b.open().SetRef(t.Context(), archive.Ref{Name: "live", Time: time.Unix(9, 0), User: "anna"}, s); err != nil {
			t.Fatal(err)
		}
	}
	live := func() chunk.ID { // the source of what is live in the target
		t.Helper()
		for _, s := range to.list() {
			if len(s.Refs) > 0 {
				return s.Origin.Snapshot
			}
		}
		return chunk.ID{}
	}
	run := func(o ReplicaOptions, want int) {
		t.Helper()
		r, err := from.replicate(to, o)
		if err != nil || r.Refs != want {
			t.Fatalf("%+v %v", r, err)
		}
	}
	set(from, list[0])
	run(ReplicaOptions{Options: Options{DryRun: true}}, 0) // nothing is copied yet
	run(ReplicaOptions{}, 1)
	run(ReplicaOptions{}, 0)
	if live() != list[0].ID {
		t.Errorf("live is the copy of %s", live().Short())
	}
	refs, err := to.open().Refs(t.Context())
	if err != nil || len(refs) != 1 || refs[0].User != "anna" || refs[0].From.IsZero() {
		t.Errorf("%+v %v", refs, err)
	}
	// Promoted in the target.
	set(to, to.list()[1])
	run(ReplicaOptions{}, 0)
	if live() != list[1].ID {
		t.Error("what was promoted in the target is live no more")
	}
	// The source goes on, and forgets what was live: it goes in the target, too, for nothing stands for it any more.
	set(from, list[2])
	from.forget(list[0].ID)
	run(ReplicaOptions{Delete: true}, 1)
	if live() != list[2].ID {
		t.Errorf("live is the copy of %s", live().Short())
	}
	// What is live in the target is not forgotten with its source.
	set(to, to.list()[0])
	kept := live()
	from.forget(kept)
	r, err := from.replicate(to, ReplicaOptions{Delete: true})
	if err != nil || r.Kept != 1 || live() != kept {
		t.Errorf("%+v %v", r, err)
	}
	// Taken away there, and put there by nobody here: it stays.
	set(from, nil)
	run(ReplicaOptions{}, 0)
	set(to, nil)
	if live() != (chunk.ID{}) {
		t.Error("it is live still")
	}
}
