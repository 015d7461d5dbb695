package retention

import (
	"fmt"
	"strconv"
	"strings"
)

// Counts are the names of the rules of so many buckets, as Set takes them.
func Counts() []string {
	return []string{"last", "minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly"}
}

// Spans are the names of the rules within a length of time.
func Spans() []string {
	return []string{"within", "within-hourly", "within-daily", "within-weekly", "within-monthly", "within-quarterly", "within-yearly"}
}

// Bucket says in a word what a rule keeps one snapshot of: "day". It is empty for a rule that keeps each.
func Bucket(rule string) string {
	switch strings.TrimPrefix(rule, "within-") {
	case "minutely":
		return "minute"
	case "hourly":
		return "hour"
	case "daily":
		return "day"
	case "weekly":
		return "week"
	case "monthly":
		return "month"
	case "quarterly":
		return "quarter"
	case "yearly":
		return "year"
	}
	return ""
}

// Set gives a rule the value that people write: a number or "unlimited", a span, or for "tag" one more tag.
func (p *Policy) Set(rule, value string) error {
	if rule == "tag" {
		p.Tags = append(p.Tags, value)
		return nil
	}
	if count := p.count(rule); count != nil {
		n, err := strconv.Atoi(value)
		if value == "unlimited" {
			n, err = Unlimited, nil
		} else if err != nil || n < 0 {
			return fmt.Errorf("%.80q is neither a number of snapshots nor unlimited", value)
		}
		*count = n
		return nil
	}
	span := p.span(rule)
	if span == nil {
		return fmt.Errorf("there is no rule %.80q", rule)
	}
	parsed, err := ParseSpan(value)
	if err != nil {
		return err
	}
	*span = parsed
	return nil
}

func (p *Policy) count(rule string) *int {
	switch rule {
	case "last":
		return &p.Last
	case "minutely":
		return &p.Minutely
	case "hourly":
		return &p.Hourly
	case "daily":
		return &p.Daily
	case "weekly":
		return &p.Weekly
	case "monthly":
		return &p.Monthly
	case "quarterly":
		return &p.Quarterly
	case "yearly":
		return &p.Yearly
	}
	return nil
}

func (p *Policy) span(rule string) *Span {
	switch rule {
	case "within":
		return &p.Within
	case "within-hourly":
		return &p.WithinHourly
	case "within-daily":
		return &p.WithinDaily
	case "within-weekly":
		return &p.WithinWeekly
	case "within-monthly":
		return &p.WithinMonthly
	case "within-quarterly":
		return &p.WithinQuarterly
	case "within-yearly":
		return &p.WithinYearly
	}
	return nil
}
