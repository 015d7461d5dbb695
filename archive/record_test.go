package archive

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
	"cairn/pack"
)

func someRecord() *Record {
	return &Record{
		Packs: []pack.ID{pack.ID(chunk.Sum([]byte("p"))), pack.ID(chunk.Sum([]byte("q")))}, Snapshots: []chunk.ID{chunk.Sum([]byte("s"))},
		Folded: []chunk.ID{chunk.Sum([]byte("f"))}, Time: time.Unix(1_800_000_000, 5), Program: "cairn test",
	}
}

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	r := someRecord()
	body, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(r.Packs, func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) })
	got, err := decodeRecord(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
	for n := range body {
		if _, err := decodeRecord(body[:n]); err == nil {
			t.Errorf("a record cut to %d of %d bytes is read", n, len(body))
		}
	}
	if empty, err := (&Record{Time: time.Unix(0, 0)}).encode(); err != nil {
		t.Error(err)
	} else if got, err := decodeRecord(empty); err != nil || len(got.Packs) > 0 {
		t.Errorf("empty record: %+v %v", got, err)
	}
}

func FuzzRecord(f *testing.F) {
	body, err := someRecord().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeRecord(body)
		if err != nil {
			return
		}
		if again, err := r.encode(); err != nil || !bytes.Equal(again, body) {
			t.Errorf("read, but encodes to %x (%v)", again, err)
		}
	})
}
