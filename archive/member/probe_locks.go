package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/remote"
)

// lockTime is how long the scratch object is locked by which locks are tried out: long enough for three requests to a store that is far away,
// short enough to wait for.
const lockTime = 5 * time.Second

// The tests of how a store protects what is in it.
const (
	testVersions = "versions"
	testLocks    = "object lock"
	testDefault  = "default retention"
)

// Protects says whether an archive with retention can be kept in the store that was probed.
func (r *ProbeReport) Protects() bool {
	for _, f := range r.Findings {
		if f.Test == testLocks {
			return f.Grade == Good
		}
	}
	return false
}

// protection finds out what the store does against deletion, by asking and by trying. Of a directory there is nothing to find out.
func (p *probe) protection(ctx context.Context) bool {
	s, ok := remote.As[remote.Protector](p.s)
	if !ok {
		return true
	}
	got, err := s.Protection(ctx)
	if err != nil {
		p.fail(testVersions, err)
		return true
	}
	for _, doubt := range got.Doubts {
		p.found(testVersions, Note, "%s", doubt)
	}
	switch got.Versions {
	case remote.Yes:
		p.found(testVersions, Good, "what is replaced or deleted is kept, and --as-of shows an earlier time")
	case remote.No:
		p.found(testVersions, Note, "the bucket keeps no versions: what is deleted or replaced is gone, and --as-of has nothing to show")
	}
	if got.Locks == remote.No {
		p.found(testLocks, Note, "the bucket has none: what these keys may delete, an attacker with these keys may; --retain is not possible")
		return true
	}
	if p.o.NoLocks {
		if got.Locks == remote.Yes {
			p.found(testLocks, Good, "objects can be locked (--retain)")
		}
	} else {
		p.tryLock(ctx)
	}
	p.standard(ctx, got)
	return true
}

// tryLock locks a scratch object, tries to delete it, and leaves it to be removed when the lock has passed.
func (p *probe) tryLock(ctx context.Context) {
	r, ok := remote.As[remote.Retainer](p.s)
	if !ok {
		p.found(testLocks, Note, "not offered by this kind of store")
		return
	}
	name := p.name("locked")
	// By the store's clock, as far as it is known: a store refuses a lock that has passed.
	lock := remote.Retention{Until: p.o.Now().Add(lockTime + max(0, p.modified.Sub(p.after))), Mode: remote.Governance}
	p.written, p.lockedUntil = append(p.written, name), lock.Until
	err := r.PutRetained(ctx, name, []byte("locked"), lock)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		p.found(testLocks, Note, "the server does not implement it, or not for this bucket (%v)", err)
		return
	case err != nil:
		p.found(testLocks, Warning, "a locked object cannot be written: %s", withHint(err))
		return
	}
	err = p.s.Delete(ctx, name)
	switch {
	case err == nil:
		p.found(testLocks, Warning, "the server takes a lock and deletes the object all the same: it protects nothing")
	case !remote.Refused(err):
		p.found(testLocks, Warning, "whether a locked object can be deleted is not known: %s", withHint(err))
	case !errors.Is(err, remote.ErrLocked):
		p.found(testLocks, Good, "objects can be locked; these keys may not delete, so the lock was not tried out")
	default:
		p.found(testLocks, Good, "a locked object cannot be deleted")
	}
}

func withHint(err error) string {
	if h := remote.Hint(err); h != "" {
		return fmt.Sprintf("%v (%s)", err, h)
	}
	return err.Error()
}

// standard tells of the lock that the bucket gives by itself, and whether it does.
func (p *probe) standard(ctx context.Context, got remote.Protection) {
	if got.Default <= 0 {
		p.found(testDefault, Note, "none: what a client stores without a lock is not protected; archives made with --retain lock all they store")
		return
	}
	what := fmt.Sprintf("%s, %s", days(got.Default), got.Mode)
	r, ok := remote.As[remote.Retainer](p.s)
	if !ok {
		return
	}
	switch lock, err := r.Retention(ctx, p.name("one")); {
	case err != nil:
		p.found(testDefault, Note, "%s; whether new objects have it is not known: %s", what, withHint(err))
	case lock.Until.IsZero():
		p.found(testDefault, Note, "%s, but a new object does not have it: the server does not implement that", what)
	default:
		p.found(testDefault, Good, "%s: also what is stored without a lock has one, these scratch objects, too", what)
	}
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// waitLock waits until the scratch object can be removed that locks were tried with.
func (p *probe) waitLock(ctx context.Context) {
	if p.lockedUntil.IsZero() {
		return
	}
	t := time.NewTimer(min(max(0, p.lockedUntil.Sub(p.o.Now()))+time.Second, 2*lockTime))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
