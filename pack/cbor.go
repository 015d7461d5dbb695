package pack

import (
	"bytes"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"cairn/chunk"
)

// maxArray bounds arrays of columns and sessions. A column takes at least 60 bytes of a segment, and a segment is a
// blob of at most 16 MiB.
const maxArray = chunk.MaxPlain / 60

// codec holds the two halves of the deterministic CBOR of RFC 8949 §4.2. It is made once and never changed; the
// buffers are a cache.
//
// Measured on one core with columns of 16 blobs, where the library's cost per column shows most: 60 ns a blob to encode a
// segment, 100 ns to decode it, a tenth of what the index then needs to store the entry.
type codec struct {
	enc   cbor.UserBufferEncMode
	dec   cbor.DecMode
	again *sync.Pool // of *bytes.Buffer, for the canonical form of what was decoded
}

var newCodec = sync.OnceValues(func() (codec, error) {
	eo := cbor.CoreDetEncOptions()
	eo.NilContainers = cbor.NilContainerAsEmpty
	enc, err := eo.UserBufferEncMode()
	if err != nil {
		return codec{}, err
	}
	again := &sync.Pool{New: func() any { return new(bytes.Buffer) }}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8, // segment, columns, column, directory, sessions, session: 6
		MaxArrayElements:  maxArray,
		MaxMapPairs:       16, // the least that the library accepts
	}.DecMode()
	return codec{enc, dec, again}, err
})

// marshal encodes v.
func marshal(v any) ([]byte, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	return c.enc.Marshal(v)
}

// unmarshal decodes plain into v, a pointer to a zero value. It allocates no more than plain is long (the library
// checks all lengths against the bytes first). What does not encode to the very same bytes again is refused: that
// catches each non-canonical form (long integers, unsorted keys, null, arrays in place of byte strings) at once.
func unmarshal(part Part, plain []byte, v any) error {
	c, err := newCodec()
	if err != nil {
		return err
	}
	if err := c.dec.Unmarshal(plain, v); err != nil {
		return corrupt(part, 0, "%s", err)
	}
	again := c.again.Get().(*bytes.Buffer)
	defer c.again.Put(again)
	again.Reset()
	if err := c.enc.MarshalToBuffer(v, again); err != nil {
		return corrupt(part, 0, "%s", err)
	}
	if !bytes.Equal(again.Bytes(), plain) {
		at := 0
		for b := again.Bytes(); at < min(len(b), len(plain)) && b[at] == plain[at]; at++ {
		}
		return corrupt(part, int64(at), "not in canonical form")
	}
	return nil
}
