package seal

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

type cborMode struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

// deterministicCBOR is RFC 8949 §4.2. Slots and bundles are small, flat maps, so the limits are the lowest that the library has.
var deterministicCBOR = sync.OnceValues(func() (cborMode, error) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return cborMode{}, fmt.Errorf("cbor: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   4,
		MaxArrayElements:  16,
		MaxMapPairs:       32,
	}.DecMode()
	if err != nil {
		return cborMode{}, fmt.Errorf("cbor: %w", err)
	}
	return cborMode{enc, dec}, nil
})

func encodeCBOR(v any) ([]byte, error) {
	mode, err := deterministicCBOR()
	if err != nil {
		return nil, err
	}
	return mode.enc.Marshal(v)
}

// decodeCBOR decodes data into v, a pointer to a struct, and refuses whatever is not the deterministic encoding of the
// result: an object has one form, and a field that this version does not know cannot be overlooked.
func decodeCBOR(data []byte, v any) error {
	mode, err := deterministicCBOR()
	if err != nil {
		return err
	}
	if err := mode.dec.Unmarshal(data, v); err != nil {
		return err
	}
	again, err := mode.enc.Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errors.New("cbor: not the deterministic encoding")
	}
	return nil
}
