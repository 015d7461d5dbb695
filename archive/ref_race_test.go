package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"cairn/chunk"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
	"cairn/snapshot"
)

// turns lets several actors work on one store, one operation at a time, in an order that the test chooses.
type turns struct {
	actors []*turn
	done   []int // the place of each actor's last operation
	puts   []int // of its first write
	n      int
}

// turn is one actor: its operations ask, and go on when they are told.
type turn struct {
	remote.Store
	ask  chan chan struct{}
	over chan struct{}
	put  func()
	held []chan struct{}
}

func (s *turn) wait(ctx context.Context) error {
	granted := make(chan struct{})
	select {
	case s.ask <- granted:
		<-granted
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *turn) Put(ctx context.Context, name string, data []byte) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	if _, ok := ParseRefName(name); ok {
		s.put()
	}
	return s.Store.Put(ctx, name, data)
}

func (s *turn) Get(ctx context.Context, name string, offset, length int64, buf []byte) ([]byte, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, name, offset, length, buf)
}

func (s *turn) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		if err := s.wait(ctx); err != nil {
			yield(remote.Info{}, err)
			return
		}
		s.Store.List(ctx, prefix)(yield)
	}
}

func (s *turn) Delete(ctx context.Context, name string) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.Delete(ctx, name)
}

// run lets the actors work to their ends. next says whose turn it is among those that are not done.
func (o *turns) run(next func(step int, open []int) int) {
	for step := 0; ; step++ {
		var open []int
		for i, a := range o.actors {
			if len(a.held) == 0 {
				select {
				case g := <-a.ask:
					a.held = append(a.held, g)
				case <-a.over:
					continue
				}
			}
			open = append(open, i)
		}
		if len(open) == 0 {
			return
		}
		i := next(step, open)
		g := o.actors[i].held[0]
		o.actors[i].held = o.actors[i].held[1:]
		o.n++
		o.done[i] = o.n
		close(g)
	}
}

// race forks an archive over one store and lets actors work on it.
func race(t *testing.T, b *bench, next func(step int, open []int) int, actors ...func(ctx context.Context, a *Archive) error) (*bench, *turns, []error) {
	t.Helper()
	store := mem.New()
	for _, name := range b.names("") {
		data, err := b.mem[0].Get(t.Context(), name, 0, -1, nil)
		if err == nil {
			err = store.Put(t.Context(), name, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o := &turns{done: make([]int, len(actors)), puts: make([]int, len(actors))}
	errs := make([]error, len(actors))
	for i, act := range actors {
		// It is opened before the race begins: only what the actor itself does is interleaved.
		s := &turn{ask: make(chan chan struct{}), over: make(chan struct{}), Store: store}
		s.put = func() { o.puts[i] = o.n }
		pass := &switched{now: store}
		opts := b.options()
		opts.Notice = func(string) {}
		a, err := OpenWithKeys(t.Context(), []Member{{URL: "store", Store: pass}}, b.keys, opts)
		if err == nil {
			_, err = a.Index(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		pass.now = s
		o.actors = append(o.actors, s)
		go func() {
			defer close(s.over)
			errs[i] = act(t.Context(), a)
		}()
	}
	o.run(next)
	after := *b
	after.t = t
	after.mem, after.stores = []*mem.Store{store}, nil
	for _, m := range after.mem {
		after.stores = append(after.stores, fault.New(m))
	}
	return &after, o, errs
}

// switched is a store that becomes another one.
type switched struct{ now remote.Store }

func (s *switched) Put(ctx context.Context, name string, data []byte) error {
	return s.now.Put(ctx, name, data)
}
func (s *switched) Get(ctx context.Context, name string, offset, length int64, buf []byte) ([]byte, error) {
	return s.now.Get(ctx, name, offset, length, buf)
}
func (s *switched) Stat(ctx context.Context, name string) (remote.Info, error) {
	return s.now.Stat(ctx, name)
}
func (s *switched) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return s.now.List(ctx, prefix)
}
func (s *switched) Delete(ctx context.Context, name string) error { return s.now.Delete(ctx, name) }

// orders yields all orders of two actors with at most two changes between them, and some random ones with many.
func orders(limit int) iter.Seq2[string, func(step int, open []int) int] {
	pick := func(open []int, want int) int {
		for _, i := range open {
			if i == want {
				return i
			}
		}
		return open[0]
	}
	return func(yield func(string, func(int, []int) int) bool) {
		for begin := range 2 {
			for i := range limit {
				for j := range limit {
					if !yield(fmt.Sprintf("%d: %d, %d", begin, i, j), func(step int, open []int) int {
						if step < i || step >= i+j {
							return pick(open, begin)
						}
						return pick(open, 1-begin)
					}) {
						return
					}
				}
			}
		}
		for seed := range uint64(150) {
			rng := rand.New(rand.NewPCG(seed, 1))
			if !yield(fmt.Sprintf("seed %d", seed), func(_ int, open []int) int { return open[rng.IntN(len(open))] }) {
				return
			}
		}
	}
}

// B2: two promote at the same moment. In every order one of them holds, for everybody the same, and reports success. Whoever lost
// and reports success as well was done before the other one published.
func TestPromoteRace(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	snapshots := []*snapshot.Snapshot{b.save(a, blobs(1, 1, 100)...), b.save(a, blobs(2, 1, 100)...)}
	b.setRef(a, "live", b.save(a, blobs(3, 1, 100)...))
	lost := 0
	for name, next := range orders(12) {
		for _, clocks := range [][2]int64{{5, 6}, {6, 5}} {
			promote := func(i int) func(context.Context, *Archive) error {
				return func(ctx context.Context, a *Archive) error {
					_, _, err := a.SetRef(ctx, Ref{Name: "live", Time: time.Unix(clocks[i], 0), User: fmt.Sprint(i)}, snapshots[i])
					return err
				}
			}
			after, o, errs := race(t, b, next, promote(0), promote(1))
			holds := after.refsOf()["live"]
			winner := -1
			for i, s := range snapshots {
				if s.ID == holds {
					winner = i
				}
			}
			if winner < 0 || errs[winner] != nil {
				t.Fatalf("%s: live is %s; %v", name, holds.Short(), errs)
			}
			var raced *RefRaceError
			switch err := errs[1-winner]; {
			case errors.As(err, &raced):
				lost++
			case err != nil:
				t.Fatalf("%s: %v", name, err)
			case o.puts[winner] < o.puts[1-winner]:
				t.Fatalf("%s: %d reports success, published after %d, and does not hold", name, 1-winner, winner)
			}
		}
	}
	if lost == 0 {
		t.Error("nobody ever lost: nothing was raced")
	}
}

// B2: somebody forgets a snapshot while it is promoted. In every order a promotion that reports success holds, and the snapshot restores.
func TestPromoteForgetRace(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 0)
	a := b.open()
	data := blobs(1, 1, 100)
	s := b.save(a, data...)
	b.setRef(a, "live", b.save(a, blobs(3, 1, 100)...))
	refused, revived := 0, 0
	for name, next := range orders(14) {
		var report *ForgetReport
		after, _, errs := race(t, b, next,
			func(ctx context.Context, a *Archive) error {
				_, _, err := a.SetRef(ctx, Ref{Name: "live", Time: time.Unix(5, 0)}, s)
				return err
			},
			func(ctx context.Context, a *Archive) error {
				list, _, err := a.Snapshots(ctx)
				if err != nil {
					return err
				}
				for _, one := range list {
					if one.ID == s.ID && len(one.Refs) == 0 { // as the rules decide
						report, err = a.Forget(ctx, []chunk.ID{s.ID}, Record{Time: time.Unix(6, 0)})
						return err
					}
				}
				return nil
			})
		if errs[1] != nil {
			t.Fatalf("%s: forget: %v", name, errs[1])
		}
		list, _, err := after.open().Snapshots(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var live *snapshot.Snapshot
		for _, one := range list {
			if len(one.Refs) > 0 {
				live = one
			}
		}
		if live == nil {
			t.Fatalf("%s: live stands for nothing (%v)", name, errs)
		}
		isNew := live.ID == s.ID || live.Original == s.ID
		if errs[0] == nil && !isNew {
			t.Fatalf("%s: the promotion reports success and does not hold", name)
		}
		if errs[0] != nil && !errors.Is(errs[0], errForgottenMeanwhile) {
			t.Fatalf("%s: promote: %v", name, errs[0])
		}
		if report != nil {
			revived += len(report.Revived)
		}
		if errs[0] != nil {
			refused++
		}
	}
	if refused == 0 || revived == 0 {
		t.Errorf("%d promotions were refused, %d snapshots came back: not all orders were tried", refused, revived)
	}
}
