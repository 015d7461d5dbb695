package seal

import (
	"errors"
	"fmt"
)

// NewKeyFile makes a random key and the text of its file.
func NewKeyFile() (key [32]byte, text string, err error) {
	key = random32()
	text = "# Key file of a cairn archive. Whoever has it can open the archive.\n" +
		"# Keep a copy where it survives this machine.\n" +
		formatText(keyFilePrefix, key[:]) + "\n"
	again, err := ParseKeyFile([]byte(text))
	if err != nil || again != key {
		return [32]byte{}, "", fmt.Errorf("new key file: check: %w", errors.Join(ErrTypo, err))
	}
	return key, text, nil
}

// ParseKeyFile reads a key file. The error wraps ErrTypo if the checksum or the number of digits is wrong, and ErrTextKind if it is no key
// file at all.
func ParseKeyFile(text []byte) ([32]byte, error) {
	key, err := parseText(keyFilePrefix, "key file", string(text), 32)
	if err != nil {
		return [32]byte{}, err
	}
	return [32]byte(key), nil
}

// NewIdentity makes a key pair for a recipient slot: text is the identity, a file that its owner keeps, and
// recipient the public key as one line, which goes to whoever makes the slot.
func NewIdentity() (text, recipient string, err error) {
	private, err := kem().GenerateKey()
	if err != nil {
		return "", "", fmt.Errorf("new identity: %w", err)
	}
	secret, err := private.Bytes()
	if err != nil {
		return "", "", fmt.Errorf("new identity: %w", err)
	}
	recipient = formatText(recipientPrefix, private.PublicKey().Bytes())
	text = "# Identity for cairn archives: the private key of a recipient.\n" +
		"# Whoever has it can open every archive that has a slot for this recipient.\n" +
		formatText(identityPrefix, secret) + "\n"
	return text, recipient, nil
}

// ParseIdentity reads an identity and returns the private key for Credential.Identity. Errors are as for ParseKeyFile.
func ParseIdentity(text []byte) ([]byte, error) {
	secret, err := parseText(identityPrefix, "identity", string(text), 32)
	if err != nil {
		return nil, err
	}
	if _, err := kem().NewPrivateKey(secret); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return secret, nil
}

// RecipientOf returns the public key of an identity as text.
func RecipientOf(identity []byte) (string, error) {
	private, err := kem().NewPrivateKey(identity)
	if err != nil {
		return "", fmt.Errorf("identity: %w", err)
	}
	return formatText(recipientPrefix, private.PublicKey().Bytes()), nil
}

// ParseRecipient reads a recipient and returns the public key for NewRecipientSlot. Errors are as for ParseKeyFile.
func ParseRecipient(text string) ([]byte, error) {
	pub, err := parseText(recipientPrefix, "recipient", text, recipientSize)
	if err != nil {
		return nil, err
	}
	if _, err := kem().NewPublicKey(pub); err != nil {
		return nil, fmt.Errorf("recipient: %w", err)
	}
	return pub, nil
}

// Recovery returns the root key as text, for paper and safes. It opens the archive when all slots are lost. Writer keys get ErrNoReadKey.
func (k *Keys) Recovery() (string, error) {
	if k.root == nil {
		return "", fmt.Errorf("recovery text: %w", ErrNoReadKey)
	}
	return formatText(recoveryPrefix, k.archive[:], k.root.key[:]), nil
}

// KeysFromRecovery reads a recovery text. Errors are as for ParseKeyFile. The caller compares Archive with the archive that it opens.
func KeysFromRecovery(text string) (*Keys, error) {
	all, err := parseText(recoveryPrefix, "recovery text", text, 16+32)
	if err != nil {
		return nil, err
	}
	return KeysFromRoot(ArchiveID(all[:16]), [32]byte(all[16:]))
}
