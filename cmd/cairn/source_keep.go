package main

import (
	"context"
	"strconv"

	sourcerun "cairn/agent/source/run"
	"cairn/chunk"
	"cairn/snapshot"
	"cairn/snapshot/retention"
)

// keepRules are what a source file says about the snapshots of its series.
type keepRules = retention.Policy

// keepPolicy makes a policy of a source's keep, for the series of a job.
func keepPolicy(j *sourcerun.Job) (keepRules, error) {
	p := retention.Policy{Only: snapshot.Filter{Series: j.Series}, GroupBy: []retention.Key{retention.Series}}
	k := j.Keep
	for _, rule := range []struct {
		name string
		n    int
	}{{"last", k.Last}, {"hourly", k.Hourly}, {"daily", k.Daily}, {"weekly", k.Weekly}, {"monthly", k.Monthly}, {"quarterly", k.Quarterly}, {"yearly", k.Yearly}} {
		if rule.n > 0 {
			if err := p.Set(rule.name, strconv.Itoa(rule.n)); err != nil {
				return p, err
			}
		}
	}
	if k.Within != "" {
		if err := p.Set("within", k.Within); err != nil {
			return p, err
		}
	}
	return p, p.Validate()
}

// forgetSeries forgets what the rules do not keep. What cannot be read is left alone.
func (t *sourceTarget) forgetSeries(ctx context.Context) (int, error) {
	list, damaged, err := t.a.Snapshots(ctx)
	if err != nil {
		return 0, err
	}
	for _, d := range damaged {
		t.warn("%v (no rule applies to it)", d)
	}
	t.keep.Arrived = arrivals(ctx, t.a)
	plan, err := retention.Decide(list, t.keep, t.now())
	if err != nil {
		return 0, err
	}
	var ids []chunk.ID
	if ids = plan.Forget(); len(ids) == 0 {
		return 0, nil
	}
	return len(ids), t.forgetSnapshots(ctx, t.a, ids)
}
