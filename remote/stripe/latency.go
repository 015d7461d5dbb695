package stripe

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// class sorts reads by size: what a read of 4 MiB takes says nothing about one of 4 KiB.
type class int

const classes = 5

// classLimits are the largest sizes of all classes but the last.
var classLimits = [classes - 1]int64{64 << 10, 512 << 10, 2 << 20, 8 << 20}

// unknown is the class of reads whose size the object decides. They are not measured.
const unknown class = -1

// sizeOf is about how many bytes a range has that is given as in remote.Store.Get; -1: unknown.
func sizeOf(off, n int64) int64 {
	switch {
	case off >= 0:
		return n
	case off >= -classLimits[0]:
		return -off
	}
	return -1
}

func classOf(n int64) class {
	if n < 0 {
		return unknown
	}
	for c, limit := range classLimits {
		if n <= limit {
			return class(c)
		}
	}
	return classes - 1
}

const (
	// steps of a histogram are half octaves from 50 µs: the last begins at 145 s, and a percentile is at most 41 % too high.
	steps    = 44
	stepUnit = 50 * time.Microsecond
	// A percentile of fewer than fewSamples samples is none. At manySamples all are halved, so that the last few hundred count.
	fewSamples  = 8
	manySamples = 512
)

// meter measures the reads of one member.
type meter struct {
	inFlight         atomic.Int32
	requests, errors atomic.Int64
	answered, took   atomic.Int64          // when the last read was answered (Unix nanoseconds), and after how long
	p95s             [classes]atomic.Int64 // ns; 0: too few samples
	averages         [classes]atomic.Int64 // ns, an exponentially weighted moving average; 0: none

	mu    sync.Mutex
	hists [classes]histogram
}

type histogram struct {
	total  int
	counts [steps]uint16
}

func stepOf(d time.Duration) int {
	if d <= stepUnit {
		return 0
	}
	return min(int(2*math.Log2(float64(d)/float64(stepUnit))), steps-1)
}

func (h *histogram) add(d time.Duration) {
	if h.total >= manySamples {
		h.total = 0
		for i := range h.counts {
			h.counts[i] /= 2
			h.total += int(h.counts[i])
		}
	}
	h.counts[stepOf(d)]++
	h.total++
}

// percentile returns the upper end of the step in which p (0 to 1) of the samples end.
func (h *histogram) percentile(p float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rest := int(math.Ceil(p * float64(h.total)))
	for i, n := range h.counts {
		if rest -= int(n); rest <= 0 {
			return time.Duration(float64(stepUnit) * math.Exp2(float64(i+1)/2))
		}
	}
	return math.MaxInt64
}

// sample enters the time of a read of a member that is the only one.
func (m *meter) sample(c class, d time.Duration) {
	m.average(c, d)
	m.record(c, d)
}

// record enters a time that says how the member is when all is well.
func (m *meter) record(c class, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := &m.hists[c]
	h.add(d)
	if h.total >= fewSamples && (h.total < 64 || h.total%16 == 0) {
		m.p95s[c].Store(int64(h.percentile(0.95)))
	}
}

// average lets the moving average follow. It is what members are ordered by, so bad times count as well.
func (m *meter) average(c class, d time.Duration) {
	old := m.averages[c].Load()
	if old == 0 {
		m.averages[c].Store(max(int64(d), 1))
		return
	}
	m.averages[c].Store(max(old+(int64(d)-old)/4, 1)) // a lost update among concurrent ones does no harm
}

// atLeast is for a read that was ended before it was answered.
func (m *meter) atLeast(c class, d time.Duration) {
	if int64(d) > m.averages[c].Load() {
		m.average(c, d)
	}
}

// percentiles are the median and the 95th percentile of a class.
func (m *meter) percentiles(c class) (p50, p95 time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hists[c].percentile(0.50), m.hists[c].percentile(0.95)
}

// level is the speed in steps of a factor of 1.4 from 1 ms, 0 the fastest; differences below that are noise. A
// member of which nothing is known in the class is as fast as in the nearest one, and otherwise gets its chance.
func (m *meter) level(c class) int {
	for d := range class(classes) {
		for _, near := range [2]class{c - d, c + d} {
			if near < 0 || near >= classes {
				continue
			}
			if avg := m.averages[near].Load(); avg > 0 {
				return 1 + int(2*math.Log2(max(float64(avg)/float64(time.Millisecond), 1)))
			}
		}
	}
	return 0
}
