package source

import (
	"errors"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cairn/agent/document"
	"cairn/agent/schedule"
	"cairn/snapshot/retention"
)

const maxName = 100

var (
	goodName  = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._+@:-]*$`)
	notInName = regexp.MustCompile(`[^\p{L}\p{N} ._+@:-]`)
)

// checker goes through a file and notes what is wrong, at the place where it is written.
type checker struct {
	f *File
	d *document.Decoder
}

// bad notes a problem with what a pointer points to, or, when that is not written, with what it is part of.
func (c checker) bad(pointer any, outer any, format string, args ...any) {
	c.d.Problems.Add(c.d.At(pointer, outer, &c.f.Name), format, args...)
}

// check is all rules.
func (f *File) check(d *document.Decoder) {
	c := checker{f, d}
	c.name(&f.Name, f, "the name of a source")
	if strings.ContainsAny(f.Name, " :") { // it stands in series, unit names and on command lines
		c.bad(&f.Name, nil, "%q: the name of a source has no spaces and colons", f.Name)
	}
	c.labels()
	c.schedule(&f.Schedule, nil, f.Schedule)
	c.keep(&f.Keep, nil, f.Keep)
	c.classes()
	if len(f.Parts) == 0 {
		c.bad(&f.Parts, nil, "the source has no parts: nothing would be backed up")
	}
	for i := range f.Parts {
		c.part(&f.Parts[i])
	}
	c.unique()
	c.nesting()
	for _, hooks := range []*[]Hook{&f.Hooks.Before, &f.Hooks.Finally, &f.Hooks.After, &f.Hooks.OnError, &f.Restore.Before} {
		c.hooks(*hooks)
	}
	for _, guards := range [][]Guard{f.Guards.Backup, f.Guards.Restore} {
		for i := range guards {
			c.guard(&guards[i])
		}
	}
	c.verify()
	c.restore()
}

func (c checker) name(s *string, outer any, what string) {
	switch {
	case *s == "":
		c.bad(s, outer, "%s is missing", what)
	case !goodName.MatchString(*s) || len([]rune(*s)) > maxName || strings.HasSuffix(*s, " "):
		c.bad(s, outer, "%q: %s begins with a letter or a digit and has letters, digits, spaces and ._+@:- (at most %d)", *s, what, maxName)
	}
}

func (c checker) labels() {
	f := c.f
	for _, s := range []*string{&f.Labels.Host, &f.Labels.Role, &f.Labels.Component} {
		if *s != "" {
			c.name(s, nil, "a label")
		}
	}
	if f.Series != "" && (strings.ContainsFunc(f.Series, isControl) || strings.TrimSpace(f.Series) != f.Series) {
		c.bad(&f.Series, nil, "%q cannot be the name of a series", f.Series)
	}
	for i := range f.Tags {
		if t := f.Tags[i]; t == "" || strings.ContainsFunc(t, isControl) || strings.Contains(t, ",") {
			c.bad(&f.Tags[i], &f.Tags, "%q cannot be a tag", t)
		}
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func (c checker) schedule(pointer, outer any, text string) {
	if text == "" {
		return
	}
	if _, err := schedule.Parse(text); err != nil {
		c.bad(pointer, outer, "schedule: %v", err)
	}
}

func (c checker) keep(pointer, outer any, k Keep) {
	for name, n := range map[string]int{"last": k.Last, "hourly": k.Hourly, "daily": k.Daily, "weekly": k.Weekly, "monthly": k.Monthly, "quarterly": k.Quarterly, "yearly": k.Yearly} {
		if n < 0 {
			c.bad(pointer, outer, "keep: %s is %d", name, n)
		}
	}
	if k.Within != "" {
		if _, err := retention.ParseSpan(k.Within); err != nil {
			c.bad(pointer, outer, "keep: within: %v", err)
		}
	}
}

// Classes are all there are.
func Classes() []Class { return []Class{Config, Data, Log, Derived, Never} }

func classNames() []string {
	var names []string
	for _, class := range Classes() {
		names = append(names, string(class))
	}
	return names
}

func (c checker) classes() {
	for class, rule := range c.f.Classes {
		at := document.Key(&c.f.Classes, string(class))
		switch {
		case !slices.Contains(Classes(), class):
			c.bad(at, &c.f.Classes, "unknown class %q%s", class, document.Suggest(string(class), classNames()))
		case class == Derived || class == Never:
			c.bad(at, &c.f.Classes, "class %s has no rules: it is not backed up", class)
		case rule.Restore != "yes" && rule.Restore != "ask" && rule.Restore != "":
			c.bad(at, &c.f.Classes, "restore of class %s is yes or ask, not %q", class, rule.Restore)
		case !c.f.hasClass(class):
			c.bad(at, &c.f.Classes, "no part has class %s", class)
		}
		c.schedule(at, &c.f.Classes, rule.Schedule)
		c.keep(at, &c.f.Classes, rule.Keep)
	}
}

func (f *File) hasClass(class Class) bool {
	return slices.ContainsFunc(f.Parts, func(p Part) bool { return p.Class == class })
}

// absolute checks a path. It stands for itself: a pattern in its place would quietly mean nothing.
func (c checker) absolute(s *string, outer any, what string) bool {
	switch {
	case *s == "":
		c.bad(s, outer, "%s is missing", what)
	case !strings.HasPrefix(*s, "/"):
		c.bad(s, outer, "%s %q is not absolute", what, *s)
	case strings.ContainsFunc(*s, isControl):
		c.bad(s, outer, "%s has a control character", what)
	case path.Clean(*s) != strings.TrimRight(*s, "/") && *s != "/":
		c.bad(s, outer, "%s %q has elements like . or .. or //: write %s", what, *s, path.Clean(*s))
	default:
		return true
	}
	return false
}

// within says whether a path is another one or below it.
func within(p, top string) bool {
	p, top = strings.TrimRight(p, "/"), strings.TrimRight(top, "/")
	return p == top || strings.HasPrefix(p, top+"/")
}

func (c checker) guard(g *Guard) {
	set := 0
	for _, s := range []*string{&g.NotRunning, &g.PortClosed, &g.PortOpen, &g.PIDFile, &g.LockFile, &g.Absent} {
		if *s != "" {
			set++
		}
	}
	if set != 1 {
		c.bad(g, nil, "a guard is exactly one of not_running, port_closed, port_open, pid_file, lock_file, absent")
	}
	if strings.ContainsRune(g.NotRunning, '/') {
		c.bad(&g.NotRunning, g, "not_running is the name of a process, without a path")
	}
	for _, s := range []*string{&g.PIDFile, &g.LockFile, &g.Absent} {
		if *s != "" {
			c.absolute(s, g, "path")
		}
	}
	for _, s := range []*string{&g.PortClosed, &g.PortOpen} {
		if *s == "" {
			continue
		}
		if _, _, err := SplitPort(*s); err != nil {
			c.bad(s, g, "%v", err)
		}
	}
}

// SplitPort takes [HOST:]PORT apart; without a host it is this machine.
func SplitPort(text string) (host string, port int, err error) {
	host, number := "localhost", text
	if strings.Contains(text, ":") {
		if host, number, err = net.SplitHostPort(text); err != nil || host == "" {
			return "", 0, errors.New(strconv.Quote(text) + " is not PORT or HOST:PORT")
		}
	}
	if port, err = strconv.Atoi(number); err != nil || port < 1 || port > 65535 {
		return "", 0, errors.New(strconv.Quote(text) + ": a port is a number from 1 to 65535")
	}
	return host, port, nil
}

// Formats are what Verify can check.
func Formats() []string { return []string{"modeshape", "content-tree", "seafile", "ocfl", "bagit"} }

func (c checker) verify() {
	for i := range c.f.Verify {
		v := &c.f.Verify[i]
		if !slices.Contains(Formats(), v.Format) {
			c.bad(&v.Format, v, "unknown format %q%s", v.Format, document.Suggest(v.Format, Formats()))
		}
		if c.absolute(&v.Path, v, "path") && !within(v.Path, "/.cairn") && !slices.ContainsFunc(c.f.paths(), func(top string) bool { return within(v.Path, top) }) {
			c.bad(&v.Path, v, "no part has %s: it will not be in a snapshot", v.Path)
		}
	}
}
