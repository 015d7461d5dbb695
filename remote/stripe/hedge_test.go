package stripe

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"cairn/remote/fault"
)

// latency gives all members a latency, and those named another one.
func (r *rig) latency(all time.Duration, other time.Duration, members ...int) {
	for _, f := range r.faults {
		f.Set(fault.Rule{Op: fault.Read, Do: fault.Slow, Delay: all, Jitter: all / 4})
	}
	for _, i := range members {
		r.faults[i].Set(fault.Rule{Op: fault.Read, Do: fault.Slow, Delay: other})
	}
}

// reads reads n ranges of the four data shards in turn with several workers, and returns how long that took.
func (r *rig) reads(t *testing.T, o Object, shards [][]byte, n, workers int) time.Duration {
	t.Helper()
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				off := int64(i * 31 % 900)
				got, err := r.Read(t.Context(), o, i%4, off, 100, nil, nil)
				if err != nil || !bytes.Equal(got, shards[i%4][base+off:base+off+100]) {
					t.Errorf("Read %d: %d bytes, %v", i, len(got), err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

// TestSlowMember: a member that becomes slow, or is so from the beginning, holds up a handful of reads; then it is left alone but for
// trials, until it has recovered.
func TestSlowMember(t *testing.T) {
	for name, warm := range map[string]int{"later": 200, "from the beginning": 0} {
		for _, workers := range []int{1, 12} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(6)
					defer r.Close()
					o, shards := pack(t, 4, 2, 0)
					must(t, put(t, r, o, shards))
					r.latency(10*time.Millisecond, 0)
					r.reads(t, o, shards, warm, workers)
					slow := r.faults[1]
					r.latency(10*time.Millisecond, 2*time.Second, 1)
					before := slow.Count(fault.Get)
					took := r.reads(t, o, shards, 2000, workers)
					// 2000 reads of about 11 ms would take 22 s one after the other, and with the slow member 1000 s.
					if limit := 22*time.Second/time.Duration(workers) + 15*time.Second; took > limit {
						t.Errorf("%d workers: 2000 reads took %v, want at most %v", workers, took, limit)
					}
					if n := slow.Count(fault.Get) - before; n < 4 || n > 40 {
						t.Errorf("%d workers: the slow member was asked %d times, want a handful", workers, n)
					}
					if m := r.Members(); !m[1].Slow || m[0].Slow || m[1].Benched {
						t.Errorf("%d workers: members %+v", workers, m)
					}
					r.latency(10*time.Millisecond, 0)
					r.reads(t, o, shards, 4000, 1) // 44 s: there is a trial in between
					before = slow.Count(fault.Get)
					gets := r.gets()
					r.reads(t, o, shards, 100, workers)
					if n := slow.Count(fault.Get) - before; n != 25 || r.gets()-gets != 100 || r.Members()[1].Slow {
						t.Errorf("%d workers: after it recovered: %d of 25 requests, %d in all", workers, n, r.gets()-gets)
					}
				})
			})
		}
	}
}

// TestHangingMember: reads of a member that hangs without an error are answered all the same.
func TestHangingMember(t *testing.T) {
	for _, workers := range []int{1, 8, 40} {
		bubbles := func(t *testing.T) {
			r := newRig(6)
			defer r.Close()
			o, shards := pack(t, 4, 2, 0)
			must(t, put(t, r, o, shards))
			r.reads(t, o, shards, 100, workers)
			r.faults[1].Set(fault.Rule{Do: fault.Hang})
			r.faults[5].Set(fault.Rule{Do: fault.Hang})
			if took := r.reads(t, o, shards, 400, workers); took > 15*time.Second {
				t.Errorf("%d workers: 400 reads took %v", workers, took)
			}
		}
		t.Run("", func(t *testing.T) { bubble(t, bubbles) })
	}
}

// TestHangWithoutBudget: a read that hangs is raced after 4 s although no race was earned, and the next ones go round the member. When all
// members are as slow, none is raced before 10 s.
func TestHangWithoutBudget(t *testing.T) {
	for _, all := range []bool{false, true} {
		f := func(t *testing.T) {
			r := newRig(6)
			defer r.Close()
			o, shards := pack(t, 4, 2, 0)
			must(t, put(t, r, o, shards))
			r.latency(100*time.Millisecond, 0)
			r.reads(t, o, shards, 200, 1)
			r.budget.tokens.Store(0)
			if all {
				r.latency(7*time.Second, 0)
			} else {
				r.faults[1].Set(fault.Rule{Do: fault.Hang})
			}
			before := r.gets()
			took := r.reads(t, o, shards, 4, 4)
			switch n := r.gets() - before; {
			case all && n != 4:
				t.Errorf("all are slow: %d requests for 4 reads", n)
			case !all && (took < 3*time.Second || took > 5*time.Second):
				t.Errorf("4 reads, one of which hangs, took %v", took)
			}
			if all {
				return
			}
			if took := r.reads(t, o, shards, 40, 1); took > 8*time.Second {
				t.Errorf("40 more took %v", took)
			}
			if m := r.Members(); !m[1].Slow {
				t.Errorf("%+v", m[1])
			}
		}
		t.Run("", func(t *testing.T) { bubble(t, f) })
	}
}

// TestRacesAreFew: where all members are slow at times, as on a machine that is short of CPU, races add at most 5 % to
// the requests and bytes, but for two at the beginning.
func TestRacesAreFew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 4, 2, 0)
		must(t, put(t, r, o, shards))
		for i, f := range r.faults {
			// Every tenth takes a second, but never three in a row.
			var rules []fault.Rule
			for n := range 400 {
				rules = append(rules, fault.Rule{Op: fault.Get, Skip: n*10 + i, Hits: 1, Do: fault.Slow, Delay: time.Second})
			}
			f.Set(append(rules, fault.Rule{Op: fault.Get, Do: fault.Slow, Delay: 10 * time.Millisecond})...)
		}
		r.reads(t, o, shards, 4000, 8)
		if n := r.gets(); n < 4000 || n > 4000+200+8 {
			t.Errorf("%d requests for 4000 reads", n)
		}
		if n := r.bytes(); n > 4000*100*105/100+800 {
			t.Errorf("%d bytes for 400000", n)
		}
	})
}

// TestSlowTogether: when everything becomes slow there is nobody to race against, and the limits adapt.
func TestSlowTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 4, 2, 0)
		must(t, put(t, r, o, shards))
		r.latency(10*time.Millisecond, 0)
		r.reads(t, o, shards, 400, 4)
		r.latency(3*time.Second, 0)
		before := r.gets()
		r.reads(t, o, shards, 1000, 4)
		// 5 %, two races that need not be earned, and each of four members may be suspected twice until its limit has adapted.
		if n := r.gets() - before; n > 1000+50+2*4+4*2*4 {
			t.Errorf("%d requests for 1000 reads", n)
		}
		for _, m := range r.Members() {
			if m.Slow {
				t.Errorf("%s counts as slow", m.Label)
			}
		}
	})
}

// TestFastestOthers: a degraded read asks the K fastest, and when one of these is late, one more.
func TestFastestOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 3, 3, 0)
		must(t, put(t, r, o, shards))
		for i, f := range r.faults {
			f.Set(fault.Rule{Op: fault.Read, Do: fault.Slow, Delay: time.Duration(50*(i%3)+10) * time.Millisecond})
		}
		read := func(j int) {
			t.Helper()
			if got, err := r.Read(t.Context(), o, j, 5, 50, nil, nil); err != nil || !bytes.Equal(got, shards[j][base+5:base+55]) {
				t.Fatalf("Read: %v", err)
			}
		}
		for i := range 120 {
			read(i % 6)
		}
		r.down(0)
		read(0)
		counts := func() (n [6]int) {
			for i, f := range r.faults {
				n[i] = f.Count(fault.Get)
			}
			return n
		}
		before := counts()
		for range 10 {
			read(0)
		}
		after := counts()
		for i, want := range []int{0, 10, 0, 10, 10, 0} {
			if n := after[i] - before[i]; n != want {
				t.Errorf("member %d was asked %d times, want %d", i, n, want)
			}
		}
		r.faults[3].Set(fault.Rule{Op: fault.Read, Do: fault.Hang})
		begin := time.Now()
		read(0)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("with one of the K hanging: %v", d)
		}
	})
}

// TestRaceLeavesNothing: whatever wins, what is returned is right and is not written to afterwards.
func TestRaceLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRigOf(6, Options{Hedge: 20 * time.Millisecond, HedgeShare: 1, HedgeBurst: 100})
		defer r.Close()
		o, shards := pack(t, 4, 2, 2)
		must(t, put(t, r, o, shards))
		for i, f := range r.faults {
			f.Set(fault.Rule{Op: fault.Get, Do: fault.Slow, Delay: time.Duration(i) * time.Millisecond, Jitter: 200 * time.Millisecond})
		}
		rng := rand.New(rand.NewPCG(1, 2))
		dst := make([]byte, 500)
		for range 500 {
			j, off, n := rng.IntN(6), rng.Int64N(500), 1+rng.Int64N(500)
			got, err := r.Read(t.Context(), o, j, off, n, dst[:0], nil)
			want := shards[j][base+off : base+off+n]
			if err != nil || !bytes.Equal(got, want) || &got[0] != &dst[0] {
				t.Fatalf("shard %d [%d, %d): %v", j, off, off+n, err)
			}
			time.Sleep(time.Second)
			if !bytes.Equal(got, want) {
				t.Fatal("it changed afterwards")
			}
		}
	})
}
