package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cheapArgon is the floor: 19 MiB, some 10 ms.
func cheapArgon() ArgonParams { return ArgonParams{Time: 1, MemoryKiB: 19456, Lanes: 1} }

func fixedTime() time.Time { return time.Unix(1_800_000_000, 0).UTC() }

// must returns a slot or fails; it takes the two results of New…Slot.
func must(t testing.TB) func(*Slot, error) *Slot {
	return func(s *Slot, err error) *Slot {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

type testIdentity struct{ secret, public []byte }

func newIdentity(t testing.TB) testIdentity {
	t.Helper()
	text, recipient, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseIdentity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	public, err := ParseRecipient(recipient)
	if err != nil {
		t.Fatal(err)
	}
	return testIdentity{secret, public}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	root, w, who := fixedKeys(), writerKeys(t), newIdentity(t)
	key := random32()
	password := []byte("päss wörd")
	for _, k := range []*Keys{root, w} {
		for _, c := range []struct {
			slot  *Slot
			kind  SlotKind
			right Credential
		}{
			{must(t)(NewPasswordSlot(k, "laptop", password, cheapArgon(), fixedTime())), PasswordSlot, Credential{Password: password}},
			{must(t)(NewKeyFileSlot(k, "", key, fixedTime())), KeyFileSlot, Credential{KeyFile: &key}},
			{must(t)(NewRecipientSlot(k, "Zoë ✓", who.public, fixedTime())), RecipientSlot, Credential{Identity: who.secret}},
		} {
			again, err := ParseSlot(c.slot.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.slot, again, cmp.AllowUnexported(Slot{})); diff != "" {
				t.Error(diff)
			}
			role := Full
			if k == w {
				role = Writer
			}
			if again.Kind != c.kind || again.Role != role || again.Archive != k.Archive() || !again.Created.Equal(fixedTime()) {
				t.Errorf("%+v", again)
			}
			got, err := again.Open(c.right)
			if err != nil {
				t.Fatal(err)
			}
			if got.CanRead() != k.CanRead() || got.Signer() != k.Signer() || got.Poly() != k.Poly() || got.RootSigner() != root.Signer() || got.CardMAC(nil) != root.CardMAC(nil) {
				t.Errorf("%s gives other keys", again)
			}
			other := random32()
			for name, wrong := range map[string]Credential{
				"nothing": {}, "password": {Password: []byte("pass word")}, "key file": {KeyFile: &other},
				"identity": {Identity: newIdentity(t).secret}, "no identity": {Identity: []byte("short")},
			} {
				if _, err := again.Open(wrong); err != ErrWrongKey {
					t.Errorf("%s opened with wrong %s: %v", again, name, err)
				}
			}
		}
	}
}

func TestWriterFromSlotWorks(t *testing.T) {
	t.Parallel()
	root := fixedKeys()
	key := random32()
	w, err := must(t)(NewKeyFileSlot(writerKeys(t), "agent", key, fixedTime())).Open(Credential{KeyFile: &key})
	if err != nil {
		t.Fatal(err)
	}
	object := newSnapshot(t, w, []byte("by a writer from a slot"))
	if got, signer, err := root.DecodeSnapshot(object); err != nil || signer != w.Signer() || string(got) != "by a writer from a slot" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNewSlotRefuses(t *testing.T) {
	t.Parallel()
	k := fixedKeys()
	if _, err := NewPasswordSlot(k, "", nil, cheapArgon(), fixedTime()); err == nil {
		t.Error("empty password")
	}
	for _, p := range []ArgonParams{
		{}, {0, 65536, 4}, {65, 65536, 4}, {3, 19455, 4}, {3, 1<<20 + 1, 4}, {3, 65536, 0}, {3, 65536, 65},
	} {
		if _, err := NewPasswordSlot(k, "", []byte("x"), p, fixedTime()); err == nil {
			t.Errorf("%+v", p)
		}
	}
	if err := DefaultArgon().Validate(); err != nil {
		t.Error(err)
	}
	if _, err := NewKeyFileSlot(k, strings.Repeat("x", maxLabel+1), random32(), fixedTime()); err == nil {
		t.Error("long label")
	}
	if _, err := NewKeyFileSlot(k, "\xff", random32(), fixedTime()); err == nil {
		t.Error("label that is not UTF-8")
	}
	for _, pub := range [][]byte{nil, make([]byte, recipientSize-1), bytes.Repeat([]byte{0xff}, recipientSize)} {
		if _, err := NewRecipientSlot(k, "", pub, fixedTime()); err == nil {
			t.Errorf("recipient of %d bytes", len(pub))
		}
	}
}

// resum gives a changed slot the checksum that fits.
func resum(object []byte) []byte { return appendSlotSum(bytes.Clone(object[:len(object)-slotSum])) }

// TestSlotTampering changes each byte of a slot: it must not parse, or not open.
func TestSlotTampering(t *testing.T) {
	t.Parallel()
	key, who := random32(), newIdentity(t)
	for _, c := range []struct {
		slot *Slot
		cred Credential
	}{
		{must(t)(NewKeyFileSlot(fixedKeys(), "label", key, fixedTime())), Credential{KeyFile: &key}},
		{must(t)(NewKeyFileSlot(writerKeys(t), "label", key, fixedTime())), Credential{KeyFile: &key}},
		{must(t)(NewRecipientSlot(fixedKeys(), "label", who.public, fixedTime())), Credential{Identity: who.secret}},
	} {
		object := c.slot.Encode()
		opened := 0
		for n := range object {
			if _, err := ParseSlot(object[:n]); err == nil {
				t.Fatalf("%s cut to %d bytes: parsed", c.slot, n)
			}
			if n > 400 && n%31 != 0 {
				continue // key material, one byte like the other
			}
			bad := bytes.Clone(object)
			bad[n] ^= 1
			if _, err := ParseSlot(bad); err == nil {
				t.Fatalf("%s with byte %d changed: the checksum does not notice", c.slot, n)
			}
			s, err := ParseSlot(resum(bad)) // on purpose, not by rot
			if err != nil {
				continue
			}
			if n >= len(object)-slotSum {
				continue // the checksum itself: the slot is whole again
			}
			opened++
			if _, err := s.Open(c.cred); !errors.Is(err, ErrWrongKey) {
				t.Fatalf("%s with byte %d changed: %v", c.slot, n, err)
			}
		}
		if opened == 0 {
			t.Errorf("%s: nothing was tried", c.slot)
		}
		if _, err := ParseSlot(append(object, 0)); err == nil {
			t.Errorf("%s: trailing byte", c.slot)
		}
		object[len(object)-slotSum-1] ^= 1
		if _, err := must(t)(ParseSlot(resum(object))).Open(c.cred); err == ErrWrongKey || !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), "changed") {
			t.Errorf("a changed slot is called %v", err)
		}
	}
}

// TestParseSlotStrict builds headers that a careless reader would accept.
func TestParseSlotStrict(t *testing.T) {
	t.Parallel()
	build := func(header []byte) []byte {
		b := []byte(slotMagic)
		b = binary.LittleEndian.AppendUint16(b, formatVersion)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
		b = binary.LittleEndian.AppendUint32(b, 10)
		return appendSlotSum(append(append(b, header...), make([]byte, 10)...))
	}
	fields := func() map[int]any {
		return map[int]any{1: make([]byte, 16), 2: make([]byte, 16), 3: 1, 4: 1, 5: "x", 6: 1, 7: make([]byte, 16), 8: 1, 9: 19456, 10: 1}
	}
	encode := func(v any) []byte {
		b, err := encodeCBOR(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := encode(fields())
	if _, err := ParseSlot(build(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[int]any){
		"kind 0": func(m map[int]any) { m[3] = 0 }, "kind 4": func(m map[int]any) { m[3] = 4 }, "kind missing": func(m map[int]any) { delete(m, 3) },
		"kind 257": func(m map[int]any) { m[3] = 257 }, "role 3": func(m map[int]any) { m[4] = 3 }, "salt short": func(m map[int]any) { m[7] = make([]byte, 15) },
		"memory low": func(m map[int]any) { m[9] = 19455 }, "memory high": func(m map[int]any) { m[9] = 1<<20 + 1 }, "memory 2^40": func(m map[int]any) { m[9] = 1 << 40 },
		"time": func(m map[int]any) { m[8] = 65 }, "lanes": func(m map[int]any) { m[10] = 65 }, "archive": func(m map[int]any) { m[1] = make([]byte, 15) },
		"archive text": func(m map[int]any) { m[1] = strings.Repeat("a", 16) }, "archive null": func(m map[int]any) { m[1] = nil }, "archive array": func(m map[int]any) { m[1] = make([]int, 16) },
		"unknown field": func(m map[int]any) { m[15] = 1 }, "fingerprint of a password": func(m map[int]any) { m[11] = make([]byte, 8) },
		"writer without key": func(m map[int]any) { m[4] = 2 }, "zero field": func(m map[int]any) { m[5] = "" }, "float": func(m map[int]any) { m[6] = 1.0 },
		"argon in key file": func(m map[int]any) { m[3], m[11] = 2, make([]byte, 8) }, "label bytes": func(m map[int]any) { m[5] = []byte("x") },
		"label long": func(m map[int]any) { m[5] = strings.Repeat("x", maxLabel+1) }, "certificate of the root": func(m map[int]any) { m[14] = make([]byte, 64) },
	} {
		m := fields()
		change(m)
		if _, err := ParseSlot(build(encode(m))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, header := range map[string][]byte{
		"empty": {}, "no map": {0x01}, "trailing": append(bytes.Clone(good), 0), "indefinite": append(append([]byte{0xbf}, good[1:]...), 0xff),
		"duplicate": append(append([]byte{good[0] + 1}, good[1:]...), 10, 1), "long integer": bytes.Replace(good, []byte{3, 1, 4, 1}, []byte{3, 0x18, 1, 4, 1}, 1),
		"order": bytes.Replace(good, []byte{3, 1, 4, 1}, []byte{4, 1, 3, 1}, 1), "tag": append([]byte{0xc0}, good...), "not UTF-8": bytes.Replace(good, []byte("\x61x"), []byte("\x61\xff"), 1),
	} {
		if _, err := ParseSlot(build(header)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	newer := build(good)
	newer[8] = 2
	if _, err := ParseSlot(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("other version: %v", err)
	}
	if _, err := ParseSlot(make([]byte, maxSlot+1)); err == nil {
		t.Error("above the limit")
	}
}

// TestSlotBundle seals bundles that do not fit their header, as only a faulty program makes them.
func TestSlotBundle(t *testing.T) {
	t.Parallel()
	key := random32()
	c := Credential{KeyFile: &key}
	w, other := writerKeys(t), writerKeys(t)
	full, slot := must(t)(NewKeyFileSlot(fixedKeys(), "", key, fixedTime())), must(t)(NewKeyFileSlot(w, "", key, fixedTime()))
	bundleOf := func(k *Keys, change func(*bundle)) []byte {
		data, err := k.bundle()
		if err != nil {
			t.Fatal(err)
		}
		var b bundle
		if err := decodeCBOR(data, &b); err != nil {
			t.Fatal(err)
		}
		change(&b)
		if data, err = encodeCBOR(&b); err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, c2 := range map[string]struct {
		s      *Slot
		bundle []byte
	}{
		"nothing":        {full, nil},
		"no cbor":        {full, []byte{0xff}},
		"short root":     {full, bundleOf(fixedKeys(), func(b *bundle) { b.Root = b.Root[:31] })},
		"root and more":  {full, bundleOf(fixedKeys(), func(b *bundle) { b.Poly = 1 })},
		"writer in full": {full, bundleOf(w, func(*bundle) {})},
		"full in writer": {slot, bundleOf(fixedKeys(), func(*bundle) {})},
		"other writer":   {slot, bundleOf(other, func(*bundle) {})},
		"uncertified":    {slot, bundleOf(w, func(b *bundle) { b.Cert = make([]byte, 64) })},
		"other root":     {slot, bundleOf(w, func(b *bundle) { b.RootPub = b.Seed })},
		"root for all":   {slot, bundleOf(w, func(b *bundle) { b.Root = make([]byte, 32) })},
		"bad polynomial": {slot, bundleOf(w, func(b *bundle) { b.Poly = 2 })},
		"bad public key": {slot, bundleOf(w, func(b *bundle) { b.HPKE = b.HPKE[1:] })},
		"short seed":     {slot, bundleOf(w, func(b *bundle) { b.Seed = b.Seed[1:] })},
	} {
		head := bytes.Clone(c2.s.object[:c2.s.header])
		binary.LittleEndian.PutUint32(head[12:], uint32(len(c2.bundle)+Overhead))
		sealed, err := c2.s.sealBundle(c, head, c2.bundle)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := must(t)(ParseSlot(appendSlotSum(append(head, sealed...)))).Open(c); !errors.Is(err, ErrWrongKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenSlots(t *testing.T) {
	t.Parallel()
	root, w, who := fixedKeys(), writerKeys(t), newIdentity(t)
	key, wkey := random32(), random32()
	password := []byte("secret")
	wFile := must(t)(NewKeyFileSlot(w, "writer file", wkey, fixedTime()))
	wPass := must(t)(NewPasswordSlot(w, "writer password", password, cheapArgon(), fixedTime()))
	fPass := must(t)(NewPasswordSlot(root, "password", password, cheapArgon(), fixedTime()))
	fFile := must(t)(NewKeyFileSlot(root, "file", key, fixedTime()))
	fWho := must(t)(NewRecipientSlot(root, "identity", who.public, fixedTime()))
	all := []*Slot{wFile, wPass, fPass, fFile, fWho}
	broken := fFile.Encode()
	broken[len(broken)-slotSum-1] ^= 1
	damaged := must(t)(ParseSlot(resum(broken)))
	strangers := random32()

	for _, c := range []struct {
		name  string
		slots []*Slot
		creds []Credential
		want  *Slot
		err   error
	}{
		{"nothing given", all, nil, nil, ErrNoCredential},
		{"empty given", all, []Credential{{}, {Password: []byte{}}}, nil, ErrNoCredential},
		{"no slots", nil, []Credential{{Password: password}}, nil, ErrWrongKey},
		{"password: full before writer", all, []Credential{{Password: password}}, fPass, nil},
		{"writer's password", []*Slot{wPass, fFile}, []Credential{{Password: password}}, wPass, nil},
		{"writer's file", all, []Credential{{KeyFile: &wkey}}, wFile, nil},
		{"full password before writer's file", all, []Credential{{KeyFile: &wkey}, {Password: password}}, fPass, nil},
		{"file before password", all, []Credential{{Password: password, KeyFile: &key}}, fFile, nil},
		{"identity", all, []Credential{{Identity: who.secret}}, fWho, nil},
		{"second of several", all, []Credential{{Password: []byte("no")}, {Password: password}}, fPass, nil},
		{"wrong", all, []Credential{{Password: []byte("no")}, {KeyFile: &strangers}}, nil, ErrWrongKey},
		{"damaged", []*Slot{damaged}, []Credential{{KeyFile: &key}}, nil, ErrWrongKey},
		{"damaged, and a copy", []*Slot{damaged, fFile}, []Credential{{KeyFile: &key}}, fFile, nil},
	} {
		k, s, err := OpenSlots(c.slots, c.creds)
		if !errors.Is(err, c.err) || s != c.want || (k == nil) != (c.want == nil) {
			t.Errorf("%s: %v, %v", c.name, s, err)
		}
	}
	if _, _, err := OpenSlots([]*Slot{damaged}, []Credential{{KeyFile: &key}}); !strings.Contains(err.Error(), "changed") {
		t.Errorf("%v", err)
	}
	if _, _, err := OpenSlots([]*Slot{wFile}, []Credential{{KeyFile: &key}}); err != ErrWrongKey {
		t.Errorf("%v", err)
	}

	foreign, err := NewRoot(NewArchiveID())
	if err != nil {
		t.Fatal(err)
	}
	mixed := []*Slot{fFile, must(t)(NewKeyFileSlot(foreign, "", key, fixedTime()))}
	if _, _, err := OpenSlots(mixed, []Credential{{KeyFile: &key}}); err == nil || !strings.Contains(err.Error(), foreign.Archive().String()) {
		t.Errorf("slots of two archives: %v", err)
	}
}

func BenchmarkDefaultArgon(b *testing.B) {
	s := must(b)(NewPasswordSlot(fixedKeys(), "", []byte("password"), DefaultArgon(), fixedTime()))
	for b.Loop() {
		if _, err := s.Open(Credential{Password: []byte("password")}); err != nil {
			b.Fatal(err)
		}
	}
}
