package main

import (
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/archive/member"
)

// refill makes the named places that are empty the members that are missing, one after the other. It has to be asked
// for: a directory may be empty because nothing is mounted there.
func (e *env) refill(c *cli.Context) error {
	tried := map[string]bool{}
	for {
		more, err := e.refillOne(c, tried)
		if err != nil || !more {
			return err
		}
	}
}

// refillOne fills the first missing member whose address was named, is there, and was not tried before.
func (e *env) refillOne(c *cli.Context, tried map[string]bool) (more bool, err error) {
	p, err := e.where(c)
	if err != nil {
		return false, err
	}
	a, err := e.openPlace(c, p)
	if err != nil {
		return false, err
	}
	defer a.Close()
	i := slices.IndexFunc(a.Members(), func(m archive.MemberInfo) bool {
		return m.Store == nil && m.Number >= 0 && slices.Contains(p.members, m.Label) && !tried[m.Label]
	})
	if i < 0 {
		return false, nil
	}
	old := a.Members()[i]
	tried[old.Label] = true
	list, err := e.openMembers(c, p, []string{old.Label})
	if err == nil {
		err = list[0].Err
	}
	if err == nil {
		err = e.makePlace(c.Context, list[0])
	}
	if err != nil {
		e.warn("%s cannot be filled: %v", old.Label, err)
		return true, c.Context.Err()
	}
	progress := &member.Progress{}
	start := time.Now()
	stop := e.watch(func() tick { return moveTick("refill", progress) })
	r, b, err := member.Replace(c.Context, a, strconv.Itoa(old.Number), list[0], member.ReplaceOptions{
		Progress: progress, Reopen: e.reopen(c, a), Notice: func(text string) { e.say("note: %s", text) },
	})
	stop()
	if b != nil {
		defer b.Close()
	}
	if err != nil {
		return false, err
	}
	return true, e.tellReplace(c, p, r, list[0], time.Since(start))
}
