package archive

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"cairn/chunk"
	"cairn/pack"
)

// Record is one gc record: what a collector condemned, or what was forgotten. It holds for ever, and holds for whoever reads
// it on one member (docs/format.md §11).
type Record struct {
	ID        chunk.ID // of the object, which is its SHA-256; not part of the content
	Packs     []pack.ID
	Snapshots []chunk.ID
	Folded    []chunk.ID // records whose content is in this one, too
	Time      time.Time  // information only
	Program   string
}

// maxRecordProgram bounds the text in a record.
const maxRecordProgram = 256

// recordBody is the CBOR map; wire format, do not change.
type recordBody struct {
	Packs     []byte   `cbor:"1,keyasint,omitempty"`
	Snapshots []byte   `cbor:"2,keyasint,omitempty"`
	Folded    []byte   `cbor:"3,keyasint,omitempty"`
	Time      [2]int64 `cbor:"4,keyasint"`
	Program   string   `cbor:"5,keyasint,omitempty"`
}

// recordModes are the deterministic CBOR of RFC 8949 §4.2. They are made once and never changed.
var recordModes = sync.OnceValues(func() (m struct {
	enc cbor.EncMode
	dec cbor.DecMode
}, err error) {
	if m.enc, err = cbor.CoreDetEncOptions().EncMode(); err != nil {
		return m, err
	}
	m.dec, err = cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxNestedLevels: 4, MaxArrayElements: 16, MaxMapPairs: 16,
	}.DecMode()
	return m, err
})

// encode returns the canonical body: ids in ascending order, each once.
func (r *Record) encode() ([]byte, error) {
	m, err := recordModes()
	if err != nil {
		return nil, err
	}
	b := recordBody{
		Packs: joinIDs(r.Packs), Snapshots: joinIDs(r.Snapshots), Folded: joinIDs(r.Folded),
		Time: [2]int64{r.Time.Unix(), int64(r.Time.Nanosecond())}, Program: r.Program,
	}
	if len(b.Program) > maxRecordProgram {
		b.Program = b.Program[:maxRecordProgram]
	}
	return m.enc.Marshal(b)
}

// decodeRecord is the reverse. What is not canonical is refused.
func decodeRecord(body []byte) (*Record, error) {
	m, err := recordModes()
	if err != nil {
		return nil, err
	}
	var b recordBody
	if err := m.dec.Unmarshal(body, &b); err != nil {
		return nil, fmt.Errorf("gc record: %w", err)
	}
	again, err := m.enc.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("gc record: %w", err)
	}
	if !bytes.Equal(again, body) || len(b.Program) > maxRecordProgram || b.Time[1] < 0 || b.Time[1] >= 1e9 {
		return nil, errors.New("gc record: not in canonical form")
	}
	r := &Record{Time: time.Unix(b.Time[0], b.Time[1]), Program: b.Program}
	if r.Packs, err = splitIDs[pack.ID](b.Packs); err != nil {
		return nil, err
	}
	if r.Snapshots, err = splitIDs[chunk.ID](b.Snapshots); err != nil {
		return nil, err
	}
	if r.Folded, err = splitIDs[chunk.ID](b.Folded); err != nil {
		return nil, err
	}
	return r, nil
}

func joinIDs[T ~[32]byte](ids []T) []byte {
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, func(a, b T) int { x, y := [32]byte(a), [32]byte(b); return bytes.Compare(x[:], y[:]) })
	joined := make([]byte, 0, 32*len(sorted))
	for _, id := range slices.Compact(sorted) {
		raw := [32]byte(id)
		joined = append(joined, raw[:]...)
	}
	return joined
}

func splitIDs[T ~[32]byte](joined []byte) ([]T, error) {
	if len(joined)%32 != 0 {
		return nil, fmt.Errorf("gc record: a list of ids has %d bytes", len(joined))
	}
	ids := make([]T, 0, len(joined)/32)
	for i := 0; i < len(joined); i += 32 {
		if i > 0 && bytes.Compare(joined[i-32:i], joined[i:i+32]) >= 0 {
			return nil, errors.New("gc record: ids out of order")
		}
		ids = append(ids, T([32]byte(joined[i:i+32])))
	}
	return ids, nil
}
