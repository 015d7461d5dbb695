package stripe

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cairn/remote"
	"cairn/remote/fault"
)

// bubble runs a test with a clock of its own, at the end of which no goroutine may be left.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func (r *rig) gets() (n int) {
	for _, f := range r.faults {
		n += f.Count(fault.Get)
	}
	return n
}

func (r *rig) bytes() (n int64) {
	for _, f := range r.faults {
		n += f.Bytes(fault.Get)
	}
	return n
}

// TestProbe: a dead member is asked by one request and then by probes only, 5, 10, 20, 40, 60 … s apart; when it is back, it is used again
// without anybody having tried, and both are told once.
func TestProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 4, 2, 0)
		must(t, put(t, r, o, shards))
		r.down(1)
		dead := r.faults[1]
		before := dead.Count(fault.Any)
		for i := range 1000 { // 300 s
			if _, err := r.Read(t.Context(), o, i%4, 0, 10, nil, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
		}
		// 0 (the read), 5, 15, 35, 75, 135, 195, 255 s
		if n := dead.Count(fault.Any) - before; n != 8 || dead.Count(fault.Stat) != 7 {
			t.Errorf("1000 reads in 300 s sent the dead member %d requests, %d of them probes; want 8 and 7", n, dead.Count(fault.Stat))
		}
		if m := r.Members()[1]; !m.Benched || !errors.Is(m.Err, syscall.ECONNREFUSED) || m.Errors != 1 {
			t.Errorf("benched member: %+v", m)
		}
		dead.Set()
		time.Sleep(time.Minute)
		synctest.Wait()
		if m := r.Members()[1]; m.Benched || m.Err != nil {
			t.Errorf("a minute after it is back: %+v", m)
		}
		if res, err := r.PutShards(t.Context(), o, shards); err != nil || !res.Full() {
			t.Errorf("afterwards: %+v, %v", res, err)
		}
		if len(r.events) != 2 || !r.events[0].Benched || r.events[1].Benched || !errors.Is(r.events[0].Err, errDown) ||
			!strings.Contains(r.events[0].String(), "disk1") || !strings.Contains(r.events[1].String(), "disk1") {
			t.Errorf("events: %v", r.events)
		}
	})
}

// TestProbeHangs: a probe that hangs ends, and so does Close on any view while one runs.
func TestProbeHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(3)
		r.down(2)
		must(t, r.Put(t.Context(), "a", nil))
		r.faults[2].Set(fault.Rule{Do: fault.Hang})
		time.Sleep(30 * time.Second) // probes at 5 to 15 and 25 to 35
		if n := r.faults[2].Count(fault.Stat); n != 2 {
			t.Errorf("%d probes in 30 s, want 2", n)
		}
		view := r.Select([]int{2, 0})
		begin := time.Now()
		must(t, view.Close())
		must(t, r.Close())
		must(t, view.Close())
		if d := time.Since(begin); d != 0 {
			t.Errorf("Close took %v", d)
		}
		time.Sleep(time.Hour)
		if n := r.faults[2].Count(fault.Stat); n != 2 {
			t.Errorf("%d probes, want none after Close", n-2)
		}
		if res, err := r.PutAll(t.Context(), "a", nil); err != nil || res.Count() != 2 {
			t.Errorf("after Close: %+v, %v", res, err)
		}
		r.faults[2].Set()
		r.down(0, 1)
		if _, err := r.PutAll(t.Context(), "b", nil); err != nil || r.Members()[2].Benched {
			t.Errorf("the benched one is the only one left: %v", err)
		}
	})
}

// TestFlap: a server that answers probes and fails everything else is tried more and more rarely.
func TestFlap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(3)
		defer r.Close()
		r.faults[0].Set(fault.Rule{Op: fault.Put, Err: errDown})
		for range 600 {
			if res, err := r.PutAll(t.Context(), "a", nil); err != nil || res.Count() != 2 {
				t.Fatalf("%+v, %v", res, err)
			}
			time.Sleep(time.Second)
		}
		if n := r.faults[0].Count(fault.Put); n < 8 || n > 16 {
			t.Errorf("%d Puts in 10 minutes, want about 13", n)
		}
		for i, e := range r.events {
			if e.Benched != (i%2 == 0) {
				t.Fatalf("events out of order: %v", r.events)
			}
		}
	})
}

// TestOneFailureForAll: of many requests at once only those that had begun fail, and none waits for the member once one has found it dead.
func TestOneFailureForAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRigOf(6, Options{Hedge: -1})
		defer r.Close()
		o, shards := pack(t, 4, 2, 0)
		must(t, put(t, r, o, shards))
		// The first request fails after 3 s, as with retry; the others hang.
		r.faults[0].Set(fault.Rule{Hits: 1, Delay: 3 * time.Second, Err: errDown}, fault.Rule{Do: fault.Hang})
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				got, err := r.Read(t.Context(), o, 0, int64(i), 10, nil, nil)
				if err != nil || string(got) != string(shards[0][base+i:base+i+10]) {
					t.Errorf("Read: %v", err)
				}
			})
			wg.Go(func() {
				if res, err := r.PutShards(t.Context(), o, shards); err != nil || res.Count() != 5 || res.Acked[0] {
					t.Errorf("PutShards: %+v, %v", res, err)
				}
			})
			wg.Go(func() {
				if _, err := r.GetShard(t.Context(), o, 0, 0, 10, nil); !errors.Is(err, remote.ErrUnavailable) && !errors.Is(err, errDown) {
					t.Errorf("GetShard: %v", err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("it took %v, want 3s", d)
		}
		if len(r.events) != 1 {
			t.Errorf("events: %v", r.events)
		}
	})
}

// TestFlappingNeverChangesBytes: members that come and go while others read and write.
func TestFlappingNeverChangesBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 4, 2, 3)
		must(t, put(t, r, o, shards))
		stop := make(chan struct{})
		var wg, flapper sync.WaitGroup
		var good atomic.Int32
		flapper.Go(func() {
			rules := [][]fault.Rule{{{Err: errDown}}, {{Delay: 30 * time.Second, Err: syscall.ETIMEDOUT}}, {{Do: fault.Slow, Delay: 2 * time.Second}},
				{{Err: syscall.EIO, Delay: time.Second}}, nil}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(1300 * time.Millisecond):
				}
				for f := range r.faults {
					r.faults[f].Set()
				}
				r.faults[i%6].Set(rules[i%5]...)
				r.faults[(i*i+1)%6].Set(rules[(i+2)%5]...)
			}
		})
		for w := range 4 {
			wg.Go(func() {
				for i := range 200 {
					j, off := (i+w)%6, int64(i*37%900)
					got, err := r.Read(t.Context(), o, j, off, 100, nil, nil)
					if err != nil {
						// A member that fails while another is on the bench of its own is one too many; that must be said.
						if !errors.Is(err, ErrTooFew) && !errors.As(err, new(*LostError)) {
							t.Errorf("Read: %v", err)
						}
						continue
					}
					if good.Add(1); string(got) != string(shards[j][base+off:base+off+100]) {
						t.Errorf("shard %d at %d: other bytes", j, off)
					}
					time.Sleep(time.Duration(i%7) * 50 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		close(stop)
		flapper.Wait()
		if n := good.Load(); n < 700 {
			t.Errorf("%d of 800 reads succeeded", n)
		}
		t.Logf("%d of 800 reads succeeded", good.Load())
	})
}

// TestMemberCounts: what `member list` shows.
func TestMemberCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(3)
		defer r.Close()
		must(t, r.Put(t.Context(), "a", []byte("x")))
		for i, d := range []time.Duration{100 * time.Millisecond, 30 * time.Millisecond, 10 * time.Millisecond} {
			r.faults[i].Set(fault.Rule{Op: fault.Get | fault.Stat, Do: fault.Slow, Delay: d})
			for range 20 {
				if _, err := r.Select([]int{i}).Stat(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, m := range r.Members() {
			want := []float64{100, 30, 10}[i]
			ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
			if ms(m.P50) < want || ms(m.P50) > 1.42*want || m.P95 < m.P50 || m.Requests != 21 || m.Errors != 0 || m.Benched || m.Slow {
				t.Errorf("%s: %+v", fmt.Sprint(i), m)
			}
		}
		// The fastest is asked for what all have.
		before := r.faults[2].Count(fault.Get)
		if _, err := r.Get(t.Context(), "a", 0, -1, nil); err != nil || r.faults[2].Count(fault.Get) != before+1 {
			t.Errorf("the fastest was not asked: %v", err)
		}
	})
}

// TestNoGoroutineStays: in real time and with real stores that fail, none is left once Close has returned.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRigOf(6, Options{Bench: time.Millisecond, BenchMax: 4 * time.Millisecond, Hedge: time.Millisecond, Grace: 20 * time.Millisecond, HedgeShare: 1})
	o, shards := pack(t, 4, 2, 0)
	must(t, put(t, r, o, shards))
	r.down(0)
	r.faults[1].Set(fault.Rule{Do: fault.Hang})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 30 {
				if b, err := r.Read(t.Context(), o, i%6, 0, 100, nil, nil); err != nil || string(b) != string(shards[i%6][base:base+100]) {
					t.Errorf("Read: %v", err)
				}
			}
			if _, err := r.PutShards(t.Context(), o, shards); err != nil {
				t.Errorf("PutShards: %v", err)
			}
		})
	}
	wg.Wait()
	must(t, r.Close())
	for range 100 { // those of contexts that ended, and timers that fire once more
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}
