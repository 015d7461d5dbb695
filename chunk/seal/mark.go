package seal

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
)

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

// CheckMark checks a mark as far as that is possible without any key: its structure, and that its signer signed it. Whether
// that signer may sign in this archive, only DecodeMark can tell. Reserved bytes, which no signature covers, must be zero
// (docs/format.md §9).
func CheckMark(archive ArchiveID, object []byte) (snapshotID [32]byte, err error) {
	const what = "mark"
	if err := checkHead(what, markMagic, object, markSize, markSize); err != nil {
		return snapshotID, err
	}
	if have := ArchiveID(object[16:32]); have != archive {
		return snapshotID, malformed(what, "of archive %s, not of %s", have, archive)
	}
	if [6]byte(object[10:16]) != [6]byte{} || [32]byte(object[224:]) != [32]byte{} {
		return snapshotID, malformed(what, "its reserved bytes are not zero")
	}
	id := [32]byte(object[32:64])
	if !ed25519.Verify(object[64:96], labelled(LabelValid, markMessage(archive, id)), object[160:224]) {
		return snapshotID, &FormatError{What: what, Err: fmt.Errorf("%w: by %x over another message", ErrSignature, object[64:68])}
	}
	return id, nil
}

func markMessage(a ArchiveID, snapshotID [32]byte) []byte { return append(a[:], snapshotID[:]...) }
