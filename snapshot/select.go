package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/chunk"
)

// minPrefix is how many hex digits of an id are needed.
const minPrefix = 4

// Select finds the snapshot that spec names, and the path in it, "" when spec has none.
//
//	spec = SNAP [ ":" PATH ]            PATH begins with "/"
//	SNAP = ID                           all of an id or its first digits, at least 4, that no other has; where no snapshot
//	                                    has it, the one that is a copy of the snapshot of that id in another archive
//	     | "latest" | "latest~" N       the newest of the list, the N-th before it
//	     | "latest@" TIME               the newest of the list that began at or before TIME
//	     | SERIES | SERIES "~" N        the newest of a series, the N-th before it
//	     | SERIES "@" TIME              the last of the series that began at or before TIME (ParseTime)
//	     | REF | "ref:" REF             the snapshot that a reference stands for, as in "live"
//
// "latest" comes first. A text that fits more than one of the others (an id, a series, a reference) is ambiguous, and never one of them by
// chance: "ref:live" is the reference in any case, "live@now" the series.
// A series may contain ":", "@" and "~", as in "web1:/srv/data". So every ":/" may begin the path; the
// longest SNAP that names a snapshot or a series of the list is taken. Where the series "web1"
// exists beside it, "web1@now:/srv/data" reaches the path in the shorter one.
// An incomplete snapshot is found by its id only. Snapshots are ordered as by SortByTime.
// Errors are of type *SelectError.
func Select(list []*Snapshot, spec string, now time.Time) (s *Snapshot, path string, err error) {
	f := newSelector(list, spec, now)
	first := spec // SNAP when the path begins as early as it can
	for end := len(spec); end >= 0; end = strings.LastIndex(spec[:end], ":/") {
		first = spec[:end]
		if s, err := f.resolve(first); err != nil {
			return nil, "", err
		} else if s != nil {
			return s, strings.TrimPrefix(spec[end:], ":"), nil
		}
	}
	return nil, "", f.unknown(first)
}

// selector holds the list in the forms in which it is searched.
type selector struct {
	spec  string
	now   time.Time
	all   []*Snapshot
	valid []*Snapshot // complete ones, oldest first
	known map[string]bool
	refs  map[string]*Snapshot
	bad   *SelectError // a near miss: the series is right and what follows it is wrong
}

func newSelector(list []*Snapshot, spec string, now time.Time) *selector {
	f := &selector{spec: spec, now: now, all: list, known: make(map[string]bool), refs: make(map[string]*Snapshot)}
	for _, s := range list {
		if s.Series != "" {
			f.known[s.Series] = true
		}
		for _, name := range s.Refs {
			f.refs[name] = s
		}
		if !s.Incomplete {
			f.valid = append(f.valid, s)
		}
	}
	SortByTime(f.valid)
	return f
}

// resolve returns the snapshot that the text names as a whole, nil when it names none, an error
// when it is clear what was meant and there is no such snapshot.
func (f *selector) resolve(text string) (*Snapshot, error) {
	if text == "latest" {
		return f.back(f.valid, "the archive", 0)
	}
	byID := f.withPrefix(text)
	if s := f.refs[text]; s != nil {
		if f.known[text] {
			return nil, f.fail(ErrAmbiguous, "both a reference and a series", "write ref:"+text+" for the reference, or "+text+"@now for the series")
		}
		if len(byID) > 0 {
			return nil, f.ambiguous("both a reference and the beginning of an id", byID, "give more digits of the id, or write ref:"+text)
		}
		return s, nil
	}
	if f.known[text] {
		s, err := f.back(f.ofSeries(text), "series "+strconv.Quote(text), 0)
		if len(byID) > 0 {
			return nil, f.ambiguous("both a series and the beginning of an id", byID,
				"give more digits of the id, or write "+text+"@now for the series")
		}
		return s, err
	}
	if len(byID) > 1 {
		return nil, f.ambiguous(fmt.Sprintf("%d snapshots have an id that begins so", len(byID)), byID, "give more digits of the id")
	}
	if len(byID) == 1 {
		return byID[0], nil
	}
	if name, ok := strings.CutPrefix(text, "ref:"); ok && f.refs[name] != nil {
		return f.refs[name], nil
	}
	if i := strings.LastIndexByte(text, '~'); i > 0 {
		if s, err := f.counted(text[:i], text[i+1:]); s != nil || err != nil {
			return s, err
		}
	}
	for i := strings.LastIndexByte(text, '@'); i > 0; i = strings.LastIndexByte(text[:i], '@') {
		if s, err := f.timed(text[:i], text[i+1:]); s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

// scope returns the snapshots that "latest" or a series stands for.
func (f *selector) scope(name string) (list []*Snapshot, what string, ok bool) {
	if name == "latest" {
		return f.valid, "the archive", true
	}
	return f.ofSeries(name), "series " + strconv.Quote(name), f.known[name]
}

func (f *selector) counted(name, count string) (*Snapshot, error) {
	list, what, ok := f.scope(name)
	if !ok {
		return nil, nil
	}
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil {
		f.bad = f.fail(ErrSpec, fmt.Sprintf("%.80q is not a number", count), "write "+name+"~1 for the snapshot before the newest one")
		return nil, nil
	}
	return f.back(list, what, int(n))
}

func (f *selector) timed(name, text string) (*Snapshot, error) {
	list, what, ok := f.scope(name)
	if !ok {
		return nil, nil
	}
	t, err := ParseTime(text, f.now)
	if err != nil {
		f.bad = f.fail(ErrSpec, err.Error(), "times without a zone are local ones")
		return nil, nil
	}
	limit := TimeOf(t)
	n := 0 // how many began at or before the time
	for n < len(list) && list[n].Start.Compare(limit) <= 0 {
		n++
	}
	if n > 0 {
		return list[n-1], nil
	}
	if len(list) == 0 {
		return f.back(list, what, 0)
	}
	return nil, f.fail(ErrNotFound, fmt.Sprintf("%s has no snapshot at or before %s", what, f.show(t)),
		"the oldest one is "+f.describe(list[0], 8))
}

// back returns the n-th snapshot before the last of a list.
func (f *selector) back(list []*Snapshot, what string, n int) (*Snapshot, error) {
	switch {
	case n < len(list):
		return list[len(list)-1-n], nil
	case len(list) > 0:
		return nil, f.fail(ErrNotFound, fmt.Sprintf("%s has only %s", what, plural(len(list))), "the oldest one is "+f.describe(list[0], 8))
	case len(f.all) > 0:
		return nil, f.fail(ErrNotFound, what+" has no complete snapshot", "list all with `cairn snapshots`; an incomplete one is chosen by its id")
	}
	return nil, f.fail(ErrNotFound, "there are no snapshots", "make one with `cairn backup PATH`")
}

func (f *selector) ofSeries(name string) []*Snapshot {
	return Filter{Series: name}.Apply(f.valid)
}

// withPrefix returns the snapshots whose id begins with the digits, in the order of their ids. If there are none, those
// whose origin does: who knows a snapshot by its id finds it in a copy of the archive, too.
func (f *selector) withPrefix(digits string) []*Snapshot {
	if len(digits) < minPrefix || !isHex(digits) {
		return nil
	}
	digits = strings.ToLower(digits)
	found := f.whose(digits, func(s *Snapshot) chunk.ID { return s.ID })
	if len(found) > 0 {
		return found
	}
	return f.whose(digits, func(s *Snapshot) chunk.ID { return s.Origin.Snapshot })
}

func (f *selector) whose(digits string, id func(*Snapshot) chunk.ID) []*Snapshot {
	var found []*Snapshot
	for _, s := range f.all {
		if id := id(s); !id.IsZero() && strings.HasPrefix(id.String(), digits) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *Snapshot) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return slices.CompactFunc(found, func(a, b *Snapshot) bool { return a.ID == b.ID })
}

func isHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if !(s[i] >= '0' && s[i] <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return s != ""
}

// unknown explains why a SNAP names nothing.
func (f *selector) unknown(snap string) error {
	if f.bad != nil {
		return f.bad
	}
	before, _, colon := strings.Cut(snap, ":")
	switch {
	case f.spec == "" || snap == "":
		return f.fail(ErrSpec, "no snapshot is named", "name one by id, or write latest")
	case len(f.all) == 0:
		return f.fail(ErrNotFound, "there are no snapshots", "make one with `cairn backup PATH`")
	case isHex(snap) && len(snap) < minPrefix:
		return f.fail(ErrSpec, fmt.Sprintf("an id needs at least %d digits", minPrefix), "list them with `cairn snapshots`")
	case isHex(snap) && len(snap) <= 64:
		return f.fail(ErrNotFound, "no id begins so", "list them with `cairn snapshots`")
	case colon && f.names(before):
		return f.fail(ErrSpec, "a path in a snapshot begins with /", "write "+before+":/"+snap[len(before)+1:])
	}
	if name, ok := strings.CutPrefix(snap, "ref:"); ok {
		return f.fail(ErrNotFound, fmt.Sprintf("no snapshot has the reference %.80q", name), "`cairn tag list` shows the references")
	}
	return f.fail(ErrNotFound, "neither an id nor a series nor a reference", f.seriesHint())
}

func (f *selector) names(text string) bool {
	s, err := f.resolve(text)
	return s != nil && err == nil
}

func (f *selector) seriesHint() string {
	const most = 5
	var names []string
	for name := range f.known {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "list the snapshots with `cairn snapshots`"
	}
	slices.Sort(names)
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return "there are the series " + strings.Join(names, ", ") + more + "; list the snapshots with `cairn snapshots`"
}
