package seal

// Prove says whether sealed bytes are exactly what a session sealed as this blob: its id, type, length and compression are what the
// cipher authenticates beside them. It is for who copies blobs sealed as they are, and deletes the source. What was sealed was
// opened and compared before it was trusted (see Seal), so decompressing and hashing it again, several times as much work, would tell only
// whether its writer lied; a reader finds that out.
func (s *Session) Prove(b Sealed, sealed []byte) error {
	err := s.serves(b.Type)
	if err == nil {
		err = s.plausible(b, len(sealed))
	}
	if err == nil {
		err = s.prove(b, sealed)
	}
	if err != nil {
		return &OpenError{Type: b.Type, ID: b.ID, Err: err}
	}
	return nil
}

func (s *Session) prove(b Sealed, sealed []byte) error {
	aead, m, err := s.cipher(&b)
	if err != nil {
		return err
	}
	defer s.macs.Put(m)
	d := s.codec.get()
	defer s.codec.put(d)
	_, err = openTo(d.scratch(&d.opened, len(sealed)-Overhead)[:0], aead, sealed, m.aad[:])
	return err
}
