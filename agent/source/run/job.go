package run

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/agent/source"
	"cairn/snapshot"
)

// Choice is what of a source is run, and for whom.
type Choice struct {
	Class   source.Class // only parts of this class; empty: all but those with a schedule of their own
	AsHost  string       // for which the snapshot stands; empty: the file's label, or Machine
	Machine string       // the name of this machine
}

// Job is one run of a source, before it is run.
type Job struct {
	File    *source.File
	Class   source.Class
	Host    string // for which the snapshot stands
	Machine string
	Series  string
	Keep    source.Keep // how many snapshots of the series are kept

	Parts   []*source.Part // in the order in which they are read
	LeftOut []*source.Part // derived, never, or read by a run of their own class
	// Apart says that the run does not touch the application: it reads only what can be read while it runs.
	Apart bool
}

// Plan says what a run would read.
func Plan(f *source.File, c Choice) (*Job, error) {
	j := &Job{File: f, Class: c.Class, Machine: c.Machine, Keep: f.Keep, Host: cmp.Or(c.AsHost, f.Labels.Host, c.Machine)}
	j.Series = cmp.Or(f.Series, j.Host+"/"+f.Name)
	switch {
	case c.Class == source.Derived || c.Class == source.Never:
		return nil, fmt.Errorf("source %s: class %s is not backed up", f.Name, c.Class)
	case c.Class != "" && !slices.Contains(source.Classes(), c.Class):
		return nil, fmt.Errorf("source %s: unknown class %q", f.Name, c.Class)
	case c.Class != "":
		j.Series += "/" + string(c.Class)
		j.Keep = f.Classes[c.Class].Keep
		j.Apart = c.Class == source.Config || c.Class == source.Log
	}
	j.Series = snapshot.CleanText(j.Series)
	for i := range f.Parts {
		if p := &f.Parts[i]; j.takes(p.Class) {
			j.Parts = append(j.Parts, p)
		} else {
			j.LeftOut = append(j.LeftOut, p)
		}
	}
	if len(j.Parts) == 0 {
		return nil, j.nothing()
	}
	return j, nil
}

func (j *Job) takes(class source.Class) bool {
	switch {
	case class == source.Derived || class == source.Never:
		return false
	case j.Class != "":
		return class == j.Class
	}
	return j.File.Classes[class].Schedule == ""
}

func (j *Job) nothing() error {
	if j.Class != "" {
		return fmt.Errorf("source %s has no part of class %s", j.File.Name, j.Class)
	}
	var classes []string
	for class, rule := range j.File.Classes {
		if rule.Schedule != "" {
			classes = append(classes, string(class))
		}
	}
	slices.Sort(classes)
	if len(classes) == 0 {
		return errors.New("source " + j.File.Name + " has nothing that is backed up")
	}
	return fmt.Errorf("source %s has only parts with schedules of their own: name one with --class (%s)", j.File.Name, strings.Join(classes, ", "))
}

// Hooks are those that the job runs.
func (j *Job) Hooks() source.Hooks {
	h := j.File.Hooks
	if j.Apart {
		h.Before, h.Finally = nil, nil
	}
	return h
}

// Guards are those that the job asks.
func (j *Job) Guards() []source.Guard {
	if j.Apart {
		return nil
	}
	return j.File.Guards.Backup
}
