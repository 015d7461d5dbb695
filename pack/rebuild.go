package pack

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// RebuildShards makes all n shard objects of a pack from any k good ones. shards has n elements, nil for those that are
// missing; each may be damaged: only payloads that hash to what h says are used, and what is made is compared with h
// too. The result is byte for byte what the Writer made. Objects that were whole are returned as they are, not copied.
func RebuildShards(h *Header, shards [][]byte) ([][]byte, error) {
	n := h.Geometry.N()
	if len(shards) != n {
		return nil, fmt.Errorf("pack %s: rebuild %d shards from a list of %d", h.ID, n, len(shards))
	}
	columns := make([][]byte, n)
	var want []int
	for j, s := range shards {
		if columns[j] = h.goodPayload(j, s); columns[j] == nil {
			want = append(want, j)
		}
	}
	rebuilt := make([][]byte, n)
	for _, j := range want {
		// Reconstruct straight into the object.
		rebuilt[j] = make([]byte, ShardSize(h.L))
		columns[j] = rebuilt[j][HeaderSize:HeaderSize:ShardSize(h.L)]
	}
	if err := Reconstruct(h.Geometry, columns, want); err != nil {
		return nil, fmt.Errorf("pack %s: %w", h.ID, err)
	}
	for _, j := range want {
		if sha256.Sum256(columns[j]) != h.Hashes[j] {
			// k payloads with the right hashes give this only if the pack was written wrongly.
			return nil, fmt.Errorf("pack %s: reconstructed column %d does not match the header", h.ID, j)
		}
	}
	for j := range shards {
		if rebuilt[j] == nil {
			rebuilt[j] = h.repair(j, shards[j])
		} else {
			h.frame(rebuilt[j], j)
		}
	}
	return rebuilt, nil
}

// goodPayload returns the payload of shard j if the object has it undamaged, else nil.
func (h *Header) goodPayload(j int, object []byte) []byte {
	if int64(len(object)) < HeaderSize+h.L {
		return nil
	}
	payload := object[HeaderSize : HeaderSize+h.L]
	if sha256.Sum256(payload) != h.Hashes[j] {
		return nil
	}
	return payload
}

// ProvesPayload says whether a payload is that of shard j.
func (h *Header) ProvesPayload(j int, payload []byte) bool {
	return j >= 0 && j < len(h.Hashes) && int64(len(payload)) == h.L && sha256.Sum256(payload) == h.Hashes[j]
}

// frame writes header, checksums and copy around the payload in the object of shard j.
func (h *Header) frame(object []byte, j int) {
	end := HeaderSize + h.L
	h.put(object, j)
	putChecksums(object[end:], object[HeaderSize:end])
	copy(object[ShardSize(h.L)-HeaderSize:], object[:HeaderSize])
}

// repair returns object, whose payload is good, if header, checksums and copy are good as well, else a repaired copy.
func (h *Header) repair(j int, object []byte) []byte {
	size, end := ShardSize(h.L), HeaderSize+h.L
	fresh := make([]byte, size-h.L)
	h.put(fresh, j)
	putChecksums(fresh[HeaderSize:], object[HeaderSize:end])
	copy(fresh[len(fresh)-HeaderSize:], fresh[:HeaderSize])
	if int64(len(object)) == size &&
		bytes.Equal(object[:HeaderSize], fresh[:HeaderSize]) && bytes.Equal(object[end:], fresh[HeaderSize:]) {
		return object
	}
	whole := make([]byte, 0, size)
	whole = append(whole, fresh[:HeaderSize]...)
	whole = append(whole, object[HeaderSize:end]...)
	return append(whole, fresh[HeaderSize:]...)
}
