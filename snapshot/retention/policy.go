// Package retention decides which snapshots are kept: a pure function from a list of snapshots, a policy and the time to a reason
// for each of them.
//
//	all snapshots ── Policy.Only ──▶ groups ──▶ rules, newest first ──▶ kept by these rules, or forgotten because …
//
// Words: a bucket is a day, a week, … of a calendar; a rule of so many buckets keeps the newest snapshot in each of the newest ones.
// A snapshot counts when a rule may take it for the one of its bucket.
//
// Invariants
//   - Nobody's clock makes a snapshot go but those of the writers. Within is counted from the newest snapshot of the group, and
//     a snapshot has expired when the archive holds a complete one that began after its expiry. The caller's time, and the members',
//     only tell which snapshots are in the future, and these are kept. So a machine whose clock is wrong by a year forgets what others would.
//   - The newest complete snapshot of each series is kept, unless Policy.AllowEmpty says otherwise: of those that have not expired, and
//     when all have, of those.
//   - Incomplete snapshots and such from the future do not count; nor does one with an expiry, which must not keep
//     a day's place for a snapshot that goes before the day's turn is over. Pinned snapshots are kept, and count.
//   - The result does not depend on the order of the list, and applied again to what it keeps, with the same time, it keeps all of it.
//
// Calendar. A snapshot's day, week, month, quarter or year is that of the clock on its writer's wall, by the offset from UTC that
// it recorded; with Policy.Zone, that of the zone. A day may have 23 or 25 hours; the hour that a clock shows
// twice in autumn is two hours. Weeks are those of ISO 8601: from Monday, the week of a year's first Thursday is its first.
//
// Functions may be called concurrently. Nothing is kept between calls, and there is no I/O.
package retention

import (
	"errors"
	"fmt"
	"time"

	"cairn/chunk"
	"cairn/snapshot"
)

// Unlimited is the number of a rule that keeps one snapshot of each bucket there is.
const Unlimited = -1

// Policy says what to keep. A snapshot is kept when one rule keeps it. The zero Policy has no rule and keeps everything.
type Policy struct {
	// So many are kept, 0: no such rule. Last counts snapshots, the others buckets.
	Last, Minutely, Hourly, Daily, Weekly, Monthly, Quarterly, Yearly int

	Within Span // all that began at most so long before the group's newest snapshot
	// One of each bucket among these.
	WithinHourly, WithinDaily, WithinWeekly, WithinMonthly, WithinQuarterly, WithinYearly Span

	Tags []string // all that have one of these

	Only    snapshot.Filter // others are not decided on; they are still known
	GroupBy []Key           // the rules are applied to each group by itself; none: all snapshots are one group
	Zone    *time.Location  // of the calendar; nil: each snapshot's recorded one

	// Arrived says when a member had a snapshot, by the clock of the member. It may know none. A snapshot that says that it began a day
	// later than it arrived was made by a clock that was ahead, even if the caller's is too: it is one from the future.
	Arrived map[chunk.ID]time.Time

	Incomplete bool // forget incomplete snapshots, too, when a later backup of their series is complete
	AllowEmpty bool // forget also the last complete snapshot of a series
}

// Validate says what is wrong with a policy.
func (p *Policy) Validate() error {
	for _, r := range p.counts() {
		if r.of < Unlimited {
			return fmt.Errorf("%s: %d is no number of snapshots", r.name, r.of)
		}
	}
	for _, k := range p.GroupBy {
		if k.values(new(snapshot.Snapshot)) == nil {
			return fmt.Errorf("snapshots cannot be grouped by %q", k)
		}
	}
	for _, tag := range p.Tags {
		if tag == "" {
			return errors.New("an empty tag keeps nothing")
		}
	}
	return nil
}

// HasRules says whether there is a rule that keeps something. Without one nothing that is complete is forgotten.
func (p *Policy) HasRules() bool { return len(p.rules()) > 0 || len(p.Tags) > 0 }

// counts lists the rules of so many buckets.
func (p *Policy) counts() []rule {
	return []rule{
		{name: "last", of: p.Last},
		{name: "minutely", of: p.Minutely, bucket: minute},
		{name: "hourly", of: p.Hourly, bucket: hour},
		{name: "daily", of: p.Daily, bucket: day},
		{name: "weekly", of: p.Weekly, bucket: week},
		{name: "monthly", of: p.Monthly, bucket: month},
		{name: "quarterly", of: p.Quarterly, bucket: quarter},
		{name: "yearly", of: p.Yearly, bucket: year},
	}
}

// rules lists the rules that the policy has, in the order in which reasons are told.
func (p *Policy) rules() []rule {
	var rules []rule
	for _, r := range p.counts() {
		if r.of != 0 {
			rules = append(rules, r)
		}
	}
	for _, r := range []rule{
		{name: "within", within: p.Within},
		{name: "hourly within", within: p.WithinHourly, bucket: hour},
		{name: "daily within", within: p.WithinDaily, bucket: day},
		{name: "weekly within", within: p.WithinWeekly, bucket: week},
		{name: "monthly within", within: p.WithinMonthly, bucket: month},
		{name: "quarterly within", within: p.WithinQuarterly, bucket: quarter},
		{name: "yearly within", within: p.WithinYearly, bucket: year},
	} {
		if r.within != (Span{}) {
			rules = append(rules, r)
		}
	}
	return rules
}
