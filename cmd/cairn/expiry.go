package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/snapshot"
	"cairn/snapshot/retention"
)

// expiryFlag is for backup and tag.
func expiryFlag(more string) cli.Flag {
	return &cli.StringFlag{Name: "expire-at", Usage: "keep the snapshot until `TIME` (2027-01-31, or from now: 30d, 1y6m, 12h), then let forget remove it" + more}
}

// parseExpiry reads a time or a length of time from now.
func parseExpiry(text string, now time.Time) (snapshot.Time, error) {
	var at time.Time
	if span, err := retention.ParseSpan(text); err == nil {
		at = span.After(now)
	} else if at, err = snapshot.ParseTime(text, now); err != nil {
		return snapshot.Time{}, fmt.Errorf("%.80q is neither a time such as 2027-01-31 or 2027-01-31T18:00 nor a length of time such as 30d, 1y6m or 12h", text)
	}
	if !at.After(now) {
		return snapshot.Time{}, fmt.Errorf("%s is over", at.Format("2006-01-02 15:04:05"))
	}
	return snapshot.TimeOf(at), nil
}
