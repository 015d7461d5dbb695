package seal

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/chunk"
)

// fixedKeys are root keys that are the same in every run.
var fixedKeys = sync.OnceValue(func() *Keys {
	k, err := KeysFromRoot(fixedArchive(), fixedRoot())
	if err != nil {
		panic(err)
	}
	return k
})

func fixedArchive() (a ArchiveID) { fill(a[:], 0x10); return a }
func fixedRoot() (r [32]byte)     { fill(r[:], 0x40); return r }

func fill(b []byte, from byte) {
	for i := range b {
		b[i] = from + byte(i)
	}
}

func writerKeys(t testing.TB) *Keys {
	t.Helper()
	w, err := fixedKeys().NewWriterKeys()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newSession(t testing.TB, k *Keys) *Session {
	t.Helper()
	s, err := k.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysFromRoot(t *testing.T) {
	t.Parallel()
	k := fixedKeys()
	again, err := KeysFromRoot(fixedArchive(), fixedRoot())
	if err != nil {
		t.Fatal(err)
	}
	if k.Poly() != again.Poly() || k.Signer() != again.Signer() || k.CardMAC(nil) != again.CardMAC(nil) {
		t.Error("the same root key gives other keys")
	}
	other, err := KeysFromRoot(NewArchiveID(), fixedRoot())
	if err != nil {
		t.Fatal(err)
	}
	if k.Poly() == other.Poly() || k.Signer() == other.Signer() || k.CardMAC(nil) == other.CardMAC(nil) {
		t.Error("another archive with the same root key has equal keys")
	}
	if !k.CanRead() || k.Archive() != fixedArchive() || k.RootSigner() != k.Signer() {
		t.Error("not the keys of a root")
	}
	if err := chunk.ValidPoly(k.Poly()); err != nil {
		t.Error(err)
	}
}

func TestNewRoot(t *testing.T) {
	t.Parallel()
	a := NewArchiveID()
	k1, err := NewRoot(a)
	if err != nil {
		t.Fatal(err)
	}
	k2, err := NewRoot(a)
	if err != nil {
		t.Fatal(err)
	}
	if k1.Signer() == k2.Signer() {
		t.Error("two fresh roots are equal")
	}
}

func TestWriterKeys(t *testing.T) {
	t.Parallel()
	root, w := fixedKeys(), writerKeys(t)
	if w.CanRead() || w.Archive() != root.Archive() || w.Poly() != root.Poly() || w.RootSigner() != root.Signer() || w.Signer() == root.Signer() {
		t.Error("not a writer's keys")
	}
	if w.CardMAC([]byte("card")) != root.CardMAC([]byte("card")) {
		t.Error("writer has another card MAC")
	}
	if _, err := w.NewWriterKeys(); !errors.Is(err, ErrNoReadKey) {
		t.Errorf("NewWriterKeys of a writer: %v", err)
	}
	if _, err := w.Recovery(); !errors.Is(err, ErrNoReadKey) {
		t.Errorf("Recovery of a writer: %v", err)
	}

	s := newSession(t, w)
	if len(s.Wrap().HPKE) != HPKEWrapSize || s.Wrap().Root != nil {
		t.Errorf("wraps of %d and %d bytes", len(s.Wrap().HPKE), len(s.Wrap().Root))
	}
	if _, err := w.OpenSession(s.ID(), s.Wrap()); !errors.Is(err, ErrNoReadKey) {
		t.Errorf("OpenSession of a writer: %v", err)
	}

	// What the writer sealed the root can read.
	plain := []byte("written by a machine that cannot read")
	b, sealed := sealBlob(t, s, chunk.Data, plain)
	rs, err := root.OpenSession(s.ID(), s.Wrap())
	if err != nil {
		t.Fatal(err)
	}
	got, err := rs.Open(nil, b, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, got); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	k := fixedKeys()
	for _, k := range []*Keys{k, writerKeys(t)} {
		for _, text := range []string{k.String(), k.GoString()} {
			if !strings.Contains(text, k.Archive().String()) || len(text) > 80 {
				t.Errorf("%q", text)
			}
		}
	}
}

func TestSessionWraps(t *testing.T) {
	t.Parallel()
	k := fixedKeys()
	s := newSession(t, k)
	w := s.Wrap()
	if len(w.HPKE) != HPKEWrapSize || len(w.Root) != RootWrapSize {
		t.Fatalf("wraps of %d and %d bytes", len(w.HPKE), len(w.Root))
	}
	for _, w := range []Wrap{w, {HPKE: w.HPKE}} {
		again, err := k.OpenSession(s.ID(), w)
		if err != nil {
			t.Fatal(err)
		}
		if again.key != s.key {
			t.Error("another key")
		}
	}
	if _, err := k.OpenSession(NewSessionID(), w); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("root wrap of another session: %v", err)
	}
	if _, err := k.OpenSession(NewSessionID(), Wrap{HPKE: w.HPKE}); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("HPKE wrap of another session: %v", err)
	}
	for n := range len(w.Root) {
		if _, err := k.OpenSession(s.ID(), Wrap{HPKE: w.HPKE, Root: w.Root[:max(1, n)]}); err == nil {
			t.Errorf("root wrap of %d bytes opens", n)
		}
		bad := bytes.Clone(w.Root)
		bad[n] ^= 1
		if _, err := k.OpenSession(s.ID(), Wrap{HPKE: w.HPKE, Root: bad}); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("root wrap with byte %d changed: %v", n, err)
		}
	}
	for n := 0; n < len(w.HPKE); n += 37 {
		if _, err := k.OpenSession(s.ID(), Wrap{HPKE: w.HPKE[:n]}); err == nil {
			t.Errorf("HPKE wrap of %d bytes opens", n)
		}
		bad := bytes.Clone(w.HPKE)
		bad[n] ^= 1
		if _, err := k.OpenSession(s.ID(), Wrap{HPKE: bad}); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("HPKE wrap with byte %d changed: %v", n, err)
		}
	}
}

func TestIndexSession(t *testing.T) {
	t.Parallel()
	root, w := fixedKeys(), writerKeys(t)
	id := NewSessionID()
	s := w.IndexSession(id)
	if s.ID() != id || s.Wrap().HPKE != nil || s.Wrap().Root != nil {
		t.Error("index session with a wrap or another ID")
	}
	plain := bytes.Repeat([]byte("index "), 100)
	b, sealed := sealBlob(t, s, chunk.Index, plain)
	for _, k := range []*Keys{root, w, writerKeys(t)} {
		got, err := k.IndexSession(id).Open(nil, b, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %v", k, err)
		}
	}

	// Types and sessions must not be mixed: under an index session data would be open to all writers.
	if _, _, err := s.Seal(nil, chunk.Data, chunk.Sum(plain), plain); err == nil {
		t.Error("data blob sealed in an index session")
	}
	if _, _, err := newSession(t, root).Seal(nil, chunk.Index, chunk.Sum(plain), plain); err == nil {
		t.Error("index blob sealed in a data session")
	}
	if _, err := w.EncodeSnapshot(s, plain); err == nil {
		t.Error("snapshot sealed in an index session")
	}
	if _, err := s.SealSnapshot(nil, plain); err == nil {
		t.Error("snapshot body sealed in an index session")
	}
	other, err := NewRoot(NewArchiveID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.EncodeSnapshot(newSession(t, root), plain); err == nil {
		t.Error("snapshot sealed in a session of another archive")
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	a := NewArchiveID()
	if got, err := ParseArchiveID(a.String()); err != nil || got != a {
		t.Errorf("%v, %v", got, err)
	}
	s := NewSessionID()
	if got, err := ParseSessionID(s.String()); err != nil || got != s {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "12", a.String() + "0", a.String()[:31], "zz" + a.String()[2:], strings.Repeat("x", 1000)} {
		if _, err := ParseArchiveID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
		if _, err := ParseSlotID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func BenchmarkKeysFromRoot(b *testing.B) {
	for b.Loop() {
		if _, err := KeysFromRoot(fixedArchive(), random32()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewSession(b *testing.B) {
	k := fixedKeys()
	for b.Loop() {
		if _, err := k.NewSession(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSession(b *testing.B) {
	k := fixedKeys()
	s := newSession(b, k)
	for name, w := range map[string]Wrap{"root": s.Wrap(), "hpke": {HPKE: s.Wrap().HPKE}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := k.OpenSession(s.ID(), w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
