package restore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"cairn/archive"
	"cairn/chunk"
	"cairn/remote/stripe"
)

// FailKind says why an entry is not as recorded.
type FailKind uint8

const (
	Damaged     FailKind = iota + 1 // its content or its tree is lost or does not fit
	Conflict                        // something else is there and InPlace was not given
	Unsafe                          // its name or type may not be restored
	Local                           // this machine refused
	Unreachable                     // its content or its tree needs members that are away
)

func (k FailKind) String() string {
	switch k {
	case Damaged:
		return "damaged"
	case Conflict:
		return "conflict"
	case Unsafe:
		return "unsafe"
	case Local:
		return "local"
	case Unreachable:
		return "unreachable"
	}
	return "unknown"
}

// Failure is an entry that could not be restored; for a directory, nothing below it was.
type Failure struct {
	Path string
	Kind FailKind
	Err  error
}

// WarnKind groups warnings about what a restore can do without.
type WarnKind string

const (
	WarnOwner      WarnKind = "owner"      // not set: needs privileges
	WarnMode       WarnKind = "mode"       // not set, or setuid/setgid left out because the owner is another
	WarnXattr      WarnKind = "xattr"      // not set
	WarnTime       WarnKind = "time"       // not set
	WarnDevice     WarnKind = "device"     // not made: needs privileges
	WarnLink       WarnKind = "link"       // restored as a copy
	WarnUnreadable WarnKind = "unreadable" // was not readable at backup time: not restored
	WarnKept       WarnKind = "kept"       // not deleted: a mount point, or something excluded is in it
)

// Warning counts the warnings of one kind and shows the first few.
type Warning struct {
	Kind     WarnKind
	Count    int
	Examples []string // at most 5, "path: reason"
}

// Report says what a restore did. Damaged, Conflicts and Unreachable are parts of Failed.
type Report struct {
	Files, Dirs, Links, Others                     int // entries restored, found right included; Links are further names of files
	Created, Updated, MetaOnly, Identical, Deleted int // what Action told
	BytesWritten, BytesUnchanged                   uint64
	Warnings                                       []Warning
	Failed, Damaged, Conflicts, Unreachable        int
	Failures                                       []Failure // the first 10,000
}

const (
	maxFailures = 10000
	maxExamples = 5
)

// books collects the report from many goroutines.
type books struct {
	mu   sync.Mutex
	r    Report
	warn func(WarnKind, string, error)
	act  func(Action)
	bad  func(Failure)
}

func (b *books) count(do func(r *Report)) {
	b.mu.Lock()
	do(&b.r)
	b.mu.Unlock()
}

func (b *books) fail(path string, kind FailKind, err error) {
	if b.bad != nil {
		b.bad(Failure{path, kind, err})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.Failed++
	switch kind {
	case Damaged:
		b.r.Damaged++
	case Conflict:
		b.r.Conflicts++
	case Unreachable:
		b.r.Unreachable++
	}
	if len(b.r.Failures) < maxFailures {
		b.r.Failures = append(b.r.Failures, Failure{path, kind, err})
	}
}

func (b *books) warning(kind WarnKind, path string, err error) {
	if b.warn != nil {
		b.warn(kind, path, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.r.Warnings, func(w Warning) bool { return w.Kind == kind })
	if i < 0 {
		i = len(b.r.Warnings)
		b.r.Warnings = append(b.r.Warnings, Warning{Kind: kind})
	}
	w := &b.r.Warnings[i]
	w.Count++
	if len(w.Examples) < maxExamples {
		w.Examples = append(w.Examples, fmt.Sprintf("%s: %v", path, err))
	}
}

func (b *books) action(a Action) {
	b.count(func(r *Report) {
		switch a.Kind {
		case Create:
			r.Created++
		case Update:
			r.Updated++
		case Meta:
			r.MetaOnly++
		case Unchanged:
			r.Identical++
		case Delete:
			r.Deleted++
		}
	})
	if b.act != nil {
		b.act(a)
	}
}

// report returns what was collected, in a stable order.
func (b *books) report() *Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.r
	slices.SortFunc(r.Failures, func(a, b Failure) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(r.Warnings, func(a, b Warning) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	return &r
}

// fatal wraps an error of the source that is about more than single blobs.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// lost says whether an error of the source names single blobs; the rest of the archive can still be read.
func lost(err error) bool {
	var (
		list    *archive.FetchError
		damage  *archive.BlobDamage
		missing *archive.MissingError
	)
	return errors.As(err, &list) || errors.As(err, &damage) || errors.As(err, &missing)
}

// lossOf tells what is lost for good from what may come back with the members that are away.
func lossOf(err error) FailKind {
	if errors.Is(err, stripe.ErrTooFew) {
		return Unreachable
	}
	return Damaged
}

// reasons tells what a list of lost blobs says about each.
func reasons(err error) map[chunk.ID]error {
	var list *archive.FetchError
	if !errors.As(err, &list) {
		return nil
	}
	all := make(map[chunk.ID]error, len(list.Damaged)+len(list.Missing))
	for _, m := range list.Missing {
		all[m.ID] = m
	}
	for _, d := range list.Damaged {
		all[d.ID] = d
	}
	return all
}

// hopeless says whether a local error would meet every further file, too.
func hopeless(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// Errors in Report.Failures of kind Conflict and Unsafe.
var (
	ErrExists   = errors.New("something else is already there; --in-place replaces it")
	ErrNotEmpty = errors.New("a directory that is not empty is in the way; --delete removes it")
	ErrSwapped  = errors.New("it was swapped for something else while it was restored")
	errType     = errors.New("its type is not known to this version")
	errLength   = errors.New("its chunks do not add up to its size")
	errReadBack = errors.New("what was read back from the disk differs from what was written")
	errBackup   = errors.New("it was not stored whole")
)
