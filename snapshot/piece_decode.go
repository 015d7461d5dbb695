package snapshot

import (
	"fmt"
	"math"

	"cairn/chunk"
)

// minNode is the size of the smallest node: map head, name of one byte, type.
const minNode = 1 + 3 + 2

// DecodePiece parses the plaintext of a tree piece. It accepts exactly what EncodePiece writes, so
// encoding the result again gives the same bytes, and every node of it is valid. The worst that a
// hostile piece makes it allocate is 20 MB (65536 nodes of 280 bytes) and 12 times the length of plain
// (extended attributes of 4 bytes take 48). The result does not refer to plain.
func DecodePiece(plain []byte) ([]Node, error) {
	if len(plain) > chunk.MaxPlain {
		return nil, &FormatError{"tree piece", 0, fmt.Sprintf("%d bytes, more than a blob holds", len(plain))}
	}
	// One copy of the whole piece, of which all names are substrings: no allocation per name.
	d := pieceDecoder{decoder: decoder{what: "tree piece", data: string(plain)}}
	count := d.array(MaxPieceNodes, minNode)
	nodes := make([]Node, count)
	for i := range nodes {
		at := d.pos
		n := &nodes[i]
		d.node(n)
		if d.err != nil {
			return nil, d.err
		}
		if err := n.Validate(); err != nil {
			d.failAt(at, "%v", err)
		} else if i > 0 && n.Name <= nodes[i-1].Name {
			d.failAt(at, "node %.200q after %.200q", n.Name, nodes[i-1].Name)
		}
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return nodes, nil
}

type pieceDecoder struct {
	decoder
	slab []chunk.ID // room for the content of further nodes
}

func (d *pieceDecoder) node(n *Node) {
	fields := d.count(majorMap, "map", keyInode, 2)
	last := uint64(0)
	for range fields {
		last = d.key(last)
		switch last {
		case keyName:
			n.Name = d.some(d.bytes())
		case keyType:
			n.Type = NodeType(d.nonZero(math.MaxUint8))
		case keyMode:
			n.Mode = uint32(d.nonZero(MaxMode))
		case keyUID:
			n.UID = uint32(d.nonZero(math.MaxUint32))
		case keyGID:
			n.GID = uint32(d.nonZero(math.MaxUint32))
		case keyUser:
			n.User = d.some(d.bytes())
		case keyGroup:
			n.Group = d.some(d.bytes())
		case keyMtime:
			n.Mtime = d.time()
		case keyCtime:
			n.Ctime = d.time()
		case keyAtime:
			n.Atime = d.time()
		default:
			d.body(n, last)
		}
		if d.err != nil {
			return
		}
	}
}

func (d *pieceDecoder) body(n *Node, key uint64) {
	switch key {
	case keySize:
		n.Size = d.nonZero(math.MaxUint64)
	case keyContent:
		n.Content = d.ids(&d.slab)
	case keyDepth:
		n.Depth = uint8(d.nonZero(MaxDepth))
	case keyTarget:
		n.Target = d.some(d.bytes())
	case keyLink:
		d.tuple(2)
		n.Link = &LinkID{Device: d.uint(math.MaxUint64), Inode: d.uint(math.MaxUint64)}
	case keyDevice:
		d.tuple(2)
		n.Device = &Device{Major: uint32(d.uint(math.MaxUint32)), Minor: uint32(d.uint(math.MaxUint32))}
	case keyXattrs:
		n.Xattrs = d.xattrs()
	case keyHoles:
		n.Holes = d.holes()
	case keyError:
		n.Error = d.some(d.text())
	case keyInode:
		n.Inode = d.nonZero(math.MaxUint64)
	default:
		d.failAt(d.pos, "unknown key %d in a node", key)
	}
}

func (d *pieceDecoder) xattrs() []Xattr {
	count := d.array(d.left(), 4)
	xattrs := make([]Xattr, count)
	for i := range xattrs {
		d.tuple(2)
		xattrs[i].Name = d.bytes()
		xattrs[i].Value = []byte(d.bytes())
		if d.err != nil {
			return nil
		}
	}
	return xattrs
}

func (d *pieceDecoder) holes() []Range {
	at := d.pos
	count := d.array(d.left(), 1)
	if count%2 != 0 {
		d.failAt(at, "odd number of hole bounds")
		return nil
	}
	holes := make([]Range, count/2)
	for i := range holes {
		holes[i] = Range{Offset: d.uint(math.MaxUint64), Length: d.uint(math.MaxUint64)}
	}
	return holes
}

// slabIDs is how many ids are allocated at once for nodes with short content: most files have one.
const slabIDs = 256

// ids reads a byte string of joined ids, not empty. They come out of *slab where they fit; a nil slab
// gives them an array of their own.
func (d *decoder) ids(slab *[]chunk.ID) []chunk.ID {
	at := d.pos
	s := d.bytes()
	if d.err != nil {
		return nil
	}
	if len(s) == 0 || len(s)%32 != 0 {
		d.failAt(at, "%d bytes of ids, which have 32 bytes each", len(s))
		return nil
	}
	n := len(s) / 32
	var ids []chunk.ID
	if slab == nil || n > slabIDs/4 {
		ids = make([]chunk.ID, n)
	} else {
		if len(*slab) < n {
			*slab = make([]chunk.ID, max(n, min(slabIDs, n+d.left()/64)))
		}
		ids, *slab = (*slab)[:n:n], (*slab)[n:]
	}
	for i := range ids {
		copy(ids[i][:], s[32*i:])
	}
	return ids
}
