package bench

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/pack"
	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
)

const prefix = "probe/"

// quick measures members for a moment.
func quick(members ...Store) Options {
	return Options{NoMachine: true, Members: members, Time: 200 * time.Millisecond, Space: 16 << 20, Prefix: prefix, Geometry: pack.Geometry{K: 8}}
}

func names(t *testing.T, s remote.Store) (list []string) {
	t.Helper()
	for info, err := range s.List(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, info.Name)
	}
	slices.Sort(list)
	return list
}

func TestRun(t *testing.T) {
	t.Parallel()
	store := mem.New()
	var told []string
	r, err := Run(t.Context(), Options{
		sample: 1 << 20, blobs: 1 << 10,
		Geometry: pack.Geometry{K: 2, M: 1}, Time: 500 * time.Millisecond, Space: 64 << 20, Prefix: prefix, TempDir: t.TempDir(),
		Members: []Store{{Label: "a", Store: store}, {Label: "gone", Err: fs.ErrNotExist}},
		Sample:  strings.NewReader(strings.Repeat("again and again\n", 1<<17)),
		Each: func(v any) {
			if s, ok := v.(*Stage); ok {
				told = append(told, s.Name)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{Cut, Hash, Compress, Encrypt, Seal, Pack, Parity, Open, Add, LookUp, Stretch}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	for _, s := range r.Stages {
		if s.One <= 0 || s.All <= 0 && s.Unit == "bytes" {
			t.Errorf("%+v", s)
		}
	}
	if r.Share <= 0 || r.Share > 1 {
		t.Errorf("share of the processor: %f", r.Share)
	}
	if r.Ratio < 20 {
		t.Errorf("a sample that is all the same became only %.1f times smaller", r.Ratio)
	}
	a, gone := r.Members[0], r.Members[1]
	if a.Err != nil || a.Put <= 0 || a.Get <= 0 || a.List <= 0 || a.PutRate <= 0 || a.GetRate <= 0 || a.Object < firstSize {
		t.Errorf("%+v", a)
	}
	if !errors.Is(gone.Err, fs.ErrNotExist) {
		t.Errorf("a member that is not there: %+v", gone)
	}
	if left := names(t, store); len(left) > 0 {
		t.Errorf("left on the member: %q", left)
	}
	for _, w := range r.Verdict() {
		if w.Rate() <= 0 || math.IsInf(w.Rate(), 0) {
			t.Errorf("%+v", w)
		}
	}
}

// What would be measured with an imitation, or twice the same, shows in the bytes: both samples are what they claim.
func TestSamples(t *testing.T) {
	t.Parallel()
	b, err := newBench(Options{sample: 2 << 20}.applyDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if r := b.ratio(); r < 2.2 || r > 5 {
		t.Errorf("text becomes %.2f times smaller", r)
	}
	for _, s := range b.noise {
		if len(s.bytes) < int(s.Plain) {
			t.Errorf("random data became smaller")
		}
	}
	if !bytes.Equal(bytes.Join(b.text.pieces, nil), b.text.data) {
		t.Error("the pieces are not the sample")
	}
}

// However it ends, nothing is left.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, after := range []int{1, 3, 12, 14, 20} {
		store := mem.New()
		ctx, cancel := context.WithCancel(t.Context())
		var puts atomic.Int32
		o := quick(Store{Label: "a", Store: hooked{Store: store, versions: remote.No, put: func() {
			if puts.Add(1) == int32(after) {
				cancel()
			}
		}}})
		o.Time, o.Space = time.Minute, 128<<20 // it does not come to that
		r, err := Run(ctx, o)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %d: %v", after, err)
		}
		if left := names(t, store); len(left) > 0 || len(r.Members[0].Left) > 0 {
			t.Errorf("after %d: left %q, told %q", after, left, r.Members[0].Left)
		}
		cancel()
	}
}

// hooked tells of each Put when it is done, and may refuse to delete, or lock by itself, or shift the times of what is listed.
type hooked struct {
	remote.Store
	put      func()
	refuse   bool
	locks    time.Duration
	versions remote.Answer
	old      string        // what this begins the name of ...
	age      time.Duration // is so old
}

func (h hooked) Put(ctx context.Context, name string, data []byte) error {
	err := h.Store.Put(ctx, name, data)
	if h.put != nil {
		h.put()
	}
	return err
}

func (h hooked) Delete(ctx context.Context, name string) error {
	if h.refuse {
		return fs.ErrPermission
	}
	return h.Store.Delete(ctx, name)
}

func (h hooked) Protection(context.Context) (remote.Protection, error) {
	return remote.Protection{Versions: h.versions, Default: h.locks}, nil
}

func (h hooked) List(ctx context.Context, p string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		for info, err := range h.Store.List(ctx, p) {
			if h.old != "" && strings.HasPrefix(info.Name, h.old) {
				info.Modified = info.Modified.Add(-h.age)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Where objects cannot be deleted, one of a byte is all that is made; where they are locked, none.
func TestNotDeletable(t *testing.T) {
	t.Parallel()
	store := mem.New()
	r, err := Run(t.Context(), quick(Store{Label: "a", Store: hooked{Store: store, refuse: true}}))
	if err != nil {
		t.Fatal(err)
	}
	m := r.Members[0]
	if m.Unwritten == "" || m.PutRate != 0 || m.List <= 0 {
		t.Errorf("%+v", m)
	}
	if diff := cmp.Diff(m.Left, names(t, store)); diff != "" || len(m.Left) != 1 {
		t.Errorf("what is left (-told +is):\n%s", diff)
	}
	if info, err := store.Stat(t.Context(), m.Left[0]); err != nil || info.Size != 1 {
		t.Errorf("%+v, %v", info, err)
	}

	store = mem.New()
	r, err = Run(t.Context(), quick(Store{Label: "a", Store: hooked{Store: store, locks: time.Hour}}))
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Members[0]; !strings.Contains(m.Unwritten, "1h0m0s") || len(names(t, store)) > 0 {
		t.Errorf("%+v, %q", m, names(t, store))
	}
}

// A run takes away what one left that was killed, and nothing else.
func TestStale(t *testing.T) {
	t.Parallel()
	store := mem.New()
	keep := []string{"cairn.json", "probe/bench-young-1", "probe/one-1234"}
	for _, name := range append(keep, "probe/bench-old-1", "probe/bench-old-2") {
		if err := store.Put(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	s := hooked{Store: store, old: "probe/bench-old", age: 2 * time.Hour}
	if _, err := Run(t.Context(), quick(Store{Label: "a", Store: s})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keep, names(t, store)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// No more is written than was allowed, and a store that keeps versions unseen gets little.
func TestSpace(t *testing.T) {
	t.Parallel()
	counted := fault.New(mem.New())
	o := quick(Store{Label: "a", Store: counted})
	o.Time = 600 * time.Millisecond
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	const small = 1 + smallTries*smallSize
	if n := counted.Bytes(fault.Put); n > o.Space+small || n < firstSize {
		t.Errorf("%d bytes were written, %d allowed", n, o.Space)
	}
	if r.Members[0].Err != nil || r.Members[0].PutRate <= 0 {
		t.Errorf("%+v", r.Members[0])
	}
	unsure := fault.New(hooked{Store: mem.New()})
	o = quick(Store{Label: "a", Store: unsure})
	o.Space, o.Time = 1<<30, 2*time.Second
	if r, err = Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if n := unsure.Bytes(fault.Put); n > unsureSpace+small || r.Members[0].Note == "" {
		t.Errorf("%d bytes were written: %+v", n, r.Members[0])
	}
}

// A member that hangs costs its own figures only, and a bounded time.
func TestHangs(t *testing.T) {
	t.Parallel()
	good := mem.New()
	start := time.Now()
	r, err := Run(t.Context(), quick(Store{Label: "good", Store: good}, Store{Label: "hangs", Store: hangs{mem.New()}}))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	if m := r.Members[0]; m.Err != nil || m.PutRate <= 0 {
		t.Errorf("%+v", m)
	}
	if m := r.Members[1]; m.Err == nil || !strings.Contains(m.Err.Error(), "not done in") {
		t.Errorf("%+v", m)
	}
}

type hangs struct{ remote.Store }

func (hangs) Put(ctx context.Context, _ string, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestRate(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	for _, c := range []struct {
		name string
		work func(n int) (int, error) // the n-th call of a worker
		err  error
		some bool
	}{
		{"goes on", func(int) (int, error) { time.Sleep(time.Millisecond); return 1000, nil }, nil, true},
		{"fails at once", func(int) (int, error) { return 0, bad }, bad, false},
		{"fails later", func(n int) (int, error) {
			if n == 3 {
				return 0, bad
			}
			return 1, nil
		}, bad, false},
		{"has enough", func(n int) (int, error) {
			if n == 5 {
				return 0, errEnough
			}
			return 1000, nil
		}, nil, true},
		{"has enough at once", func(int) (int, error) { return 0, errEnough }, nil, false},
	} {
		got, err := rate(t.Context(), 3, 30*time.Millisecond, func() (step, error) {
			n := 0
			return func() (int, error) { n++; return c.work(n) }, nil
		})
		if err != c.err || (got > 0) != c.some {
			t.Errorf("%s: %f, %v", c.name, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rate(ctx, 2, time.Hour, func() (step, error) { return func() (int, error) { return 1, nil }, nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
