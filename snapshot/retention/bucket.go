package retention

import (
	"fmt"
	"time"

	"cairn/snapshot"
)

// wall returns a snapshot's time on the clock of the policy's zone, or on that of its writer.
func (p *Policy) wall(s *snapshot.Snapshot) time.Time {
	if p.Zone != nil {
		return s.Start.Time().In(p.Zone)
	}
	return s.Start.Time().In(time.FixedZone("", s.ZoneOffset))
}

// bucketFunc names the bucket of a time on the wall.
type bucketFunc func(wall time.Time) string

// Minutes and hours are told apart by when they begin, because a clock shows some of them twice. They are not those of UTC:
// in India an hour begins at half past.
func minute(wall time.Time) string { return begin(wall, 0, wall.Second()) }
func hour(wall time.Time) string   { return begin(wall, wall.Minute(), wall.Second()) }

func begin(wall time.Time, minutes, seconds int) string {
	back := time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second
	return wall.Add(-back).UTC().Format("2006-01-02 15:04")
}

// Days and longer buckets are told apart by their dates, because on the days when clocks are changed a writer's first and
// last snapshot have different offsets.
func day(wall time.Time) string { return wall.Format("2006-01-02") }
func week(wall time.Time) string {
	y, w := wall.ISOWeek()
	return fmt.Sprintf("%d-W%02d", y, w)
}
func month(wall time.Time) string   { return wall.Format("2006-01") }
func quarter(wall time.Time) string { return fmt.Sprintf("%d-Q%d", wall.Year(), (wall.Month()+2)/3) }
func year(wall time.Time) string    { return fmt.Sprint(wall.Year()) }

// rule is one rule while it is applied to a group, newest snapshot first.
type rule struct {
	name   string
	of     int        // how many to keep, or Unlimited
	within Span       // instead of it
	bucket bucketFunc // nil: each snapshot is one

	from  time.Time       // with within: the earliest time that is
	kept  int             // so far
	taken map[string]bool // buckets
}

// full says that the rule has kept what it may.
func (r *rule) full() bool { return r.of > 0 && r.kept == r.of }

// take says why the rule keeps a snapshot, "" if it does not. last is the group's oldest one: it stands for the buckets
// before it while the rule has more than there are, so that a young archive does not lose its beginning.
func (r *rule) take(wall time.Time, last bool) string {
	if r.within != (Span{}) {
		if wall.Before(r.from) || !r.fresh(wall) {
			return ""
		}
		return r.name + " " + r.within.String()
	}
	if r.full() {
		return ""
	}
	fresh := r.fresh(wall)
	if !fresh && !last {
		return ""
	}
	r.kept++
	why := fmt.Sprintf("%s %d", r.name, r.kept)
	if r.of > 0 {
		why += fmt.Sprintf("/%d", r.of)
	}
	if !fresh {
		why += " (oldest)"
	}
	return why
}

// fresh says whether the snapshot's bucket has none yet, and takes it.
func (r *rule) fresh(wall time.Time) bool {
	if r.bucket == nil {
		return true
	}
	name := r.bucket(wall)
	if r.taken[name] {
		return false
	}
	if r.taken == nil {
		r.taken = map[string]bool{}
	}
	r.taken[name] = true
	return true
}
