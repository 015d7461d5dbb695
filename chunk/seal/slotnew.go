package seal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// NewPasswordSlot seals the keys for a password. A Full slot comes from root keys, a Writer slot from writer keys.
func NewPasswordSlot(k *Keys, label string, password []byte, p ArgonParams, now time.Time) (*Slot, error) {
	if len(password) == 0 {
		return nil, errors.New("new password slot: empty password")
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("new password slot: %w", err)
	}
	f := slotHeader{Kind: PasswordSlot, Label: label, Time: p.Time, MemoryKiB: p.MemoryKiB, Lanes: p.Lanes}
	return newSlot(k, f, now, Credential{Password: password})
}

// NewKeyFileSlot seals the keys for a key file (NewKeyFile).
func NewKeyFileSlot(k *Keys, label string, key [32]byte, now time.Time) (*Slot, error) {
	f := slotHeader{Kind: KeyFileSlot, Label: label, Fingerprint: fingerprint(key[:])}
	return newSlot(k, f, now, Credential{KeyFile: &key})
}

// NewRecipientSlot seals the keys to a recipient's public key (ParseRecipient). Whether the right identity opens it only its holder can
// say: this is the one slot that is not opened again for a check.
func NewRecipientSlot(k *Keys, label string, recipient []byte, now time.Time) (*Slot, error) {
	f := slotHeader{Kind: RecipientSlot, Label: label, Fingerprint: fingerprint(recipient), Recipient: recipient}
	return newSlot(k, f, now, Credential{})
}

func newSlot(k *Keys, f slotHeader, now time.Time, c Credential) (*Slot, error) {
	object, err := sealSlot(k, f, now, c)
	if err != nil {
		return nil, fmt.Errorf("new %s slot: %w", f.Kind, err)
	}
	s, err := ParseSlot(object)
	if err != nil {
		return nil, fmt.Errorf("new %s slot: check: %w", f.Kind, err)
	}
	if f.Kind == RecipientSlot {
		return s, nil
	}
	if _, err := s.Open(c); err != nil {
		return nil, fmt.Errorf("new %s slot: check: %w", f.Kind, err)
	}
	return s, nil
}

func sealSlot(k *Keys, f slotHeader, now time.Time, c Credential) ([]byte, error) {
	id := random16()
	f.Archive, f.ID, f.Created, f.Role = k.archive[:], id[:], now.Unix(), Full
	if f.Kind != RecipientSlot {
		salt := random32()
		f.Salt = salt[:saltSize]
	}
	if k.root == nil {
		signer := k.Signer()
		f.Role, f.Writer, f.Cert = Writer, signer[:], k.cert[:]
	}
	if err := f.validate(); err != nil {
		return nil, err
	}
	header, err := encodeCBOR(&f)
	if err != nil {
		return nil, err
	}
	bundle, err := k.bundle()
	if err != nil {
		return nil, err
	}
	overhead := Overhead
	if f.Kind == RecipientSlot {
		overhead = kemSize + tagSize
	}
	if slotFixed+len(header)+len(bundle)+overhead+slotSum > maxSlot {
		return nil, fmt.Errorf("more than %d bytes", maxSlot)
	}
	object := make([]byte, 0, maxSlot)
	object = append(object, slotMagic...)
	object = binary.LittleEndian.AppendUint16(object, formatVersion)
	object = binary.LittleEndian.AppendUint16(object, uint16(len(header)))
	object = binary.LittleEndian.AppendUint32(object, uint32(len(bundle)+overhead))
	object = append(object, header...)
	sealed, err := f.slot().sealBundle(c, object, bundle)
	if err != nil {
		return nil, err
	}
	return appendSlotSum(append(object, sealed...)), nil
}

// appendSlotSum ends a slot with the checksum of all bytes before.
func appendSlotSum(object []byte) []byte {
	sum := sha256.Sum256(object)
	return append(object, sum[:]...)
}

// sealBundle seals the bundle to what opens the slot; head is the object in front of it.
func (s *Slot) sealBundle(c Credential, head, bundle []byte) ([]byte, error) {
	if s.Kind == RecipientSlot {
		pub, err := kem().NewPublicKey(s.Recipient)
		if err != nil {
			return nil, fmt.Errorf("recipient: %w", err)
		}
		return hpkeSeal(pub, slotInfo(head), bundle)
	}
	key, err := s.key(c)
	if err != nil {
		return nil, err
	}
	return sealBytes(&key, bundle, head)
}

func slotInfo(head []byte) []byte { return append([]byte(labelPrefix+"slot"), head...) }

func fingerprint(key []byte) []byte {
	sum := sha256.Sum256(key)
	return sum[:8]
}
