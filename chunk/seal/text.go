package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Text forms of keys are for people: files that are mailed, printed and typed in again. All have one shape,
//
//	CAIRN-<KIND>-1-<hex digits>[-<hex digits>]-<first 8 hex digits of the SHA-256 of all bytes before>
//
// and are read without regard to letter case, blanks, line breaks, missing hyphens, and lines that begin with "#".
const (
	keyFilePrefix   = "CAIRN-KEY-1-"
	identityPrefix  = "CAIRN-IDENTITY-1-"
	recipientPrefix = "CAIRN-RECIPIENT-1-"
	recoveryPrefix  = "CAIRN-RECOVERY-1-"

	checksumSize  = 4
	recipientSize = 1216 // public key of MLKEM768-X25519

	maxText = 64 << 10
)

var (
	// ErrTextKind means that a text is not of the kind that is needed: another file, or another sort of key.
	ErrTextKind = errors.New("not the right kind of key text")

	// ErrTypo means that a text is of the right kind but was not copied exactly: a digit is wrong, missing or too many.
	ErrTypo = errors.New("mistyped or incomplete key text")
)

// formatText writes the groups, joined by hyphens, with their checksum.
func formatText(prefix string, groups ...[]byte) string {
	var b strings.Builder
	var all []byte
	b.WriteString(prefix)
	for _, g := range groups {
		b.WriteString(hex.EncodeToString(g) + "-")
		all = append(all, g...)
	}
	sum := sha256.Sum256(all)
	b.WriteString(hex.EncodeToString(sum[:checksumSize]))
	return b.String()
}

// parseText returns the size bytes of a text of the given kind.
func parseText(prefix, what, text string, size int) ([]byte, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s: %w: %d bytes", what, ErrTextKind, len(text))
	}
	digits, ok := strings.CutPrefix(compact(text), strings.ToLower(strings.ReplaceAll(prefix, "-", "")))
	if !ok {
		return nil, fmt.Errorf("%s: %w: %s", what, ErrTextKind, whatInstead(text, prefix))
	}
	if want := 2 * (size + checksumSize); len(digits) != want {
		return nil, fmt.Errorf("%s: %w: %d digits, want %d", what, ErrTypo, len(digits), want)
	}
	all, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: a character that is no hex digit", what, ErrTypo)
	}
	sum := sha256.Sum256(all[:size])
	if string(sum[:checksumSize]) != string(all[size:]) {
		return nil, fmt.Errorf("%s: %w: the checksum at the end does not fit", what, ErrTypo)
	}
	return all[:size], nil
}

// compact drops comment lines and everything that copying by mail, paper or hand may add or lose.
func compact(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, r := range line {
			if !unicode.IsSpace(r) && !unicode.Is(unicode.Pd, r) && r != '\ufeff' && r != '\u200b' {
				b.WriteRune(unicode.ToLower(r))
			}
		}
	}
	return b.String()
}

// whatInstead tells a person what the text is, if it is one of ours.
func whatInstead(text, want string) string {
	have := compact(text)
	for _, k := range []struct{ prefix, name string }{
		{keyFilePrefix, "a key file"}, {identityPrefix, "an identity (a recipient's private key)"},
		{recipientPrefix, "a recipient (a public key)"}, {recoveryPrefix, "a recovery text"},
	} {
		plain := strings.ToLower(strings.ReplaceAll(k.prefix, "-", ""))
		if strings.HasPrefix(have, plain) {
			return "this is " + k.name
		}
		if k.prefix == want && strings.HasPrefix(have, strings.TrimSuffix(plain, "1")) {
			return "of another version than 1"
		}
	}
	return "it does not begin with " + want
}
