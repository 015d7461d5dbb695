package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

const (
	slotMagic = "CAIRNKEY"
	slotFixed = 16 // bytes in front of the header
	slotSum   = sha256.Size

	maxSlot  = 64 << 10
	maxLabel = 1 << 10

	saltSize    = 32 // as written
	minSaltSize = 16 // as accepted
)

// SlotKind says what opens a slot. The values are wire format; do not change.
type SlotKind uint8

const (
	PasswordSlot  SlotKind = 1
	KeyFileSlot   SlotKind = 2
	RecipientSlot SlotKind = 3
)

func (k SlotKind) String() string {
	switch k {
	case PasswordSlot:
		return "password"
	case KeyFileSlot:
		return "key file"
	case RecipientSlot:
		return "recipient"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Role says how strong the keys in a slot are. The values are wire format; do not change.
type Role uint8

const (
	Full   Role = 1 // the root key
	Writer Role = 2 // a writer's keys
)

func (r Role) String() string {
	switch r {
	case Full:
		return "full"
	case Writer:
		return "writer"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Fingerprint recognises a key file or recipient without opening anything: the first bytes of the SHA-256 of the key
// or public key.
type Fingerprint [8]byte

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Slot is one way into an archive: keys, sealed for a password, a key file or a recipient. It is immutable; what
// describes it can be read by anybody and is authenticated when the slot is opened.
type Slot struct {
	ID          SlotID
	Archive     ArchiveID
	Kind        SlotKind
	Role        Role
	Label       string // for people
	Created     time.Time
	Argon       ArgonParams // of a password slot
	Fingerprint Fingerprint // of a key file or recipient
	Recipient   []byte      // public key of a recipient
	Writer      [32]byte    // signing key of a writer
	Cert        [64]byte    // its certificate

	salt   []byte
	object []byte // the whole slot as stored
	header int    // object[:header] is what authenticates the bundle, then come the sealed bundle and the checksum
}

// slotHeader is the header as it is encoded.
type slotHeader struct {
	Archive     []byte   `cbor:"1,keyasint"`
	ID          []byte   `cbor:"2,keyasint"`
	Kind        SlotKind `cbor:"3,keyasint"`
	Role        Role     `cbor:"4,keyasint"`
	Label       string   `cbor:"5,keyasint,omitempty"`
	Created     int64    `cbor:"6,keyasint,omitempty"`
	Salt        []byte   `cbor:"7,keyasint,omitempty"`
	Time        uint32   `cbor:"8,keyasint,omitempty"`
	MemoryKiB   uint32   `cbor:"9,keyasint,omitempty"`
	Lanes       uint8    `cbor:"10,keyasint,omitempty"`
	Fingerprint []byte   `cbor:"11,keyasint,omitempty"`
	Recipient   []byte   `cbor:"12,keyasint,omitempty"`
	Writer      []byte   `cbor:"13,keyasint,omitempty"`
	Cert        []byte   `cbor:"14,keyasint,omitempty"`
}

// Encode returns the slot as it is stored.
func (s *Slot) Encode() []byte { return bytes.Clone(s.object) }

// String describes the slot to people.
func (s *Slot) String() string {
	d := fmt.Sprintf("%s slot %s (%s)", s.Kind, s.ID, s.Role)
	if s.Label != "" {
		d += fmt.Sprintf(" %q", s.Label)
	}
	return d
}

// ParseSlot parses a stored slot. It is strict: nothing but the bytes that Encode returns for the result is accepted. The
// caller compares ID with the object's name and Archive with the archive that it means to open.
func ParseSlot(object []byte) (*Slot, error) {
	const what = "key slot"
	if err := checkHead(what, slotMagic, object, slotFixed+slotSum, maxSlot); err != nil {
		return nil, err
	}
	h := int(binary.LittleEndian.Uint16(object[10:]))
	sealed := uint64(binary.LittleEndian.Uint32(object[12:]))
	if want := uint64(slotFixed+h) + sealed + slotSum; want != uint64(len(object)) {
		return nil, malformed(what, "%d bytes, want %d", len(object), want)
	}
	// Rot is told apart from a wrong password by this alone: both only fail to authenticate.
	if end := len(object) - slotSum; sha256.Sum256(object[:end]) != [slotSum]byte(object[end:]) {
		return nil, malformed(what, "its checksum does not fit: it is damaged")
	}
	object = bytes.Clone(object)
	var f slotHeader
	if err := decodeCBOR(object[slotFixed:slotFixed+h], &f); err != nil {
		return nil, malformed(what, "header: %w", err)
	}
	if err := f.validate(); err != nil {
		return nil, malformed(what, "header: %w", err)
	}
	s := f.slot()
	s.object, s.header = object, slotFixed+h
	return s, nil
}

// slot converts a valid header.
func (f *slotHeader) slot() *Slot {
	s := &Slot{
		ID: SlotID(f.ID), Archive: ArchiveID(f.Archive), Kind: f.Kind, Role: f.Role, Label: f.Label,
		Created: time.Unix(f.Created, 0).UTC(), Argon: ArgonParams{f.Time, f.MemoryKiB, f.Lanes},
		Recipient: f.Recipient, salt: f.Salt,
	}
	copy(s.Fingerprint[:], f.Fingerprint)
	copy(s.Writer[:], f.Writer)
	copy(s.Cert[:], f.Cert)
	return s
}

// validate checks that exactly the fields that belong to kind and role are there.
func (f *slotHeader) validate() error {
	if f.Role != Full && f.Role != Writer {
		return fmt.Errorf("unknown %s", f.Role)
	}
	if len(f.Label) > maxLabel {
		return fmt.Errorf("label of %d bytes, at most %d", len(f.Label), maxLabel)
	}
	want := map[string][2]int{"archive id": {16, 16}, "slot id": {16, 16}}
	if f.Role == Writer {
		want["writer's key"], want["certificate"] = [2]int{32, 32}, [2]int{64, 64}
	}
	argon := ArgonParams{f.Time, f.MemoryKiB, f.Lanes}
	switch f.Kind {
	case PasswordSlot:
		if err := argon.Validate(); err != nil {
			return err
		}
		want["salt"] = [2]int{minSaltSize, maxSlot}
	case KeyFileSlot:
		want["salt"], want["fingerprint"] = [2]int{minSaltSize, maxSlot}, [2]int{8, 8}
	case RecipientSlot:
		want["recipient"], want["fingerprint"] = [2]int{recipientSize, recipientSize}, [2]int{8, 8}
	default:
		return fmt.Errorf("unknown %s", f.Kind)
	}
	if f.Kind != PasswordSlot && argon != (ArgonParams{}) {
		return fmt.Errorf("argon2 parameters in a %s slot", f.Kind)
	}
	for name, value := range map[string][]byte{
		"archive id": f.Archive, "slot id": f.ID, "salt": f.Salt, "fingerprint": f.Fingerprint,
		"recipient": f.Recipient, "writer's key": f.Writer, "certificate": f.Cert,
	} {
		if r := want[name]; len(value) < r[0] || len(value) > r[1] {
			return fmt.Errorf("%s of %d bytes, want %d to %d", name, len(value), r[0], r[1])
		}
	}
	return nil
}
