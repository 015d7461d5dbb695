package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/member"
	"cairn/archive/prune"
	"cairn/remote"
	"cairn/snapshot/retention"
)

// retainFlags are for commands that say how long objects are locked.
func retainFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "retain", Usage: "lock all that is stored against deletion for `TIME`, such as 30d (S3 object lock)"},
		&cli.StringFlag{Name: "retain-mode", Value: string(remote.Governance), Usage: "`MODE` of the locks: governance, or compliance, which nobody can take back"},
	}
}

// retainOption reads the flags; nil: no locks.
func (e *env) retainOption(c *cli.Context) (*archive.Retention, error) {
	text := c.String("retain")
	if text == "" {
		if c.IsSet("retain-mode") {
			return nil, usage("--retain-mode says how --retain locks, which is missing")
		}
		return nil, nil
	}
	return e.parseRetention(text, c.String("retain-mode"))
}

func (e *env) parseRetention(text, mode string) (*archive.Retention, error) {
	span, err := retention.ParseSpan(text)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	m, err := remote.ParseMode(mode)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--retain-mode: %w", err)}
	}
	now := e.now().UTC()
	r, err := archive.NewRetention(now.AddDate(0, span.Months, span.Days).Add(span.Rest).Sub(now), m)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--retain: %w", err)}
	}
	return r, nil
}

// retentionText names a retention for people.
func retentionText(r *archive.Retention) string {
	period := r.Period().String()
	if r.Period()%(24*time.Hour) == 0 {
		period = plural(uint64(r.Period()/(24*time.Hour)), "day", "days")
	}
	return period + ", " + string(r.Mode)
}

// survey says of the places of a new archive how they protect what is in them, and refuses those that cannot keep what is asked of them.
// Directories are not asked: there is nothing to find out. Whether locks hold takes some seconds, for all at once.
func (e *env) survey(c *cli.Context, members []archive.Member, keep *archive.Retention) error {
	reports := make([]*member.ProbeReport, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		if _, ok := remote.As[remote.Protector](m.Store); ok {
			wg.Go(func() {
				reports[i] = member.Probe(c.Context, m.Store, member.ProbeOptions{Quick: true, NoLocks: keep == nil, Now: e.now})
			})
		} else if keep != nil {
			return hint(fmt.Errorf("%s: a directory cannot lock what is in it, so --retain is not possible", printable(m.URL)),
				"name S3 buckets with object lock, or leave --retain out; a directory that clients reach by an S3 server of its own is one")
		}
	}
	wg.Wait()
	if err := c.Context.Err(); err != nil {
		return err
	}
	for i, r := range reports {
		if r == nil {
			continue
		}
		if err := e.tellSurvey(members[i].URL, r, keep); err != nil {
			return err
		}
	}
	return nil
}

// tellSurvey says what is worth knowing of one place.
func (e *env) tellSurvey(url string, r *member.ProbeReport, keep *archive.Retention) error {
	trouble := errors.New("no object lock")
	for _, f := range r.Findings {
		switch {
		case f.Grade == member.Bad:
			return fmt.Errorf("%s: %s: %s", printable(url), f.Test, f.Text)
		case f.Grade != member.Good:
			e.say("%s: %s: %s", printable(url), f.Test, f.Text)
			trouble = errors.New(f.Text)
		}
	}
	if keep != nil && !r.Protects() {
		return hint(fmt.Errorf("%s: --retain is not possible: %w", printable(url), trouble),
			"object lock is given to a bucket when it is made: name one that does not exist yet, and init makes it so, if server and keys allow it")
	}
	return nil
}

// printLocks tells what became of the locks of what stays.
func (e *env) printLocks(r *prune.ExtendReport) {
	if r == nil {
		return
	}
	if r.Extended > 0 {
		e.print("  %s made longer", plural(uint64(r.Extended), "lock", "locks"))
	}
	e.warnLocks(r)
}

func (e *env) warnLocks(r *prune.ExtendReport) {
	for _, label := range slices.Sorted(maps.Keys(r.Failed)) {
		e.warn("locks on %s are not made longer: %v; the next prune tries again", printable(label), r.Failed[label])
	}
}
