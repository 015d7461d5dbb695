package seal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// mangle does to a text what mail programs, printers and people do.
func mangle(text string) map[string]string {
	var wrapped strings.Builder
	for i, r := range text {
		if i > 0 && i%20 == 0 {
			wrapped.WriteString("\r\n  ")
		}
		wrapped.WriteRune(r)
	}
	return map[string]string{
		"as it is": text, "upper": strings.ToUpper(text), "lower": strings.ToLower(text), "wrapped": wrapped.String(),
		"blanks around": " \t\n" + text + "\n\n ", "no hyphens": strings.ReplaceAll(text, "-", ""), "dashes": strings.ReplaceAll(text, "-", " – "),
		"no-break blanks": strings.ReplaceAll(text, "-", "-\u00a0"), "bom": "\ufeff" + text, "comments": "# one\n" + text + "\n  # two\n",
	}
}

func TestTextForms(t *testing.T) {
	t.Parallel()
	k := fixedKeys()
	recovery, err := k.Recovery()
	if err != nil {
		t.Fatal(err)
	}
	key, keyFile, err := NewKeyFile()
	if err != nil {
		t.Fatal(err)
	}
	identity, recipient, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseIdentity([]byte(identity))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := RecipientOf(secret); err != nil || again != recipient {
		t.Errorf("recipient of the identity: %v", err)
	}
	_, keyLine, _ := strings.Cut(keyFile, keyFilePrefix)
	_, identityLine, _ := strings.Cut(identity, identityPrefix)
	for _, form := range []struct {
		name, text string
		parse      func(string) error
	}{
		{"key file", keyFilePrefix + strings.TrimSpace(keyLine), func(s string) error {
			got, err := ParseKeyFile([]byte(s))
			if err == nil && got != key {
				t.Errorf("key file: another key from %q", s)
			}
			return err
		}},
		{"identity", identityPrefix + strings.TrimSpace(identityLine), func(s string) error {
			got, err := ParseIdentity([]byte(s))
			if err == nil && !bytes.Equal(got, secret) {
				t.Errorf("identity: another key from %q", s)
			}
			return err
		}},
		{"recipient", recipient, func(s string) error { _, err := ParseRecipient(s); return err }},
		{"recovery", recovery, func(s string) error {
			got, err := KeysFromRecovery(s)
			if err == nil && (got.Archive() != k.Archive() || got.Signer() != k.Signer()) {
				t.Errorf("recovery: other keys from %q", s)
			}
			return err
		}},
	} {
		for name, text := range mangle(form.text) {
			if err := form.parse(text); err != nil {
				t.Errorf("%s, %s: %v", form.name, name, err)
			}
		}
		at := strings.LastIndex(form.text, "1-") + 2
		flip := map[byte]byte{'0': '1'}[form.text[at]]
		if flip == 0 {
			flip = '0'
		}
		for name, c := range map[string]struct {
			text string
			want error
		}{
			"wrong digit":   {form.text[:at] + string(flip) + form.text[at+1:], ErrTypo},
			"no digit":      {form.text[:at] + "x" + form.text[at+1:], ErrTypo},
			"missing digit": {form.text[:len(form.text)-1], ErrTypo},
			"more digits":   {form.text + "0", ErrTypo},
			"twice":         {form.text + "\n" + form.text, ErrTypo},
			"only prefix":   {form.text[:at], ErrTypo},
			"empty":         {"", ErrTextKind},
			"only comments": {"# nothing\n", ErrTextKind},
			"other file":    {"-----BEGIN OPENSSH PRIVATE KEY-----", ErrTextKind},
			"version 2":     {strings.Replace(form.text, "-1-", "-2-", 1), ErrTextKind},
			"long":          {strings.Repeat("a", maxText+1), ErrTextKind},
		} {
			if name == "wrong digit" && form.name == "recipient" {
				at := len(form.text) - 1
				c.text = form.text[:at] + string('0'+(form.text[at]-'0'+1)%10)
			}
			err := form.parse(c.text)
			if !errors.Is(err, c.want) || errors.Is(err, ErrTypo) && errors.Is(err, ErrTextKind) {
				t.Errorf("%s, %s: %v, want %v", form.name, name, err, c.want)
			}
		}
		for other, text := range map[string]string{"key file": keyFile, "identity": identity, "recipient": recipient, "recovery": recovery} {
			if other == form.name {
				continue
			}
			if err := form.parse(text); !errors.Is(err, ErrTextKind) || !strings.Contains(err.Error(), "this is a") {
				t.Errorf("%s given as %s: %v", other, form.name, err)
			}
		}
	}
}

// TestTextTruncated cuts a key file at each byte.
func TestTextTruncated(t *testing.T) {
	t.Parallel()
	_, text, err := NewKeyFile()
	if err != nil {
		t.Fatal(err)
	}
	text = strings.TrimSpace(text)
	for n := range text {
		if _, err := ParseKeyFile([]byte(text[:n])); err == nil {
			t.Errorf("%q is accepted", text[:n])
		}
	}
}
