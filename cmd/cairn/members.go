package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/remote"
	"cairn/remote/limit"
	"cairn/remote/local"
	"cairn/remote/retry"
	"cairn/remote/s3"
)

// openMembers makes a store of each member address. One that cannot be opened is a missing member, which the archive
// may be able to do without, unless its address makes no sense. No request is made: whether a bucket answers shows later.
func (e *env) openMembers(c *cli.Context, p *place, urls []string) ([]archive.Member, error) {
	return e.members(c, p, urls, false, func(u remote.URL) (remote.Store, error) { return local.OpenWith(u.Path, e.faults.directory(u.Path)) })
}

// makeMembers is openMembers for places of a new archive: directories and buckets are made if they do not exist. One that cannot be
// made is an error. Buckets are made with object lock if that is wanted.
func (e *env) makeMembers(c *cli.Context, p *place, urls []string, lock bool) ([]archive.Member, error) {
	members, err := e.members(c, p, urls, lock, func(u remote.URL) (remote.Store, error) { return local.CreateWith(u.Path, e.faults.directory(u.Path)) })
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.Err != nil {
			return nil, m.Err
		}
		if err := e.makePlace(c.Context, m); err != nil {
			return nil, fmt.Errorf("%s: %w", m.URL, err)
		}
	}
	return members, nil
}

// makePlace makes the bucket of a member.
func (e *env) makePlace(ctx context.Context, m archive.Member) error {
	maker, ok := remote.As[remote.Maker](m.Store)
	if !ok {
		return nil
	}
	made, err := maker.Make(ctx)
	if made {
		e.say("made bucket %s", m.URL)
	}
	return err
}

func (e *env) members(c *cli.Context, p *place, urls []string, lock bool, dir func(remote.URL) (remote.Store, error)) ([]archive.Member, error) {
	if err := e.setLimits(c, p); err != nil {
		return nil, err
	}
	var members []archive.Member
	for _, raw := range urls {
		u, err := remote.ParseURL(raw)
		if err != nil {
			return nil, &exitError{exitUsage, err}
		}
		m := archive.Member{URL: raw}
		if u.Scheme == "file" {
			m.Store, m.Err = dir(u)
			if m.Err == nil && e.up != nil {
				m.Store = limit.New(m.Store, e.up, e.down)
			}
		} else {
			o, err := s3.FromURL(u)
			if err != nil {
				return nil, &exitError{exitUsage, err}
			}
			o.ObjectLock = lock
			m.Store, m.Err = e.openBucket(o)
		}
		if m.Err != nil {
			m.Store = nil
		} else {
			m.Store = p.then(retry.New(e.faults.watch(m.Store, u), retry.Options{}))
		}
		members = append(members, m)
	}
	return members, nil
}

func (e *env) openBucket(o s3.Options) (remote.Store, error) {
	if e.up != nil { // a nil *limit.Rate in an interface would not be nil
		o.Up, o.Down = e.up, e.down
	}
	return s3.Open(o)
}
