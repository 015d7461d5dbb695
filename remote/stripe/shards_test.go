package stripe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/reedsolomon"

	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/mem"
)

const (
	base   = 64
	length = 1000
)

// pack makes the n shards of an object: base bytes of header, the coded column, a trailer.
func pack(t testing.TB, k, m, rotation int) (Object, [][]byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(k), uint64(m)))
	cols := make([][]byte, k+m)
	for j := range cols {
		cols[j] = make([]byte, length)
		for i := range cols[j] {
			cols[j][i] = byte(r.Uint32())
		}
	}
	if m > 0 {
		enc, err := reedsolomon.New(k, m)
		if err == nil {
			err = enc.Encode(cols)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	shards := make([][]byte, k+m)
	for j, col := range cols {
		shards[j] = slices.Concat(bytes.Repeat([]byte{byte(j)}, base), col, []byte("trailer"))
	}
	return Object{Name: fmt.Sprintf("binaries/%d-%d", k, m), K: k, M: m, Rotation: rotation, Base: base, Length: length}, shards
}

func TestPutShards(t *testing.T) {
	t.Parallel()
	for _, rotation := range []int{0, 1, 5, 1<<32 - 1} {
		r := newRig(6)
		o, shards := pack(t, 4, 2, rotation)
		res, err := r.PutShards(t.Context(), o, shards)
		if err != nil || !res.Full() {
			t.Fatalf("PutShards: %+v, %v", res, err)
		}
		for j, shard := range shards {
			got, err := r.mems[(j+rotation)%6].Get(t.Context(), o.Name, 0, -1, nil)
			if err != nil || !bytes.Equal(got, shard) {
				t.Errorf("rotation %d: shard %d is not where it belongs: %v", rotation, j, err)
			}
			got, err = r.GetShard(t.Context(), o, j, -int64(len("trailer")), 0, nil)
			if err != nil || string(got) != "trailer" {
				t.Errorf("GetShard(%d): %q, %v", j, got, err)
			}
		}
	}
}

func TestPutShardsDegraded(t *testing.T) {
	t.Parallel()
	o, shards := pack(t, 4, 2, 1)
	r := newRig(6)
	r.down(0, 3)
	res, err := r.PutShards(t.Context(), o, shards)
	if err != nil || res.Count() != 4 || res.Acked[0] || res.Acked[3] {
		t.Errorf("two of 4+2 down: %+v, %v", res, err)
	}
	if d := r.Degraded(); !slices.Equal(d, []string{"disk0", "disk3"}) {
		t.Errorf("Degraded: %q", d)
	}
	r.down(5)
	_, err = r.PutShards(t.Context(), o, shards)
	var few *TooFewError
	if !errors.As(err, &few) || few.Need != 4 || few.Have != 3 || !slices.Equal(few.Missing, []string{"disk0", "disk3", "disk5"}) {
		t.Errorf("three of 4+2 down: %v", err)
	}
	r.faults[0].Set() // benched members are asked when they are needed
	if res, err := r.PutShards(t.Context(), o, shards); err != nil || !res.Acked[0] {
		t.Errorf("a benched member that is back: %+v, %v", res, err)
	}
}

func TestInvalidObjects(t *testing.T) {
	t.Parallel()
	o, shards := pack(t, 4, 2, 0)
	r := newRig(6)
	for name, change := range map[string]func(*Object){
		"k = 0":           func(o *Object) { o.K = 0 },
		"m < 0":           func(o *Object) { o.K, o.M = 7, -1 },
		"n ≠ members":     func(o *Object) { o.K = 5 },
		"rotation < 0":    func(o *Object) { o.Rotation = -1 },
		"base < 0":        func(o *Object) { o.Base = -1 },
		"length < 0":      func(o *Object) { o.Length = -1 },
		"beyond int64":    func(o *Object) { o.Base = math.MaxInt64 - 5 },
		"name leads up":   func(o *Object) { o.Name = "../x" },
		"name is missing": func(o *Object) { o.Name = "" },
	} {
		bad := o
		change(&bad)
		_, perr := r.PutShards(t.Context(), bad, shards)
		_, gerr := r.GetShard(t.Context(), bad, 0, 0, -1, nil)
		_, rerr := r.Read(t.Context(), bad, 0, 0, 1, nil, nil)
		for _, err := range []error{perr, gerr, rerr} {
			if !errors.Is(err, fs.ErrInvalid) || !remote.IsPermanent(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := r.PutShards(t.Context(), o, shards[:5]); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("5 shards: %v", err)
	}
	for _, shard := range []int{-1, 6} {
		if _, err := r.Read(t.Context(), o, shard, 0, 1, nil, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("shard %d: %v", shard, err)
		}
	}
	must(t, errors.Join(put(t, r, o, shards)))
	for _, rg := range [][2]int64{{-1, 1}, {0, -1}, {0, length + 1}, {length, 1}, {length + 1, 0}, {1 << 62, 1 << 62}} {
		if _, err := r.Read(t.Context(), o, 0, rg[0], rg[1], nil, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("range %v: %v", rg, err)
		}
	}
}

func put(t *testing.T, r *rig, o Object, shards [][]byte) error {
	res, err := r.PutShards(t.Context(), o, shards)
	if err == nil && !res.Full() {
		err = errors.Join(res.Errs...)
	}
	return err
}

// TestRead reads ranges of all shards with all sets of up to m members in trouble of each kind.
func TestRead(t *testing.T) {
	t.Parallel()
	for _, g := range [][2]int{{1, 0}, {1, 1}, {1, 2}, {2, 1}, {3, 3}, {4, 2}} {
		k, m := g[0], g[1]
		o, shards := pack(t, k, m, 3)
		for broken := range 1 << (k + m) {
			var members []int
			for i := range k + m {
				if broken>>i&1 == 1 {
					members = append(members, i)
				}
			}
			if len(members) > m {
				continue
			}
			for kind, breakIt := range troubles {
				r := newRig(k + m)
				must(t, put(t, r, o, shards))
				for _, i := range members {
					breakIt(t, r, o, i)
				}
				readAll(t, r, o, shards, fmt.Sprintf("%d+%d, members %v %s", k, m, members, kind))
			}
		}
	}
}

var troubles = map[string]func(t *testing.T, r *rig, o Object, member int){
	"down":    func(_ *testing.T, r *rig, _ Object, i int) { r.down(i) },
	"missing": func(_ *testing.T, r *rig, _ Object, i int) { r.members[i].store, r.members[i].missed = nil, errDown },
	"without": func(t *testing.T, r *rig, o Object, i int) { must(t, r.mems[i].Delete(t.Context(), o.Name)) },
	"short": func(t *testing.T, r *rig, o Object, i int) {
		must(t, r.mems[i].Put(t.Context(), o.Name, []byte("short")))
	},
	"bad": func(_ *testing.T, r *rig, _ Object, i int) {
		r.faults[i].Set(fault.Rule{Op: fault.Get, Err: syscall.EIO})
	},
}

func readAll(t *testing.T, r *rig, o Object, shards [][]byte, what string) {
	t.Helper()
	for j, shard := range shards {
		for _, rg := range [][2]int64{{0, length}, {0, 1}, {length - 1, 1}, {123, 456}, {5, 0}} {
			dst := make([]byte, 0, rg[1])
			got, err := r.Read(t.Context(), o, j, rg[0], rg[1], dst, nil)
			if want := shard[base+rg[0] : base+rg[0]+rg[1]]; err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: shard %d %v: %d bytes, %v", what, j, rg, len(got), err)
			} else if rg[1] > 0 && &got[0] != &dst[:1][0] {
				t.Errorf("%s: shard %d %v: not in dst", what, j, rg)
			}
		}
	}
}

// TestReadAvoid: what the caller found damaged is used neither directly nor for reconstruction.
func TestReadAvoid(t *testing.T) {
	t.Parallel()
	r := newRig(6)
	o, shards := pack(t, 4, 2, 1)
	must(t, put(t, r, o, shards))
	for _, j := range []int{2, 5} {
		r.faults[o.Member(j)].Set(fault.Rule{Op: fault.Get, Do: fault.Flip})
	}
	got, err := r.Read(t.Context(), o, 2, 10, 100, nil, []int{2, 5})
	if err != nil || !bytes.Equal(got, shards[2][base+10:base+110]) {
		t.Errorf("Read that avoids two: %v", err)
	}
	_, err = r.Read(t.Context(), o, 2, 10, 100, nil, []int{2, 5, 0})
	var lost *LostError
	if !errors.As(err, &lost) || lost.Need != 4 || errors.Is(err, remote.ErrNotExist) || errors.Is(err, ErrTooFew) || !remote.IsPermanent(err) {
		t.Errorf("Read that avoids three of 4+2: %v", err)
	}
}

// TestReadFails: unreachable members, lost shards and deleted objects are told apart.
func TestReadFails(t *testing.T) {
	t.Parallel()
	o, shards := pack(t, 4, 2, 1)
	read := func(trouble string, members ...int) error {
		r := newRig(6)
		must(t, put(t, r, o, shards))
		for _, i := range members {
			troubles[trouble](t, r, o, i)
		}
		_, err := r.Read(t.Context(), o, 0, 0, 10, nil, nil) // shard 0 is on member 1
		return err
	}
	err := read("down", 1, 2, 3)
	var few *TooFewError
	if !errors.As(err, &few) || few.Need != 4 || few.Have != 3 || !slices.Equal(few.Missing, []string{"disk1", "disk2", "disk3"}) {
		t.Errorf("three down: %v", err)
	}
	var lost *LostError
	if err = read("without", 1, 2, 3); !errors.As(err, &lost) || lost.Have != 3 || errors.Is(err, remote.ErrNotExist) || errors.Is(err, ErrTooFew) {
		t.Errorf("three lost: %v", err)
	}
	if err = read("short", 0, 1, 2, 3, 4, 5); !errors.As(err, &lost) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("all short: %v", err)
	}
	if err = read("without", 0, 1, 2, 3, 4, 5); !errors.As(err, &lost) || !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("deleted everywhere: %v", err)
	}
	if !strings.Contains(err.Error(), o.Name) {
		t.Errorf("error does not name the object: %v", err)
	}
}

// TestReadSingle is the default archive: one member, nothing to reconstruct from.
func TestReadSingle(t *testing.T) {
	t.Parallel()
	o, shards := pack(t, 1, 0, 7)
	r := newRig(1)
	must(t, put(t, r, o, shards))
	r.faults[0].Set(fault.Rule{Hits: 1, Err: errDown})
	if _, err := r.Read(t.Context(), o, 0, 0, 10, nil, nil); !errors.Is(err, ErrTooFew) {
		t.Errorf("unreachable: %v", err)
	}
	if b, err := r.Read(t.Context(), o, 0, 0, 10, nil, nil); err != nil || len(b) != 10 {
		t.Errorf("benched, but the only one: %v", err)
	}
	if _, err := r.Read(t.Context(), o, 0, 0, 10, nil, []int{0}); !errors.As(err, new(*LostError)) {
		t.Errorf("damaged: %v", err)
	}
	must(t, r.mems[0].Delete(t.Context(), o.Name))
	if _, err := r.Read(t.Context(), o, 0, 0, 10, nil, nil); !errors.Is(err, remote.ErrNotExist) {
		t.Errorf("deleted: %v", err)
	}
}

// TestReadAsksNoMore: a healthy read is one request, a degraded one k more.
func TestReadAsksNoMore(t *testing.T) {
	t.Parallel()
	r := newRig(6)
	o, shards := pack(t, 4, 2, 0)
	must(t, put(t, r, o, shards))
	gets := func() (n int) {
		for _, f := range r.faults {
			n += f.Count(fault.Get)
		}
		return n
	}
	read := func() int {
		before := gets()
		if _, err := r.Read(t.Context(), o, 1, 0, 10, nil, nil); err != nil {
			t.Error(err)
		}
		return gets() - before
	}
	if n := read(); n != 1 {
		t.Errorf("healthy: %d requests", n)
	}
	r.down(1)
	if n := read(); n != 5 {
		t.Errorf("member found dead: %d requests, want 1+4", n)
	}
	if n := read(); n != 4 {
		t.Errorf("member known to be dead: %d requests, want 4", n)
	}
}

func TestReadWithoutReconstruct(t *testing.T) {
	t.Parallel()
	o, shards := pack(t, 1, 1, 0)
	s := New([]remote.Store{mem.New(), mem.New()}, nil, Options{})
	if _, err := s.PutShards(t.Context(), o, shards); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), o, 0, 0, 5, nil, nil); err != nil {
		t.Errorf("direct: %v", err)
	}
	if _, err := s.Read(t.Context(), o, 0, 0, 5, nil, []int{0}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("reconstructed: %v", err)
	}
}
