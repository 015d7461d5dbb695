package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Credential is what a person or a machine shows to get in. One that holds several of them is tried with each.
type Credential struct {
	Password []byte
	KeyFile  *[32]byte // ParseKeyFile
	Identity []byte    // private key of a recipient, ParseIdentity
}

// GoString and String keep credentials out of messages.
func (c Credential) String() string   { return "credential" }
func (c Credential) GoString() string { return "seal.Credential{…}" }

func (c Credential) empty() bool {
	return len(c.Password) == 0 && c.KeyFile == nil && len(c.Identity) == 0
}

// ArgonParams are the cost of Argon2id. The zero value is not valid.
type ArgonParams struct {
	Time      uint32 // passes
	MemoryKiB uint32
	Lanes     uint8
}

// DefaultArgon is the second recommendation of RFC 9106 §4: 64 MiB, 3 passes, 4 lanes, about 0.2 s of CPU. It
// runs once when an archive is opened, also on small machines. New slots are made with it or with more (TunedArgon).
func DefaultArgon() ArgonParams { return ArgonParams{Time: 3, MemoryKiB: 64 << 10, Lanes: 4} }

// Validate keeps parameters between a floor (a slot that someone weakened, or made by mistake) and a cap (one that would
// take all memory of the machine that opens it). The bounds are part of the format.
func (p ArgonParams) Validate() error {
	switch {
	case p.Time < 1 || p.Time > 64:
		return fmt.Errorf("argon2: %d passes, want 1 to 64", p.Time)
	case p.MemoryKiB < 19456 || p.MemoryKiB > 1<<20:
		return fmt.Errorf("argon2: %d KiB, want 19456 to %d", p.MemoryKiB, 1<<20)
	case p.Lanes < 1 || p.Lanes > 64:
		return fmt.Errorf("argon2: %d lanes, want 1 to 64", p.Lanes)
	}
	return nil
}

// Open opens the slot. The error is ErrWrongKey if the credential does not fit, and wraps it if the credential is the right one but
// the slot was changed (which a wrong password cannot be told from).
func (s *Slot) Open(c Credential) (*Keys, error) {
	if !s.fits(c) {
		return nil, ErrWrongKey
	}
	bundle, err := s.openBundle(c)
	if errors.Is(err, ErrNotAuthentic) {
		if s.Kind == PasswordSlot {
			return nil, ErrWrongKey
		}
		return nil, s.changed(err) // the fingerprint says that it is the right key
	}
	if err != nil {
		return nil, fmt.Errorf("key slot %s: %w", s.ID, err)
	}
	k, err := s.keys(bundle)
	if err != nil {
		return nil, s.changed(err)
	}
	return k, nil
}

func (s *Slot) changed(err error) error {
	return fmt.Errorf("key slot %s is damaged or was changed: %w (%w)", s.ID, ErrWrongKey, err)
}

// fits says whether the credential can be the one for this slot, at no cost.
func (s *Slot) fits(c Credential) bool {
	switch s.Kind {
	case PasswordSlot:
		return len(c.Password) > 0
	case KeyFileSlot:
		return c.KeyFile != nil && Fingerprint(fingerprint(c.KeyFile[:])) == s.Fingerprint
	case RecipientSlot:
		private, err := kem().NewPrivateKey(c.Identity)
		return err == nil && Fingerprint(fingerprint(private.PublicKey().Bytes())) == s.Fingerprint
	}
	return false
}

func (s *Slot) openBundle(c Credential) ([]byte, error) {
	head, sealed := s.object[:s.header], s.object[s.header:len(s.object)-slotSum]
	if s.Kind == RecipientSlot {
		private, err := kem().NewPrivateKey(c.Identity)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		return hpkeOpen(private, slotInfo(head), sealed)
	}
	key, err := s.key(c)
	if err != nil {
		return nil, err
	}
	return openBytes(&key, sealed, head)
}

// key derives the key of a password or key file slot. It checks the cost before it pays it.
func (s *Slot) key(c Credential) (key [32]byte, err error) {
	if s.Kind == PasswordSlot {
		if err := s.Argon.Validate(); err != nil {
			return key, err
		}
		return stretch(c.Password, s.salt, s.Argon), nil
	}
	derived, err := hkdf.Key(sha256.New, c.KeyFile[:], s.salt, labelPrefix+"keyfile", 32)
	if err != nil {
		return key, err
	}
	return [32]byte(derived), nil
}

// OpenSlots opens the first slot that one of the credentials fits, and says which. Slots that give the full role come before writers', and
// within a role key files and identities, which are recognised by their fingerprint, before passwords, each of which costs an Argon2 per slot. All
// slots must belong to one archive. The error is ErrNoCredential if there is nothing to try and wraps ErrWrongKey if nothing fits.
func OpenSlots(slots []*Slot, creds []Credential) (*Keys, *Slot, error) {
	tried := false
	for _, c := range creds {
		tried = tried || !c.empty()
	}
	if !tried {
		return nil, nil, ErrNoCredential
	}
	for _, s := range slots {
		if s.Archive != slots[0].Archive {
			return nil, nil, fmt.Errorf("key slot %s belongs to archive %s, key slot %s to %s", s.ID, s.Archive, slots[0].ID, slots[0].Archive)
		}
	}
	var damaged error
	for _, pass := range []struct {
		role     Role
		password bool
	}{{Full, false}, {Full, true}, {Writer, false}, {Writer, true}} {
		for _, s := range slots {
			if s.Role != pass.role || (s.Kind == PasswordSlot) != pass.password {
				continue
			}
			for _, c := range creds {
				k, err := s.Open(c)
				if err == nil {
					return k, s, nil
				}
				if err != ErrWrongKey { // a slot that cannot be used must not hide another that can
					damaged = errors.Join(damaged, err)
				}
			}
		}
	}
	if damaged != nil {
		return nil, nil, damaged
	}
	return nil, nil, ErrWrongKey
}
