package recover

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"cairn/archive"
	"cairn/chunk"
	"cairn/pack"
	"cairn/remote"
)

// listing knows which shards are there: one listing of all members instead of a request for each blob.
type listing struct {
	a       *archive.Archive
	of      map[pack.Geometry]map[pack.ID]*sizes // for each layout
	at      time.Time
	renewed int
}

// How often the members are listed again because a pack is not listed that the index names: it may have been stored since, or what was in it
// may be elsewhere by now. The first times always, then every ten seconds, because where members are lost there are thousands.
const (
	renewAlways = 4
	renewEvery  = 10 * time.Second
)

// renew reads index and listing again, and says whether it did.
func (l *listing) renew(ctx context.Context) (bool, error) {
	if l.renewed++; l.renewed > renewAlways && time.Since(l.at) < renewEvery {
		return false, nil
	}
	if err := l.a.Refresh(ctx); err != nil && (ctx.Err() != nil || !l.a.Salvages()) {
		return false, err
	}
	fresh, err := newListing(ctx, l.a)
	if err != nil {
		return false, err
	}
	l.of, l.at = fresh.of, fresh.at
	return true, nil
}

// sizes says which members of a layout hold a shard of the pack of which size. Shards of one pack are equally long; what was cut
// off, or is another object, has another size.
type sizes [2]struct {
	size int64
	on   uint32 // members
}

func (s *sizes) add(member int, size int64) {
	for i := range s {
		if s[i].on == 0 || s[i].size == size {
			s[i].size = size
			s[i].on |= 1 << member
			return
		}
	}
}

// newListing asks the members of all layouts for what they hold.
func newListing(ctx context.Context, a *archive.Archive) (*listing, error) {
	l := &listing{a: a, of: map[pack.Geometry]map[pack.ID]*sizes{}, at: time.Now()}
	for _, p := range a.Placements() {
		packs := map[pack.ID]*sizes{}
		l.of[p.Geometry] = packs
		_, err := p.Set.ListEach(ctx, "binaries/", func(member int, info remote.Info) error {
			id, _, ok := pack.ParseName(info.Name)
			if !ok || info.Size == 0 {
				return nil
			}
			if packs[id] == nil {
				packs[id] = &sizes{}
			}
			packs[id].add(member, info.Size)
			return nil
		})
		if err != nil && (ctx.Err() != nil || len(a.Placements()) == 1) { // nobody of a former layout may be left
			return nil, fmt.Errorf("list packs: %w", err)
		}
	}
	return l, nil
}

// state says whether a blob can be read.
type state int

const (
	gone   state = iota // its shard and too many others are not there
	whole               // its shard is there in full length, or k others
	partly              // perhaps: shards are there that were cut off
)

// of says whether the blob at a place can be read.
func (l *listing) state(at *pack.Location) state {
	s := l.of[at.Geometry][at.Pack]
	if s == nil {
		return gone
	}
	own := uint32(1) << pack.Member(at.Pack, at.Column, at.Geometry.N())
	full, cut := uint32(0), uint32(0)
	for i := range s {
		if s[i].size == pack.ShardSize(at.L) {
			full = s[i].on
		} else {
			cut |= s[i].on
		}
	}
	switch {
	case full&own != 0 || bits.OnesCount32(full) >= at.Geometry.K:
		return whole
	case cut&own != 0 || bits.OnesCount32(full|cut) >= at.Geometry.K:
		return partly
	}
	return gone
}

// readable says of each blob whether it can be read now; of those of which only a part of a shard is there by reading them.
func (l *listing) readable(ctx context.Context, t chunk.Type, ids []chunk.ID, at []pack.Location, ok []bool) error {
	if err := l.a.Locate(ctx, t, ids, at); err != nil {
		return err
	}
	if slices.ContainsFunc(at[:len(ids)], func(p pack.Location) bool { return !p.Found() || l.of[p.Geometry][p.Pack] == nil }) {
		if again, err := l.renew(ctx); err != nil {
			return err
		} else if again {
			if err := l.a.Locate(ctx, t, ids, at); err != nil {
				return err
			}
		}
	}
	var try []chunk.ID
	for i := range ids {
		ok[i] = false
		if !at[i].Found() {
			continue
		}
		switch l.state(&at[i]) {
		case whole:
			ok[i] = true
		case partly:
			try = append(try, ids[i])
		}
	}
	if len(try) == 0 {
		return nil
	}
	got := map[chunk.ID]bool{}
	var mu sync.Mutex
	err := l.a.Fetch(ctx, t, try, func(id chunk.ID, _ []byte) error {
		mu.Lock()
		defer mu.Unlock()
		got[id] = true
		return nil
	})
	var lost *archive.FetchError
	if err != nil && !errors.As(err, &lost) {
		return err
	}
	for i := range ids {
		ok[i] = ok[i] || got[ids[i]]
	}
	return nil
}
