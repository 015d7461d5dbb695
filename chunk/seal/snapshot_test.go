package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"cairn/chunk"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	root, w := fixedKeys(), writerKeys(t)
	id := NewSessionID()
	for _, plain := range [][]byte{{}, {1}, text(100_000, 1)} {
		sealed, err := w.SealDirectory(id, chunk.Data, 3, plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plain)+Overhead {
			t.Errorf("%d bytes for %d", len(sealed), len(plain))
		}
		for _, k := range []*Keys{root, w, writerKeys(t)} {
			if got, err := k.OpenDirectory(id, chunk.Data, 3, sealed); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s: %v", k, err)
			}
		}
		for name, open := range map[string]func() ([]byte, error){
			"session": func() ([]byte, error) { return root.OpenDirectory(NewSessionID(), chunk.Data, 3, sealed) },
			"kind":    func() ([]byte, error) { return root.OpenDirectory(id, chunk.Tree, 3, sealed) },
			"column":  func() ([]byte, error) { return root.OpenDirectory(id, chunk.Data, 4, sealed) },
			"short":   func() ([]byte, error) { return root.OpenDirectory(id, chunk.Data, 3, sealed[:Overhead-1]) },
			"nothing": func() ([]byte, error) { return root.OpenDirectory(id, chunk.Data, 3, nil) },
		} {
			if _, err := open(); !errors.Is(err, ErrNotAuthentic) {
				t.Errorf("other %s: %v", name, err)
			}
		}
	}
	for _, column := range []int{-1, 32, 256} {
		if _, err := root.SealDirectory(id, chunk.Data, column, nil); err == nil {
			t.Errorf("column %d", column)
		}
		if _, err := root.OpenDirectory(id, chunk.Data, column, nil); err == nil {
			t.Errorf("column %d", column)
		}
	}
	if _, err := root.SealDirectory(id, 4, 0, nil); err == nil {
		t.Error("unknown kind")
	}
}

func newSnapshot(t testing.TB, k *Keys, plain []byte) []byte {
	t.Helper()
	object, err := k.EncodeSnapshot(newSession(t, k), plain)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	root, w := fixedKeys(), writerKeys(t)
	for _, k := range []*Keys{root, w} {
		for _, n := range []int{1, 300, 5000, 2 << 20} {
			plain := text(n, uint64(n))
			object := newSnapshot(t, k, plain)
			got, signer, err := root.DecodeSnapshot(object)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, plain) || signer != k.Signer() {
				t.Errorf("%s %d: other plaintext or signer", k, n)
			}
			if _, _, err := w.DecodeSnapshot(object); !errors.Is(err, ErrNoReadKey) {
				t.Errorf("a writer decodes: %v", err)
			}
			if signer, err := w.VerifySnapshot(object); err != nil || signer != k.Signer() {
				t.Errorf("a writer verifies: %v", err)
			}
			if err := VerifySnapshotObject(root.Archive(), object); err != nil {
				t.Error(err)
			}
		}
	}
	s := newSession(t, root)
	if _, err := root.EncodeSnapshot(s, nil); err == nil {
		t.Error("empty snapshot")
	}
	if _, err := root.EncodeSnapshot(s, make([]byte, maxSnapshot+1)); err == nil {
		t.Error("snapshot above the limit")
	}
	if _, err := root.EncodeSnapshot(s, random(maxSnapshot, 1)); err == nil {
		t.Error("object above the limit")
	}
}

func TestSnapshotRefuses(t *testing.T) {
	t.Parallel()
	k := fixedKeys()
	object := newSnapshot(t, writerKeys(t), []byte("a small snapshot"))
	for n := range object {
		if err := VerifySnapshotObject(k.Archive(), object[:n]); err == nil {
			t.Fatalf("cut to %d bytes: accepted", n)
		}
		if n > 160 && n < snapshotFixed+HPKEWrapSize && n%31 != 0 {
			continue // the wrap, one byte like the other
		}
		bad := bytes.Clone(object)
		bad[n] ^= 1
		if _, _, err := k.DecodeSnapshot(bad); err == nil {
			t.Fatalf("byte %d changed: accepted", n)
		}
	}
	if err := VerifySnapshotObject(k.Archive(), append(bytes.Clone(object), 0)); err == nil {
		t.Error("trailing byte: accepted")
	}
	var format *FormatError
	if err := VerifySnapshotObject(NewArchiveID(), object); !errors.As(err, &format) {
		t.Errorf("other archive: %v", err)
	}
	newer := bytes.Clone(object)
	newer[8] = 2
	if err := VerifySnapshotObject(k.Archive(), newer); !errors.Is(err, ErrVersion) {
		t.Errorf("other version: %v", err)
	}

	// A body that says it is larger than all memory.
	huge := bytes.Clone(object)
	binary.LittleEndian.PutUint32(huge[144:], 0xffffffff)
	if err := VerifySnapshotObject(k.Archive(), huge); !errors.As(err, &format) {
		t.Errorf("huge body: %v", err)
	}

	// A stranger's signature over an object that is otherwise right.
	forged := bytes.Clone(object)
	stranger, err := NewRoot(k.Archive())
	if err != nil {
		t.Fatal(err)
	}
	signer := stranger.Signer()
	copy(forged[48:], signer[:])
	sum := chunk.Sum(forged[:len(forged)-sigSize])
	sig := stranger.Sign(LabelSnapshot, sum[:])
	copy(forged[len(forged)-sigSize:], sig.Sig[:])
	if _, _, err := k.DecodeSnapshot(forged); !errors.Is(err, ErrSignature) {
		t.Errorf("stranger: %v", err)
	}
}

func TestSealSnapshotBody(t *testing.T) {
	t.Parallel()
	s := newSession(t, fixedKeys())
	plain, aad := text(1000, 1), []byte("aad")
	sealed, err := s.SealSnapshot(aad, plain)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.OpenSnapshot(aad, sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%v", err)
	}
	if _, err := s.OpenSnapshot([]byte("bbd"), sealed); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("other aad: %v", err)
	}
	// Well sealed, but no frame, or one that states more than a snapshot may have.
	key := s.snapshotKey()
	for name, frame := range map[string][]byte{"nothing": {}, "no frame": []byte("abcdefgh"), "huge": {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0}} {
		bad, err := sealBytes(&key, frame, aad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.OpenSnapshot(aad, bad); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	root, w := fixedKeys(), writerKeys(t)
	id := chunk.Sum([]byte("snapshot"))
	for _, k := range []*Keys{root, w} {
		mark := k.EncodeMark(id)
		if len(mark) != 256 {
			t.Fatalf("%d bytes", len(mark))
		}
		for _, reader := range []*Keys{root, w} {
			if got, err := reader.DecodeMark(mark); err != nil || got != id {
				t.Errorf("%x, %v", got, err)
			}
		}
		for n := range mark {
			if _, err := root.DecodeMark(mark[:n]); err == nil {
				t.Fatalf("cut to %d bytes: accepted", n)
			}
			bad := bytes.Clone(mark)
			bad[n] ^= 1
			_, err := root.DecodeMark(bad)
			if reserved := n >= 10 && n < 16 || n >= 224; (err == nil) != reserved {
				t.Fatalf("byte %d changed: %v", n, err)
			}
		}
	}
	other, err := KeysFromRoot(NewArchiveID(), fixedRoot())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.DecodeMark(root.EncodeMark(id)); err == nil {
		t.Error("mark of another archive")
	}
}
