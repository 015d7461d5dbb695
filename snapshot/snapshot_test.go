package snapshot

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/chunk"

	"github.com/google/go-cmp/cmp"
)

func fullSnapshot() *Snapshot {
	return &Snapshot{
		Content: []chunk.ID{{1}, {2}}, Depth: 1,
		Start: Time{1_790_000_000, 5}, End: Time{-5, 999_999_999}, ZoneOffset: -3600,
		Series: "web1:/srv/daten ä", Host: "web1", User: "root", Source: "sophora", Role: "primary", Component: "staging ä",
		Paths: []string{"/srv/\xff", "/etc"}, Tags: []string{"b", "a"},
		Previous: chunk.ID{3}, Original: chunk.ID{4},
		Stats: map[string]uint64{
			StatFilesNew: 1, StatErrors: 1 << 40, StatOther: 0, "a": 2, "b": 3, "": 4, strings.Repeat("x", 300): 5,
		},
		Errors: []ReadError{{"/srv/\xfe", "open: permission denied"}, {"", ""}}, Partial: true, Pinned: true,
		Program: "cairn 1.0", Excludes: []string{"*.o", ""}, Expires: Time{1, 0}, Degraded: [][32]byte{{}, {9}},
		Description: "before the upgrade", Checkpoint: true, Origin: Origin{[16]byte{5}, chunk.ID{6}},
	}
}

func encoded(t testing.TB, s *Snapshot) []byte {
	t.Helper()
	plain, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	for _, s := range []*Snapshot{
		fullSnapshot(), {}, {Start: Time{1, 0}}, {ZoneOffset: maxZone}, {Content: []chunk.ID{{1}}}, {Checkpoint: true}, {Origin: Origin{[16]byte{1}, chunk.ID{2}}},
		{Stats: map[string]uint64{StatFilesTotal: 3}},
	} {
		got, err := DecodeSnapshot(encoded(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, got); d != "" {
			t.Error(d)
		}
	}
	s := fullSnapshot()
	s.ID, s.Signer, s.Incomplete = chunk.ID{1}, [32]byte{1}, true
	if !bytes.Equal(encoded(t, s), encoded(t, fullSnapshot())) {
		t.Error("what is known from outside is in the encoding")
	}
}

func TestSnapshotAgainstLibrary(t *testing.T) {
	t.Parallel()
	s := fullSnapshot()
	id := func(b byte) []byte { return append([]byte{b}, make([]byte, 31)...) }
	want := library(t, map[uint64]any{
		1: append(id(1), id(2)...), 2: 1, 3: []any{s.Start.Sec, s.Start.Nsec}, 4: []any{s.End.Sec, s.End.Nsec}, 5: -3600,
		6: s.Series, 7: s.Host, 8: s.User, 9: s.Source, 10: s.Role, 11: [][]byte{[]byte("/srv/\xff"), []byte("/etc")}, 12: s.Tags,
		13: id(3), 14: id(4), 15: s.Stats, 16: []any{[]any{[]byte("/srv/\xfe"), "open: permission denied"}, []any{[]byte{}, ""}},
		17: true, 18: s.Program, 19: s.Excludes, 20: []any{1, 0}, 21: [][]byte{make([]byte, 32), id(9)}, 22: s.Description, 23: true, 24: true, 25: append(append([]byte{5}, make([]byte, 15)...), id(6)...), 26: s.Component,
	})
	if got := encoded(t, s); !bytes.Equal(got, want) {
		t.Errorf("differs from the library's encoding:\n%x\n%x", got, want)
	}
}

func TestSnapshotTruncatedAndFlipped(t *testing.T) {
	t.Parallel()
	plain := encoded(t, fullSnapshot())
	for i := range plain {
		var bad *FormatError
		if _, err := DecodeSnapshot(plain[:i]); !errors.As(err, &bad) {
			t.Fatalf("first %d bytes: %v", i, err)
		}
		for bit := range 8 {
			b := bytes.Clone(plain)
			b[i] ^= 1 << bit
			if s, err := DecodeSnapshot(b); err == nil && !bytes.Equal(encoded(t, s), b) {
				t.Fatalf("byte %d bit %d: not canonical and accepted", i, bit)
			}
		}
	}
	if _, err := DecodeSnapshot(append(plain, 0)); err == nil {
		t.Error("a trailing byte was accepted")
	}
}

func TestSnapshotRefusals(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]map[any]any{
		"unknown key":      {27: 1},
		"key 0":            {0: 1},
		"text key":         {"1": 1},
		"content of 33":    {1: make([]byte, 33)},
		"depth alone":      {2: 1},
		"depth 5":          {1: make([]byte, 32), 2: 5},
		"zero start":       {3: []int{0, 0}},
		"zone 0":           {5: 0},
		"zone of a week":   {5: 7 * 24 * 3600},
		"empty series":     {6: ""},
		"empty component":  {26: ""},
		"series is bytes":  {6: []byte("x")},
		"paths are texts":  {11: []string{"/"}},
		"no paths":         {11: []string{}},
		"short previous":   {13: make([]byte, 31)},
		"zero previous":    {13: make([]byte, 32)},
		"no statistics":    {15: map[string]int{}},
		"statistic is -1":  {15: map[string]int{"a": -1}},
		"error of three":   {16: []any{[]any{[]byte("a"), "b", "c"}}},
		"partial is false": {17: false},
		"partial is 1":     {17: 1},
		"checkpoint is 1":  {24: 1},
		"short origin":     {25: make([]byte, 47)},
		"zero origin":      {25: make([]byte, 48)},
		"half an origin":   {25: append(make([]byte, 47), 1)},
		"short pack id":    {21: [][]byte{make([]byte, 31)}},
	} {
		if s, err := DecodeSnapshot(library(t, m)); err == nil {
			t.Errorf("%s was accepted: %+v", name, s)
		}
	}
	for name, plain := range map[string][]byte{
		"statistics out of order": {0xa1, 15, 0xa2, 0x61, 'b', 1, 0x61, 'a', 1},
		"statistics by letters":   {0xa1, 15, 0xa2, 0x62, 'a', 'a', 1, 0x61, 'b', 1},
		"statistic twice":         {0xa1, 15, 0xa2, 0x61, 'a', 1, 0x61, 'a', 1},
		"huge list":               {0xa1, 12, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0},
		"list beyond the end":     {0xa1, 12, 0x9a, 0, 0x0f, 0xff, 0xff},
		"indefinite map":          {0xbf, 0xff},
		"array":                   {0x80},
		"much":                    make([]byte, MaxPlain+1),
	} {
		if s, err := DecodeSnapshot(plain); err == nil {
			t.Errorf("%s was accepted: %+v", name, s)
		}
	}
	for name, s := range map[string]*Snapshot{
		"depth":       {Content: []chunk.ID{{1}}, Depth: 5},
		"depth alone": {Depth: 1},
		"nanoseconds": {End: Time{1, 1e9}},
		"zone":        {ZoneOffset: maxZone + 1},
		"tags":        {Tags: make([]string, MaxListed+1)},
		"size":        {Description: strings.Repeat("x", MaxPlain)},
	} {
		if _, err := s.Encode(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestSnapshotFull lists more than fits: the snapshot is stored all the same.
func TestSnapshotFull(t *testing.T) {
	t.Parallel()
	s := &Snapshot{Degraded: make([][32]byte, MaxListed+1), Host: "a\xffb", Stats: map[string]uint64{"a\xff": 1, "a\xfe": 2}}
	message := strings.Repeat("x", 2000) + "\xfe"
	for range 20_000 {
		s.AddError("/srv/x", message)
	}
	got, err := DecodeSnapshot(encoded(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Errors); n < 5000 || n >= 20_000 || got.Stats[StatErrors] != 20_000 || len(got.Degraded) != MaxListed {
		t.Errorf("%d errors listed, %d counted, %d degraded", n, got.Stats[StatErrors], len(got.Degraded))
	}
	if got.Host != "a\uFFFDb" || got.Stats["a\uFFFD"] != 3 {
		t.Errorf("texts became %q, %v", got.Host, got.Stats)
	}
	again, err := DecodeSnapshot(encoded(t, got))
	if err != nil || len(again.Errors) != len(got.Errors) {
		t.Errorf("the second time %d errors, %v", len(again.Errors), err)
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(encoded(f, fullSnapshot()))
	f.Add(encoded(f, &Snapshot{Start: Time{1, 2}, Host: "h", Tags: []string{"a"}}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		s, err := DecodeSnapshot(plain)
		if err == nil && !bytes.Equal(encoded(t, s), plain) {
			t.Fatalf("accepted %x, encodes as %x", plain, encoded(t, s))
		}
	})
}

func TestSortAndFilter(t *testing.T) {
	t.Parallel()
	a := &Snapshot{ID: chunk.ID{9}, Start: Time{5, 1}, Host: "h", Series: "s", Tags: []string{"x", "y"}, Paths: []string{"/a", "/b"}}
	b := &Snapshot{ID: chunk.ID{1}, Start: Time{5, 2}, Host: "h", Tags: []string{"x"}}
	c := &Snapshot{ID: chunk.ID{2}, Start: Time{5, 2}, Host: "g"}
	list := []*Snapshot{c, b, a}
	SortByTime(list)
	if !slices.Equal(list, []*Snapshot{a, b, c}) {
		t.Error("wrong order")
	}
	for _, c := range []struct {
		f    Filter
		want []*Snapshot
	}{
		{Filter{}, list},
		{Filter{Host: "h"}, []*Snapshot{a, b}},
		{Filter{Series: "s"}, []*Snapshot{a}},
		{Filter{Tags: []string{"x"}}, []*Snapshot{a, b}},
		{Filter{Tags: []string{"x", "y"}}, []*Snapshot{a}},
		{Filter{Paths: []string{"/b"}}, []*Snapshot{a}},
		{Filter{Paths: []string{"/b", "/c"}}, nil},
		{Filter{Host: "g", Tags: []string{"x"}}, nil},
	} {
		if got := c.f.Apply(list); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %d snapshots", c.f, len(got))
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	for _, want := range []time.Time{time.Unix(0, 1), time.Unix(-1, 999_999_999), time.Unix(1<<40, 5)} {
		got := TimeOf(want)
		if !got.Time().Equal(want) || !got.valid() {
			t.Errorf("%v became %v", want, got)
		}
	}
}
