package stripe

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A member is slow after lateRuns late reads in a row, over lateFor at least, if it lost more races than it won: a
	// single stall (a garbage collection, a busy disk) makes all reads late that are on their way at the time.
	lateRuns = 3
	lateFor  = 500 * time.Millisecond
	// A member that was late lateRuns times is raced although no race was earned, suspectPause after the last time, then twice that, and so
	// on: if it is not slow, that tells nothing new.
	suspectPause = 5 * time.Second
	// A slow member gets a direct read after trialFirst, twice that, and so on up to every trialLast.
	trialFirst = time.Second
	trialLast  = 30 * time.Second
	// learning is how much longer than Options.Hedge a read may take while nothing is known of its member.
	learning = 4
	// A member hangs whose read is on its way for hungTimes as long as makes it late, and as those took that others have answered since, and
	// for hungShare of Options.Grace (4 s) at least: then it is not the line or this machine.
	hungTimes = 2
	hungShare = 0.4
)

// lag finds out whether a member has become slower than it was.
type lag struct {
	any  atomic.Bool // some read was late since the last that was in time
	slow atomic.Bool

	mu    sync.Mutex
	run   int       // late reads since the last that was in time
	lost  int       // of these, those that lost their race
	won   int       // those that won it, late as they were
	since time.Time // of the first

	suspectNext  time.Time // when it may be raced as a suspect
	suspectPause time.Duration
	trialNext    time.Time // when the next trial of a slow one may begin
	trialPause   time.Duration
}

// timely notes a read that was in time.
func (l *lag) timely() {
	if !l.any.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run, l.lost, l.won, l.suspectPause = 0, 0, 0, 0
	l.slow.Store(false)
	l.any.Store(false)
}

// late notes a read that is not in time.
func (l *lag) late(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run == 0 {
		l.since = now
	}
	l.run++
	l.any.Store(true)
	l.judge(now)
}

// beaten notes that a late read lost its race.
func (l *lag) beaten(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run > 0 {
		l.lost++
		l.judge(now)
	}
}

// hangs notes that a read takes so long that one is as good as several.
func (l *lag) hangs(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run > 0 && l.run < lateRuns {
		l.run = lateRuns
		l.judge(now)
	}
}

// held notes that a late read won its race all the same.
func (l *lag) held() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run > 0 {
		l.won++
		l.slow.Store(l.slow.Load() && l.lost > l.won)
	}
}

func (l *lag) judge(now time.Time) {
	if !l.slow.Load() && l.run >= lateRuns && l.lost > l.won && now.Sub(l.since) >= lateFor {
		l.slow.Store(true)
		l.trialPause = trialFirst
		l.trialNext = now.Add(l.trialPause)
	}
}

// loses says whether others are faster, as far as races since the last read in time tell.
func (l *lag) loses() bool {
	if !l.any.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost > l.won
}

// suspect says whether to race a member, without a race that was earned, because it has been late for a while.
func (l *lag) suspect(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.judge(now)
	if l.slow.Load() {
		return true
	}
	if l.run < lateRuns || now.Sub(l.since) < lateFor || now.Before(l.suspectNext) {
		return false
	}
	l.suspectPause = max(2*l.suspectPause, suspectPause)
	l.suspectNext = now.Add(l.suspectPause)
	return true
}

// avoid says whether to go round a member; false for one that is not slow, and for the trials of one that is.
func (l *lag) avoid(now time.Time) bool {
	if !l.slow.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.trialNext) {
		return true
	}
	l.trialPause = min(2*l.trialPause, trialLast)
	l.trialNext = now.Add(l.trialPause)
	return false
}

// budget limits the requests that races add. It counts in thousandths of a request.
type budget struct {
	begun  atomic.Bool
	tokens atomic.Int64
}

// read adds what a read of an object of k data shards earns.
func (b *budget) read(o *Options, k int) {
	limit := int64(o.HedgeBurst*k) * 1000
	if !b.begun.Load() && b.begun.CompareAndSwap(false, true) {
		b.tokens.Add(limit)
		return
	}
	if t := b.tokens.Load(); t < limit {
		b.tokens.CompareAndSwap(t, min(t+int64(o.HedgeShare*1000), limit)) // one that is lost among concurrent ones does no harm
	}
}

// spend takes what some requests cost, if it is there.
func (b *budget) spend(requests int) bool {
	cost := int64(requests) * 1000
	for {
		t := b.tokens.Load()
		if t < cost {
			return false
		}
		if b.tokens.CompareAndSwap(t, t-cost) {
			return true
		}
	}
}

// late is how long a read may take before it is late.
func (g *group) late(m *member, c class) time.Duration {
	if p95 := m.meter.p95s[c].Load(); p95 > 0 {
		return max(g.o.Hedge, time.Duration(p95)*time.Duration(g.o.HedgeFactor))
	}
	return max(learning*g.o.Hedge, g.typical(c)*time.Duration(g.o.HedgeFactor))
}

// typical is the lower median of what the members are known to take for a size; 0: nothing is known.
func (g *group) typical(c class) time.Duration {
	var known [32]int64
	list := known[:0]
	for _, m := range g.members {
		if p95 := m.meter.p95s[c].Load(); p95 > 0 {
			list = append(list, p95)
		}
	}
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return time.Duration(list[(len(list)-1)/2])
}

// clock enters the time of a read that was answered. A late one counts unless races show that others are
// faster: then it is the times that have changed.
func (g *group) clock(m *member, c class, took time.Duration) {
	m.meter.average(c, took)
	m.meter.took.Store(int64(max(took, 1)))
	m.meter.answered.Store(time.Now().UnixNano())
	if len(g.members) > 1 && g.o.Hedge >= 0 {
		if took <= g.late(m, c) {
			m.lag(c).timely()
		} else if m.lag(c).loses() {
			return
		}
	}
	m.meter.record(c, took)
}

// mayRace says whether a late read is raced against others, which costs so many requests.
func (s *Set) mayRace(m *member, c class, trial bool, waited time.Duration, requests int) bool {
	now := time.Now()
	if s.hangs(m, c, waited, now) {
		m.lag(c).hangs(now)
		return true
	}
	return trial || m.lag(c).slow.Load() || s.o.Grace >= 0 && waited >= s.o.Grace || s.budget.spend(requests) || m.lag(c).suspect(now)
}

// hangs says whether a member does not answer while others do.
func (g *group) hangs(m *member, c class, waited time.Duration, now time.Time) bool {
	if g.o.Grace < 0 || waited < max(hungTimes*g.late(m, c), time.Duration(hungShare*float64(g.o.Grace))) {
		return false
	}
	begun, slowest := now.Add(-waited).UnixNano(), time.Duration(0)
	for _, o := range g.members {
		if o.meter.answered.Load() <= begun {
			continue
		}
		if o == m {
			return false
		}
		slowest = max(slowest, time.Duration(o.meter.took.Load()))
	}
	return slowest > 0 && waited >= hungTimes*slowest
}
