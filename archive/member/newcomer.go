package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cairn/archive"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
)

// maxCard is the largest card (docs/format.md §2).
const maxCard = 64 << 10

// newcomer says what is on a store that shall become a member: joined is the member that it is already (a run that was
// interrupted when the cards were being written), empty otherwise. What belongs to something else is refused.
func newcomer(ctx context.Context, a *archive.Archive, m archive.Member) (joined string, err error) {
	if m.Store == nil {
		return "", fmt.Errorf("%s: %w", m.URL, m.Err)
	}
	if _, err := m.Store.Stat(ctx, archive.SubName(0)+"/cairn.json"); !errors.Is(err, remote.ErrNotExist) {
		if err == nil {
			err = remote.WithHint(errors.New("it holds members of an archive"), "name an empty place")
		}
		return "", fmt.Errorf("%s: %w", m.URL, err)
	}
	if joined, err = cardOn(ctx, a, m); err != nil || joined != "" {
		return joined, err
	}
	return "", onlyOurs(ctx, a, m)
}

// Joined says whether a store is a member of the archive already: then a change of the layout was interrupted after its cards
// were written, and Relayout with that store goes on with it.
func Joined(ctx context.Context, a *archive.Archive, m archive.Member) (bool, error) {
	if m.Store == nil {
		return false, nil
	}
	id, err := cardOn(ctx, a, m)
	return id != "", err
}

// cardOn reads the card of a newcomer, if it has one. One that says more than the archive's other cards was written by a run that was
// interrupted before any of those was: it counts for nothing.
func cardOn(ctx context.Context, a *archive.Archive, m archive.Member) (joined string, err error) {
	data, err := remote.ReadAll(ctx, m.Store, "cairn.json", maxCard)
	if errors.Is(err, remote.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", m.URL, err)
	}
	var c archive.Card
	if err := json.Unmarshal(data, &c); err != nil {
		return "", fmt.Errorf("%s has a card that cannot be read: %w", m.URL, err)
	}
	if c.Archive != a.ID().String() {
		return "", remote.WithHint(fmt.Errorf("%s belongs to archive %.8s, this is archive %.8s", m.URL, c.Archive, a.ID()), "name an empty place")
	}
	for _, known := range a.Members() {
		if known.ID == c.Member {
			return c.Member, nil
		}
	}
	return "", nil
}

// onlyOurs refuses a store that holds anything of another archive, or so much of this one that it looks like a lost member:
// shards are what an interrupted Replace leaves, and they are proved before they are used.
func onlyOurs(ctx context.Context, a *archive.Archive, m archive.Member) error {
	for _, prefix := range []string{"index/", "binaries/"} {
		for info, err := range m.Store.List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("%s: list %s: %w", m.URL, prefix, err)
			}
			if _, _, ok := pack.ParseName(info.Name); !ok {
				continue
			}
			b, err := m.Store.Get(ctx, info.Name, -pack.HeaderSize, 0, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", m.URL, err)
			}
			h, err := pack.ParseHeader(b)
			if err != nil {
				continue // torn: it is made again
			}
			if h.Archive != a.ID() {
				return remote.WithHint(fmt.Errorf("%s holds packs of archive %.8s", m.URL, h.Archive), "name an empty place")
			}
			break // one tells
		}
	}
	for info, err := range m.Store.List(ctx, "keys/") {
		if err != nil {
			return fmt.Errorf("%s: list keys/: %w", m.URL, err)
		}
		data, err := remote.ReadAll(ctx, m.Store, info.Name, maxCard)
		if err != nil {
			return fmt.Errorf("%s: %w", m.URL, err)
		}
		if slot, err := seal.ParseSlot(data); err == nil && slot.Archive != a.ID() {
			return remote.WithHint(fmt.Errorf("%s holds a key slot of archive %.8s", m.URL, slot.Archive), "name an empty place")
		}
	}
	return nil
}
