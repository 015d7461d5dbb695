package pack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"cairn/chunk"
)

func encode(t testing.TB, cols []Column) []byte {
	t.Helper()
	plain, err := EncodeSegment(cols)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestSegmentRoundTrip(t *testing.T) {
	t.Parallel()
	rng := seeded(5)
	var cols []Column
	bound := 16
	for i := range 300 {
		c := madeUp(rng, rng.IntN(60), rng.IntN(3))
		c.Number = i % 4
		if i%5 != 0 { // most packs of one run are of one session
			c.Session = cols[i-1].Session
		}
		if i%3 == 0 {
			c.Kind = chunk.Tree
		}
		cols = append(cols, c)
		bound += c.SegmentSize()
	}
	plain := encode(t, cols)
	if len(plain) > bound {
		t.Errorf("%d bytes, SegmentSize promised at most %d", len(plain), bound)
	}
	got, err := DecodeSegment(plain)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, cols, got)
	if n := strings.Count(string(plain), string(cols[0].Session.ID[:])); n != 1 {
		t.Errorf("a session occurs %d times", n)
	}
	if !bytes.Equal(encode(t, got), plain) {
		t.Error("encodes differently")
	}
	if cols, err := DecodeSegment(encode(t, nil)); err != nil || len(cols) != 0 {
		t.Errorf("empty segment: %d columns, %v", len(cols), err)
	}
}

// A pack's columns survive the way through a segment.
func TestSegmentOfPack(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 4, M: 2, Epoch: 1}, chunk.Tree, someSizes(40)...)
	got, err := DecodeSegment(encode(t, p.Columns))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, p.Columns, got)
}

// segmentVector is a segment of one empty column by hand: session 22…, pack 33…, kind 1, 2+1, epoch 5, L 4096, column 1.
var segmentVector = "a2" +
	"0181" + "83" + "50" + strings.Repeat("22", 16) + "590490" + strings.Repeat("00", 1168) + "40" +
	"0281" + "89" + "5820" + strings.Repeat("33", 32) + "01" + "02" + "01" + "05" + "191000" + "01" + "00" + "a40140024003400440"

func TestSegmentRefuses(t *testing.T) {
	t.Parallel()
	good, err := hex.DecodeString(segmentVector)
	if err != nil {
		t.Fatal(err)
	}
	cols, err := DecodeSegment(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := encode(t, cols); !bytes.Equal(got, good) {
		t.Errorf("encoded as %x", got)
	}
	tail := segmentVector[len(segmentVector)-len("0102010519100001"+"00"+"a40140024003400440"):]
	session := "83" + "50" + strings.Repeat("22", 16) + "590490" + strings.Repeat("00", 1168) + "40"
	entry := segmentVector[strings.Index(segmentVector, "89"+"5820"):]
	for name, text := range map[string]string{
		"empty":              "",
		"array":              "80",
		"trailing byte":      segmentVector + "00",
		"kind 0":             strings.Replace(segmentVector, tail, "00"+tail[2:], 1),
		"kind index":         strings.Replace(segmentVector, tail, "03"+tail[2:], 1),
		"k 0":                strings.Replace(segmentVector, tail, "0100"+tail[4:], 1),
		"k + m 33":           strings.Replace(segmentVector, tail, "0102181f"+tail[6:], 1),
		"column 2 of 2":      strings.Replace(segmentVector, tail, tail[:14]+"02"+tail[16:], 1),
		"session 1 of 1":     strings.Replace(segmentVector, tail, tail[:16]+"01"+tail[18:], 1),
		"L 0":                strings.Replace(segmentVector, "191000", "00", 1),
		"L 4097":             strings.Replace(segmentVector, "191000", "191001", 1),
		"L too large":        strings.Replace(segmentVector, "191000", "1a02001000", 1),
		"L of 64 bits":       strings.Replace(segmentVector, "191000", "1b0000000100001000", 1),
		"L negative":         strings.Replace(segmentVector, "191000", "390fff", 1),
		"L float":            strings.Replace(segmentVector, "191000", "f96c00", 1),
		"pack id short":      strings.Replace(segmentVector, "5820"+strings.Repeat("33", 32), "4133", 1),
		"entry of 8":         strings.Replace(segmentVector, "89"+"5820", "88"+"5820", 1),
		"session twice":      strings.Replace(segmentVector, "0181"+session, "0182"+session+session, 1),
		"session not named":  strings.Replace(segmentVector, "0181"+session, "0182"+session+strings.Replace(session, "22", "23", 1), 1),
		"session null":       strings.Replace(segmentVector, "0181"+session, "0181f6", 1),
		"sessions null":      "a2" + "01f6" + "0280",
		"columns null":       "a2" + "0180" + "02f6",
		"columns missing":    "a1" + "0180",
		"unknown key":        "a3" + segmentVector[2:] + "0300",
		"directory damaged":  strings.Replace(segmentVector, "a40140", "a40141", 1),
		"blob without room":  strings.Replace(segmentVector, "a40140024003400440", strings.Replace(directoryVector, "2c010000", "00100000", 1), 1),
		"entry is null":      strings.Replace(segmentVector, entry, "f6", 1),
		"nested too deeply":  strings.Repeat("81", 100) + "00",
		"columns of 2^32":    "a2" + "0180" + "029affffffff",
		"sessions of 2^32":   "a2" + "019affffffff",
		"session number 2^6": strings.Replace(segmentVector, tail, tail[:16]+"19ffff"+tail[18:], 1),
	} {
		plain, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var c *CorruptError
		if _, err := DecodeSegment(plain); !errors.As(err, &c) || c.Part != InSegment {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if _, err := DecodeSegment(good[:n:n]); err == nil {
			t.Fatalf("truncated to %d bytes: accepted", n)
		}
	}
	if _, err := DecodeSegment(make([]byte, chunk.MaxPlain+1)); err == nil {
		t.Error("longer than a blob: accepted")
	}
	// The blobs end right before the directory, and one byte behind.
	size := directorySize(1, false, 0, 0) + sealing
	for over, want := range map[uint32]bool{0: true, 1: false} {
		c := cols[0]
		c.Entries = []Entry{{Stored: uint32(4096-size) + over, Plain: 5}}
		if _, err := EncodeSegment([]Column{c}); (err == nil) != want {
			t.Errorf("%d bytes into the directory: %v", over, err)
		}
	}
}

func TestEncodeSegmentRefuses(t *testing.T) {
	t.Parallel()
	rng := seeded(6)
	for name, change := range map[string]func(c *Column){
		"kind":            func(c *Column) { c.Kind = chunk.Index },
		"geometry":        func(c *Column) { c.K = 40 },
		"length":          func(c *Column) { c.L++ },
		"number":          func(c *Column) { c.Number = 4 },
		"negative":        func(c *Column) { c.Number = -1 },
		"wrap":            func(c *Column) { c.Session.Wrap.HPKE = nil },
		"gap":             func(c *Column) { c.Entries[2].Offset++ },
		"session":         func(c *Column) { c.Entries[2].Session = 3 },
		"plain":           func(c *Column) { c.Entries[2].Plain = 0 },
		"short of a blob": func(c *Column) { c.Entries = c.Entries[1:] },
	} {
		c := madeUp(rng, 5, 2)
		change(&c)
		if _, err := EncodeSegment([]Column{c}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var cols []Column
	for range 45 {
		cols = append(cols, madeUp(rng, 10000, 0))
	}
	if _, err := EncodeSegment(cols); err == nil {
		t.Error("a segment larger than a blob is accepted")
	}
}

func FuzzSegment(f *testing.F) {
	rng := seeded(7)
	f.Add(encode(f, nil))
	f.Add(encode(f, []Column{madeUp(rng, 3, 0)}))
	a, b := madeUp(rng, 2, 1), madeUp(rng, 0, 0)
	f.Add(encode(f, []Column{a, b, a}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		cols, err := DecodeSegment(plain)
		if err != nil {
			return
		}
		again, err := EncodeSegment(cols)
		if err != nil {
			t.Fatalf("accepted, but does not encode: %v", err)
		}
		if !bytes.Equal(again, plain) {
			t.Errorf("%x is encoded as %x", plain, again)
		}
	})
}

// segmentOf returns columns of 16 blobs each, as packs of file data have, and the number of blobs.
func segmentOf(b *testing.B, columns int) ([]Column, float64) {
	b.Helper()
	rng := seeded(8)
	cols := make([]Column, columns)
	for i := range cols {
		cols[i] = madeUp(rng, 16, 0)
		cols[i].Session = cols[0].Session
	}
	return cols, float64(16 * columns)
}

func BenchmarkEncodeSegment(b *testing.B) {
	cols, n := segmentOf(b, 2000)
	b.ReportAllocs()
	for b.Loop() {
		encode(b, cols)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

func BenchmarkDecodeSegment(b *testing.B) {
	cols, n := segmentOf(b, 2000)
	plain := encode(b, cols)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeSegment(plain); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}
