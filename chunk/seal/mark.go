package seal

import "encoding/binary"

const (
	markMagic = "CAIRNVAL"
	markSize  = 256
)

// EncodeMark returns the object that says that a snapshot was validated (docs/format.md §9).
func (k *Keys) EncodeMark(snapshotID [32]byte) []byte {
	sig := k.Sign(LabelValid, markMessage(k.archive, snapshotID))
	object := make([]byte, 0, markSize)
	object = append(object, markMagic...)
	object = binary.LittleEndian.AppendUint16(object, formatVersion)
	object = append(object, make([]byte, 6)...)
	object = append(object, k.archive[:]...)
	object = append(object, snapshotID[:]...)
	object = append(object, sig.Signer[:]...)
	object = append(object, sig.Cert[:]...)
	object = append(object, sig.Sig[:]...)
	return append(object, make([]byte, markSize-len(object))...)
}

// DecodeMark verifies a mark and returns the snapshot that it is for. The caller compares it with the object's name.
func (k *Keys) DecodeMark(object []byte) (snapshotID [32]byte, err error) {
	const what = "mark"
	if err := checkHead(what, markMagic, object, markSize, markSize); err != nil {
		return snapshotID, err
	}
	if have := ArchiveID(object[16:32]); have != k.archive {
		return snapshotID, malformed(what, "of archive %s, not of %s", have, k.archive)
	}
	id := [32]byte(object[32:64])
	sig := Signature{Signer: [32]byte(object[64:96]), Cert: [64]byte(object[96:160]), Sig: [64]byte(object[160:224])}
	if err := k.Verify(LabelValid, markMessage(k.archive, id), sig); err != nil {
		return snapshotID, &FormatError{What: what, Err: err}
	}
	return id, nil
}

func markMessage(a ArchiveID, snapshotID [32]byte) []byte { return append(a[:], snapshotID[:]...) }
