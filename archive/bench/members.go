package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cairn/pack"
	"cairn/remote"
)

// Store is a member that is to be tried, or why it cannot be.
type Store struct {
	Label string
	Store remote.Store
	Err   error
}

// Member is what a member of the archive does while all others are at work as well, as in a backup.
type Member struct {
	Label string
	Err   error // why nothing, or not all, could be measured
	// Unwritten says why nothing was written but at most an object of a byte; "" if it was.
	Unwritten string
	Note      string        // what else there is to know
	Put, Get  time.Duration // of a small object; median
	List      time.Duration // of a few objects
	Object    int           // size of the objects for the rates: a shard's, or less if that would take too long
	PutRate   float64       // bytes a second; 0: not measured
	GetRate   float64
	Left      []string // objects that could not be removed
}

const (
	namePart   = "bench-"
	smallSize  = 4 << 10
	smallTries = 9
	firstSize  = 64 << 10
	// atOnce is how many objects go to one member at a time: an archive has two packs on their way.
	atOnce = 2
	// staleAfter is the age from which objects of other runs are removed. None works for so long.
	staleAfter = time.Hour
	// listsAtMost is how many names are looked at for such objects.
	listsAtMost = 1000
	unsureSpace = 32 << 20
	slowFactor  = 3           // a member may take so many times as long as planned,
	slowGrace   = time.Second // and this
)

// visit is what one run does to one member.
type visit struct {
	*Member
	s      remote.Store
	prefix string // of all names of this run
	dir    string
	data   []byte // what is written; shared by all
	space  int64  // how much of it may be

	mu      sync.Mutex
	written []string // that may be there
	big     []string // objects of full size
}

// measureMembers tries all members at the same time, first with small objects, then writing, then reading.
func measureMembers(ctx context.Context, o Options, total time.Duration, r *Report) error {
	var id [8]byte
	rand.Read(id[:]) // never fails
	data := randomData(int(pack.ShardSize(int64(o.Geometry.DefaultTarget()))))
	var visits []*visit
	for _, m := range o.Members {
		report := &Member{Label: m.Label, Err: m.Err}
		r.Members = append(r.Members, report)
		if m.Store != nil {
			visits = append(visits, &visit{Member: report, s: m.Store, dir: o.Prefix, prefix: o.Prefix + namePart + hex.EncodeToString(id[:]) + "-",
				data: data, space: o.Space / int64(len(o.Members))})
		}
	}
	defer func() { // also when ctx has ended
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), CleanupTime)
		defer cancel()
		all(visits, func(v *visit) { v.cleanup(late) })
		for _, m := range r.Members {
			o.Each(m)
		}
	}()
	for _, phase := range []struct {
		what string
		part time.Duration
		do   func(*visit, context.Context, time.Duration) error
	}{
		{"members: small objects", total / 4, (*visit).small},
		{"members: put", total * 2 / 5, (*visit).put},
		{"members: get", total * 7 / 20, (*visit).get},
	} {
		o.Now(phase.what)
		all(visits, func(v *visit) {
			if v.Err != nil {
				return
			}
			most := slowFactor*phase.part + slowGrace
			bounded, cancel := context.WithTimeout(ctx, most)
			defer cancel()
			err := phase.do(v, bounded, phase.part)
			if err != nil && bounded.Err() != nil && ctx.Err() == nil {
				err = fmt.Errorf("%s: not done in %v: %w", phase.what, most, err)
			}
			v.Err = err
		})
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func all(visits []*visit, do func(*visit)) {
	var wg sync.WaitGroup
	for _, v := range visits {
		wg.Go(func() { do(v) })
	}
	wg.Wait()
}

// name gives a name that nobody has, and notes that it has to be removed.
func (v *visit) name() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := fmt.Sprintf("%s%d", v.prefix, len(v.written))
	v.written = append(v.written, name)
	return name
}

// small finds out whether what is written can be removed, and measures how long a request takes.
func (v *visit) small(ctx context.Context, d time.Duration) error {
	start := time.Now()
	if v.protected(ctx); v.Unwritten != "" {
		return v.list(ctx)
	}
	first := v.name()
	if err := v.s.Put(ctx, first, []byte{0}); err != nil {
		return err
	}
	v.removeStale(ctx, first)
	if err := v.s.Delete(ctx, first); err != nil {
		if !remote.Refused(err) {
			return err
		}
		v.Unwritten = fmt.Sprintf("objects cannot be deleted there (%v)", err)
		v.Left, v.written = append(v.Left, first), nil
		return v.list(ctx)
	}
	var puts, gets []time.Duration
	for len(puts) < smallTries && (len(puts) == 0 || time.Since(start) < d) {
		name := v.name()
		at := time.Now()
		if err := v.s.Put(ctx, name, v.data[:smallSize]); err != nil {
			return err
		}
		puts = append(puts, time.Since(at))
		at = time.Now()
		if _, err := v.s.Get(ctx, name, 0, smallSize, nil); err != nil {
			return err
		}
		gets = append(gets, time.Since(at))
	}
	v.Member.Put, v.Member.Get = median(puts), median(gets)
	return v.list(ctx)
}

// protected finds out whether a store locks by itself what is put there.
func (v *visit) protected(ctx context.Context) {
	p, ok := remote.As[remote.Protector](v.s)
	if !ok {
		return
	}
	how, err := p.Protection(ctx)
	switch {
	case err != nil:
	case how.Default > 0:
		v.Unwritten = fmt.Sprintf("the store locks by itself, for %v, whatever is put there", how.Default)
	case how.Versions == remote.Unknown: // else the driver removes all versions, or says that it may not
		v.space = min(v.space, unsureSpace)
		v.Note = fmt.Sprintf("whether it keeps versions of what is deleted could not be found out: if so, up to %d MiB of what was tried stay as old versions", unsureSpace>>20)
	}
}

// list measures a listing.
func (v *visit) list(ctx context.Context) error {
	start := time.Now()
	n := 0
	for _, err := range v.s.List(ctx, v.dir) {
		if err != nil {
			return err
		}
		if n++; n == listsAtMost {
			break
		}
	}
	v.List = time.Since(start)
	return nil
}

// removeStale removes what a run that was killed left. Both times are of the store's clock. What cannot be removed stays.
func (v *visit) removeStale(ctx context.Context, first string) {
	now, err := v.s.Stat(ctx, first)
	if err != nil {
		return
	}
	var stale []string
	n := 0
	for info, err := range v.s.List(ctx, v.dir) {
		if err != nil {
			return
		}
		if strings.HasPrefix(info.Name, v.dir+namePart) && now.Modified.Sub(info.Modified) > staleAfter {
			stale = append(stale, info.Name)
		}
		if n++; n == listsAtMost {
			break
		}
	}
	_ = remote.DeleteAll(ctx, v.s, slices.Values(stale))
}

// put measures how fast a member takes objects: larger and larger ones up to the size of a shard, as long as the time allows.
func (v *visit) put(ctx context.Context, d time.Duration) error {
	if v.Unwritten != "" {
		return nil
	}
	start := time.Now()
	size := min(firstSize, len(v.data))
	for {
		at := time.Now()
		name := v.name()
		if err := v.s.Put(ctx, name, v.data[:size]); err != nil {
			return err
		}
		took := max(time.Since(at), time.Microsecond)
		v.Object, v.PutRate, v.big = size, float64(size)/took.Seconds(), []string{name}
		v.space -= int64(size)
		next := min(len(v.data), size*4)
		if size == len(v.data) || took*time.Duration(next/size) > d/8 || int64(next) > v.space {
			break
		}
		size = next
	}
	left := d - time.Since(start)
	if left <= 0 || v.space < int64(atOnce*2*size) {
		return nil // the last one says enough
	}
	r, err := rate(ctx, atOnce, left, func() (step, error) { return func() (int, error) { return v.putOne(ctx, size) }, nil })
	if r > 0 {
		v.PutRate = r
	}
	return err
}

func (v *visit) putOne(ctx context.Context, size int) (int, error) {
	v.mu.Lock()
	full := v.space < int64(size)
	if !full {
		v.space -= int64(size)
	}
	v.mu.Unlock()
	if full {
		return 0, errEnough
	}
	name := v.name()
	if err := v.s.Put(ctx, name, v.data[:size]); err != nil {
		return 0, err
	}
	v.mu.Lock()
	v.big = append(v.big, name)
	v.mu.Unlock()
	return size, nil
}

// get measures how fast a member gives back what was written.
func (v *visit) get(ctx context.Context, d time.Duration) error {
	if len(v.big) == 0 {
		return nil
	}
	next := 0
	var err error
	v.GetRate, err = rate(ctx, atOnce, d, func() (step, error) {
		var dst []byte
		return func() (n int, err error) {
			v.mu.Lock()
			name := v.big[next%len(v.big)]
			next++
			v.mu.Unlock()
			dst, err = v.s.Get(ctx, name, 0, int64(v.Object), dst)
			return len(dst), err
		}, nil
	})
	return err
}

// cleanup removes all that may be there.
func (v *visit) cleanup(ctx context.Context) {
	if len(v.written) == 0 {
		return
	}
	if remote.DeleteAll(ctx, v.s, slices.Values(v.written)) == nil {
		return
	}
	for _, name := range v.written { // which of them
		if err := v.s.Delete(ctx, name); err != nil {
			v.Left = append(v.Left, name)
		}
	}
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}
