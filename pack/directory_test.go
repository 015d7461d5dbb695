package pack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"cairn/chunk"
	"cairn/chunk/seal"
)

// madeUp returns a column of n entries, some of them of the given number of foreign sessions.
func madeUp(rng *rand.Rand, n, sessions int) Column {
	c := Column{Kind: chunk.Data, Geometry: Geometry{K: 4, M: 2, Epoch: 7}, L: MaxColumn, Number: 3, Session: madeUpSession(rng)}
	for i := range c.Pack {
		c.Pack[i] = byte(rng.Uint32())
	}
	for range sessions {
		c.Sessions = append(c.Sessions, madeUpSession(rng))
	}
	offset := uint32(0)
	for range n {
		e := Entry{Offset: offset, Stored: 29 + rng.Uint32N(50), Plain: 1 + rng.Uint32N(chunk.MaxPlain), Compression: seal.Compression(rng.Uint32N(2))}
		if sessions > 0 {
			e.Session = uint8(rng.IntN(sessions + 1))
		}
		for i := range e.ID {
			e.ID[i] = byte(rng.Uint32())
		}
		offset += e.Stored
		c.Entries = append(c.Entries, e)
	}
	return c
}

func madeUpSession(rng *rand.Rand) SessionWrap {
	s := SessionWrap{Wrap: seal.Wrap{HPKE: make([]byte, seal.HPKEWrapSize)}}
	for i := range s.ID {
		s.ID[i] = byte(rng.Uint32())
	}
	s.Wrap.HPKE[0] = byte(rng.Uint32())
	if rng.IntN(2) == 0 {
		s.Wrap.Root = make([]byte, seal.RootWrapSize)
	}
	return s
}

func TestDirectoryRoundTrip(t *testing.T) {
	t.Parallel()
	rng := seeded(2)
	for _, n := range []int{0, 1, 5, 6, 23, 24, 63, 64, 255, 256, 2047, 2048, 16383, 16384, 70000} {
		for _, sessions := range []int{0, 1, 23, 24, 255} {
			c := madeUp(rng, n, sessions)
			plain, err := c.encodeDirectory()
			if err != nil {
				t.Fatal(err)
			}
			if got := c.directorySize(); got != len(plain) {
				t.Errorf("%d blobs, %d sessions: computed size %d, it is %d", n, sessions, got, len(plain))
			}
			got := Column{Pack: c.Pack, Kind: c.Kind, Geometry: c.Geometry, L: c.L, Number: c.Number, Session: c.Session}
			if err := got.decodeDirectory(plain, c.end()); err != nil {
				t.Fatal(err)
			}
			equal(t, c, got)
			if n > 0 && got.decodeDirectory(plain, c.end()-1) == nil {
				t.Errorf("%d blobs: they may reach into the directory", n)
			}
		}
	}
}

// directoryVector is a directory of one blob by hand: a map of four byte strings.
const directoryVector = "a4" +
	"015820" + "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20" +
	"0244" + "2c010000" + // 300 bytes sealed
	"0344" + "10010000" + // 272 bytes plain
	"0441" + "00"

func TestDirectoryVector(t *testing.T) {
	t.Parallel()
	c := Column{Kind: chunk.Data, Entries: []Entry{{Stored: 300, Plain: 272}}}
	for i := range c.Entries[0].ID {
		c.Entries[0].ID[i] = byte(i + 1)
	}
	plain, err := c.encodeDirectory()
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(plain); got != directoryVector {
		t.Errorf("got %s", got)
	}
	empty, err := new(Column).encodeDirectory()
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(empty); got != "a40140024003400440" {
		t.Errorf("empty directory: %s", got)
	}
}

func TestDirectoryRefuses(t *testing.T) {
	t.Parallel()
	replace := func(old, new string) string {
		if !strings.Contains(directoryVector, old) {
			t.Fatalf("no %s", old)
		}
		return strings.Replace(directoryVector, old, new, 1)
	}
	wrap := "590490" + strings.Repeat("00", 1168) + "40"
	id16 := "50" + strings.Repeat("11", 16)
	for name, text := range map[string]string{
		"empty":                        "",
		"trailing byte":                directoryVector + "00",
		"null":                         "f6",
		"array":                        "84" + directoryVector[2:],
		"long head":                    "b804" + directoryVector[2:],
		"long integer key":             replace("0244", "180244"),
		"long string head":             replace("0244", "025804"),
		"indefinite map":               "bf" + directoryVector[2:] + "ff",
		"indefinite string":            replace("0441"+"00", "045f4100ff"),
		"text":                         replace("0441", "0461"),
		"array of numbers":             replace("0441", "0481"),
		"tag":                          replace("0441", "04c141"),
		"duplicate key":                "a5" + directoryVector[2:] + "044100",
		"unsorted keys":                replace("0244"+"2c010000"+"0344"+"10010000", "0344"+"10010000"+"0244"+"2c010000"),
		"unknown key":                  "a5" + directoryVector[2:] + "0740",
		"missing key":                  "a3" + strings.TrimSuffix(directoryVector[2:], "044100"),
		"null string":                  replace("044100", "04f6"),
		"length beyond the end":        replace("0441", "045bffffffffffffffff"),
		"more ids":                     replace("015820", "01582101"),
		"short ids":                    replace("01582001", "01581f"),
		"more sealed lengths":          replace("0244", "024800000000"),
		"more plain lengths":           replace("0344", "034800000000"),
		"more compressions":            replace("0441", "044200"),
		"sealed length 28":             replace("2c010000", "1c000000"),
		"sealed length huge":           replace("2c010000", "ffffffff"),
		"plain length 0":               replace("10010000", "00000000"),
		"plain length huge":            replace("10010000", "01000001"),
		"compression 2":                replace("044100", "044102"),
		"session of none":              "a5" + directoryVector[2:] + "054101",
		"session numbers 0":            "a5" + directoryVector[2:] + "054100",
		"no session numbers":           "a5" + directoryVector[2:] + "0540",
		"session numbers 2":            "a6" + directoryVector[2:] + "05420101" + "0681" + "83" + id16 + wrap,
		"sessions empty":               "a5" + directoryVector[2:] + "0680",
		"session of 2":                 "a5" + directoryVector[2:] + "0681" + "82" + id16 + "40",
		"session of 4":                 "a5" + directoryVector[2:] + "0681" + "84" + id16 + wrap + "40",
		"session id short":             "a5" + directoryVector[2:] + "0681" + "83" + "4111" + wrap,
		"session wrap short":           "a5" + directoryVector[2:] + "0681" + "83" + id16 + "4100" + "40",
		"session without wrap":         "a5" + directoryVector[2:] + "0681" + "83" + id16 + "4040",
		"session with null":            "a5" + directoryVector[2:] + "0681" + "83" + id16 + wrap[:len(wrap)-2] + "f6",
		"session as map":               "a5" + directoryVector[2:] + "0681" + "a0",
		"256 sessions":                 "a5" + directoryVector[2:] + "06990100" + strings.Repeat("83"+id16+wrap, 256),
		"more array elements than any": "a5" + directoryVector[2:] + "069affffffff",
	} {
		plain, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := Column{Kind: chunk.Data}
		var ce *CorruptError
		if err := c.decodeDirectory(plain, MaxColumn); !errors.As(err, &ce) || ce.Part != InDirectory {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := "a6" + directoryVector[2:] + "054101" + "0681" + "83" + id16 + wrap
	plain, _ := hex.DecodeString(good)
	c := Column{Kind: chunk.Data}
	if err := c.decodeDirectory(plain, MaxColumn); err != nil {
		t.Errorf("with a session: %v", err)
	}
	for n := range plain {
		if new(Column).decodeDirectory(plain[:n], MaxColumn) == nil {
			t.Fatalf("truncated to %d bytes: accepted", n)
		}
	}
}

// Blobs whose lengths add up to more than 32 bits must not wrap around.
func TestDirectoryOverflow(t *testing.T) {
	t.Parallel()
	c := Column{Kind: chunk.Data}
	for range 200 {
		c.Entries = append(c.Entries, Entry{Stored: MaxColumn, Plain: 1})
	}
	plain, err := c.encodeDirectory()
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Column{Kind: chunk.Data}).decodeDirectory(plain, MaxColumn); err == nil {
		t.Error("accepted")
	}
}

func TestOpenDirectory(t *testing.T) {
	t.Parallel()
	p, _ := sealPack(t, Geometry{K: 3, M: 1}, chunk.Data, someSizes(30)...)
	h := parse(t, p.Shards[0])
	for i := range 3 {
		payload := p.Shards[i][HeaderSize : HeaderSize+h.L]
		sealed := payload[h.L-int64(h.DirLen[i]):]
		c, err := OpenDirectory(testKeys(), h, i, sealed)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, p.Columns[i], *c)
		if _, err := OpenDirectory(testKeys(), h, i, sealed[1:]); err == nil {
			t.Error("opens when shortened")
		}
		if _, err := OpenDirectory(testKeys(), h, (i+1)%3, sealed); err == nil {
			t.Error("opens as the directory of another column")
		}
		bad := bytes.Clone(sealed)
		bad[len(bad)-1] ^= 1
		if _, err := OpenDirectory(testKeys(), h, i, bad); !errors.Is(err, seal.ErrNotAuthentic) {
			t.Errorf("changed: %v", err)
		}
	}
	if _, err := OpenDirectory(testKeys(), h, 3, nil); !errors.Is(err, ErrParity) {
		t.Errorf("parity: %v", err)
	}
	if _, err := OpenDirectory(testKeys(), h, -1, nil); err == nil {
		t.Error("column -1")
	}
}

func FuzzDirectory(f *testing.F) {
	rng := seeded(3)
	for _, n := range []int{0, 1, 30} {
		for _, sessions := range []int{0, 2} {
			c := madeUp(rng, n, sessions)
			plain, err := c.encodeDirectory()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(plain)
		}
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		c := Column{Kind: chunk.Data}
		if c.decodeDirectory(plain, MaxColumn) != nil {
			return
		}
		again, err := c.encodeDirectory()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, plain) {
			t.Errorf("%x is encoded as %x", plain, again)
		}
		if len(plain) != c.directorySize() {
			t.Errorf("computed size %d of %d", c.directorySize(), len(plain))
		}
		var offset uint32
		for _, e := range c.Entries {
			if e.Offset != offset {
				t.Error("gap")
			}
			offset += e.Stored
			_ = c.Blob(e)
		}
	})
}

func BenchmarkDirectory(b *testing.B) {
	c := madeUp(seeded(4), 5000, 0)
	for b.Loop() {
		plain, err := c.encodeDirectory()
		if err != nil {
			b.Fatal(err)
		}
		if err := (&Column{Kind: chunk.Data}).decodeDirectory(plain, MaxColumn); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/entry")
}

func ExampleID_Name() {
	fmt.Println(ID{0xab, 0xcd, 0xef}.Name(chunk.Data))
	// Output: binaries/ab/cd/ef/abcdef0000000000000000000000000000000000000000000000000000000000.bin
}
