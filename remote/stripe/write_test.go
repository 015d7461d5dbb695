package stripe

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/fault"
)

// TestStraggler: a member that hangs holds up one write for 10 s, or 8 times what the others took, and then none.
func TestStraggler(t *testing.T) {
	for name, test := range map[string]struct {
		others, want time.Duration
	}{
		"fast others": {0, 10 * time.Second},
		"slow others": {3 * time.Second, 27 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(6)
				defer r.Close()
				for _, f := range r.faults {
					f.Set(fault.Rule{Op: fault.Put, Do: fault.Slow, Delay: test.others})
				}
				r.faults[2].Set(fault.Rule{Do: fault.Hang})
				o, shards := pack(t, 4, 2, 0)
				begin := time.Now()
				res, err := r.PutShards(t.Context(), o, shards)
				if err != nil || res.Count() != 5 || res.Acked[2] || !errors.Is(res.Errs[2], remote.ErrUnavailable) || !strings.Contains(res.Errs[2].Error(), "disk2") {
					t.Errorf("PutShards: %+v, %v", res, err)
				}
				if d := time.Since(begin); d != test.want {
					t.Errorf("it took %v, want %v", d, test.want)
				}
				if d := r.Degraded(); !slices.Equal(d, []string{"disk2"}) || !r.Members()[2].Benched || len(r.events) != 1 {
					t.Errorf("degraded %q, events %v", d, r.events)
				}
				begin = time.Now()
				if res, err := r.PutAll(t.Context(), "a", nil); err != nil || res.Count() != 5 || time.Since(begin) != test.others {
					t.Errorf("the next write took %v: %+v, %v", time.Since(begin), res, err)
				}
			})
		})
	}
}

// TestNeverBeforeK: with fewer than K acknowledged nobody is given up, however long it takes; benched members are called in meanwhile.
func TestNeverBeforeK(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 4, 2, 0)
		r.down(0, 1)
		r.faults[2].Set(fault.Rule{Op: fault.Put, Do: fault.Slow, Delay: 10 * time.Minute})
		begin := time.Now()
		res, err := r.PutShards(t.Context(), o, shards)
		if err != nil || res.Count() != 4 || !res.Acked[2] || time.Since(begin) != 10*time.Minute {
			t.Errorf("after %v: %+v, %v", time.Since(begin), res, err)
		}
		r.faults[0].Set()
		r.faults[1].Set(fault.Rule{Op: fault.Put, Err: errDown}) // the probes find both back, but one fails again
		time.Sleep(2 * time.Minute)
		r.down(0)
		if res, err := r.PutAll(t.Context(), "a", nil); err != nil || res.Count() != 3 {
			t.Fatalf("PutAll: %+v, %v", res, err)
		}
		r.faults[0].Set() // it is back, and nobody knows
		r.faults[2].Set(fault.Rule{Op: fault.Put, Do: fault.Hang})
		begin = time.Now()
		res, err = r.PutShards(t.Context(), o, shards)
		if err != nil || res.Count() != 4 || !res.Acked[0] || res.Acked[2] {
			t.Errorf("%+v, %v", res, err)
		}
		if d := time.Since(begin); d > 25*time.Second {
			t.Errorf("it took %v, although the benched ones could help", d)
		}
	})
}

// TestCalledIn: benched members that are needed and are back all keep what they get, the slower ones too.
func TestCalledIn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(6)
		defer r.Close()
		o, shards := pack(t, 4, 2, 0)
		r.down(0, 1)
		must(t, r.Put(t.Context(), "a", nil))
		r.faults[0].Set()
		r.faults[1].Set(fault.Rule{Op: fault.Put, Do: fault.Slow, Delay: time.Second})
		r.faults[2].Set(fault.Rule{Op: fault.Put, Err: fs.ErrPermission})
		res, err := r.PutShards(t.Context(), o, shards)
		if err != nil || res.Count() != 5 || !res.Acked[1] {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// TestWritesEnd: with nobody acknowledging, the caller's context still ends a write.
func TestWritesEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(3)
		defer r.Close()
		for _, f := range r.faults {
			f.Set(fault.Rule{Do: fault.Hang})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := r.PutAll(ctx, "a", nil); err != context.DeadlineExceeded {
			t.Errorf("PutAll: %v", err)
		}
		for i, m := range r.Members() {
			if m.Benched || m.Err != nil {
				t.Errorf("member %d: %+v", i, m)
			}
		}
	})
}

// TestMirrorHangs: reads, listings and deletes go on without a member that hangs.
func TestMirrorHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRigWith(t, 3, 5)
		defer r.Close()
		hang := func() {
			time.Sleep(10 * time.Minute) // it is off the bench again
			r.faults[0].Set(fault.Rule{Op: fault.Any &^ fault.Stat, Do: fault.Hang}, fault.Rule{Op: fault.Stat, Name: "o/", Do: fault.Hang})
		}
		for name, test := range map[string]struct {
			limit time.Duration
			do    func() error
		}{
			"Get":  {2 * time.Second, func() error { _, err := r.Get(t.Context(), "o/1", 0, -1, nil); return err }},
			"Stat": {2 * time.Second, func() error { _, err := r.Stat(t.Context(), "o/1"); return err }},
			"GetVerified": {2 * time.Second, func() error {
				_, err := r.GetVerified(t.Context(), "o/1", func([]byte) error { return nil })
				return err
			}},
			"Delete": {10 * time.Second, func() error { return r.Delete(t.Context(), "o/2") }},
			"List": {10 * time.Second, func() error {
				n := 0
				errs, err := r.ListEach(t.Context(), "", func(int, remote.Info) error { n++; return nil })
				if n < 8 || errs[0] == nil || errs[1] != nil || errs[2] != nil {
					t.Errorf("ListEach: %d objects, %v", n, errs)
				}
				return err
			}},
			"Stat of what is missing": {12 * time.Second, func() error {
				if _, err := r.Stat(t.Context(), "o/none"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Stat: %v", err)
				}
				return nil
			}},
		} {
			hang()
			begin := time.Now()
			if err := test.do(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if d := time.Since(begin); d > test.limit {
				t.Errorf("%s took %v", name, d)
			}
		}
	})
}

// TestVerifiedCopies: when a copy is bad, those that lost the race against it are asked after all.
func TestVerifiedCopies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(3)
		defer r.Close()
		for i, content := range []string{"good", "bad", "bad"} {
			must(t, r.mems[i].Put(t.Context(), "a", []byte(content)))
		}
		r.faults[0].Set(fault.Rule{Do: fault.Slow, Delay: 4 * time.Second})
		b, err := r.GetVerified(t.Context(), "a", func(b []byte) error {
			if string(b) != "good" {
				return errors.New("bad hash")
			}
			return nil
		})
		if err != nil || string(b) != "good" {
			t.Errorf("%q, %v", b, err)
		}
	})
}
