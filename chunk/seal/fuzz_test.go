package seal

import (
	"bytes"
	"testing"

	"cairn/chunk"
)

func FuzzSlot(f *testing.F) {
	for _, s := range []string{goldenRecipient} {
		f.Add(unhex(f, s))
	}
	key := fixedRoot()
	f.Add(must(f)(NewKeyFileSlot(fixedKeys(), "seed", key, fixedTime())).Encode())
	f.Add(must(f)(NewPasswordSlot(fixedKeys(), "seed", []byte("p"), cheapArgon(), fixedTime())).Encode())
	f.Fuzz(func(t *testing.T, object []byte) {
		s, err := ParseSlot(object)
		if err != nil && len(object) >= slotSum { // what is behind the checksum wants fuzzing, too
			object = resum(object)
			s, err = ParseSlot(object)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), object) {
			t.Error("encodes to other bytes")
		}
		// The header alone must say everything: made again from what was parsed it is the same.
		head := slotHeader{
			Archive: s.Archive[:], ID: s.ID[:], Kind: s.Kind, Role: s.Role, Label: s.Label, Created: s.Created.Unix(),
			Salt: s.salt, Time: s.Argon.Time, MemoryKiB: s.Argon.MemoryKiB, Lanes: s.Argon.Lanes, Recipient: s.Recipient,
		}
		if s.Kind != PasswordSlot {
			head.Fingerprint = s.Fingerprint[:]
		}
		if s.Role == Writer {
			head.Writer, head.Cert = s.Writer[:], s.Cert[:]
		}
		again, err := encodeCBOR(&head)
		if err != nil || !bytes.Equal(again, object[slotFixed:s.header]) {
			t.Errorf("another header: %x, %v", again, err)
		}
		if s.Kind == KeyFileSlot {
			s.Open(Credential{KeyFile: &key})
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	root := fixedRoot()
	f.Add([]byte(formatText(keyFilePrefix, root[:])))
	f.Add([]byte("# comment\nCAIRN-KEY-1-00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseKeyFile(text)
		if err != nil {
			return
		}
		again, err := ParseKeyFile([]byte(formatText(keyFilePrefix, key[:])))
		if err != nil || again != key {
			t.Errorf("%x and %x, %v", key, again, err)
		}
	})
}

func FuzzRecovery(f *testing.F) {
	text, err := fixedKeys().Recovery()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("cairn recovery 1 00")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := KeysFromRecovery(text)
		if err != nil {
			return
		}
		if again, err := k.Recovery(); err != nil || compact(again) != compact(text) {
			t.Errorf("%q and %q, %v", text, again, err)
		}
	})
}

func FuzzSnapshotObject(f *testing.F) {
	k := fixedKeys()
	object := newSnapshot(f, k, []byte("seed"))
	f.Add(object)
	f.Add(newSnapshot(f, writerKeys(f), []byte("seed")))
	f.Fuzz(func(t *testing.T, object []byte) {
		parsed := VerifySnapshotObject(k.Archive(), object)
		plain, _, err := k.DecodeSnapshot(object)
		if err == nil && (parsed != nil || len(plain) == 0) {
			t.Errorf("decodes to %d bytes, but its structure: %v", len(plain), parsed)
		}
	})
}

func FuzzMark(f *testing.F) {
	k := fixedKeys()
	id := chunk.Sum([]byte("seed"))
	f.Add(k.EncodeMark(id))
	f.Fuzz(func(t *testing.T, object []byte) {
		got, err := k.DecodeMark(object)
		if err != nil {
			return
		}
		if again, err := k.DecodeMark(k.EncodeMark(got)); err != nil || again != got {
			t.Errorf("%x and %x, %v", got, again, err)
		}
	})
}

// FuzzBlobOpen changes one byte of a sealed blob, or of what is said about it, and opens it.
func FuzzBlobOpen(f *testing.F) {
	f.Add([]byte("some plaintext"), uint32(0), byte(1))
	f.Add(bytes.Repeat([]byte("compressible "), 50), uint32(20), byte(0x80))
	s := fixedSession()
	f.Fuzz(func(t *testing.T, plain []byte, at uint32, flip byte) {
		if len(plain) == 0 || flip == 0 {
			return
		}
		b, sealed := sealBlob(t, s, chunk.Tree, plain)
		if got, err := s.Open(nil, b, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("unchanged: %v", err)
		}
		switch n := int(at) % (len(sealed) + 38); {
		case n < len(sealed):
			sealed[n] ^= flip
		case n < len(sealed)+32:
			b.ID[n-len(sealed)] ^= flip
		case n == len(sealed)+32:
			b.Type ^= chunk.Type(flip)
		case n == len(sealed)+33:
			b.Compression ^= Compression(flip)
		default:
			b.Plain ^= uint32(flip) << (8 * (n - len(sealed) - 34))
		}
		if _, err := s.Open(nil, b, sealed); err == nil {
			t.Errorf("opens with byte %d changed", at)
		}
		if _, err := s.Open(nil, b, sealed[:int(at)%len(sealed)]); err == nil {
			t.Errorf("opens when cut")
		}
	})
}

// FuzzFrame decompresses arbitrary bytes behind the AEAD's back, as a malicious writer could seal them.
func FuzzFrame(f *testing.F) {
	d := new(codec).get()
	enc, err := d.encoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frameOf(f, enc, []byte("seed seed seed seed")), uint16(19))
	f.Add(frameOf(f, enc, make([]byte, 70_000)), uint16(0xffff))
	f.Fuzz(func(t *testing.T, frame []byte, size uint16) {
		plain, err := d.inflate(make([]byte, size), frame, int(size))
		if err == nil && len(plain) != int(size) {
			t.Errorf("%d bytes, want %d", len(plain), size)
		}
	})
}

func FuzzDirectoryOpen(f *testing.F) {
	k := fixedKeys()
	id := fixedSession().id
	f.Add([]byte("directory"), uint16(3), byte(1))
	f.Fuzz(func(t *testing.T, plain []byte, at uint16, flip byte) {
		sealed, err := k.SealDirectory(id, chunk.Data, 1, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.OpenDirectory(id, chunk.Data, 1, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("unchanged: %v", err)
		}
		if n := int(at) % len(sealed); flip != 0 {
			sealed[n] ^= flip
			if _, err := k.OpenDirectory(id, chunk.Data, 1, sealed); err == nil {
				t.Errorf("opens with byte %d changed", n)
			}
		}
		if _, err := k.OpenDirectory(id, chunk.Data, 1, plain); err == nil {
			t.Error("opens what was never sealed")
		}
	})
}
