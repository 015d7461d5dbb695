package seal

// Compress appends the compressed form of a blob to dst, as Seal would before it encrypts, and says None where Seal would leave it as
// it is; then dst is as it was. It is for measurements: what a blob becomes is decided by Seal alone.
func (s *Session) Compress(dst, plain []byte) ([]byte, Compression, error) {
	d := s.codec.get()
	defer s.codec.put(d)
	return d.deflate(dst, plain)
}
