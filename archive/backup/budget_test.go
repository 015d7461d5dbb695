package backup

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
)

func TestSpend(t *testing.T) {
	t.Parallel()
	p := chunk.DefaultParams()
	const MiB = 1 << 20
	for _, c := range []struct {
		limit int64
		cores int
		want  budget
	}{
		{24 * MiB, 2, budget{small: 5 * MiB, lanes: 1, spare: 1}},
		{32 * MiB, 2, budget{small: 5 * MiB, lanes: 2, spare: 1}},
		{48 * MiB, 8, budget{small: 16 * MiB, lanes: 1, spare: 3}},
		{1, 2, budget{small: 512 << 10, lanes: 1, spare: 1}}, // raised to what is needed
		{1 << 40, 2, budget{small: 5 * MiB, lanes: 4, spare: 1}},
	} {
		got := spend(c.limit, p, 2*c.cores, 2*c.cores, c.cores)
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(budget{})); d != "" {
			t.Errorf("%d bytes, %d cores: %s", c.limit, c.cores, d)
		}
	}
	for cores := 1; cores <= 128; cores *= 2 {
		limit := defaultMemory(cores)
		b := spend(limit, p, 2*cores, 2*cores, cores)
		if took := b.small + int64(b.lanes+b.spare)*int64(p.Max); took > limit || b.lanes < 1 || b.spare < 1 {
			t.Errorf("%d cores: %+v takes %d of %d bytes", cores, b, took, limit)
		}
	}
}

// TestSlabs: a file has no more slabs than it may, the last user gives one back, and what is free is used before another one is made.
func TestSlabs(t *testing.T) {
	t.Parallel()
	b := newBuffers(budget{small: 1 << 20, lanes: 2, spare: 1}, 100)
	take := func(l *lane) *buffer {
		t.Helper()
		s, err := l.slab(t.Context())
		if err != nil || len(s.data) != 100 {
			t.Fatal(s, err)
		}
		return s
	}
	full := func(l *lane) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGone)
		if _, err := l.slab(ctx); !errors.Is(err, errGone) {
			t.Fatalf("a slab that there is not: %v", err)
		}
	}
	one, two := b.lane(), b.lane()
	first, second := take(one), take(one)
	full(one)
	third := take(two)
	full(two) // all are out
	first.users.Add(1)
	first.release()
	full(one)
	first.release()
	if again := take(two); again != first {
		t.Error("another slab was made")
	} else {
		again.release()
	}
	for _, s := range []*buffer{second, third} {
		s.release()
	}
	if len(b.slabs)+len(one.taken)+len(two.taken) != 0 {
		t.Error("a token is lost")
	}
	if len(b.free[0]) != 3 {
		t.Errorf("%d slabs", len(b.free[0]))
	}
}

func TestSmallBuffers(t *testing.T) {
	t.Parallel()
	b := newBuffers(budget{small: 64 << 10, lanes: 1, spare: 1}, 100)
	one, err := b.small(t.Context(), 20_000)
	if err != nil || len(one.data) != 32<<10 {
		t.Fatal(err)
	}
	two, err := b.small(t.Context(), 20_001)
	if err != nil || one == two {
		t.Fatal("lent twice", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.small(ctx, 1); err == nil {
		t.Error("more than the limit is out")
	}
	one.release()
	two.release() // half of the limit is kept
	if n := len(b.free[one.class]); n != 1 || b.idle != 32<<10 {
		t.Errorf("%d buffers, %d bytes are idle", n, b.idle)
	}
	if again, err := b.small(t.Context(), 30_000); err != nil || again != one {
		t.Errorf("not the one that was kept: %v", err)
	}
}
