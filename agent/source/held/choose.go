package held

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/agent/source"
	"cairn/remote"
	"cairn/snapshot"
)

// ErrNone means that no snapshot fits.
var ErrNone = errors.New("no snapshot")

// Want says which snapshots are wanted.
type Want struct {
	Source    string // "": the only one that there is
	Class     source.Class
	Host      string // "": Own, or the only other one
	Own       string // how this machine calls itself in snapshots
	Role      string
	Component string
	At        time.Time             // at or before; zero: the newest
	Classes   []source.Class        // that have snapshots of their own, beside the ordinary one
	Hidden    func(tag string) bool // snapshots with such a tag are taken only when they are named
}

// Chosen is one source with what it is restored from.
type Chosen struct {
	Source  string
	Main    *snapshot.Snapshot
	ByClass map[source.Class]*snapshot.Snapshot // of classes with snapshots of their own
	Notes   []string
}

// Choose finds for a source the last complete snapshot at or before a time.
func Choose(list []*snapshot.Snapshot, w Want) (*Chosen, error) {
	var fit []*snapshot.Snapshot
	names := map[string]bool{}
	for _, s := range list {
		f := snapshot.Filter{Source: w.Source, Host: w.Host, Role: w.Role, Component: w.Component}
		if s.Source == "" || !f.Match(s) || w.Hidden != nil && slices.ContainsFunc(s.Tags, w.Hidden) {
			continue
		}
		names[s.Source] = true
		fit = append(fit, s)
	}
	switch {
	case len(fit) == 0:
		return nil, remote.WithHint(fmt.Errorf("%w of %s", ErrNone, w.describe()), "`cairn snapshots` lists what there is; --host, --role and --component choose whose")
	case len(names) > 1:
		return nil, remote.WithHint(fmt.Errorf("there are snapshots of several sources: %s", joinKeys(names)), "name the source")
	}
	c := &Chosen{Source: fit[0].Source, ByClass: map[source.Class]*snapshot.Snapshot{}}
	fit, err := c.ofOneHost(fit, w)
	if err != nil {
		return nil, err
	}
	if c.Main, err = c.last(fit, w, w.Class); err != nil {
		return nil, err
	}
	return c, nil
}

// More adds the snapshots of classes that make their own, those of the host and the time of the first one.
func (c *Chosen) More(list []*snapshot.Snapshot, w Want) {
	w.Source, w.Host = c.Source, c.Main.Host
	for _, class := range w.Classes {
		var fit []*snapshot.Snapshot
		for _, s := range list {
			f := snapshot.Filter{Source: w.Source, Host: w.Host, Role: w.Role, Component: w.Component}
			if f.Match(s) && (w.Hidden == nil || !slices.ContainsFunc(s.Tags, w.Hidden)) {
				fit = append(fit, s)
			}
		}
		if s, err := c.last(fit, w, class); err == nil {
			c.ByClass[class] = s
		}
	}
}

// ofOneHost keeps the snapshots of one host: of the one that was named, of this one, or of the only one that there is.
func (c *Chosen) ofOneHost(fit []*snapshot.Snapshot, w Want) ([]*snapshot.Snapshot, error) {
	hosts := map[string]bool{}
	for _, s := range fit {
		hosts[s.Host] = true
	}
	host := w.Host
	switch {
	case host != "":
	case hosts[w.Own]:
		host = w.Own
	case len(hosts) == 1:
		host = fit[0].Host
		c.Notes = append(c.Notes, fmt.Sprintf("there are no snapshots of this host (%s): taking those of %s", w.Own, host))
	default:
		return nil, remote.WithHint(fmt.Errorf("there are no snapshots of source %s of this host (%s), but of several others: %s", c.Source, w.Own, joinKeys(hosts)), "choose one with --host")
	}
	return slices.DeleteFunc(fit, func(s *snapshot.Snapshot) bool { return s.Host != host }), nil
}

// last takes the last complete snapshot of a class ("": of the ordinary run).
func (c *Chosen) last(fit []*snapshot.Snapshot, w Want, class source.Class) (*snapshot.Snapshot, error) {
	fit = slices.Clone(fit)
	snapshot.SortByTime(fit)
	var passed []string
	series := map[string]bool{}
	var found *snapshot.Snapshot
	for _, s := range slices.Backward(fit) {
		switch {
		case classOf(s) != class, !w.At.IsZero() && s.Start.Time().After(w.At):
			continue
		case found != nil:
			series[s.Series] = true
			continue
		case s.Partial || s.Incomplete || s.Checkpoint:
			passed = append(passed, fmt.Sprintf("snapshot %s of %s is not complete: passed over", s.ID.Short(), when(s)))
			continue
		}
		found = s
		series[s.Series] = true
	}
	if found == nil {
		err := fmt.Errorf("no complete snapshot of %s", w.describe())
		if len(passed) > 0 {
			return nil, remote.WithHint(err, strings.Join(passed, "; ")+"; --from takes one of them all the same")
		}
		return nil, remote.WithHint(fmt.Errorf("%w: %w", ErrNone, err), "`cairn snapshots` lists what there is")
	}
	if len(series) > 1 {
		c.Notes = append(c.Notes, fmt.Sprintf("snapshots of several series fit (%s): taking the newest", joinKeys(series)))
	}
	c.Notes = append(c.Notes, passed...)
	return found, nil
}

// classOf is the class that a snapshot is about, by its series HOST/NAME/CLASS; "" when it is of an ordinary run.
func classOf(s *snapshot.Snapshot) source.Class {
	if s.Series == s.Host+"/"+s.Source {
		return ""
	}
	last := s.Series[strings.LastIndexByte(s.Series, '/')+1:]
	if class := source.Class(last); strings.Contains(s.Series, "/") && slices.Contains(source.Classes(), class) {
		return class
	}
	return ""
}

func (w Want) describe() string {
	text := "any source"
	if w.Source != "" {
		text = "source " + w.Source
	}
	for _, l := range [][2]string{{"class", string(w.Class)}, {"host", w.Host}, {"role", w.Role}, {"component", w.Component}} {
		if l[1] != "" {
			text += ", " + l[0] + " " + l[1]
		}
	}
	if !w.At.IsZero() {
		text += " at or before " + w.At.Format(timeFormat)
	}
	return text
}

const timeFormat = "2006-01-02 15:04:05"

func when(s *snapshot.Snapshot) string { return s.Start.Time().Format(timeFormat) }

// joinKeys lists the keys of a map.
func joinKeys[V any](m map[string]V) string {
	var keys []string
	for k := range m {
		keys = append(keys, cmp.Or(k, "(none)"))
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}
