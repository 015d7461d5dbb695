package prune

import (
	"cairn/chunk"
	"cairn/snapshot"
)

// references are the blobs that one tree blob refers to.
type references struct {
	trees []chunk.ID
	data  []chunk.ID
	// either are the ids in a content list. What is above the list decides whether they are data, tree pieces or lists; the list itself does
	// not say, so whatever the archive has under these ids is taken to be meant.
	either []chunk.ID
}

// Major types of CBOR (RFC 8949 §3.1), in the first three bits: a content list is a byte string, a tree piece an array.
const majorBytes = 2

// referencesOf finds out what the plaintext of a tree blob refers to.
func referencesOf(plain []byte) (references, error) {
	if len(plain) > 0 && plain[0]>>5 == majorBytes {
		ids, err := snapshot.DecodeList(plain)
		return references{either: ids}, err
	}
	nodes, err := snapshot.DecodePiece(plain)
	if err != nil {
		return references{}, err
	}
	var r references
	for i := range nodes {
		n := &nodes[i]
		if n.Type == snapshot.Dir || n.Depth > 0 {
			r.trees = append(r.trees, n.Content...)
		} else {
			r.data = append(r.data, n.Content...)
		}
	}
	return r, nil
}
