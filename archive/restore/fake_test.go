package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
	"cairn/remote/stripe"
	"cairn/snapshot"
)

// fake is an archive in memory.
type fake struct {
	mu      sync.Mutex
	blobs   map[chunk.ID][]byte
	missing map[chunk.ID]bool   // not in the index
	damaged map[chunk.ID]bool   // does not open
	away    map[chunk.ID]bool   // too few members have it
	hold    func(chunk.ID) bool // leaves blobs out of FetchRipe; nil: by their first bit
	fetched int
	chunk   int // length of chunks
	onFetch func(id chunk.ID) error
}

func newFake() *fake {
	return &fake{blobs: map[chunk.ID][]byte{}, missing: map[chunk.ID]bool{}, damaged: map[chunk.ID]bool{}, away: map[chunk.ID]bool{}, chunk: chunkSize}
}

func (f *fake) save(_ context.Context, plain []byte) (chunk.ID, error) {
	id := chunk.Sum(plain)
	f.blobs[id] = slices.Clone(plain)
	return id, nil
}

func (f *fake) Load(_ context.Context, t chunk.Type, id chunk.ID) ([]byte, error) {
	b, ok := f.blobs[id]
	if !ok || f.missing[id] {
		return nil, &archive.MissingError{Type: t, ID: id}
	}
	if f.damaged[id] {
		return nil, &archive.BlobDamage{Type: t, ID: id, Err: fmt.Errorf("rotten")}
	}
	if f.away[id] {
		return nil, &archive.BlobDamage{Type: t, ID: id, Err: &stripe.TooFewError{Need: 2, Have: 1, Missing: []string{"/mnt/b"}, Causes: []error{remote.ErrUnavailable}}}
	}
	return b, nil
}

func (f *fake) Ahead(context.Context, []chunk.ID) {}

func (f *fake) Sizes(_ context.Context, t chunk.Type, ids []chunk.ID, sizes []uint32) error {
	for i, id := range ids {
		b, ok := f.blobs[id]
		if !ok || f.missing[id] {
			return &archive.MissingError{Type: t, ID: id}
		}
		sizes[i] = uint32(len(b))
	}
	return nil
}

func (f *fake) Fetch(ctx context.Context, t chunk.Type, ids []chunk.ID, fn func(chunk.ID, []byte) error) error {
	distinct := map[chunk.ID]bool{}
	for _, id := range ids {
		distinct[id] = true
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		lost  archive.FetchError
		first error
	)
	work := make(chan chunk.ID)
	for range 3 {
		wg.Go(func() {
			scratch := make([]byte, 0, 1<<16)
			for id := range work {
				plain, err := f.Load(ctx, t, id)
				if err == nil && f.onFetch != nil {
					err = f.onFetch(id)
				}
				if err == nil {
					scratch = append(scratch[:0], plain...)
					err = fn(id, scratch)
					clear(scratch) // it is valid during the call only
				}
				mu.Lock()
				switch e := err.(type) {
				case nil:
				case *archive.MissingError:
					lost.Missing = append(lost.Missing, e)
				case *archive.BlobDamage:
					lost.Damaged = append(lost.Damaged, e)
				default:
					if first == nil {
						first = err
					}
				}
				f.fetched++
				mu.Unlock()
			}
		})
	}
	for id := range distinct {
		work <- id
	}
	close(work)
	wg.Wait()
	if first != nil {
		return first
	}
	if len(lost.Missing)+len(lost.Damaged) > 0 {
		return &lost
	}
	return ctx.Err()
}

// FetchRipe leaves out green blobs, and some others.
func (f *fake) FetchRipe(ctx context.Context, t chunk.Type, ids []chunk.ID, green func(chunk.ID) bool, fn func(chunk.ID, []byte) error) ([]chunk.ID, error) {
	hold := f.hold
	if hold == nil {
		hold = func(id chunk.ID) bool { return id[0]&0x80 != 0 }
	}
	var now, later []chunk.ID
	for _, id := range ids {
		if green != nil && (green(id) || hold(id)) {
			later = append(later, id)
		} else {
			now = append(now, id)
		}
	}
	return later, f.Fetch(ctx, t, now, fn)
}

// tree is a directory as a Go literal.
type tree []ent

type ent struct {
	snapshot.Node
	data string // of a file, holes included
	kids tree   // of a directory
}

// Times before 1970, and with nanoseconds.
var (
	early = snapshot.Time{Sec: -86400*365 - 1, Nsec: 123456789}
	late  = snapshot.Time{Sec: 1750000000, Nsec: 987654321}
)

func file_(name, data string, edit ...func(*snapshot.Node)) ent {
	e := ent{Node: snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o640, Mtime: late, Size: uint64(len(data))}, data: data}
	return e.with(edit)
}

func dir_(name string, kids tree, edit ...func(*snapshot.Node)) ent {
	e := ent{Node: snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o751, Mtime: early}, kids: kids}
	return e.with(edit)
}

func link_(name, target string, edit ...func(*snapshot.Node)) ent {
	e := ent{Node: snapshot.Node{Name: name, Type: snapshot.Symlink, Mode: 0o777, Mtime: late, Target: target}}
	return e.with(edit)
}

func node_(name string, t snapshot.NodeType, edit ...func(*snapshot.Node)) ent {
	e := ent{Node: snapshot.Node{Name: name, Type: t, Mode: 0o604, Mtime: early}}
	return e.with(edit)
}

func (e ent) with(edit []func(*snapshot.Node)) ent {
	e.UID, e.GID = uint32(uid), uint32(gid)
	for _, f := range edit {
		f(&e.Node)
	}
	return e
}

func mode(m uint32) func(*snapshot.Node) { return func(n *snapshot.Node) { n.Mode = m } }
func owner(u, g uint32) func(*snapshot.Node) {
	return func(n *snapshot.Node) { n.UID, n.GID = u, g }
}
func group(inode uint64) func(*snapshot.Node) {
	return func(n *snapshot.Node) { n.Link = &snapshot.LinkID{Device: 1, Inode: inode} }
}
func xattr(name, value string) func(*snapshot.Node) {
	return func(n *snapshot.Node) {
		n.Xattrs = append(n.Xattrs, snapshot.Xattr{Name: name, Value: []byte(value)})
	}
}
func hole(off, length uint64) func(*snapshot.Node) {
	return func(n *snapshot.Node) { n.Holes = append(n.Holes, snapshot.Range{Offset: off, Length: length}) }
}

const chunkSize = 1000

// put stores a tree and returns the root.
func (f *fake) put(t testing.TB, kids tree) Root {
	t.Helper()
	return f.dir(t, kids)
}

func (f *fake) dir(t testing.TB, kids tree) Root {
	nodes := make([]snapshot.Node, 0, len(kids))
	for _, e := range kids {
		n := e.Node
		switch n.Type {
		case snapshot.Dir:
			r := f.dir(t, e.kids)
			n.Content, n.Depth = r.Content, r.Depth
		case snapshot.File:
			if n.Error == "" {
				n.Content, n.Depth = f.content(t, e)
			}
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	content, depth, err := snapshot.SaveTree(t.Context(), nodes, f.save)
	if err != nil {
		t.Fatal(err)
	}
	return Root{Content: content, Depth: depth}
}

func (f *fake) content(t testing.TB, e ent) ([]chunk.ID, uint8) {
	data, at := "", uint64(0)
	for _, h := range e.Holes {
		data += e.data[at:h.Offset]
		at = h.Offset + h.Length
	}
	if at < uint64(len(e.data)) {
		data += e.data[at:]
	}
	var ids []chunk.ID
	for len(data) > 0 {
		n := min(f.chunk, len(data))
		id, _ := f.save(t.Context(), []byte(data[:n]))
		ids = append(ids, id)
		data = data[n:]
	}
	content, depth, err := snapshot.SaveContent(t.Context(), ids, f.save)
	if err != nil {
		t.Fatal(err)
	}
	return content, depth
}

// text gives n bytes without repetition.
func text(seed string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%s-%d ", seed, i)
	}
	return b.String()[:n]
}
