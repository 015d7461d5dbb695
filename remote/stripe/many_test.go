package stripe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/remote/fault"
)

// whole is the wants for all data columns of an object, each a little shorter than the one before, as directories make them.
func whole(o Object) []Range {
	var wants []Range
	for j := range o.K {
		wants = append(wants, Range{Shard: j, N: o.Length - int64(10*j)})
	}
	return wants
}

func checkMany(t *testing.T, what string, wants []Range, shards, data [][]byte, errs []error) {
	t.Helper()
	for i, w := range wants {
		if want := shards[w.Shard][base+w.Off : base+w.Off+w.N]; errs[i] != nil || !bytes.Equal(data[i], want) {
			t.Errorf("%s: shard %d [%d, %d): %d bytes, %v", what, w.Shard, w.Off, w.Off+w.N, len(data[i]), errs[i])
		} else if int64(cap(w.Dst)) >= w.N && w.N > 0 && &data[i][0] != &w.Dst[:1][0] {
			t.Errorf("%s: shard %d: not in Dst", what, w.Shard)
		}
	}
}

// TestReadManyCosts: a whole pack costs K requests and the bytes of K shards, whichever members are gone and whether that is
// known; only what was known too late costs more.
func TestReadManyCosts(t *testing.T) {
	for broken := range 1 << 6 {
		var members []int
		for i := range 6 {
			if broken>>i&1 == 1 {
				members = append(members, i)
			}
		}
		if len(members) > 2 {
			continue
		}
		for kind, breakIt := range troubles {
			r := newRig(6)
			o, shards := pack(t, 4, 2, 1)
			must(t, put(t, r, o, shards))
			for _, i := range members {
				breakIt(t, r, o, i)
			}
			what := fmt.Sprintf("members %v %s", members, kind)
			wants := whole(o)
			first := r.gets()
			data, errs := r.ReadMany(t.Context(), o, wants, nil)
			checkMany(t, what, wants, shards, data, errs)
			// One round of requests, and for each that failed another one; up to two more for the 10 bytes by which columns differ.
			if n := r.gets() - first; n > 4+2*len(members)+6 {
				t.Errorf("%s: %d requests at first", what, n)
			}
			must(t, r.Put(t.Context(), "a", nil)) // now it is known who is dead
			gets, bytes := r.gets(), r.bytes()
			for i := range wants {
				wants[i].Dst = make([]byte, 0, wants[i].N)
			}
			data, errs = r.ReadMany(t.Context(), o, wants, nil)
			checkMany(t, what, wants, shards, data, errs)
			if kind == "down" || kind == "missing" {
				if n, b := r.gets()-gets, r.bytes()-bytes; n != 4 || b > 4*length {
					t.Errorf("%s: %d requests of %d bytes, want 4 of at most %d", what, n, b, 4*length)
				}
			}
			r.Close()
		}
	}
}

// TestReadManyAvoid: damaged shards are known, so the first call costs K shards as well.
func TestReadManyAvoid(t *testing.T) {
	t.Parallel()
	r := newRig(6)
	o, shards := pack(t, 4, 2, 1)
	must(t, put(t, r, o, shards))
	for _, j := range []int{1, 3} {
		r.faults[o.Member(j)].Set(fault.Rule{Op: fault.Get, Do: fault.Flip})
	}
	wants := whole(o)
	data, errs := r.ReadMany(t.Context(), o, wants, []int{1, 3})
	checkMany(t, "two avoided", wants, shards, data, errs)
	if n := r.gets(); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
	_, errs = r.ReadMany(t.Context(), o, wants, []int{1, 3, 5})
	for i, err := range errs {
		if avoided := i == 1 || i == 3; avoided != errors.As(err, new(*LostError)) || !avoided && err != nil {
			t.Errorf("three avoided: shard %d: %v", i, err)
		}
	}
}

// TestReadManyApart: ranges that lie apart are treated one by one, so that nothing between them is read.
func TestReadManyApart(t *testing.T) {
	t.Parallel()
	r := newRig(6)
	o, shards := pack(t, 4, 2, 0)
	must(t, put(t, r, o, shards))
	r.down(0, 1)
	must(t, r.Put(t.Context(), "a", nil)) // now that is known
	wants := []Range{{Shard: 0, Off: 0, N: 100}, {Shard: 1, Off: 900, N: 100}, {Shard: 0, Off: 100, N: 20}, {Shard: 2, Off: 905, N: 90}, {Shard: 0, Off: 100, N: 20}, {Shard: 3}}
	gets, read := r.gets(), r.bytes()
	data, errs := r.ReadMany(t.Context(), o, wants, nil)
	checkMany(t, "apart", wants, shards, data, errs)
	if n, b := r.gets()-gets, r.bytes()-read; n != 8 || b != 4*120+4*100 {
		t.Errorf("%d requests of %d bytes, want 8 of 880", n, b)
	}
}

func TestReadManyInvalid(t *testing.T) {
	t.Parallel()
	r := newRig(6)
	o, shards := pack(t, 4, 2, 0)
	must(t, put(t, r, o, shards))
	wants := []Range{{Shard: 0, N: 10}, {Shard: 6, N: 10}, {Shard: -1, N: 10}, {Shard: 1, Off: -1, N: 10}, {Shard: 1, Off: 1, N: length}, {Shard: 2, N: 5}}
	data, errs := r.ReadMany(t.Context(), o, wants, nil)
	checkMany(t, "the valid ones", []Range{wants[0], wants[5]}, shards, [][]byte{data[0], data[5]}, []error{errs[0], errs[5]})
	for i, want := range []error{fs.ErrInvalid, fs.ErrInvalid, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF} {
		if !errors.Is(errs[i+1], want) {
			t.Errorf("want %d: %v", i+1, errs[i+1])
		}
	}
	o.K = 5
	if _, errs := r.ReadMany(t.Context(), o, wants, nil); len(errs) != len(wants) || !errors.Is(errs[0], fs.ErrInvalid) {
		t.Errorf("invalid object: %v", errs)
	}
	if data, errs := r.ReadMany(t.Context(), o, nil, nil); len(data)+len(errs) != 0 {
		t.Errorf("nothing wanted: %v", errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.K = 4
	for _, err := range second(r.ReadMany(ctx, o, whole(o), nil)) {
		if err != context.Canceled {
			t.Errorf("canceled: %v", err)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// TestReadManySlow: members that hang or are slow hold up a call no longer than a late read.
func TestReadManySlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 4, 2, 0)
		must(t, put(t, r, o, shards))
		r.latency(10*time.Millisecond, 0)
		wants := whole(o)
		many := func(limit time.Duration) {
			t.Helper()
			begin := time.Now()
			data, errs := r.ReadMany(t.Context(), o, wants, nil)
			checkMany(t, "slow", wants, shards, data, errs)
			if d := time.Since(begin); d > limit {
				t.Errorf("it took %v, want at most %v", d, limit)
			}
		}
		for range 20 {
			many(20 * time.Millisecond)
		}
		r.faults[2].Set(fault.Rule{Do: fault.Hang})
		many(300 * time.Millisecond)
		r.faults[0].Set(fault.Rule{Do: fault.Slow, Delay: 30 * time.Second})
		for range 10 {
			many(11 * time.Second)
		}
		if m := r.Members(); !m[2].Slow || !m[0].Slow {
			t.Errorf("members %+v", m)
		}
		gets := r.gets()
		begin := time.Now()
		for range 10 {
			many(500 * time.Millisecond)
		}
		if d := time.Since(begin); d > time.Second || r.gets()-gets > 48 {
			t.Errorf("ten calls with two known to be slow: %v, %d requests", d, r.gets()-gets)
		}
	})
}

// TestRandomFaults: whatever goes wrong with at most m members, bytes are right; with more, that is said.
func TestRandomFaults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		kinds := [][]fault.Rule{
			{{Err: errDown}}, {{Err: errDown, Delay: time.Second}}, {{Do: fault.Hang}}, {{Op: fault.Get, Do: fault.Truncate}},
			{{Op: fault.Get, Err: fs.ErrPermission}}, {{Do: fault.Slow, Delay: 3 * time.Second, Jitter: 3 * time.Second}},
			{{Op: fault.Get, Err: errDown, Skip: 1, Hits: 1}}, {{Op: fault.Get, Do: fault.Slow, Rate: 200}},
		}
		for round := range 300 {
			k, m := 1+rng.IntN(10), rng.IntN(5)
			r := newRigOf(k+m, Options{HedgeBurst: 1 + rng.IntN(5)})
			o, shards := pack(t, k, m, rng.IntN(100))
			must(t, put(t, r, o, shards))
			bad := rng.Perm(k + m)[:rng.IntN(m+1)]
			for _, i := range bad {
				r.faults[i].Set(kinds[rng.IntN(len(kinds))]...)
			}
			for range 4 {
				var wants []Range
				for range 1 + rng.IntN(8) {
					w := Range{Shard: rng.IntN(k + m), Off: rng.Int64N(length)}
					w.N = rng.Int64N(length - w.Off + 1)
					if rng.IntN(2) == 0 {
						w.Dst = make([]byte, rng.IntN(length))
					}
					wants = append(wants, w)
				}
				data, errs := r.ReadMany(t.Context(), o, wants, nil)
				checkMany(t, fmt.Sprintf("round %d: %d+%d without %v", round, k, m, bad), wants, shards, data, errs)
				data[0], errs[0] = r.Read(t.Context(), o, wants[0].Shard, wants[0].Off, wants[0].N, nil, nil)
				wants[0].Dst = nil
				checkMany(t, fmt.Sprintf("round %d: Read", round), wants[:1], shards, data[:1], errs[:1])
			}
			must(t, r.Close())
			if t.Failed() {
				return
			}
		}
	})
}

func TestClusters(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wants []Range
		want  [][]int
	}{
		"one":                {[]Range{{Off: 5, N: 5}}, [][]int{{0}}},
		"the same":           {[]Range{{Off: 5, N: 5}, {Off: 5, N: 5}}, [][]int{{0, 1}}},
		"neighbours":         {[]Range{{Off: 50, N: 50}, {Off: 0, N: 50}}, [][]int{{1, 0}}},
		"a fifth between":    {[]Range{{Off: 0, N: 40}, {Off: 60, N: 40}}, [][]int{{0, 1}}},
		"more between":       {[]Range{{Off: 0, N: 40}, {Off: 61, N: 40}}, [][]int{{0}, {1}}},
		"inside":             {[]Range{{Off: 0, N: 100}, {Off: 60, N: 10}, {Off: 90, N: 30}}, [][]int{{0, 1, 2}}},
		"two times two":      {[]Range{{Off: 0, N: 10}, {Off: 100, N: 10}, {Off: 5, N: 10}, {Off: 105, N: 10}}, [][]int{{0, 2}, {1, 3}}},
		"short after a long": {[]Range{{Off: 0, N: 1000}, {Off: 1100, N: 1}}, [][]int{{0, 1}}},
	} {
		var all []int
		for i := range test.wants {
			all = append(all, i)
		}
		var got [][]int
		for _, c := range clusters(test.wants, all) {
			got = append(got, c.wants)
			for _, i := range c.wants {
				if w := test.wants[i]; w.Off < c.lo || w.Off+w.N > c.hi {
					t.Errorf("%s: want %d is not in [%d, %d)", name, i, c.lo, c.hi)
				}
			}
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestGap compares gap with a byte map.
func TestGap(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		var src source
		var have [30]bool
		for range rng.IntN(5) {
			f := &fetch{off: rng.Int64N(30), state: state(rng.IntN(4))}
			f.n = rng.Int64N(30 - f.off + 1)
			src.fetches = append(src.fetches, f)
			if f.state != failed {
				for i := f.off; i < f.end(); i++ {
					have[i] = true
				}
			}
		}
		lo := rng.Int64N(29)
		hi := lo + 1 + rng.Int64N(30-lo)
		first, last := slices.Index(have[lo:hi], false), int64(-1)
		for i := lo; i < hi; i++ {
			if !have[i] {
				last = i
			}
		}
		from, to := src.gap(lo, hi, isNotFailed)
		if first < 0 && from != to || first >= 0 && (from != lo+int64(first) || to != last+1) {
			t.Fatalf("gap of [%d, %d) in %v: [%d, %d)", lo, hi, have, from, to)
		}
	}
}
