package retention

import (
	"cmp"
	"slices"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// slack is how far ahead of the caller's clock a snapshot may be without being taken for one from the future. Clocks that are set
// by the network differ by far less, and it costs nothing to be wrong: such a snapshot is kept until its time has come.
const slack = 10 * time.Minute

// early is how much earlier than its start a snapshot may have arrived: a clock that is a day off does no harm, and one that is always a
// little ahead must not keep its snapshots from being counted for ever.
const early = 24 * time.Hour

// Plan is what is to be done, group by group.
type Plan struct {
	Groups []Group
	Future []*snapshot.Snapshot // made by a clock that was ahead, or the caller's is behind: kept and not counted
}

// Group is one list of snapshots to which the rules were applied.
type Group struct {
	Fields    []Field
	Decisions []Decision // oldest first
}

// Decision is what becomes of one snapshot.
type Decision struct {
	Snapshot *snapshot.Snapshot
	Keep     bool
	Reasons  []string // at least one
}

// Forget returns the snapshots that are to be forgotten, oldest first in each group.
func (p *Plan) Forget() []chunk.ID {
	var ids []chunk.ID
	for _, g := range p.Groups {
		for _, d := range g.Decisions {
			if !d.Keep {
				ids = append(ids, d.Snapshot.ID)
			}
		}
	}
	return ids
}

// Decide applies a policy to all snapshots of an archive. now is the caller's time. Groups are ordered by what they have in common.
func Decide(list []*snapshot.Snapshot, p Policy, now time.Time) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	d := newDecider(list, &p, now)
	groups := map[string]*Group{}
	plan := new(Plan)
	for _, s := range d.list {
		if !p.Only.Match(s) {
			continue
		}
		if d.future(s) {
			plan.Future = append(plan.Future, s)
		}
		fields := name(p.GroupBy, s)
		g := groups[groupOf(fields)]
		if g == nil {
			g = &Group{Fields: fields}
			groups[groupOf(fields)] = g
		}
		g.Decisions = append(g.Decisions, Decision{Snapshot: s})
	}
	for _, g := range groups {
		d.group(g.Decisions)
		plan.Groups = append(plan.Groups, *g)
	}
	slices.SortFunc(plan.Groups, func(a, b Group) int { return compareFields(a.Fields, b.Fields) })
	return plan, nil
}

func compareFields(a, b []Field) int {
	return slices.CompareFunc(a, b, func(a, b Field) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), slices.Compare(a.Values, b.Values))
	})
}

// decider knows the whole archive.
type decider struct {
	p      *Policy
	list   []*snapshot.Snapshot // oldest first
	limit  snapshot.Time        // what began later is in the future
	latest snapshot.Time        // start of the newest complete snapshot
	series map[string]*series
}

// series is what is known of a series: its complete snapshots, those from the future left out.
type series struct {
	newest *snapshot.Snapshot
	held   *snapshot.Snapshot // the last to be forgotten: the newest that has not expired, or if all have, the newest
	ended  snapshot.Time      // when the one that was at work longest ended
}

func newDecider(list []*snapshot.Snapshot, p *Policy, now time.Time) *decider {
	d := &decider{p: p, list: slices.Clone(list), limit: snapshot.TimeOf(now.Add(slack)), series: map[string]*series{}}
	snapshot.SortByTime(d.list)
	var complete []*snapshot.Snapshot
	for _, s := range d.list {
		if !s.Incomplete && !d.future(s) {
			complete = append(complete, s)
			d.latest = s.Start
		}
	}
	for _, s := range complete {
		known := d.series[s.Series]
		if known == nil {
			known = &series{held: s}
			d.series[s.Series] = known
		}
		known.newest = s
		if !d.expired(s) || d.expired(known.held) {
			known.held = s
		}
		if known.ended.Compare(s.End) < 0 {
			known.ended = s.End
		}
	}
	return d
}

// expired says whether the archive has seen a backup that began after the snapshot's expiry.
func (d *decider) expired(s *snapshot.Snapshot) bool {
	return !s.Pinned && !s.Expires.IsZero() && s.Expires.Compare(d.latest) <= 0
}

func (d *decider) future(s *snapshot.Snapshot) bool {
	at, known := d.p.Arrived[s.ID]
	return s.Start.Compare(d.limit) > 0 || known && s.Start.Compare(snapshot.TimeOf(at.Add(early))) > 0
}

// group decides on the snapshots of one group, which are in order.
func (d *decider) group(list []Decision) {
	var counted []int
	for i := range list {
		if d.special(&list[i]) {
			counted = append(counted, i)
		}
	}
	d.apply(list, counted)
	for i := range list {
		d.conclude(&list[i])
	}
}

// special decides on a snapshot that is not the rules' concern; the others count.
func (d *decider) special(c *Decision) (counts bool) {
	s := c.Snapshot
	if s.Pinned {
		c.keep("pinned")
	}
	for _, name := range s.Refs {
		c.keep("reference " + name)
	}
	switch {
	case s.Incomplete && s.Pinned:
	case s.Incomplete:
		d.unfinished(c)
	case d.future(s):
		c.keep("in the future")
	case s.Pinned:
		return true
	case !d.p.HasRules():
		c.keep("no rule was given")
	case s.Expires.IsZero():
		return true
	case d.expired(s):
		c.Reasons = append(c.Reasons, "expired "+d.show(s))
	default:
		c.keep("expires " + d.show(s))
	}
	return false
}

// unfinished decides on an incomplete snapshot. Its client may still be at work; when a backup of the series has come to
// its end meanwhile, what a checkpoint protects is of little use. Other incomplete ones are a person's decision.
func (d *decider) unfinished(c *Decision) {
	s := c.Snapshot
	known := d.series[s.Series]
	switch {
	case s.Checkpoint && known != nil && s.End.Compare(known.ended) <= 0:
		c.Reasons = append(c.Reasons, "checkpoint, and a newer backup is complete")
	case !s.Checkpoint && d.p.Incomplete && known != nil && s.End.Compare(known.newest.Start) <= 0:
		c.Reasons = append(c.Reasons, "incomplete, and a newer backup is complete")
	case s.Checkpoint:
		c.keep("checkpoint")
	default:
		c.keep("incomplete")
	}
}

func (d *decider) show(s *snapshot.Snapshot) string {
	return s.Expires.Time().In(d.p.wall(s).Location()).Format("2006-01-02 15:04")
}

// apply runs the rules over the snapshots that count. Twins count once, and the rules keep both or none: nothing tells which of them is wanted.
func (d *decider) apply(list []Decision, counted []int) {
	rules := d.p.rules()
	if len(counted) > 0 {
		newest := d.reference(list)
		for i := range rules {
			rules[i].from = rules[i].within.Before(newest)
		}
	}
	first, twins := apart(list, counted)
	for n, i := range slices.Backward(first) {
		wall := d.p.wall(list[i].Snapshot)
		for r := range rules {
			why := rules[r].take(wall, n == 0)
			if why == "" {
				continue
			}
			list[i].keep(why)
			for _, twin := range twins[i] {
				list[twin].keep(why)
			}
		}
	}
	for _, i := range counted {
		c := &list[i]
		for _, tag := range d.p.Tags {
			if slices.Contains(c.Snapshot.Tags, tag) {
				c.keep("tag " + tag)
			}
		}
	}
}

// apart tells the first of each snapshots that are twins from the others, which it gives by that. They began at the same time, and so are beside each other
// or nearly so.
func apart(list []Decision, counted []int) (first []int, twins map[int][]int) {
	twins = map[int][]int{}
next:
	for _, i := range counted {
		s := list[i].Snapshot
		for _, other := range slices.Backward(first) {
			o := list[other].Snapshot
			if o.Start != s.Start {
				break
			}
			if s.Twin(o) {
				twins[other] = append(twins[other], i)
				continue next
			}
		}
		first = append(first, i)
	}
	return first, twins
}

// reference is the time from which within counts: when the group's newest complete snapshot began, even if it will expire.
func (d *decider) reference(list []Decision) time.Time {
	for _, c := range slices.Backward(list) {
		if s := c.Snapshot; !s.Incomplete && !d.future(s) {
			return d.p.wall(s)
		}
	}
	return time.Time{}
}

// conclude holds the last backup of a series back and gives what nothing keeps its reason.
func (d *decider) conclude(c *Decision) {
	if c.Keep {
		return
	}
	if known := d.series[c.Snapshot.Series]; known != nil && known.held == c.Snapshot && !d.p.AllowEmpty {
		c.Reasons = append([]string{"newest of its series"}, c.Reasons...)
		c.Keep = true
		return
	}
	if len(c.Reasons) == 0 {
		c.Reasons = []string{"no rule keeps it"}
	}
}

func (c *Decision) keep(why string) {
	c.Keep = true
	c.Reasons = append(c.Reasons, why)
}
