package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
	"cairn/remote/stripe"
	"cairn/snapshot"
)

// MirroredPrefixes are the folders of key slots, of gc records, and of snapshots with their marks and the references to them. A record comes before the snapshots
// that it forgets.
func MirroredPrefixes() []string { return []string{keyPrefix, recordPrefix, snapshotPrefix} }

// Mirrored says whether the format knows a name below one of MirroredPrefixes; others are left alone.
func Mirrored(name string) bool {
	if rest, ok := strings.CutPrefix(name, keyPrefix); ok {
		_, err := seal.ParseSlotID(rest)
		return err == nil
	}
	if _, ok := ParseRecordName(name); ok {
		return true
	}
	if _, ok := ParseRefName(name); ok {
		return true
	}
	_, _, ok := ParseSnapshotName(name)
	return ok
}

// ParseSnapshotName takes the name of a snapshot, or of its mark, apart.
func ParseSnapshotName(name string) (id chunk.ID, mark, ok bool) {
	base, ok := strings.CutPrefix(name, snapshotPrefix)
	if !ok {
		return id, false, false
	}
	base, mark = strings.CutSuffix(base, markSuffix)
	id, err := chunk.ParseID(base)
	return id, mark, err == nil
}

// VerifyCopy says what is wrong with a copy of a mirrored object. Without keys it compares it with its name, its checksum,
// its structure and its own signature; with keys it authenticates it as far as they allow.
func (a *Archive) VerifyCopy(name string, data []byte) error {
	if strings.HasPrefix(name, keyPrefix) {
		_, err := a.parseSlot(name, data)
		return err
	}
	if id, ok := ParseRecordName(name); ok {
		if err := verifyNamed(id, data); err != nil {
			return err
		}
		_, err := a.openRecord(id, data)
		return err
	}
	if id, ok := ParseRefName(name); ok {
		return a.verifyRef(id, data)
	}
	id, mark, ok := ParseSnapshotName(name)
	switch {
	case !ok:
		return fmt.Errorf("object %s: not a mirrored object", name)
	case mark:
		return a.verifyMark(id, data)
	case chunk.Sum(data) != id:
		return errors.New("its content does not match its name")
	case a.keys == nil || !a.keys.CanRead():
		return nil // the name proves it
	}
	plain, _, err := a.keys.DecodeSnapshot(data)
	if err == nil {
		_, err = snapshot.DecodeSnapshot(plain)
	}
	return err
}

// verifyMark checks a mark: with a key that who signed it may do so, too.
func (a *Archive) verifyMark(id chunk.ID, data []byte) error {
	got, err := seal.CheckMark(a.id, data)
	if err == nil && a.keys != nil {
		got, err = a.keys.DecodeMark(data)
	}
	if err == nil && got != id {
		err = errors.New("it marks another snapshot")
	}
	return err
}

// maxCopy is the largest object that is copied: a snapshot.
const maxCopy = 64 << 20

// Copies is one mirrored object as each member of the current layout has it.
type Copies struct {
	Name    string
	Members []stripe.Member
	Errs    []error // by member: nil where the copy is good; remote.ErrNotExist where it is missing
	Good    []byte  // a copy that is good, if there is one
	Sound   int     // how many are
}

// errAway marks the copies of members that were not asked.
var errAway = errors.New("not asked")

// Away says whether nothing is known of the copy of a member, because it was not opened or is in skip.
func (c *Copies) Away(member int) bool { return errors.Is(c.Errs[member], errAway) }

// rotten says whether some member has a copy that is bad: the object was not just removed.
func (c *Copies) rotten() bool {
	return slices.ContainsFunc(c.Errs, func(err error) bool {
		return err != nil && !errors.Is(err, errAway) && !errors.Is(err, remote.ErrNotExist)
	})
}

// ReadCopies reads each member's copy of an object and compares them. Good is what proves itself, and where copies that
// do differ (without a key, a certificate proves nothing), what most members have; where that is not to be said, none is
// good. Of a gc record this machine's own copy does, when no member has a good one. Members for which skip says so are not asked. It holds two copies in memory.
func (a *Archive) ReadCopies(ctx context.Context, name string, skip func(member int) bool) (*Copies, error) {
	members := a.set.Members()
	c := &Copies{Name: name, Members: members, Errs: make([]error, len(members))}
	sums := make([][32]byte, len(members))
	votes := map[[32]byte]int{}
	var best [32]byte
	for i, m := range members {
		if m.Store == nil || skip != nil && skip(i) {
			c.Errs[i] = errAway
			continue
		}
		data, err := remote.ReadAll(ctx, m.Store, name, maxCopy)
		if err == nil {
			err = a.VerifyCopy(name, data)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c.Errs[i] = err; err != nil {
			continue
		}
		sums[i] = sha256.Sum256(data)
		if votes[sums[i]]++; votes[sums[i]] > votes[best] {
			best, c.Good = sums[i], data
		}
	}
	if id, ok := ParseRecordName(name); ok && c.Good == nil && c.rotten() {
		c.Good, _ = a.keptRecord(id)
	}
	tied := 0
	for _, n := range votes {
		if n == votes[best] {
			tied++
		}
	}
	if tied > 1 {
		c.Good = nil
	}
	for i, err := range c.Errs {
		switch {
		case err != nil:
		case tied > 1:
			c.Errs[i] = errors.New("the copies differ, and nothing tells which of them is right")
		case sums[i] != best:
			c.Errs[i] = fmt.Errorf("it differs from the copies of %d other members", votes[best])
		default:
			c.Sound++
		}
	}
	return c, nil
}

// MirroredNames lists the mirrored objects below a prefix, each once, whichever member has a copy: a former one counts, too.
// unlisted says, by label, which members could not be listed. Snapshots that were forgotten (see Forgotten) are among them.
func (a *Archive) MirroredNames(ctx context.Context, prefix string) (names map[string]struct{}, unlisted map[string]error, err error) {
	names, unlisted = map[string]struct{}{}, map[string]error{}
	errs, err := a.all.ListEach(ctx, prefix, func(_ int, info remote.Info) error {
		if Mirrored(info.Name) {
			names[info.Name] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	for i, m := range a.all.Members() {
		if errs[i] != nil && m.Store != nil {
			unlisted[m.Label] = errs[i]
		}
	}
	return names, unlisted, nil
}
