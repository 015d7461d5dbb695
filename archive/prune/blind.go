package prune

import (
	"errors"
	"fmt"
	"strings"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote"
)

// maxNamedSegments bounds the segments that a refusal names.
const maxNamedSegments = 8

// seesAll refuses to go on while an index segment that is listed cannot be read. What only it names looks like what a dead session left, and would
// be deleted: marking notices that complete snapshots need it, and nothing notices that incomplete ones do, or one that is about to be published.
func (g *Prune) seesAll() error { return blindTo(g.a.UnreadSegments(), g.a.Geometry().M) }

// blindTo is the error about segments that cannot be read, nil if there are none.
func blindTo(list []archive.UnreadSegment, parity int) error {
	if len(list) == 0 {
		return nil
	}
	var names []string
	for i, s := range list {
		if i == maxNamedSegments {
			names = append(names, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		names = append(names, s.ID.Name(chunk.Index))
	}
	cause := list[0].Err
	for _, s := range list {
		if archive.Fleeting(s.Err) {
			cause = s.Err
		}
	}
	err := fmt.Errorf("%s cannot be read, and what only it names would be taken for garbage; nothing was deleted: %w", strings.Join(names, ", "), cause)
	if archive.Fleeting(cause) {
		return remote.WithHint(err, "this may be over soon: run prune again; see `cairn member list` for members that do not answer")
	}
	next := "`cairn repair --index` finds in the packs what it named, names that anew, and gives it up; then prune again"
	if parity > 0 {
		next = "`cairn repair` makes it whole if enough shards are left; if not, " + next
	}
	return &DamageError{Err: err, Next: next}
}

// unreadable is the same for a segment that this machine has read before, and that is to be replaced: other machines are blind to it.
func (g *Prune) unreadable(err error) error {
	var d *archive.PackDamage
	if !errors.As(err, &d) || d.Kind != chunk.Index {
		return err
	}
	return blindTo([]archive.UnreadSegment{{ID: d.Pack, Err: err}}, g.a.Geometry().M)
}
