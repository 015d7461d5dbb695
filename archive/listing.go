package archive

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// maxMembers bounds the members of all layouts of an archive together (docs/format.md §10).
const maxMembers = 256

// memberMask is a set of members, by their place in Members.
type memberMask [maxMembers / 64]uint64

func (m *memberMask) set(i int)     { m[i/64] |= 1 << (i % 64) }
func (m memberMask) has(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }

// hasFirst says whether the set holds the members 0 to n-1: those of the current layout, which come first.
func (m memberMask) hasFirst(n int) bool {
	for i := range n {
		if !m.has(i) {
			return false
		}
	}
	return true
}

// PackListing is what the listings of all members say of one pack.
type PackListing struct {
	Pack   pack.ID
	Kind   chunk.Type // chunk.Index, or 0 for a pack below binaries/
	Shards []ListedShard
}

// ListedShard is one object of the pack's name.
type ListedShard struct {
	Member int // in Members
	Size   int64
}

func (l *PackListing) on() (m memberMask) {
	for _, s := range l.Shards {
		m.set(s.Member)
	}
	return m
}

// maxListed bounds the objects that are held while packs are listed: 12 MB. An archive with more of them is listed by the
// levels of the pair-tree, 256 listings instead of one.
const maxListed = 1 << 18

var errTooMany = errors.New("too many objects for one listing")

// ListPacks lists the packs below a prefix ("binaries/" or "index/") on the members of all layouts and calls fn with each,
// once, in no particular order. The listing is not of one moment. errs is by member, in the order of Members: those that
// could not be listed to their end, and what only they have may be missing. It is an error if that is all of them, or fn's.
func (a *Archive) ListPacks(ctx context.Context, prefix string, fn func(*PackListing) error) (errs []error, err error) {
	return a.listPacks(ctx, prefix, maxListed, fn)
}

func (a *Archive) listPacks(ctx context.Context, prefix string, most int, fn func(*PackListing) error) ([]error, error) {
	l := &packLister{a: a, most: most, fn: fn, errs: make([]error, len(a.ids))}
	err := l.below(ctx, prefix)
	return l.errs, err
}

// packLister is one call of ListPacks.
type packLister struct {
	a    *Archive
	most int
	fn   func(*PackListing) error
	errs []error
}

type listedObject struct {
	id     pack.ID
	kind   chunk.Type
	member int
	size   int64
}

// below lists what is below one prefix, at once or, if that is too much, one level further down.
func (l *packLister) below(ctx context.Context, prefix string) error {
	const levels = 1 + 3 // binaries/ab/cd/ef/
	split := strings.Count(prefix, "/") < levels
	var objects []listedObject
	errs, err := l.a.all.ListEach(ctx, prefix, func(member int, info remote.Info) error {
		id, kind, ok := pack.ParseName(info.Name)
		if !ok {
			return nil
		}
		if objects = append(objects, listedObject{id, kind, member, info.Size}); len(objects) > l.most && split {
			return errTooMany
		}
		return nil
	})
	if errors.Is(err, errTooMany) {
		for b := range 256 {
			if err := l.below(ctx, prefix+hex.EncodeToString([]byte{byte(b)})+"/"); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	for i, err := range errs {
		if l.errs[i] == nil {
			l.errs[i] = err
		}
	}
	return l.tell(objects)
}

// tell puts the shards of each pack together.
func (l *packLister) tell(objects []listedObject) error {
	slices.SortFunc(objects, func(a, b listedObject) int { return bytes.Compare(a.id[:], b.id[:]) })
	for from, to := 0, 0; from < len(objects); from = to {
		p := &PackListing{Pack: objects[from].id, Kind: objects[from].kind}
		for to = from; to < len(objects) && objects[to].id == p.Pack; to++ {
			p.Shards = append(p.Shards, ListedShard{objects[to].member, objects[to].size})
		}
		if err := l.fn(p); err != nil {
			return err
		}
	}
	return nil
}

// lacking is what the last listing of a small prefix (keys/, snapshots/, index/) showed: which objects some member lacks. It is
// remembered because a backup lists them anyway, and what it finds is mended at its end (CatchUp).
type lacking struct {
	unlisted memberMask
	objects  map[string]memberMask // those that a member lacks: where they are
	uneven   map[string]bool       // of objects: the copies differ in length
	total    int
}

// listings keeps the last listing of each prefix, and what this process has written to some members only.
type listings struct {
	mu    sync.Mutex
	of    map[string]*lacking
	short map[string]memberMask // mirrored objects: where they are
}

func (l *listings) put(prefix string, seen *lacking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]*lacking{}
	}
	l.of[prefix] = seen
}

// take returns the last listing of a prefix, once: what was mended by it is not lacking any more.
func (l *listings) take(prefix string) *lacking {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.of[prefix]
	delete(l.of, prefix)
	return seen
}

// missed notes a mirrored object that not all members of the current layout took.
func (l *listings) missed(name string, res stripe.Result) {
	if res.Full() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.short == nil {
		l.short = map[string]memberMask{}
	}
	var m memberMask
	for i, ok := range res.Acked {
		if ok {
			m.set(i)
		}
	}
	l.short[name] = m
}

// takeShort returns what missed noted, once.
func (l *listings) takeShort() map[string]memberMask {
	l.mu.Lock()
	defer l.mu.Unlock()
	short := l.short
	l.short = nil
	return short
}

// listCopies lists mirrored objects: on which members each is. It remembers what is lacking.
func (a *Archive) listCopies(ctx context.Context, prefix string) (map[string]memberMask, *lacking, error) {
	on := map[string]memberMask{}
	size := map[string]int64{}
	seen := &lacking{objects: map[string]memberMask{}, uneven: map[string]bool{}}
	errs, err := a.all.ListEach(ctx, prefix, func(member int, info remote.Info) error {
		if first, ok := size[info.Name]; ok && first != info.Size {
			seen.uneven[info.Name] = true
		}
		size[info.Name] = info.Size
		m := on[info.Name]
		m.set(member)
		on[info.Name] = m
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	seen.note(errs)
	seen.total = len(on)
	n := a.geom.N() // the current layout's members are the first
	for name, m := range on {
		if seen.uneven[name] || !m.hasFirst(n) {
			seen.objects[name] = m
		}
	}
	a.listings.put(prefix, seen)
	return on, seen, nil
}

func (l *lacking) note(errs []error) {
	for i, err := range errs {
		if err != nil {
			l.unlisted.set(i)
		}
	}
}
