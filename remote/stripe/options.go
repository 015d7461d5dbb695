package stripe

import (
	"fmt"
	"time"
)

// Defaults of Options.
const (
	// DefaultBench and DefaultBenchMax: a server that is restarted is back in use within seconds, and one that is gone for a day costs one
	// Stat a minute.
	DefaultBench    = 5 * time.Second
	DefaultBenchMax = time.Minute
	// DefaultProbe is more than an answer takes on any line on which a backup would end.
	DefaultProbe = 10 * time.Second
	// DefaultGrace and DefaultGraceFactor: two providers differ by less than that factor in the time they take for a shard, so what is
	// given up hangs. 10 s are a pause of a busy disk, or one lost connection and its retry.
	DefaultGrace       = 10 * time.Second
	DefaultGraceFactor = 8
	// DefaultHedge is above what a healthy member takes on another continent, and below what people notice.
	DefaultHedge       = 250 * time.Millisecond
	DefaultHedgeFactor = 3
	DefaultHedgeShare  = 0.05
	DefaultHedgeBurst  = 2
)

// Options of a Set. The zero value mirrors; to read around missing shards it needs Reconstruct.
type Options struct {
	// Reconstruct fills the columns named in want from any k columns that are there. All of these have equal length; the others are
	// empty. An empty one with enough capacity may be filled in place.
	Reconstruct func(k, m int, cols [][]byte, want []int) error

	Bench    time.Duration // how long an unreachable member is left alone at first; 0: DefaultBench, < 0: nobody is ever benched
	BenchMax time.Duration // the longest pause between two probes; 0: DefaultBenchMax
	Probe    time.Duration // when a probe counts as failed; 0: DefaultProbe

	// A member that did not finish what all others have finished is given up after Grace or GraceFactor times what the slowest
	// other took, whichever is longer.
	Grace       time.Duration // 0: DefaultGrace, < 0: wait for ever
	GraceFactor int           // 0: DefaultGraceFactor

	// A read is raced after Hedge or HedgeFactor times the 95th percentile, whichever is longer.
	Hedge       time.Duration // 0: DefaultHedge, < 0: no races
	HedgeFactor int           // 0: DefaultHedgeFactor
	HedgeShare  float64       // requests that races may add to each read; 0: DefaultHedgeShare
	HedgeBurst  int           // races that need not be earned; 0: DefaultHedgeBurst

	// Bad, if set, is told of a shard that was read around although its member answered: it is not there, or cut off, or its medium
	// fails. It may be called several times for one, and concurrently, and must not use the Set.
	Bad func(name string, shard int, err error)

	// Event, if set, is told when a member is benched and when it is back: one call at a time, in this order. It must not use the Set,
	// except Members and Degraded.
	Event func(Event)
}

// Event is a change in the state of a member.
type Event struct {
	Label   string
	Benched bool  // false: it is back
	Err     error // why it was benched
}

// String says it to a person.
func (e Event) String() string {
	if e.Benched {
		return fmt.Sprintf("member %s does not answer: %v; going on without it", e.Label, e.Err)
	}
	return fmt.Sprintf("member %s answers again", e.Label)
}

func (o Options) applyDefaults() Options {
	duration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	number := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	duration(&o.Bench, DefaultBench)
	duration(&o.BenchMax, DefaultBenchMax)
	o.BenchMax = max(o.BenchMax, o.Bench)
	duration(&o.Probe, DefaultProbe)
	duration(&o.Grace, DefaultGrace)
	number(&o.GraceFactor, DefaultGraceFactor)
	duration(&o.Hedge, DefaultHedge)
	number(&o.HedgeFactor, DefaultHedgeFactor)
	number(&o.HedgeBurst, DefaultHedgeBurst)
	if o.HedgeShare <= 0 {
		o.HedgeShare = DefaultHedgeShare
	}
	return o
}

// grace is how long a straggler is waited for when the slowest other took so long; false: for ever.
func (o *Options) grace(slowest time.Duration) (time.Duration, bool) {
	if o.Grace < 0 {
		return 0, false
	}
	return max(o.Grace, time.Duration(o.GraceFactor)*slowest), true
}
