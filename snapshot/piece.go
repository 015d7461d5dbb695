package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"cairn/chunk"
)

// Keys of a node's map (docs/format.md §8); wire format, do not change. All are below 24, so that
// each is one byte and the map's head is too.
const (
	keyName    = 1
	keyType    = 2
	keyMode    = 3
	keyUID     = 4
	keyGID     = 5
	keyUser    = 6
	keyGroup   = 7
	keyMtime   = 8
	keyCtime   = 9
	keyAtime   = 10
	keySize    = 11
	keyContent = 12
	keyDepth   = 13
	keyTarget  = 14
	keyLink    = 15
	keyDevice  = 16
	keyXattrs  = 17
	keyHoles   = 18
	keyError   = 19
	keyInode   = 20
)

// pieceHead is the room for the head of an array of at most MaxPieceNodes nodes, whose number is
// known only when the piece is complete.
const pieceHead = 5

// EncodePiece returns the plaintext of a tree piece. The nodes must be valid and in strictly
// ascending order of their names, and at least one: an empty directory has no content.
func EncodePiece(nodes []Node) ([]byte, error) {
	p := pieceBuilder{buf: make([]byte, pieceHead, pieceHead+144*min(len(nodes), MaxPieceNodes))}
	for i := range nodes {
		if err := p.add(&nodes[i]); err != nil {
			return nil, err
		}
	}
	return p.finish()
}

// pieceBuilder encodes one piece at a time and keeps its buffer.
type pieceBuilder struct {
	buf   []byte // pieceHead unused bytes, then the nodes
	count int
	last  string // name of the last node, also of the piece before
	at    int    // where the last node begins in buf
}

// add appends a node. After an error the builder holds what it held before.
func (p *pieceBuilder) add(n *Node) error {
	if err := n.Validate(); err != nil {
		return err
	}
	if p.last != "" && n.Name <= p.last {
		return &NodeError{n.Name, fmt.Sprintf("comes after %.200q", p.last)}
	}
	if p.count == MaxPieceNodes {
		return &NodeError{n.Name, "too many nodes for one piece"}
	}
	if len(p.buf) == 0 {
		p.buf = append(p.buf, make([]byte, pieceHead)...)
	}
	before := len(p.buf)
	p.buf = appendNode(p.buf, n)
	if len(p.buf)-before > chunk.MaxPlain-pieceHead {
		size := len(p.buf) - before
		p.buf = p.buf[:before]
		return &NodeError{n.Name, fmt.Sprintf("needs %d bytes, more than a blob holds", size)}
	}
	p.count++
	p.last, p.at = n.Name, before
	return nil
}

// takeLast removes the last node, to be put into the next piece.
func (p *pieceBuilder) takeLast() (encoded []byte) {
	encoded = bytes.Clone(p.buf[p.at:])
	p.buf = p.buf[:p.at]
	p.count--
	return encoded
}

// putBack makes what takeLast returned the first node of an empty piece.
func (p *pieceBuilder) putBack(encoded []byte) {
	p.buf = append(append(p.buf, make([]byte, pieceHead)...), encoded...)
	p.at, p.count = pieceHead, 1
}

// finish returns the plaintext of the piece, valid until the builder is used again.
func (p *pieceBuilder) finish() ([]byte, error) {
	if p.count == 0 {
		return nil, fmt.Errorf("encode tree piece: no nodes")
	}
	var head [pieceHead]byte
	h := appendHead(head[:0], majorArray, uint64(p.count))
	start := pieceHead - len(h)
	copy(p.buf[start:], h)
	plain := p.buf[start:]
	if len(plain) > chunk.MaxPlain {
		return nil, fmt.Errorf("encode tree piece: %d bytes, more than a blob holds", len(plain))
	}
	return plain, nil
}

// reset starts the next piece of the same directory: the order goes on.
func (p *pieceBuilder) reset() { p.buf, p.count = p.buf[:0], 0 }

func appendNode(dst []byte, n *Node) []byte {
	at := len(dst)
	fields := byte(2)
	dst = appendBytes(append(dst, 0, keyName), n.Name)
	dst = append(dst, keyType, byte(n.Type))
	dst, fields = appendOwner(dst, fields, n)
	dst, fields = appendTimes(dst, fields, n)
	dst, fields = appendBody(dst, fields, n)
	if len(n.Xattrs) > 0 {
		fields++
		dst = appendXattrs(append(dst, keyXattrs), n.Xattrs)
	}
	if len(n.Holes) > 0 {
		fields++
		dst = appendHead(append(dst, keyHoles), majorArray, 2*uint64(len(n.Holes)))
		for _, h := range n.Holes {
			dst = appendUint(appendUint(dst, h.Offset), h.Length)
		}
	}
	if n.Error != "" {
		fields++
		dst = appendText(append(dst, keyError), n.Error)
	}
	if n.Inode != 0 {
		fields++
		dst = appendUint(append(dst, keyInode), n.Inode)
	}
	dst[at] = majorMap | fields // fields ≤ 20 < 24: the head is one byte
	return dst
}

func appendOwner(dst []byte, fields byte, n *Node) ([]byte, byte) {
	if n.Mode != 0 {
		fields++
		dst = appendUint(append(dst, keyMode), uint64(n.Mode))
	}
	if n.UID != 0 {
		fields++
		dst = appendUint(append(dst, keyUID), uint64(n.UID))
	}
	if n.GID != 0 {
		fields++
		dst = appendUint(append(dst, keyGID), uint64(n.GID))
	}
	if n.User != "" {
		fields++
		dst = appendBytes(append(dst, keyUser), n.User)
	}
	if n.Group != "" {
		fields++
		dst = appendBytes(append(dst, keyGroup), n.Group)
	}
	return dst, fields
}

func appendTimes(dst []byte, fields byte, n *Node) ([]byte, byte) {
	if !n.Mtime.IsZero() {
		fields++
		dst = appendTime(append(dst, keyMtime), n.Mtime)
	}
	if !n.Ctime.IsZero() {
		fields++
		dst = appendTime(append(dst, keyCtime), n.Ctime)
	}
	if !n.Atime.IsZero() {
		fields++
		dst = appendTime(append(dst, keyAtime), n.Atime)
	}
	return dst, fields
}

func appendBody(dst []byte, fields byte, n *Node) ([]byte, byte) {
	if n.Size != 0 {
		fields++
		dst = appendUint(append(dst, keySize), n.Size)
	}
	if len(n.Content) > 0 {
		fields++
		dst = appendIDs(append(dst, keyContent), n.Content)
	}
	if n.Depth != 0 {
		fields++
		dst = append(dst, keyDepth, n.Depth)
	}
	if n.Target != "" {
		fields++
		dst = appendBytes(append(dst, keyTarget), n.Target)
	}
	if n.Link != nil { // present even when it is [0, 0]: the presence says something
		fields++
		dst = append(dst, keyLink, majorArray|2)
		dst = appendUint(appendUint(dst, n.Link.Device), n.Link.Inode)
	}
	if n.Device != nil { // [0, 0] is a device too: the whiteout of overlayfs
		fields++
		dst = append(dst, keyDevice, majorArray|2)
		dst = appendUint(appendUint(dst, uint64(n.Device.Major)), uint64(n.Device.Minor))
	}
	return dst, fields
}

func appendXattrs(dst []byte, xattrs []Xattr) []byte {
	dst = appendHead(dst, majorArray, uint64(len(xattrs)))
	for _, x := range xattrs {
		dst = appendBytes(append(dst, majorArray|2), x.Name)
		dst = appendBytes(dst, x.Value)
	}
	return dst
}

func appendIDs(dst []byte, ids []chunk.ID) []byte {
	dst = appendHead(dst, majorBytes, uint64(len(ids))*32)
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

// hashName spreads names evenly over 64 bits (FNV-1a and the finisher of MurmurHash3, both public
// domain). Where pieces end follows from it: changing it costs every archive one rewrite of its large
// directories, nothing more.
func hashName(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// hashID takes bits of an id, which are spread evenly already.
func hashID(id chunk.ID) uint64 { return binary.LittleEndian.Uint64(id[:]) }
