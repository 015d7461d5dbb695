package seal

import (
	"errors"
	"testing"
)

func TestSignVerify(t *testing.T) {
	t.Parallel()
	root, w, other := fixedKeys(), writerKeys(t), writerKeys(t)
	msg := []byte("message")
	for _, signer := range []*Keys{root, w} {
		s := signer.Sign(LabelPack, msg)
		for _, k := range []*Keys{root, w, other} {
			if err := k.Verify(LabelPack, msg, s); err != nil {
				t.Errorf("%s by %s: %v", k, signer, err)
			}
		}
		for name, change := range map[string]func(label, msg *string, s *Signature){
			"label":        func(l, _ *string, _ *Signature) { *l = LabelSnapshot },
			"message":      func(_, m *string, _ *Signature) { *m = "massage" },
			"moved border": func(l, m *string, _ *Signature) { *l, *m = LabelPack+"m", "essage!" },
			"signature":    func(_, _ *string, s *Signature) { s.Sig[63] ^= 0x10 },
			"signer":       func(_, _ *string, s *Signature) { s.Signer[5] ^= 1 },
			"other signer": func(_, _ *string, s *Signature) { s.Signer, s.Cert = other.Signer(), other.cert },
			"certificate":  func(_, _ *string, s *Signature) { s.Cert[0] ^= 1 },
		} {
			label, text, bad := LabelPack, string(msg), s
			change(&label, &text, &bad)
			if err := root.Verify(label, []byte(text), bad); !errors.Is(err, ErrSignature) {
				t.Errorf("%s of %s changed: %v", name, signer, err)
			}
		}
	}
	if root.Sign(LabelPack, msg).Cert != [64]byte{} {
		t.Error("the root carries a certificate")
	}

	// Whoever is not the root needs a certificate.
	s := w.Sign(LabelPack, msg)
	s.Cert = [64]byte{}
	if err := root.Verify(LabelPack, msg, s); !errors.Is(err, ErrSignature) {
		t.Errorf("a writer without a certificate: %v", err)
	}
}

func TestVerifyOtherArchive(t *testing.T) {
	t.Parallel()
	k, err := KeysFromRoot(NewArchiveID(), fixedRoot())
	if err != nil {
		t.Fatal(err)
	}
	for _, signer := range []*Keys{fixedKeys(), writerKeys(t)} {
		if err := k.Verify(LabelPack, nil, signer.Sign(LabelPack, nil)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", signer, err)
		}
	}
}

// TestWriterCannotCertify: a writer's own signature over a certificate's message is not a certificate.
func TestWriterCannotCertify(t *testing.T) {
	t.Parallel()
	w, other := writerKeys(t), writerKeys(t)
	forged := w.Sign(labelWriter, certified(w.archive, other.Signer())[len(labelWriter):])
	if err := fixedKeys().VerifySigner(other.Signer(), forged.Sig); !errors.Is(err, ErrSignature) {
		t.Errorf("%v", err)
	}
}
