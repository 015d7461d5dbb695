package archive

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// Ref is one record of a reference: from then on its name stands for a snapshot, or for none. Records are immutable and stand beside each
// other; which of them holds is decided by who reads (Holds). Nothing is copied: the snapshot is the same with and without references.
//
// Of the records of a name the one with the highest Sequence holds. Who makes one takes the highest he sees and adds one, so that whoever saw
// another's record comes after it, whatever the clocks say. Two who made theirs without seeing each other have equal ones: then the later Time,
// and at last the greater ID. So all who see the same records agree.
type Ref struct {
	ID       chunk.ID // of the object, which is its SHA-256; not part of the content
	Name     string
	Sequence uint64
	Snapshot chunk.ID // zero: the name stands for no snapshot from now on
	First    chunk.ID // the snapshot that Snapshot replaced first, or itself: it stays when tags change
	Tree     chunk.ID // what its tree is, see treeOf
	Time     time.Time
	User     string
	Host     string
	Program  string
	Verified string   // how the snapshot was verified before, in words; "" for not at all
	From     chunk.ID // the record in another archive that this one repeats in a replica; zero otherwise
}

// Bounds of a reference.
const (
	MaxRefName = 64
	maxRefText = 1024
)

// Demotes says that the record takes the name away.
func (r *Ref) Demotes() bool { return r.Snapshot.IsZero() }

// compare orders the records of one name: the last of this order holds.
func (r *Ref) compare(o *Ref) int {
	return cmp.Or(cmp.Compare(r.Sequence, o.Sequence), r.Time.Compare(o.Time), bytes.Compare(r.ID[:], o.ID[:]))
}

// CheckRefName refuses names that could be taken for something else where a snapshot is named: ids, "latest", times, paths.
func CheckRefName(name string) error {
	reason := ""
	switch {
	case name == "":
		reason = "it is empty"
	case len(name) > MaxRefName:
		reason = fmt.Sprintf("it has more than %d bytes", MaxRefName)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		reason = "a reference has small letters, digits, '-', '_' and '.' only"
	case name[0] < 'a' || name[0] > 'z':
		reason = "a reference begins with a small letter"
	case name == "latest":
		reason = "it names the newest snapshot"
	case strings.Trim(name, "0123456789abcdef") == "":
		reason = "it could be the beginning of an id"
	}
	if reason != "" {
		return fmt.Errorf("reference %.80q: %s", name, reason)
	}
	return nil
}

// treeOf names the whole tree of a snapshot.
func treeOf(s *snapshot.Snapshot) chunk.ID {
	b := []byte{s.Depth}
	for _, id := range s.Content {
		b = append(b, id[:]...)
	}
	return chunk.Sum(b)
}

// firstOf is the snapshot that one replaced first, itself if it replaces none.
func firstOf(s *snapshot.Snapshot) chunk.ID {
	if s.Original.IsZero() {
		return s.ID
	}
	return s.Original
}

// refBody is the CBOR map; wire format, do not change (docs/format.md §12).
type refBody struct {
	Name     string   `cbor:"1,keyasint"`
	Sequence uint64   `cbor:"2,keyasint"`
	Snapshot []byte   `cbor:"3,keyasint,omitempty"`
	First    []byte   `cbor:"4,keyasint,omitempty"`
	Tree     []byte   `cbor:"5,keyasint,omitempty"`
	Time     [2]int64 `cbor:"6,keyasint"`
	User     string   `cbor:"7,keyasint,omitempty"`
	Host     string   `cbor:"8,keyasint,omitempty"`
	Program  string   `cbor:"9,keyasint,omitempty"`
	Verified string   `cbor:"10,keyasint,omitempty"`
	From     []byte   `cbor:"11,keyasint,omitempty"`
}

func (r *Ref) encode() ([]byte, error) {
	m, err := recordModes()
	if err != nil {
		return nil, err
	}
	if err := CheckRefName(r.Name); err != nil {
		return nil, err
	}
	return m.enc.Marshal(refBody{
		Name: r.Name, Sequence: r.Sequence, Snapshot: idBytes(r.Snapshot), First: idBytes(r.First), Tree: idBytes(r.Tree), From: idBytes(r.From),
		Time: [2]int64{r.Time.Unix(), int64(r.Time.Nanosecond())}, User: refText(r.User), Host: refText(r.Host), Program: refText(r.Program), Verified: refText(r.Verified),
	})
}

// decodeRef is the reverse. What is not canonical is refused.
func decodeRef(body []byte) (*Ref, error) {
	m, err := recordModes()
	if err != nil {
		return nil, err
	}
	var b refBody
	if err := m.dec.Unmarshal(body, &b); err != nil {
		return nil, fmt.Errorf("reference: %w", err)
	}
	again, err := m.enc.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("reference: %w", err)
	}
	if !bytes.Equal(again, body) || b.Time[1] < 0 || b.Time[1] >= 1e9 || max(len(b.User), len(b.Host), len(b.Program), len(b.Verified)) > maxRefText {
		return nil, errors.New("reference: not in canonical form")
	}
	if err := CheckRefName(b.Name); err != nil {
		return nil, err
	}
	r := &Ref{Name: b.Name, Sequence: b.Sequence, Time: time.Unix(b.Time[0], b.Time[1]), User: b.User, Host: b.Host, Program: b.Program, Verified: b.Verified}
	for _, f := range []struct {
		to   *chunk.ID
		from []byte
	}{{&r.Snapshot, b.Snapshot}, {&r.First, b.First}, {&r.Tree, b.Tree}, {&r.From, b.From}} {
		if len(f.from) != 0 && len(f.from) != len(f.to) {
			return nil, fmt.Errorf("reference: an id of %d bytes", len(f.from))
		}
		copy(f.to[:], f.from)
	}
	if b.Snapshot != nil && (r.Snapshot.IsZero() || r.First.IsZero()) || b.Snapshot == nil && !r.First.IsZero() {
		return nil, errors.New("reference: it names half a snapshot")
	}
	return r, nil
}

func idBytes(id chunk.ID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

// refText cuts a text to what a record holds.
func refText(s string) string {
	s = snapshot.CleanText(s)
	if len(s) > maxRefText {
		s = snapshot.CleanText(s[:maxRefText-2]) // a letter that was cut becomes one of three bytes at most
	}
	return s
}
