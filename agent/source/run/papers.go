package run

import (
	"fmt"
	"slices"
	"strings"

	"cairn/agent/source/paper"
	"cairn/archive/backup"
	"cairn/snapshot"
)

// maxWarnings is how many a part keeps; the snapshot has more, and the archive's own report all.
const maxWarnings = 100

func (r *runner) newPaper() *paper.Run {
	f := r.j.File
	p := &paper.Run{Version: paper.Version, Program: r.o.Program, Source: f.Name, Profile: f.Profile, Class: string(r.j.Class),
		Host: r.j.Host, RanOn: r.j.Machine, Role: f.Labels.Role, Component: f.Labels.Component, Series: r.j.Series, Began: r.o.Now(), Parts: []paper.Part{}}
	for _, part := range r.j.LeftOut {
		p.LeftOut = append(p.LeftOut, paper.Part{Name: part.Name, Kind: part.Kind(), Class: string(part.Class), Subject: part.Subject(), Optional: part.Optional})
	}
	return p
}

// write makes the paper of the run, when everything is read and finally has run.
func (r *runner) write(done []backup.PartReport) ([]byte, error) {
	p := r.report.Paper
	for _, report := range done {
		for k := range r.built.papers {
			if r.built.papers[k].Name == report.Name {
				take(&r.built.papers[k], &report)
			}
		}
	}
	p.Hooks = r.report.Hooks
	p.Warnings = r.report.Warnings
	p.Ended = r.o.Now()
	return p.Marshal()
}

// take adds what is known of a part of the snapshot. A source's part may consist of several.
func take(p *paper.Part, d *backup.PartReport) {
	if p.Began.IsZero() || d.Began.Before(p.Began) {
		p.Began = d.Began
	}
	if d.Ended.After(p.Ended) {
		p.Ended = d.Ended
	}
	p.Files += d.Files
	p.Bytes += d.Bytes
	p.Absent = p.Absent || d.Absent
	if d.Failed != "" {
		p.Failed = d.Failed
	}
	for _, path := range d.Paths {
		takePath(p, path, d)
	}
	p.Warnings = append(p.Warnings, texts(d.Errors, "not read: ")...)
	p.Warnings = append(p.Warnings, texts(d.Warnings, "")...)
	if over := len(p.Warnings) - maxWarnings; over > 0 {
		p.Warnings = append(p.Warnings[:maxWarnings], fmt.Sprintf("and %d more", over))
	}
}

// takePath notes a path of the snapshot.
func takePath(p *paper.Part, path string, d *backup.PartReport) {
	if !d.Stream {
		p.Paths = append(p.Paths, path)
		return
	}
	i := slices.IndexFunc(p.Streams, func(s paper.Stream) bool { return s.Path == path })
	if i < 0 {
		p.Streams = append(p.Streams, paper.Stream{File: strings.TrimPrefix(path, paper.StreamPath(p.Name, "")+"/"), Path: path})
		i = len(p.Streams) - 1
	}
	p.Streams[i].Bytes, p.Streams[i].Failed = d.Bytes, d.Failed
}

func texts(list []snapshot.ReadError, before string) []string {
	var all []string
	for _, e := range list {
		all = append(all, before+e.Path+": "+e.Message)
	}
	return all
}
