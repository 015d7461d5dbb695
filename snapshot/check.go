package snapshot

import (
	"fmt"
	"strings"

	"cairn/chunk"
)

// Limits of format version 1 (docs/format.md §10); wire format, do not change.
const (
	MaxPieceNodes = 65536 // nodes in one tree piece
	MaxDepth      = 4     // levels of content lists above the blobs
	MaxPathDepth  = 4096  // elements of a path that a reader follows
	MaxMode       = 0o7777
)

// NodeError says why a node cannot be stored or must not be believed.
type NodeError struct {
	Name   string
	Reason string
}

func (e *NodeError) Error() string { return fmt.Sprintf("node %.200q: %s", e.Name, e.Reason) }

// ValidName says whether name can be an entry of a directory: one path element that cannot lead a
// restore out of its target. Any other bytes are allowed, valid UTF-8 or not.
func ValidName(name string) error {
	switch {
	case name == "":
		return &NodeError{name, "empty name"}
	case name == "." || name == "..":
		return &NodeError{name, "name is reserved"}
	case strings.IndexByte(name, '/') >= 0:
		return &NodeError{name, "slash in a name"}
	case strings.IndexByte(name, 0) >= 0:
		return &NodeError{name, "NUL in a name"}
	}
	return nil
}

// Validate says whether the node can be stored: its name and values are within the limits and it
// carries no field of another type. Encoding and decoding both ask it, so what is written can be
// read and the other way round.
func (n *Node) Validate() error {
	if err := ValidName(n.Name); err != nil {
		return err
	}
	if reason := n.fault(); reason != "" {
		return &NodeError{n.Name, reason}
	}
	return nil
}

func (n *Node) fault() string {
	switch {
	case n.Type < File || n.Type > BlockDevice:
		return fmt.Sprintf("unknown type %d", n.Type)
	case n.Mode > MaxMode:
		return fmt.Sprintf("mode %#o is above %#o", n.Mode, MaxMode)
	case !n.Mtime.valid() || !n.Ctime.valid() || !n.Atime.valid():
		return "nanoseconds of a time are out of range"
	}
	if reason := n.foreign(); reason != "" {
		return reason
	}
	switch {
	case n.Depth > MaxDepth:
		return fmt.Sprintf("content list of depth %d, more than %d", n.Depth, MaxDepth)
	case n.Depth > 0 && len(n.Content) == 0:
		return "depth without content"
	case len(n.Content) > chunk.MaxPlain/len(chunk.ID{}):
		return "content list is too long for one node"
	case n.isDevice() && n.Device == nil && n.Error == "":
		return "device without a number"
	}
	if reason := faultOfXattrs(n.Xattrs); reason != "" {
		return reason
	}
	return faultOfHoles(n.Holes, n.Size)
}

// foreign names a field that does not belong to the type of the node.
func (n *Node) foreign() string {
	switch {
	case n.Type != File && n.Size != 0:
		return "size on a node that is no file"
	case n.Type != File && len(n.Holes) > 0:
		return "holes in a node that is no file"
	case n.Type != File && n.Type != Dir && (len(n.Content) > 0 || n.Depth != 0):
		return "content in a node that is neither file nor directory"
	case n.Type != Symlink && n.Target != "":
		return "link target on a node that is no symlink"
	case n.Type == Dir && n.Link != nil:
		return "hard link to a directory"
	case !n.isDevice() && n.Device != nil:
		return "device number on a node that is no device"
	}
	return ""
}

func (n *Node) isDevice() bool { return n.Type == CharDevice || n.Type == BlockDevice }

func (t Time) valid() bool { return t.Nsec < 1_000_000_000 }

func faultOfXattrs(xattrs []Xattr) string {
	for i, x := range xattrs {
		switch {
		case x.Name == "" || strings.IndexByte(x.Name, 0) >= 0:
			return fmt.Sprintf("extended attribute name %.200q", x.Name)
		case i > 0 && x.Name <= xattrs[i-1].Name:
			return fmt.Sprintf("extended attribute %.200q after %.200q", x.Name, xattrs[i-1].Name)
		}
	}
	return ""
}

func faultOfHoles(holes []Range, size uint64) string {
	end := uint64(0)
	for i, h := range holes {
		switch {
		case h.Length == 0:
			return "empty hole"
		case i > 0 && h.Offset < end:
			return "holes are not in order"
		case h.Offset > size || h.Length > size-h.Offset:
			return "hole reaches beyond the end of the file"
		}
		end = h.Offset + h.Length
	}
	return ""
}
