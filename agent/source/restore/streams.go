package restore

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/paper"
	"cairn/remote"
)

// Way is how a stream comes back.
type Way string

// The ways.
const (
	ToDatabase   Way = "database"
	ToProgram    Way = "program"    // its standard input
	ToRepository Way = "repository" // Fedora, by a directory and a request
	ToFile       Way = "file"
	Kept         Way = "kept" // it stays in the snapshot: nothing is known that takes it
)

// Job is one stream for a database.
type Job struct {
	Part     source.Part // with the server that it goes to
	File     string      // name of the stream in its part
	Database string      // the only one that is wanted of several; "" is all
	As       string      // its name there; of SQLite the path of the file; "" is its own
	Replace  bool        // drop what is there
}

// Stream is a dump, or the streams of one repository.
type Stream struct {
	Job
	Way   Way
	From  string // path in the snapshot
	To    string // ToFile: the path of the file or directory
	Label string // which database it is, or roles
	// Databases are in it, as far as is known.
	Databases []string
	Bytes     uint64

	Origin *held.Origin

	foreign bool // the part is as the snapshot describes it: no source file of this machine has it
}

// Target says in few words where a stream goes.
func (s *Stream) Target() string {
	switch s.Way {
	case ToProgram:
		return strings.Join(s.Part.Command.Restore.Args, " ")
	case ToRepository:
		return s.Part.Fedora.URL
	case ToFile:
		return s.To
	case Kept:
		return "stays in the snapshot: nothing is known that takes it back"
	}
	if s.Part.SQLite != nil {
		return s.As
	}
	name := s.As
	if name == "" {
		name = cmp.Or(s.Label, "all databases")
	}
	if at := server(&s.Part); at != nil && at.Host != "" {
		name += " at " + at.Host
		if at.Port != 0 {
			name += ":" + strconv.Itoa(at.Port)
		}
	}
	return name
}

func server(p *source.Part) *source.Server {
	switch {
	case p.Postgres != nil:
		return &p.Postgres.Server
	case p.MariaDB != nil:
		return &p.MariaDB.Server
	}
	return nil
}

// addStreams plans the streams of a part; now is the part of this machine, which says how the server is reached.
func (p *Plan) addStreams(h held.Part, now *source.Part) error {
	if len(h.Streams) == 0 {
		return nil
	}
	part := h.Source
	if now != nil {
		part = *now
	}
	if first := len(p.Streams); now == nil && h.Origin.Then != nil {
		defer func() {
			for i := first; i < len(p.Streams); i++ {
				p.Streams[i].foreign = true
			}
		}()
	}
	for _, s := range h.Streams {
		if s.Failed != "" {
			p.Missing = append(p.Missing, fmt.Sprintf("part %s: %s: %s", part.Name, s.File, s.Failed))
		}
	}
	streams := slices.DeleteFunc(slices.Clone(h.Streams), func(s paper.Stream) bool { return s.Failed != "" })
	switch {
	case part.Fedora != nil:
		return p.addRepository(h, part)
	case part.Postgres != nil:
		return p.addPostgres(h, part, streams)
	case part.MariaDB != nil:
		return p.addMariaDB(h, part, streams)
	case part.SQLite != nil:
		return p.addSQLite(h, part, streams)
	}
	for _, s := range streams {
		way := Kept
		if part.Command != nil && len(part.Command.Restore.Args) > 0 {
			way = ToProgram
		}
		p.addStream(h, part, s, way, Job{})
	}
	return nil
}

// addStream adds one; with Options.To only what was sent elsewhere by name leaves that directory.
func (p *Plan) addStream(h held.Part, part source.Part, s paper.Stream, way Way, j Job) *Stream {
	j.Part, j.File, j.Replace = part, s.File, p.Options.Replace
	stream := Stream{Job: j, Way: way, From: s.Path, Bytes: s.Bytes, Origin: h.Origin, Databases: s.Databases}
	if p.Options.To != "" && way != ToDatabase {
		stream.Way, stream.To = ToFile, path.Join(p.Options.To, s.Path)
	}
	p.Streams = append(p.Streams, stream)
	return &p.Streams[len(p.Streams)-1]
}

// addFile leaves a stream as a file below Options.To, once.
func (p *Plan) addFile(h held.Part, part source.Part, s paper.Stream) {
	if !slices.ContainsFunc(p.Streams, func(have Stream) bool { return have.Way == ToFile && have.From == s.Path }) {
		p.addStream(h, part, s, ToFile, Job{})
	}
}

func (p *Plan) addRepository(h held.Part, part source.Part) error {
	s := paper.Stream{File: part.Name, Path: h.Dir, Bytes: h.Bytes}
	p.addStream(h, part, s, ToRepository, Job{})
	return nil
}

// redirect finds where a database is sent; nil when nothing was said of it.
func (p *Plan) redirect(part *source.Part, names ...string) *Redirect {
	for i := range p.Options.Redirects {
		r := &p.Options.Redirects[i]
		if (r.Part == "" || r.Part == part.Name) && slices.Contains(names, r.Database) {
			p.sent[i] = true
			return r
		}
	}
	return nil
}

// redirects refuses those that found no database.
func (p *Plan) redirects() error {
	for i, ok := range p.sent {
		if r := p.Options.Redirects[i]; !ok {
			return remote.WithHint(fmt.Errorf("the snapshot has no database %s that would be restored", strings.Trim(r.Part+"/"+r.Database, "/")), "`cairn source plan` lists them")
		}
	}
	return nil
}

// elsewhere is the part with the server that a redirect names.
func elsewhere(part source.Part, r *Redirect) source.Part {
	if r == nil || r.Host == "" {
		return part
	}
	switch {
	case part.Postgres != nil:
		c := *part.Postgres
		c.Host, c.Port = r.Host, r.Port
		part.Postgres = &c
	case part.MariaDB != nil:
		c := *part.MariaDB
		c.Host, c.Port = r.Host, r.Port
		part.MariaDB = &c
	}
	return part
}

// otherName is what a redirect calls a database; "" when it keeps its name.
func otherName(r *Redirect, name string) string {
	if r == nil || r.As == name {
		return ""
	}
	return r.As
}

// addPostgres plans one database after the other, with what belongs to it; roles come first on each server.
func (p *Plan) addPostgres(h held.Part, part source.Part, streams []paper.Stream) error {
	only := p.Options.databases(&part)
	known := map[string]string{} // stem of a file's name → database
	var content []paper.Stream
	for _, s := range streams {
		ending := path.Ext(s.File)
		if s.File == "globals.sql" || ending != ".sql" && ending != ".dump" {
			continue
		}
		stem := strings.TrimSuffix(s.File, ending)
		known[stem] = stem
		if len(s.Databases) == 1 {
			known[stem] = s.Databases[0]
		} else if name, err := url.PathUnescape(stem); err == nil {
			known[stem] = name
		}
		content = append(content, s)
	}
	if err := unknown(&part, only, known); err != nil {
		return err
	}
	var roles []paper.Stream
	if i := slices.IndexFunc(streams, func(s paper.Stream) bool { return s.File == "globals.sql" }); i >= 0 {
		roles = streams[i : i+1]
	}
	met := map[source.PathMap]bool{} // host and port of servers that have their roles
	for _, s := range content {
		stem := strings.TrimSuffix(s.File, path.Ext(s.File))
		name := known[stem]
		if only != nil && !slices.Contains(only, name) {
			continue
		}
		all := []paper.Stream{s}
		for _, t := range streams {
			if t.File == stem+".properties" {
				all = append(all, t)
			}
		}
		r := p.redirect(&part, name)
		if p.Options.To != "" && r == nil {
			for _, t := range append(slices.Clone(roles), all...) {
				p.addFile(h, part, t)
			}
			continue
		}
		to := elsewhere(part, r)
		for _, t := range roles {
			if at := (source.PathMap{Local: to.Postgres.Host, Remote: strconv.Itoa(to.Postgres.Port)}); !met[at] {
				met[at] = true
				p.addStream(h, to, t, ToDatabase, Job{}).Label = "roles"
			}
		}
		for _, t := range all {
			p.addStream(h, to, t, ToDatabase, Job{As: otherName(r, name)}).Label = name
		}
	}
	return nil
}

// unknown refuses databases of --part PART/DATABASE that are not there.
func unknown(part *source.Part, only []string, known map[string]string) error {
	for _, want := range only {
		there := false
		names := set{}
		for _, name := range known {
			there = there || name == want
			names[name] = true
		}
		if !there {
			return remote.WithHint(fmt.Errorf("part %s has no database %q in the snapshot", part.Name, want), "it has "+names.join())
		}
	}
	return nil
}

// addMariaDB plans all databases in one go, or, when some go elsewhere or not at all, each by itself.
func (p *Plan) addMariaDB(h held.Part, part source.Part, streams []paper.Stream) error {
	only := p.Options.databases(&part)
	for _, s := range streams {
		names := s.Databases
		if len(names) == 0 && !slices.Contains(part.MariaDB.Databases, "all") {
			names = part.MariaDB.Databases
		}
		known := map[string]string{}
		for _, name := range names {
			known[name] = name
		}
		if err := unknown(&part, only, known); err != nil {
			return err
		}
		apart := only != nil
		for _, name := range names {
			apart = p.redirect(&part, name) != nil || apart
		}
		switch {
		case !apart && p.Options.To != "":
			p.addFile(h, part, s)
			continue
		case !apart:
			p.addStream(h, part, s, ToDatabase, Job{}).Label = strings.Join(names, ", ")
			continue
		}
		for _, name := range names {
			if only != nil && !slices.Contains(only, name) {
				continue
			}
			r := p.redirect(&part, name)
			if p.Options.To != "" && r == nil {
				p.addFile(h, part, s)
				continue
			}
			p.addStream(h, elsewhere(part, r), s, ToDatabase, Job{Database: name, As: otherName(r, name)}).Label = name
		}
	}
	return nil
}

func (p *Plan) addSQLite(h held.Part, part source.Part, streams []paper.Stream) error {
	for _, s := range streams {
		own := h.Source.SQLite.Path
		r := p.redirect(&part, filepath.Base(own), own, part.Name)
		if p.Options.To != "" && r == nil {
			p.addFile(h, part, s)
			continue
		}
		j := Job{As: p.destination(h.Origin, own)}
		if r != nil && r.As != "" {
			j.As = r.As
		}
		if r != nil && (r.Host != "" || !clean(j.As)) {
			return errors.New("an SQLite database goes to the absolute path of a file")
		}
		p.addStream(h, part, s, ToDatabase, j)
	}
	return nil
}
