package seal

import (
	"errors"
	"fmt"

	"cairn/chunk"
)

var (
	// ErrWrongKey means that no given credential opens a key slot.
	ErrWrongKey = errors.New("wrong key or password")

	// ErrNoCredential means that there was nothing to try: no password, key file or identity.
	ErrNoCredential = errors.New("no password, key file or identity given")

	// ErrNoReadKey means that these are writer keys: they store backups and cannot read them.
	ErrNoReadKey = errors.New("this is a writer key, which cannot read the archive")

	// ErrNotAuthentic means that sealed bytes do not open: they were changed, or sealed with another key or for another purpose.
	ErrNotAuthentic = errors.New("does not open (damaged, or sealed with another key)")

	// ErrLength means that opened bytes have another length than was recorded.
	ErrLength = errors.New("wrong length")

	// ErrHash means that an opened blob is not the one that its name says.
	ErrHash = errors.New("wrong hash")

	// ErrSignature means that a signature or the certificate of its signer does not verify.
	ErrSignature = errors.New("signature does not verify")

	// ErrVersion means that an object is of a format version that this program does not know.
	ErrVersion = errors.New("unknown format version, a newer cairn may know it")
)

// OpenError says which blob does not open and why: Err wraps ErrNotAuthentic, ErrLength or ErrHash, or says what
// is wrong with the directory's entry.
type OpenError struct {
	Type chunk.Type
	ID   chunk.ID
	Err  error
}

func (e *OpenError) Error() string { return fmt.Sprintf("%s blob %s: %v", e.Type, e.ID, e.Err) }
func (e *OpenError) Unwrap() error { return e.Err }

// FormatError says that bytes are not a well-formed object of the kind What.
type FormatError struct {
	What string // "key slot", "snapshot", "mark", "session wrap"
	Err  error
}

func (e *FormatError) Error() string { return e.What + ": " + e.Err.Error() }
func (e *FormatError) Unwrap() error { return e.Err }

func malformed(what, format string, args ...any) error {
	return &FormatError{What: what, Err: fmt.Errorf(format, args...)}
}
