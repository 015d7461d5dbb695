package stripe

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
	"time"

	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/retry"
)

// TestOverRetry: the members as an archive builds them. What retry gives up on benches the member; a bad sector does not.
func TestOverRetry(t *testing.T) {
	t.Parallel()
	r := newRig(3)
	members := make([]remote.Store, 3)
	for i, f := range r.faults {
		members[i] = retry.New(f, retry.Options{Base: time.Millisecond})
	}
	s := New(members, nil, Options{Reconstruct: reconstruct})
	o, shards := pack(t, 2, 1, 0)
	if res, err := s.PutShards(t.Context(), o, shards); err != nil || !res.Full() {
		t.Fatalf("%+v, %v", res, err)
	}
	read := func() {
		t.Helper()
		got, err := s.Read(t.Context(), o, 0, 0, 100, nil, nil)
		if err != nil || !bytes.Equal(got, shards[0][base:base+100]) {
			t.Errorf("Read: %v", err)
		}
	}
	gets := func() int { return r.faults[0].Count(fault.Get) }
	r.faults[0].Set(fault.Rule{Err: errors.New("flaky"), Hits: 2})
	if read(); gets() != 3 {
		t.Errorf("flaky member: %d requests, want 3", gets())
	}
	r.faults[0].Set(fault.Rule{Err: remote.Permanent(syscall.EIO)})
	read()
	if read(); gets() != 5 {
		t.Errorf("bad sector, twice: %d requests, want 3+2", gets())
	}
	r.faults[0].Set(fault.Rule{Err: errors.New("flaky")})
	read()
	if read(); gets() != 5+retry.DefaultAttempts {
		t.Errorf("dead member, twice: %d requests, want 5+%d", gets(), retry.DefaultAttempts)
	}
}
