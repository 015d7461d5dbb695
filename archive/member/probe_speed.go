package member

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"cairn/remote"
)

func (p *probe) latency(ctx context.Context) bool {
	var times []time.Duration
	for range latencyReads {
		start := time.Now()
		if _, err := p.s.Get(ctx, p.name("one"), 0, 1, nil); err != nil {
			p.fail("latency", err)
			return true
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	p.r.Latency = times[len(times)/2]
	if p.r.Latency > slowAnswer {
		p.found("latency", Warning, "a small request takes %s", round(p.r.Latency))
	} else {
		p.found("latency", Good, "a small request takes %s", round(p.r.Latency))
	}
	return true
}

// round keeps two digits or so.
func round(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		if d/unit < 1000 {
			return d.Round(unit)
		}
	}
}

func (p *probe) throughput(ctx context.Context) bool {
	data := make([]byte, p.o.ShardSize)
	rand.Read(data) // nothing on the way can compress it
	name := p.name("shard")
	start := time.Now()
	if err := p.put(ctx, name, data); err != nil {
		p.fail("throughput", fmt.Errorf("write %d bytes: %w", len(data), err))
		return true
	}
	p.r.Write = float64(len(data)) / max(time.Since(start).Seconds(), 1e-6)
	start = time.Now()
	got, err := p.s.Get(ctx, name, 0, -1, nil)
	if err != nil {
		p.fail("throughput", fmt.Errorf("read %d bytes: %w", len(data), err))
		return true
	}
	p.r.Read = float64(len(data)) / max(time.Since(start).Seconds(), 1e-6)
	if !bytes.Equal(got, data) {
		p.found("throughput", Bad, "%d bytes were written and other bytes read", len(data))
		return true
	}
	p.found("throughput", Good, "one object of %.1f MiB: written with %.1f, read with %.1f MiB/s", mib(float64(len(data))), mib(p.r.Write), mib(p.r.Read))
	return true
}

func mib(n float64) float64 { return n / (1 << 20) }

// clock compares what the store says of the first object's time with ours.
func (p *probe) clock() {
	if p.modified.IsZero() || p.after.IsZero() {
		return
	}
	p.r.ClockKnown = true
	switch {
	case p.modified.Before(p.before.Add(-2 * time.Second)): // many stores tell seconds only
		p.r.Clock = p.modified.Sub(p.before)
	case p.modified.After(p.after.Add(time.Second)):
		p.r.Clock = p.modified.Sub(p.after)
	}
	switch d := p.r.Clock.Abs(); {
	case d > clockSkew:
		p.found("clock", Warning, "the store's clock and this machine's are %s apart; S3 servers refuse requests from 15 minutes on", round(d))
	case d > 0:
		p.found("clock", Note, "the store's clock and this machine's are %s apart; nothing rests on it", round(d))
	default:
		p.found("clock", Good, "agrees with this machine's")
	}
}

// cleanup removes the scratch objects, also after an interruption.
func (p *probe) cleanup(ctx context.Context) {
	p.waitLock(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWithin)
	defer cancel()
	done := map[string]bool{}
	for _, name := range p.written {
		if done[name] {
			continue
		}
		done[name] = true
		if err := p.s.Delete(ctx, name); err != nil {
			if _, err := p.s.Stat(ctx, name); !errors.Is(err, remote.ErrNotExist) {
				p.r.Left = append(p.r.Left, name)
			}
		}
	}
}
