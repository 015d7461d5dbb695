package member

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"cairn/pack"
	"cairn/remote"
)

// Grade says how much a finding matters.
type Grade string

// The grades.
const (
	Good    Grade = "good"
	Note    Grade = "note"    // worth knowing; nothing rests on it
	Warning Grade = "warning" // usable, but somebody should look at it
	Bad     Grade = "bad"     // an archive cannot be kept there
)

// Finding is what one test of a store showed.
type Finding struct {
	Test  string
	Grade Grade
	Text  string
}

// ProbeReport is what Probe found.
type ProbeReport struct {
	Findings []Finding
	Latency  time.Duration // median of small reads
	Write    float64       // bytes a second, one object of a shard's size
	Read     float64
	Size     int // of that object
	// Clock is how far the store's clock is ahead of ours; ClockKnown says whether it tells the time.
	Clock      time.Duration
	ClockKnown bool
	// Left lists scratch objects that could not be removed.
	Left []string
}

// Worst is the grade of the worst finding: the verdict.
func (r *ProbeReport) Worst() Grade {
	order := []Grade{Good, Note, Warning, Bad}
	worst := 0
	for _, f := range r.Findings {
		worst = max(worst, slices.Index(order, f.Grade))
	}
	return order[worst]
}

// ProbeOptions say how to test a store. The zero value works.
type ProbeOptions struct {
	// ShardSize is the size of the object whose throughput is measured; 0: that of a shard of 8 MiB (4+2).
	ShardSize int
	Now       func() time.Time // nil: time.Now
	// Quick leaves out what no decision rests on: reading, listing, overwriting and speed. What remains is what a new archive should know.
	Quick bool
	// NoLocks asks whether objects can be locked, and does not try it out, which takes some seconds.
	NoLocks bool
	// Each is told of every finding as it comes. May be nil.
	Each func(Finding)
}

const (
	defaultProbe  = 8 << 20
	latencyReads  = 9
	slowAnswer    = 2 * time.Second // a small read that takes longer makes everything crawl
	clockSkew     = 5 * time.Minute // S3 refuses requests from 15 min on
	cleanupWithin = 30 * time.Second
)

// ScratchPrefix is where Probe puts its objects, under names that are random.
const ScratchPrefix = "probe/"

// Probe finds out whether a store keeps what an archive expects of one (remote.Store), by using it: below ScratchPrefix
// it writes, reads, lists, overwrites and deletes, and removes everything again. The store may be a
// member already, or empty, or hold other things: nothing else is touched. It never fails: what goes wrong is a finding.
func Probe(ctx context.Context, s remote.Store, o ProbeOptions) *ProbeReport {
	if o.ShardSize <= 0 {
		o.ShardSize = int(pack.ShardSize(defaultProbe))
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	var name [8]byte
	rand.Read(name[:]) // never fails
	p := &probe{s: s, o: o, suffix: "-" + hex.EncodeToString(name[:]), r: &ProbeReport{Size: o.ShardSize}}
	defer p.cleanup(ctx)
	// Nothing else makes sense on a store that does not take an object.
	tests := []func(context.Context) bool{p.write, p.read, p.missing, p.list, p.overwrite, p.remove, p.putNew, p.protection, p.latency, p.throughput}
	if o.Quick {
		tests = []func(context.Context) bool{p.write, p.remove, p.putNew, p.protection}
	}
	for _, test := range tests {
		if !test(ctx) {
			break
		}
		if ctx.Err() != nil {
			break
		}
	}
	p.clock()
	return p.r
}

// probe is one call of Probe.
type probe struct {
	s       remote.Store
	o       ProbeOptions
	suffix  string // of all names
	r       *ProbeReport
	written []string // scratch objects that may be there

	before, after time.Time // around the first Put, by our clock
	modified      time.Time // what the store says of it
	lockedUntil   time.Time // the object that locks were tried with; zero: there is none
}

// smallSize is odd, so that lengths which are rounded show.
const smallSize = 10007

func (p *probe) found(test string, g Grade, format string, args ...any) {
	f := Finding{test, g, fmt.Sprintf(format, args...)}
	p.r.Findings = append(p.r.Findings, f)
	if p.o.Each != nil {
		p.o.Each(f)
	}
}

func (p *probe) name(what string) string { return ScratchPrefix + what + p.suffix }

func (p *probe) put(ctx context.Context, name string, data []byte) error {
	p.written = append(p.written, name) // before: a failed Put may have stored it
	return p.s.Put(ctx, name, data)
}

// small is the content of the first object: every stretch of it is different.
func small() []byte {
	b := make([]byte, smallSize)
	for i := range b {
		b[i] = byte(i*31 + i>>8)
	}
	return b
}

func (p *probe) write(ctx context.Context) bool {
	name := p.name("one")
	p.before = p.o.Now()
	if err := p.put(ctx, name, small()); err != nil {
		p.fail("write", err)
		return false
	}
	p.after = p.o.Now()
	info, err := p.s.Stat(ctx, name)
	switch {
	case err != nil:
		p.fail("write", fmt.Errorf("what was just written cannot be asked for: %w", err))
		return false
	case info.Size != smallSize:
		p.found("write", Bad, "an object of %d bytes is said to have %d", smallSize, info.Size)
		return false
	}
	p.modified = info.Modified
	if err := p.put(ctx, p.name("empty"), nil); err != nil {
		p.found("write", Bad, "an empty object cannot be written: %v", err)
		return true
	}
	p.found("write", Good, "objects are there as soon as they are written")
	return true
}

// fail tells of an error with what the operator can do about it.
func (p *probe) fail(test string, err error) {
	text := err.Error()
	if h := remote.Hint(err); h != "" {
		text += " (" + h + ")"
	}
	p.found(test, Bad, "%s", text)
}

func (p *probe) read(ctx context.Context) bool {
	want, name := small(), p.name("one")
	for _, c := range []struct {
		what     string
		off, n   int64
		from, to int
	}{
		{"the whole object", 0, -1, 0, smallSize},
		{"a range", 4096, 1000, 4096, 5096},
		{"a range to the end", 10000, -1, 10000, smallSize},
		{"the last bytes", -100, 0, smallSize - 100, smallSize},
		{"more than the last bytes", -(smallSize + 1), 0, 0, smallSize},
	} {
		got, err := p.s.Get(ctx, name, c.off, c.n, nil)
		if err != nil {
			p.fail("read", fmt.Errorf("%s: %w", c.what, err))
			return false
		}
		if !bytes.Equal(got, want[c.from:c.to]) {
			p.found("read", Bad, "%s: %d bytes came that are not those written", c.what, len(got))
			return false
		}
	}
	if _, err := p.s.Get(ctx, name, smallSize-10, 100, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		p.found("read", Bad, "a range that ends behind the object: want an error that says so, got %v", err)
		return true
	}
	p.found("read", Good, "whole objects, ranges and suffixes")
	return true
}

// missing objects must be told from a store that does not answer: repair rests on it.
func (p *probe) missing(ctx context.Context) bool {
	_, getErr := p.s.Get(ctx, p.name("none"), 0, -1, nil)
	_, statErr := p.s.Stat(ctx, p.name("none"))
	if !errors.Is(getErr, remote.ErrNotExist) || !errors.Is(statErr, remote.ErrNotExist) {
		err := errors.Join(getErr, statErr)
		p.found("missing", Bad, "an object that is not there must be told as missing, got: %v (stores answer \"access denied\" when the key may not list)", err)
		return true
	}
	p.found("missing", Good, "an object that is not there is told as such")
	return true
}

func (p *probe) list(ctx context.Context) bool {
	deep := p.name("ab/cd/ef/deep")
	if err := p.put(ctx, deep, []byte("x")); err != nil {
		p.fail("list", err)
		return true
	}
	sizes, err := p.listed(ctx)
	if err != nil {
		p.fail("list", err)
		return true
	}
	for name, want := range map[string]int64{p.name("one"): smallSize, deep: 1, p.name("empty"): 0} {
		if size, ok := sizes[name]; !ok {
			p.found("list", Warning, "%s is not listed right after it was written: backups from other machines are seen late", name)
			return true
		} else if size != want {
			p.found("list", Bad, "%s is listed with %d bytes instead of %d", name, size, want)
			return true
		}
	}
	p.found("list", Good, "new objects are listed at once")
	return true
}

func (p *probe) listed(ctx context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}
	for info, err := range p.s.List(ctx, ScratchPrefix) {
		if err != nil {
			return nil, err
		}
		sizes[info.Name] = info.Size
	}
	return sizes, nil
}

func (p *probe) overwrite(ctx context.Context) bool {
	name, want := p.name("one"), []byte("another content")
	if err := p.put(ctx, name, want); err != nil {
		p.fail("overwrite", fmt.Errorf("an object cannot be written again, so a damaged one cannot be repaired: %w", err))
		return true
	}
	got, err := p.s.Get(ctx, name, 0, -1, nil)
	switch {
	case err != nil:
		p.fail("overwrite", err)
	case !bytes.Equal(got, want):
		p.found("overwrite", Warning, "after overwriting, the old content is still read: repairs are seen late")
	default:
		p.found("overwrite", Good, "the new content is read at once")
	}
	return true
}

func (p *probe) remove(ctx context.Context) bool {
	name := p.name("empty")
	for range 2 { // deleting what is gone is no error
		if err := p.s.Delete(ctx, name); err != nil {
			if errors.Is(err, remote.ErrLocked) {
				p.found("delete", Note, "objects cannot be deleted before a lock has passed that the store gives by itself")
				return true
			}
			p.found("delete", Warning, "objects cannot be deleted (%v): backups work, pruning and changes of the layout do not", err)
			return true
		}
	}
	_, err := p.s.Stat(ctx, name)
	sizes, listErr := p.listed(ctx)
	_, still := sizes[name]
	switch {
	case !errors.Is(err, remote.ErrNotExist):
		p.found("delete", Warning, "a deleted object is still there (%v)", err)
	case listErr != nil:
		p.fail("delete", listErr)
	case still:
		p.found("delete", Warning, "a deleted object is still listed")
	default:
		p.found("delete", Good, "deleted objects are gone at once")
	}
	return true
}

// putNew is an aid only: many stores lack it, and nothing rests on it.
func (p *probe) putNew(ctx context.Context) bool {
	const test = "create only if new"
	n, ok := remote.As[remote.NewPutter](p.s)
	if !ok {
		p.found(test, Note, "not offered by this kind of store; cairn does without")
		return true
	}
	name := p.name("new")
	p.written = append(p.written, name)
	err := n.PutNew(ctx, name, []byte("1"))
	if err == nil {
		err = n.PutNew(ctx, name, []byte("2"))
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		p.found(test, Good, "of two objects of one name the second is refused")
	case err == nil:
		p.found(test, Note, "the store takes the condition and ignores it; cairn does without")
	default:
		p.found(test, Note, "not implemented by this store (%v); cairn does without", err)
	}
	return true
}
