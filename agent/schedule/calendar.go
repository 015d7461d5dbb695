package schedule

import (
	"strconv"
	"strings"
)

// weekdays are named as systemd.time(7) names them.
var weekdays = [...]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// starBit marks a field that was written as a star.
const starBit = 1 << 63

// Calendar says the same in the words of systemd.time(7). There are two expressions when both days are restricted, because cron takes either
// day and systemd would want both.
func (s *Schedule) Calendar() []string {
	f := &s.fields
	date := "*-" + numbers(f.Month, 1, 12) + "-"
	clock := " " + numbers(f.Hour, 0, 23) + ":" + numbers(f.Minute, 0, 59) + ":00"
	if s.zone != nil {
		clock += " " + s.zone.String()
	}
	dom, dow := date+numbers(f.Dom, 1, 31)+clock, days(f.Dow)+date+"*"+clock
	switch {
	case f.Dow&starBit != 0:
		return []string{dom}
	case f.Dom&starBit != 0:
		return []string{dow}
	}
	return []string{dom, dow}
}

// numbers writes a set: a star for all of it, ranges for neighbours.
func numbers(set uint64, least, most int) string {
	var out []string
	for n := least; n <= most; n++ {
		if set&(1<<n) == 0 {
			continue
		}
		first := n
		for n < most && set&(1<<(n+1)) != 0 {
			n++
		}
		switch {
		case first == least && n == most:
			return "*"
		case first == n:
			out = append(out, two(n))
		default:
			out = append(out, two(first)+".."+two(n))
		}
	}
	return strings.Join(out, ",")
}

func two(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

func days(set uint64) string {
	var out []string
	for n, name := range weekdays {
		if set&(1<<n) != 0 {
			out = append(out, name)
		}
	}
	if len(out) == len(weekdays) {
		return ""
	}
	return strings.Join(out, ",") + " "
}
