package recover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/archive"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// CardsOptions say how to open the keys and whether to write.
type CardsOptions struct {
	Keys        *seal.Keys        // from a recovery text; nil: the slots in the heaps are tried with Credentials
	Credentials []seal.Credential // key files, passwords
	DryRun      bool
	Now         time.Time
}

// CardsReport says which heap is which member.
type CardsReport struct {
	Archive seal.ArchiveID
	Layouts []pack.Geometry // the current one first
	Heaps   []*Heap
	Lacking []int // numbers in the current layout of members that none of the heaps is
	Slots   int   // key slots that are there
}

// ErrMixed means that shards of several members lie together in one place: it is no member as it is.
var ErrMixed = errors.New("shards of several members lie together")

// mixedAbove is the share of foreign shards, 1 in so many, above which a heap is no member: a few were copied by mistake.
const mixedAbove = 20

// Cards finds out which member of which archive each of the heaps is, and writes new cards. An empty store takes the
// place of a member that is lost: RepairPack fills it. It fails with ErrMixed where Import is needed.
func Cards(ctx context.Context, stores []archive.Member, o CardsOptions) (*CardsReport, error) {
	stores, err := belowOne(ctx, stores)
	if err != nil {
		return nil, err
	}
	for _, m := range stores {
		if m.Err != nil {
			return nil, fmt.Errorf("%s: %w", m.URL, m.Err)
		}
		if has, err := archive.HasCard(ctx, m.Store); err != nil {
			return nil, fmt.Errorf("%s: %w", m.URL, err)
		} else if has {
			return nil, remote.WithHint(fmt.Errorf("%s has a card", m.URL), "open the archive with it: `cairn repair` gives the other members theirs again; if the card is damaged, remove it")
		}
	}
	r := &CardsReport{}
	keys, err := r.keys(ctx, stores, o)
	if err != nil {
		return nil, err
	}
	r.Archive = keys.Archive()
	for _, m := range stores {
		h, err := survey(ctx, m, keys)
		if err != nil {
			return nil, err
		}
		r.Heaps = append(r.Heaps, h)
	}
	layouts, err := r.layouts()
	if err != nil || o.DryRun {
		return r, err
	}
	return r, archive.WriteLostCards(ctx, keys, stores, layouts, o.Now)
}

// belowOne replaces a store that holds several members by those.
func belowOne(ctx context.Context, stores []archive.Member) ([]archive.Member, error) {
	var out []archive.Member
	for _, m := range stores {
		if m.Err != nil || m.Store == nil {
			return nil, fmt.Errorf("%s: %w", m.URL, m.Err)
		}
		subs, err := subsOf(ctx, m)
		if err != nil {
			return nil, err
		}
		out = append(out, subs...)
	}
	return out, nil
}

// subsOf returns the members below a store, or the store itself if there are none: objects below m00/ and the like tell.
func subsOf(ctx context.Context, m archive.Member) ([]archive.Member, error) {
	var subs []archive.Member
	for i := range pack.MaxShards {
		sub := archive.Member{URL: m.URL + "/" + archive.SubName(i), Store: remote.Sub(m.Store, archive.SubName(i))}
		for _, err := range sub.Store.List(ctx, "") {
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sub.URL, err)
			}
			subs = append(subs, sub)
			break
		}
	}
	if len(subs) == 0 {
		return []archive.Member{m}, nil
	}
	return subs, nil
}

// keys opens a key slot of the heaps, unless the keys are at hand.
func (r *CardsReport) keys(ctx context.Context, stores []archive.Member, o CardsOptions) (*seal.Keys, error) {
	slots, err := slotsIn(ctx, stores)
	if err != nil {
		return nil, err
	}
	r.Slots = len(slots)
	if o.Keys != nil {
		return o.Keys, nil
	}
	if len(slots) == 0 {
		return nil, remote.WithHint(errors.New("there is no key slot in any of these places"), "give the recovery text that `cairn key export` printed once (--recovery-text FILE); if the objects lie there under other names, sort them into a new archive (--to NEW…)")
	}
	id, found := seal.ArchiveID{}, false
	for _, m := range stores {
		if id, found, err = archiveOf(ctx, m); err != nil {
			return nil, err
		} else if found {
			break
		}
	}
	if !found {
		return nil, errors.New("there is no shard in any of these places")
	}
	slots = slices.DeleteFunc(slots, func(s *seal.Slot) bool { return s.Archive != id })
	keys, _, err := seal.OpenSlots(slots, o.Credentials)
	return keys, err
}

// maxSlot is more than the largest key slot (docs/format.md §10).
const maxSlot = 64 << 10

// slotsIn reads the key slots in the heaps, each once.
func slotsIn(ctx context.Context, stores []archive.Member) ([]*seal.Slot, error) {
	byID := map[seal.SlotID]*seal.Slot{}
	for _, m := range stores {
		for info, err := range m.Store.List(ctx, "keys/") {
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.URL, err)
			}
			data, err := remote.ReadAll(ctx, m.Store, info.Name, maxSlot)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				continue
			}
			if s, err := seal.ParseSlot(data); err == nil { // a damaged copy counts as none
				byID[s.ID] = s
			}
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b *seal.Slot) int { return a.Created.Compare(b.Created) }), nil
}

// layouts works out which heap is which member of each layout.
func (r *CardsReport) layouts() ([]archive.FoundLayout, error) {
	seen := map[pack.Geometry]bool{}
	for i := range r.Heaps {
		for g := range r.Heaps[i].votes {
			seen[g] = true
		}
	}
	if len(seen) == 0 {
		return nil, remote.WithHint(errors.New("there is no shard of this archive in any of these places"), "name the directories that hold `binaries` and `index`; `cairn repair --cards … --to …` finds shards under any name")
	}
	r.Layouts = slices.SortedFunc(maps.Keys(seen), func(a, b pack.Geometry) int { return cmp.Compare(b.Epoch, a.Epoch) })
	var list []archive.FoundLayout
	for i, g := range r.Layouts {
		if i > 0 && r.Layouts[i-1].Epoch == g.Epoch {
			return nil, fmt.Errorf("there are shards of %d+%d and of %d+%d, both of layout %d: they are not of one archive", r.Layouts[i-1].K, r.Layouts[i-1].M, g.K, g.M, g.Epoch)
		}
		l, err := r.layout(g, i == 0)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, r.fillIn(&list[0])
}

// layout elects the members of one layout.
func (r *CardsReport) layout(g pack.Geometry, current bool) (archive.FoundLayout, error) {
	l := archive.FoundLayout{Geometry: g, Members: slices.Repeat([]int{-1}, g.N())}
	for i := range r.Heaps {
		h := r.Heaps[i]
		number, foreign := h.elect(g)
		if number < 0 {
			continue
		}
		h.Foreign += foreign
		h.Asked = h.headers
		if votes := h.votes[g][number]; foreign*mixedAbove > votes+foreign {
			return l, remote.WithHint(fmt.Errorf("%s: %w: of %d that were asked, %d belong on member %d, %d on others", h.URL, ErrMixed, votes+foreign, votes, number, foreign),
				fmt.Sprintf("sort them into a new archive: name %d empty directories with --to", g.N()))
		}
		if other := l.Members[number]; other >= 0 {
			return l, remote.WithHint(fmt.Errorf("%s and %s are both member %d of layout %d+%d", r.Heaps[other].URL, h.URL, number, g.K, g.M),
				"one may be a copy of the other: leave it out; if they hold different shards, sort them into a new archive with --to")
		}
		l.Members[number] = i
		if current {
			h.Number = number
		}
	}
	return l, nil
}

// fillIn puts empty stores into the places of members that are not there. A store with shards of a former layout only keeps
// to that one.
func (r *CardsReport) fillIn(l *archive.FoundLayout) error {
	var empty []string
	for i := range r.Heaps {
		h := r.Heaps[i]
		if h.headers > 0 {
			continue
		}
		if h.Shards > 0 {
			return fmt.Errorf("%s: none of %d shards that were read proves itself: nothing tells which member it is", h.URL, min(h.Shards, asked))
		}
		free := slices.Index(l.Members, -1)
		if free < 0 {
			empty = append(empty, h.URL)
			continue
		}
		l.Members[free], h.Number = i, free
	}
	if len(empty) > 0 {
		return fmt.Errorf("all %d members are there without %s", len(l.Members), strings.Join(empty, ", "))
	}
	for n, i := range l.Members {
		if i < 0 {
			r.Lacking = append(r.Lacking, n)
		}
	}
	return nil
}
