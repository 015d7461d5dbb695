package backup

import (
	"context"
	"slices"
	"strings"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// memory is what an earlier backup knew of one directory, from the stat cache or from a snapshot.
type memory struct {
	parts   [][]known  // by name; not one slice, because growing it would take twice the space
	count   int        // in all parts
	content []chunk.ID // of the directory's tree; with whole, it is the tree of exactly these nodes
	depth   uint8
	whole   bool
	cached  bool // it is what the stat cache holds now
}

// known is an entry as it was recorded.
type known struct {
	node    snapshot.Node
	trusted bool // may be taken for what is there, if the stat says so
}

// seeker finds names in a memory, each larger than the one before.
type seeker struct{ parts [][]known }

func (s *seeker) find(name string) *known {
	for len(s.parts) > 0 {
		part := s.parts[0]
		if len(part) == 0 {
			s.parts = s.parts[1:]
			continue
		}
		k := &part[0]
		c := strings.Compare(k.node.Name, name)
		if c > 0 {
			return nil
		}
		s.parts[0] = part[1:]
		if c == 0 {
			return k
		}
	}
	return nil
}

// seek returns a seeker; the memory stays as it is.
func (m *memory) seek() seeker { return seeker{slices.Clone(m.parts)} }

// settled says that every entry may be trusted.
func (m *memory) settled() bool {
	for _, part := range m.parts {
		for i := range part {
			if !part[i].trusted {
				return false
			}
		}
	}
	return true
}

// A time stamp is racy when a write that the backup did not see could have left the same one. racyWindow is how much
// older than the backup's start it must be to be believed: FAT counts in 2 s, and a kernel's clock tick of up to 10 ms
// lets a file be written twice with one stamp. One that lies more than farAhead in the future was set by hand; a write
// would have set another. The day in between is for servers whose clock runs ahead.
const (
	racyWindow = 2 * time.Second
	farAhead   = 24 * time.Hour
)

// doubt is the span of time stamps that are not believed.
type doubt struct{ from, to snapshot.Time }

// doubtOf returns the span for a backup that began at start, judged now.
func doubtOf(start, now time.Time) doubt {
	return doubt{snapshot.TimeOf(start.Add(-racyWindow)), snapshot.TimeOf(now.Add(farAhead))}
}

func (d doubt) holds(t snapshot.Time) bool { return !before(t, d.from) && before(t, d.to) }

func before(a, b snapshot.Time) bool {
	return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec
}

// settled says that a node may be believed as long as its stat stays as it is.
func (d doubt) settled(n *snapshot.Node) bool {
	return n.Error == "" && !d.holds(n.Mtime) && !d.holds(n.Ctime)
}

// recall finds what is known of a directory. recorded is its node in the memory of its parent, or nil.
func (r *run) recall(ctx context.Context, path string, recorded *snapshot.Node) *memory {
	if r.o.Force {
		return new(memory)
	}
	if r.o.Cache != nil {
		m, err := loadMemory(r.o.Cache, path)
		if err != nil {
			r.cacheTrouble.Do(func() { r.tally.note(path, err) })
		}
		if m != nil {
			return m
		}
	}
	if p := r.o.Parent; p != nil && recorded != nil && recorded.Type == snapshot.Dir && recorded.Error == "" {
		if m := r.recallTree(ctx, p, recorded); m != nil {
			return m
		}
	}
	return new(memory)
}

// treePart is how many nodes of a previous tree make a part.
const treePart = 1024

func (m *memory) add(part []known) {
	if len(part) > 0 {
		m.parts = append(m.parts, part)
		m.count += len(part)
	}
}

// recallTree reads a directory of the previous snapshot. One that cannot be read is no memory; `check` is
// what tells about damage.
func (r *run) recallTree(ctx context.Context, p *Parent, dir *snapshot.Node) *memory {
	m := &memory{content: dir.Content, depth: dir.Depth, whole: true}
	racy := doubtOf(p.Start, r.o.clock())
	var part []known
	for n, err := range snapshot.Nodes(ctx, p.Load, dir.Content, dir.Depth) {
		if err != nil {
			return nil
		}
		if part = append(part, known{*n, racy.settled(n)}); len(part) == treePart {
			m.add(part)
			part = nil
		}
	}
	m.add(part)
	return m
}

// node makes the node of an entry from its stat alone.
func (r *run) node(name string, st *stat) snapshot.Node {
	n := snapshot.Node{
		Name: name, Type: st.kind, Mode: st.mode, UID: st.uid, GID: st.gid,
		User: r.owners.user(st.uid), Group: r.owners.group(st.gid),
		Mtime: st.mtime, Ctime: st.ctime, Inode: st.ino,
	}
	if r.o.WithAtime {
		n.Atime = st.atime
	}
	switch st.kind {
	case snapshot.File:
		n.Size = st.size
	case snapshot.CharDevice, snapshot.BlockDevice:
		d := st.device()
		n.Device = &d
	}
	if st.nlink > 1 && st.kind != snapshot.Dir {
		n.Link = &snapshot.LinkID{Device: st.dev, Inode: st.ino}
	}
	return n
}

// sameContent says whether old can stand for what the stat shows, as far as content goes.
func (r *run) sameContent(old *snapshot.Node, st *stat) bool {
	return old.Type == st.kind && old.Mtime == st.mtime && (st.kind != snapshot.File || old.Size == st.size) &&
		(r.o.IgnoreCtime || old.Ctime == st.ctime) && (r.o.IgnoreInode || old.Inode == st.ino)
}

// update makes the node of an entry whose content is known from old. It returns old itself if nothing differs, so
// that equal pointers mean an equal encoding. xattrs are read again only if the ctime says that they may differ.
func (r *run) update(old *snapshot.Node, st *stat, xattrs func() []snapshot.Xattr) *snapshot.Node {
	n := r.node(old.Name, st)
	if n.User == "" { // the directory service may be away today
		n.User = old.User
	}
	if n.Group == "" {
		n.Group = old.Group
	}
	n.Content, n.Depth, n.Holes, n.Target, n.Xattrs = old.Content, old.Depth, old.Holes, old.Target, old.Xattrs
	if old.Ctime != st.ctime {
		n.Xattrs = xattrs()
	}
	if sameNode(old, &n) {
		return old
	}
	return &n
}

// sameNode says whether two nodes have the same encoding.
func sameNode(a, b *snapshot.Node) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.User == b.User && a.Group == b.Group &&
		a.Mtime == b.Mtime && a.Ctime == b.Ctime && a.Atime == b.Atime &&
		a.Size == b.Size && a.Depth == b.Depth && slices.Equal(a.Content, b.Content) &&
		a.Target == b.Target && samePointer(a.Link, b.Link) && samePointer(a.Device, b.Device) &&
		slices.EqualFunc(a.Xattrs, b.Xattrs, sameXattr) && slices.Equal(a.Holes, b.Holes) &&
		a.Inode == b.Inode && a.Error == b.Error
}

func samePointer[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameXattr(a, b snapshot.Xattr) bool {
	return a.Name == b.Name && string(a.Value) == string(b.Value)
}
