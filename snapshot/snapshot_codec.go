package snapshot

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"cairn/chunk"
)

// MaxPlain is the largest plaintext of a snapshot in bytes (docs/format.md §9).
const MaxPlain = 64 << 20

// MaxListed is how many entries each list of a snapshot may have: a decoded entry takes up to 32
// bytes, so a hostile list of empty ones costs at most 32 MiB. Encode leaves out Errors and Degraded
// beyond it, because a backup must not fail for having too much to complain about: the errors are in
// the nodes too, and shards that lack can be seen from listings.
const MaxListed = 1 << 20

// maxErrorBytes is how much of the plaintext Errors may take in all.
const maxErrorBytes = 24 << 20

// maxZone is the largest offset from UTC in seconds that is believed.
const maxZone = 24 * 60 * 60

// Keys of a snapshot's map (docs/format.md §9); wire format, do not change.
const (
	snapContent     = 1
	snapDepth       = 2
	snapStart       = 3
	snapEnd         = 4
	snapZone        = 5
	snapSeries      = 6
	snapHost        = 7
	snapUser        = 8
	snapSource      = 9
	snapRole        = 10
	snapPaths       = 11
	snapTags        = 12
	snapPrevious    = 13
	snapOriginal    = 14
	snapStats       = 15
	snapErrors      = 16
	snapPartial     = 17
	snapProgram     = 18
	snapExcludes    = 19
	snapExpires     = 20
	snapDegraded    = 21
	snapDescription = 22
	snapPinned      = 23
	snapCheckpoint  = 24
	snapOrigin      = 25
	snapComponent   = 26
)

// Encode returns the canonical plaintext of the snapshot. Texts that are not UTF-8 are cleaned as by
// CleanText; Errors and Degraded are cut to what fits.
func (s *Snapshot) Encode() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	e := mapEncoder{buf: append(make([]byte, 0, 1024), 0, 0)} // the head takes one byte or, with all fields, two
	if len(s.Content) > 0 {
		e.buf = appendIDs(e.key(snapContent), s.Content)
	}
	e.uint(snapDepth, uint64(s.Depth))
	e.time(snapStart, s.Start)
	e.time(snapEnd, s.End)
	if s.ZoneOffset != 0 {
		e.buf = appendInt(e.key(snapZone), int64(s.ZoneOffset))
	}
	e.text(snapSeries, s.Series)
	e.text(snapHost, s.Host)
	e.text(snapUser, s.User)
	e.text(snapSource, s.Source)
	e.text(snapRole, s.Role)
	encodeList(&e, snapPaths, s.Paths, appendBytes)
	encodeList(&e, snapTags, s.Tags, appendText)
	e.id(snapPrevious, s.Previous)
	e.id(snapOriginal, s.Original)
	e.stats(s.Stats)
	encodeList(&e, snapErrors, s.listedErrors(), appendReadError)
	e.isTrue(snapPartial, s.Partial)
	e.text(snapProgram, s.Program)
	encodeList(&e, snapExcludes, s.Excludes, appendText)
	e.time(snapExpires, s.Expires)
	encodeList(&e, snapDegraded, s.Degraded[:min(len(s.Degraded), MaxListed)], appendPackID)
	e.text(snapDescription, s.Description)
	e.isTrue(snapPinned, s.Pinned)
	e.isTrue(snapCheckpoint, s.Checkpoint)
	if !s.Origin.IsZero() {
		e.buf = appendBytes(e.key(snapOrigin), string(s.Origin.Archive[:])+string(s.Origin.Snapshot[:]))
	}
	e.text(snapComponent, s.Component)
	plain := e.end()
	if len(plain) > MaxPlain {
		return nil, fmt.Errorf("encode snapshot: %d bytes, more than %d", len(plain), MaxPlain)
	}
	return plain, nil
}

func (s *Snapshot) validate() error {
	reason := ""
	switch {
	case s.Depth > MaxDepth:
		reason = fmt.Sprintf("content list of depth %d, more than %d", s.Depth, MaxDepth)
	case s.Depth > 0 && len(s.Content) == 0:
		reason = "depth without content"
	case s.Origin.Archive == [16]byte{} != s.Origin.Snapshot.IsZero():
		reason = "half an origin"
	case !s.Start.valid() || !s.End.valid() || !s.Expires.valid():
		reason = "nanoseconds of a time are out of range"
	case s.ZoneOffset < -maxZone || s.ZoneOffset > maxZone:
		reason = fmt.Sprintf("zone offset of %d seconds", s.ZoneOffset)
	case max(len(s.Paths), len(s.Tags), len(s.Excludes), len(s.Stats)) > MaxListed:
		reason = fmt.Sprintf("a list has more than %d entries", MaxListed)
	}
	if reason != "" {
		return fmt.Errorf("snapshot: %s", reason)
	}
	return nil
}

// listedErrors returns the errors that fit.
func (s *Snapshot) listedErrors() []ReadError {
	size := 0
	for i, e := range s.Errors {
		size += len(e.Path) + len(CleanText(e.Message)) + 16
		if size > maxErrorBytes || i == MaxListed {
			return s.Errors[:i]
		}
	}
	return s.Errors
}

func appendReadError(dst []byte, e ReadError) []byte {
	return appendText(appendBytes(append(dst, majorArray|2), e.Path), e.Message)
}

func appendPackID(dst []byte, id [32]byte) []byte { return appendBytes(dst, id[:]) }

// mapEncoder appends the fields of a map behind two bytes for its head, leaving out zero ones.
type mapEncoder struct {
	buf    []byte
	fields byte
}

func (e *mapEncoder) key(k byte) []byte {
	e.fields++
	return appendUint(e.buf, uint64(k))
}

// end returns the map with its head.
func (e *mapEncoder) end() []byte {
	if e.fields < 24 {
		e.buf[1] = majorMap | e.fields
		return e.buf[1:]
	}
	e.buf[0], e.buf[1] = majorMap|24, e.fields
	return e.buf
}

func (e *mapEncoder) uint(k byte, n uint64) {
	if n != 0 {
		e.buf = appendUint(e.key(k), n)
	}
}

func (e *mapEncoder) text(k byte, s string) {
	if s != "" {
		e.buf = appendText(e.key(k), s)
	}
}

func (e *mapEncoder) time(k byte, t Time) {
	if !t.IsZero() {
		e.buf = appendTime(e.key(k), t)
	}
}

func (e *mapEncoder) id(k byte, id chunk.ID) {
	if !id.IsZero() {
		e.buf = appendBytes(e.key(k), id[:])
	}
}

func (e *mapEncoder) isTrue(k byte, b bool) {
	if b {
		e.buf = append(e.key(k), simpleTrue)
	}
}

// stats writes a map of texts, in the bytewise order of their encodings: short ones first.
func (e *mapEncoder) stats(stats map[string]uint64) {
	if len(stats) == 0 {
		return
	}
	clean := make(map[string]uint64, len(stats))
	for name, n := range stats {
		clean[CleanText(name)] += n
	}
	e.buf = appendHead(e.key(snapStats), majorMap, uint64(len(clean)))
	for _, name := range slices.SortedFunc(maps.Keys(clean), compareKeys) {
		e.buf = appendUint(appendText(e.buf, name), clean[name])
	}
}

func compareKeys(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

func encodeList[T any](e *mapEncoder, k byte, list []T, add func([]byte, T) []byte) {
	if len(list) == 0 {
		return
	}
	e.buf = appendHead(e.key(k), majorArray, uint64(len(list)))
	for _, v := range list {
		e.buf = add(e.buf, v)
	}
}

// DecodeSnapshot parses what Encode wrote, and nothing else: encoding the result again gives the same
// bytes. It leaves ID, Signer and Incomplete to the caller.
func DecodeSnapshot(plain []byte) (*Snapshot, error) {
	if len(plain) > MaxPlain {
		return nil, &FormatError{"snapshot", 0, fmt.Sprintf("%d bytes, more than %d", len(plain), MaxPlain)}
	}
	d := snapDecoder{decoder{what: "snapshot", data: string(plain)}}
	s := new(Snapshot)
	fields := d.expect(majorMap, "a map")
	last := uint64(0)
	for range fields {
		last = d.key(last)
		d.field(s, last)
		if d.err != nil {
			return nil, d.err
		}
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if err := s.validate(); err != nil {
		return nil, &FormatError{"snapshot", 0, err.Error()}
	}
	if len(s.listedErrors()) < len(s.Errors) {
		return nil, &FormatError{"snapshot", 0, fmt.Sprintf("errors take more than %d bytes", maxErrorBytes)}
	}
	return s, nil
}

type snapDecoder struct{ decoder }

func (d *snapDecoder) field(s *Snapshot, key uint64) {
	switch key {
	case snapContent:
		s.Content = d.ids(nil)
	case snapDepth:
		s.Depth = uint8(d.nonZero(MaxDepth))
	case snapStart:
		s.Start = d.time()
	case snapEnd:
		s.End = d.time()
	case snapZone:
		s.ZoneOffset = d.zone()
	case snapSeries:
		s.Series = d.some(d.text())
	case snapHost:
		s.Host = d.some(d.text())
	case snapUser:
		s.User = d.some(d.text())
	case snapSource:
		s.Source = d.some(d.text())
	case snapRole:
		s.Role = d.some(d.text())
	case snapComponent:
		s.Component = d.some(d.text())
	case snapProgram:
		s.Program = d.some(d.text())
	case snapDescription:
		s.Description = d.some(d.text())
	case snapExpires:
		s.Expires = d.time()
	case snapPartial:
		s.Partial = d.isTrue()
	case snapPinned:
		s.Pinned = d.isTrue()
	case snapCheckpoint:
		s.Checkpoint = d.isTrue()
	default:
		d.lists(s, key)
	}
}

func (d *snapDecoder) lists(s *Snapshot, key uint64) {
	switch key {
	case snapPaths:
		s.Paths = decodeList(d, 1, d.bytes)
	case snapTags:
		s.Tags = decodeList(d, 1, d.text)
	case snapPrevious:
		s.Previous = d.someID()
	case snapOriginal:
		s.Original = d.someID()
	case snapOrigin:
		s.Origin = d.origin()
	case snapStats:
		s.Stats = d.stats()
	case snapErrors:
		s.Errors = decodeList(d, 3, d.readError)
	case snapExcludes:
		s.Excludes = decodeList(d, 1, d.text)
	case snapDegraded:
		s.Degraded = decodeList(d, 34, d.packID)
	default:
		d.failAt(d.pos, "unknown key %d", key)
	}
}

func decodeList[T any](d *snapDecoder, size int, next func() T) []T {
	list := make([]T, d.array(MaxListed, size))
	for i := range list {
		list[i] = next()
		if d.err != nil {
			return nil
		}
	}
	return list
}

func (d *snapDecoder) zone() int {
	at := d.pos
	n := d.int()
	if n == 0 || n < -maxZone || n > maxZone {
		d.failAt(at, "zone offset of %d seconds", n)
		return 0
	}
	return int(n)
}

func (d *snapDecoder) packID() [32]byte {
	at := d.pos
	s := d.bytes()
	if len(s) != 32 {
		d.failAt(at, "id of %d bytes", len(s))
		return [32]byte{}
	}
	return [32]byte([]byte(s))
}

func (d *snapDecoder) someID() chunk.ID {
	at := d.pos
	id := chunk.ID(d.packID())
	if id.IsZero() {
		d.failAt(at, "zero id")
	}
	return id
}

// originSize is an archive's id and a snapshot's.
const originSize = 16 + 32

func (d *snapDecoder) origin() (o Origin) {
	at := d.pos
	s := d.bytes()
	if len(s) != originSize {
		d.failAt(at, "origin of %d bytes", len(s))
		return o
	}
	copy(o.Archive[:], s)
	copy(o.Snapshot[:], s[len(o.Archive):])
	if o.IsZero() {
		d.failAt(at, "zero origin")
	}
	return o
}

func (d *snapDecoder) readError() ReadError {
	d.tuple(2)
	return ReadError{Path: d.bytes(), Message: d.text()}
}

func (d *snapDecoder) stats() map[string]uint64 {
	count := d.count(majorMap, "map", MaxListed, 2)
	stats := make(map[string]uint64, min(count, 1024))
	last := ""
	for i := range count {
		at := d.pos
		name := d.text()
		if i > 0 && compareKeys(name, last) <= 0 {
			d.failAt(at, "statistic %.200q after %.200q", name, last)
		}
		stats[name] = d.uint(math.MaxUint64)
		if d.err != nil {
			return nil
		}
		last = name
	}
	return stats
}
