package recover

import (
	"bytes"
	"context"
	"fmt"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// take copies one object to where it belongs.
func (i *importer) take(ctx context.Context, m archive.Member, info remote.Info) error {
	if i.o.Progress != nil {
		i.o.Progress.Add(1)
	}
	kind, err := i.magic(ctx, m, info)
	if err != nil {
		return err
	}
	switch kind {
	case magicShard:
		return i.takeShard(ctx, m, info)
	case magicSlot, magicSnapshot, magicMark, magicRef:
		data, err := remote.ReadAll(ctx, m.Store, info.Name, maxMirrored)
		if err != nil {
			return i.strange(ctx)
		}
		return i.takeCopy(ctx, kind, data)
	}
	return i.strange(ctx)
}

// maxMirrored is the size of the largest object that all members have a copy of: a snapshot (docs/format.md §10).
const maxMirrored = 64 << 20

// magic says what an object seems to be. A shard that lost its beginning still has its header's copy.
func (i *importer) magic(ctx context.Context, m archive.Member, info remote.Info) (string, error) {
	if info.Size < magicSize {
		return "", nil
	}
	for _, from := range []int64{0, -pack.HeaderSize} {
		if from < 0 && info.Size < 2*pack.HeaderSize {
			break
		}
		head, err := m.Store.Get(ctx, info.Name, from, magicSize, nil)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil || len(head) < magicSize {
			continue
		}
		switch magic := string(head[:magicSize]); magic {
		case magicShard:
			return magic, nil
		case magicSlot, magicSnapshot, magicMark, magicRef:
			if from == 0 {
				return magic, nil
			}
		}
	}
	return "", nil
}

func (i *importer) strange(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.report.Strange++
	return ctx.Err()
}

// takeShard proves a shard and puts it on its member.
func (i *importer) takeShard(ctx context.Context, m archive.Member, info remote.Info) error {
	data, err := remote.ReadAll(ctx, m.Store, info.Name, pack.ShardSize(pack.MaxColumn))
	if err != nil {
		return i.strange(ctx)
	}
	h, err := prove(data)
	if h == nil || h.VerifySignature(i.keys) != nil || h.Geometry != i.geometry {
		return i.strange(ctx)
	}
	at := place{h.ID, h.Shard}
	if err != nil && !archive.PayloadGood(err) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.report.Damaged++
		i.bad = append(i.bad, source{m.Store, info.Name, at, h.Kind})
		return nil
	}
	i.mu.Lock()
	known := i.done[at]
	i.done[at] = true
	if !known {
		i.report.Shards++
	}
	i.mu.Unlock()
	if known {
		return nil
	}
	return i.put(ctx, pack.Member(at.id, at.shard, len(i.to)), h.ID.Name(h.Kind), data)
}

// prove checks a shard by the header that it has, at its beginning or at its end.
func prove(data []byte) (*pack.Header, error) {
	for _, part := range [][]byte{data, data[max(0, len(data)-pack.HeaderSize):]} {
		if h, err := pack.ParseHeader(part); err == nil {
			return pack.CheckShard(h.ID, data)
		}
	}
	return nil, pack.ErrTruncated
}

// takeCopy proves a slot, a snapshot, a mark or a reference and puts it on all members.
func (i *importer) takeCopy(ctx context.Context, kind string, data []byte) error {
	name, snapshot := "", false
	switch kind {
	case magicSlot:
		if s, err := seal.ParseSlot(data); err == nil && s.Archive == i.keys.Archive() {
			name = "keys/" + s.ID.String()
		}
	case magicSnapshot:
		if _, err := i.keys.VerifySnapshot(data); err == nil {
			name, snapshot = "snapshots/"+chunk.Sum(data).String(), true
		}
	case magicMark:
		if id, err := i.keys.DecodeMark(data); err == nil {
			name = "snapshots/" + chunk.ID(id).String() + ".ok"
		}
	case magicRef:
		if _, err := i.keys.DecodeRef(data); err == nil {
			name = "snapshots/" + chunk.Sum(data).String() + ".ref"
		}
	}
	if name == "" {
		return i.strange(ctx)
	}
	at := place{id: pack.ID(chunk.Sum([]byte(name))), shard: -1}
	i.mu.Lock()
	known := i.done[at]
	i.done[at] = true
	if !known && snapshot {
		i.report.Snapshots++
	}
	if !known && kind == magicSlot {
		i.report.Slots++
	}
	i.mu.Unlock()
	if known {
		return nil
	}
	for n := range i.to {
		if err := i.put(ctx, n, name, data); err != nil {
			return err
		}
	}
	return nil
}

// lastResort copies damaged shards of which no good copy was found: block by block they may still be of use.
func (i *importer) lastResort(ctx context.Context) error {
	for _, s := range i.bad {
		if _, there := i.done[s.place]; there {
			continue
		}
		i.done[s.place] = false
		data, err := remote.ReadAll(ctx, s.store, s.name, pack.ShardSize(pack.MaxColumn))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if err := i.put(ctx, pack.Member(s.place.id, s.place.shard, len(i.to)), s.place.id.Name(s.kind), data); err != nil {
			return err
		}
	}
	return nil
}

// put stores an object unless it is there. What an earlier run put there as a last resort gives way to what is good.
func (i *importer) put(ctx context.Context, member int, name string, data []byte) error {
	if i.o.DryRun {
		return nil
	}
	m := i.to[member]
	if old, err := remote.ReadAll(ctx, m.Store, name, int64(len(data))); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := m.Store.Put(ctx, name, data); err != nil {
		return fmt.Errorf("%s: %w", m.URL, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.report.Copied++
	return nil
}
