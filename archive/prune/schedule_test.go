package prune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/member"
	"cairn/archive/repair"
	"cairn/chunk"
	"cairn/snapshot"
)

// TestSchedules lets clients, collectors, forgetters and taggers work on one archive in random orders of their store operations, of
// which some go wrong (see scheduler). What was reported as done restores afterwards, another collection leaves nothing that nobody needs,
// and a check finds nothing. CAIRN_SOAK=10m goes on for so long (`make soak`).
func TestSchedules(t *testing.T) {
	first, n := rand.Uint64(), 150
	if Raced {
		n = 15
	}
	end := time.Now().Add(15 * time.Second) // on a busy machine there are fewer
	if length, err := time.ParseDuration(os.Getenv("CAIRN_SOAK")); err == nil {
		n, end = 1<<30, time.Now().Add(length)
	}
	for _, layout := range []struct{ k, m int }{{1, 0}, {2, 1}} {
		t.Run(fmt.Sprintf("%d+%d", layout.k, layout.m), func(t *testing.T) {
			t.Parallel()
			empty := newBench(t, layout.k, layout.m)
			empty.open()
			seed := first
			for ; seed < first+uint64(n) && time.Now().Before(end); seed++ {
				judge(t, empty, seed)
			}
			t.Logf("%d schedules", seed-first)
		})
	}
}

// TestSchedule is one of TestSchedules, by its number.
func TestSchedule(t *testing.T) {
	var seed uint64
	var k, m int
	if _, err := fmt.Sscanf(os.Getenv("CAIRN_SCHEDULE"), "%d+%d %d", &k, &m, &seed); err != nil {
		t.Skip("CAIRN_SCHEDULE is not set, to '2+1 8724' for example")
	}
	empty := newBench(t, k, m)
	empty.open()
	for range 20 {
		judge(t, empty, seed)
	}
}

// world is one archive and what its users count on.
type world struct {
	*bench
	rng *rand.Rand // of the scheduler's goroutine, before it runs

	mu       sync.Mutex
	promised map[chunk.ID]string // snapshots that were reported as done: what they are
	gone     map[chunk.ID]bool   // that somebody began to forget
}

// scope is a test that ends with one schedule: thousands of archives would stay open until the end of all.
type scope struct {
	testing.TB
	cleanups []func()
}

// Cleanup does what testing.TB's does.
func (s *scope) Cleanup(fn func()) { s.cleanups = append(s.cleanups, fn) }

func (s *scope) run() {
	for _, fn := range slices.Backward(s.cleanups) {
		fn()
	}
}

func judge(t *testing.T, empty *bench, seed uint64) {
	t.Helper()
	end := &scope{TB: t}
	defer end.run()
	w := &world{bench: empty.clone(end), rng: rand.New(rand.NewPCG(seed, 5)), promised: map[chunk.ID]string{}, gone: map[chunk.ID]bool{}}
	w.size, w.patience = 500, time.Minute // the machine may be busy
	s := newScheduler(seed)
	w.prepare()
	change := rand.New(rand.NewPCG(seed, 6))
	changing := change.IntN(3) == 0
	if changing {
		w.relayout(1, 1, "/n0", "/n1")
	}
	w.cast(s)
	if changing {
		w.play(s, 1+change.IntN(2), "layout", func(string) func(context.Context, *bench, *player) error { return w.mover(1 + change.IntN(3)) })
	}
	much := w.rng.IntN(4)
	c := chaos{fail: w.rng.IntN(1 + 3*much), lose: w.rng.IntN(1 + 3*much), twice: w.rng.IntN(1 + 15*much), stop: w.rng.IntN(1 + 2*much)}
	ok := s.run(c)
	if !ok {
		t.Errorf("nothing moves any more")
	} else {
		w.verdict()
	}
	if t.Failed() {
		t.Fatalf("CAIRN_SCHEDULE='%d+%d %d'\n%s", len(empty.names)-len(empty.names)/2, len(empty.names)/2, seed, strings.Join(s.trace, "\n"))
	}
}

// prepare makes a few snapshots, of which some are forgotten.
func (w *world) prepare() {
	a := w.open()
	for i := range 1 + w.rng.IntN(3) {
		s := w.backup(a, w.some(8)...)
		if w.rng.IntN(2) == 0 {
			w.forget(a, s)
			continue
		}
		w.promised[s.ID] = fmt.Sprintf("first %d", i)
	}
}

// some draws files out of a few.
func (w *world) some(n int) (list []string) {
	for _, f := range files("d", 12) {
		if w.rng.IntN(12) < n {
			list = append(list, f)
		}
	}
	if list == nil {
		list = []string{"d0/f0"}
	}
	return list
}

// cast draws the actors.
func (w *world) cast(s *scheduler) {
	w.play(s, 1+w.rng.IntN(3), "client", w.client)
	w.play(s, w.rng.IntN(3), "gc", w.collector)
	w.play(s, w.rng.IntN(2), "forgetter", w.forgetter)
	w.play(s, w.rng.IntN(2), "tagger", w.tagger)
	w.play(s, w.rng.IntN(2), "reader", w.reader)
}

// away leaves one member out, sometimes, if there is parity.
func (w *world) away() (member string) {
	if len(w.names) > 1 && w.rng.IntN(4) == 0 {
		return w.names[w.rng.IntN(len(w.names))]
	}
	return ""
}

// without is the archive as somebody sees it who does not reach a member.
func (b *bench) without(member string) *bench {
	if member == "" {
		return b
	}
	c := *b
	c.mem = maps.Clone(b.mem)
	c.mem[member] = nil
	return &c
}

// client makes one or two backups on a machine of its own.
func (w *world) client(name string) func(context.Context, *bench, *player) error {
	var sources [][]string
	for range 1 + w.rng.IntN(2) {
		sources = append(sources, w.some(6))
	}
	away := w.away()
	return func(ctx context.Context, b *bench, p *player) error {
		b = b.without(away)
		a, err := b.tryOpen(ctx, b.options())
		if err != nil {
			return err
		}
		defer a.Close()
		for i, files := range sources {
			s, err := b.tryBackup(ctx, a, files...)
			if err != nil {
				return err
			}
			w.mu.Lock()
			w.promised[s.ID] = fmt.Sprintf("%s, backup %d", name, i)
			w.mu.Unlock()
		}
		return nil
	}
}

// collector collects garbage, and does not care who is at work.
func (w *world) collector(string) func(context.Context, *bench, *player) error {
	o := Options{SessionAge: time.Nanosecond}
	if w.rng.IntN(3) == 0 {
		o.SessionAge = 0
	}
	if w.rng.IntN(3) == 0 {
		o.MaxUnused = 0.5
	}
	return func(ctx context.Context, b *bench, p *player) error {
		_, err := b.tryPrune(ctx, o)
		return w.fair(p, err)
	}
}

// mover brings all packs into the current layout.
func (w *world) mover(round int) func(context.Context, *bench, *player) error {
	o := member.RewriteOptions{RoundPacks: round, Target: target}
	return func(ctx context.Context, b *bench, p *player) error {
		a, err := b.tryOpen(ctx, b.options())
		if err != nil {
			return err
		}
		defer a.Close()
		if r, err := member.Finish(ctx, a, o); err != nil || r.Done() || p.hurt() {
			return err
		}
		w.t.Errorf("a change of the layout leaves packs")
		return nil
	}
}

// fair makes a mistake of an error that says that something is lost: nothing ever is.
func (w *world) fair(p *player, err error) error {
	var d *DamageError
	if errors.As(err, &d) && !p.hurt() {
		w.t.Errorf("a collector refuses: %v", err)
	}
	return err
}

// forgetter forgets one of the snapshots.
func (w *world) forgetter(string) func(context.Context, *bench, *player) error {
	which, away := w.rng.Uint64(), w.away()
	return func(ctx context.Context, b *bench, p *player) error {
		b = b.without(away)
		a, s, err := w.choose(ctx, b, which)
		if err != nil || s == nil {
			return err
		}
		defer a.Close()
		w.mu.Lock()
		w.gone[s.ID] = true
		w.mu.Unlock()
		_, err = a.Forget(ctx, []chunk.ID{s.ID}, archive.Record{Time: fixed, Program: "test"})
		return err
	}
}

// tagger replaces one of the snapshots by a changed copy.
func (w *world) tagger(name string) func(context.Context, *bench, *player) error {
	which, away := w.rng.Uint64(), w.away()
	return func(ctx context.Context, b *bench, p *player) error {
		b = b.without(away)
		a, s, err := w.choose(ctx, b, which)
		if err != nil || s == nil {
			return err
		}
		defer a.Close()
		changed := *s
		changed.Tags = []string{name}
		id, err := a.Replace(ctx, s, &changed)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err == nil {
			w.promised[id] = name + " of " + w.promised[s.ID]
			w.gone[s.ID] = true
		} else if !changed.Incomplete && changed.ID == id && !id.IsZero() {
			w.gone[s.ID] = true // the copy is there, and the old one may be forgotten
		}
		return err
	}
}

// reader reads one of the snapshots: nothing is missing while it is moved.
func (w *world) reader(string) func(context.Context, *bench, *player) error {
	which := w.rng.Uint64()
	return func(ctx context.Context, b *bench, p *player) error {
		a, s, err := w.choose(ctx, b, which)
		if err != nil || s == nil {
			return err
		}
		defer a.Close()
		err = whole(ctx, a, s)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil && !p.hurt() && !w.gone[s.ID] {
			w.t.Errorf("a reader of snapshot %s (%s): %v", s.ID.Short(), w.promised[s.ID], err)
		}
		return err
	}
}

// choose opens the archive and chooses a complete snapshot.
func (w *world) choose(ctx context.Context, b *bench, which uint64) (*archive.Archive, *snapshot.Snapshot, error) {
	a, err := b.tryOpen(ctx, b.options())
	if err != nil {
		return nil, nil, err
	}
	list, _, err := a.Snapshots(ctx)
	complete := list[:0]
	for _, s := range list {
		if !s.Incomplete {
			complete = append(complete, s)
		}
	}
	if err != nil || len(complete) == 0 {
		return nil, nil, errors.Join(err, a.Close())
	}
	return a, complete[which%uint64(len(complete))], nil
}

// verdict reads everything that was promised, collects once more, reads it again, and repairs what some members did not take.
func (w *world) verdict() {
	w.restoresAll("after the schedule")
	_, err := w.tryPrune(w.t.Context(), Options{SessionAge: time.Nanosecond})
	if err != nil {
		w.t.Errorf("another collection: %v", err)
		return
	}
	w.restoresAll("after another collection")
	_, err = repair.Run(w.t.Context(), w.open(), repair.Options{})
	w.must(err)
	w.clean()
}

func (w *world) restoresAll(when string) {
	a := w.open()
	list, damaged, err := a.Snapshots(w.t.Context())
	w.must(err)
	for _, d := range damaged {
		w.t.Errorf("%s: %v", when, d)
	}
	found := map[chunk.ID]*snapshot.Snapshot{}
	for _, s := range list {
		found[s.ID] = s
	}
	for id, what := range maps.All(w.promised) {
		if w.gone[id] {
			continue
		}
		switch s := found[id]; {
		case s == nil:
			w.t.Errorf("%s: snapshot %s (%s) is not there", when, id.Short(), what)
		case s.Incomplete:
			w.t.Errorf("%s: snapshot %s (%s) is incomplete", when, id.Short(), what)
		default:
			if err := whole(w.t.Context(), a, s); err != nil {
				w.t.Errorf("%s: snapshot %s (%s): %v", when, id.Short(), what, err)
			}
		}
	}
}

// whole reads all blobs of a snapshot; Fetch compares them with their names.
func whole(ctx context.Context, a *archive.Archive, s *snapshot.Snapshot) error {
	var ids []chunk.ID
	err := snapshot.Walk(ctx, a.LoadTree, s.Content, s.Depth, func(_ string, n *snapshot.Node) error {
		if n.Type == snapshot.File {
			ids = append(ids, n.Content...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	got := map[chunk.ID]bool{}
	err = a.Fetch(ctx, chunk.Data, ids, func(id chunk.ID, _ []byte) error {
		mu.Lock()
		defer mu.Unlock()
		got[id] = true
		return nil
	})
	for _, id := range ids {
		if err == nil && !got[id] {
			err = fmt.Errorf("blob %s did not come", id.Short())
		}
	}
	return err
}
