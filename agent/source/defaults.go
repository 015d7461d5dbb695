package source

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// hookTimeout is long enough for a content server to stop, and short enough to be noticed in the morning.
const hookTimeout = 10 * time.Minute

// setDefaults fills in what the file leaves open. Names, roots and paths that depend on the machine stay open.
func (f *File) setDefaults() {
	for i := range f.Parts {
		f.Parts[i].setDefaults()
	}
	for class, rule := range f.Classes {
		rule.Restore = cmp.Or(rule.Restore, "yes")
		f.Classes[class] = rule
	}
	stages := map[string][]Hook{"before": f.Hooks.Before, "finally": f.Hooks.Finally, "after": f.Hooks.After, "on-error": f.Hooks.OnError, "restore": f.Restore.Before}
	for stage, hooks := range stages {
		for i := range hooks {
			hooks[i].setDefaults(fmt.Sprintf("%s-%d", stage, i+1))
		}
	}
	for i := range f.Restore.Steps {
		f.Restore.Steps[i].setDefaults(fmt.Sprintf("step-%d", i+1))
	}
	if len(f.Restore.Roots) == 0 {
		f.Restore.Roots = f.paths()
	}
}

func (h *Hook) setDefaults(name string) {
	h.Name = cmp.Or(h.Name, name)
	if h.Timeout == 0 && h.Shell+strings.Join(h.Run.Args, "") != "" || h.HTTP != nil && h.HTTP.Timeout == 0 && h.Timeout == 0 {
		h.Timeout = hookTimeout
	}
	if h.HTTP != nil {
		h.HTTP.Method = cmp.Or(h.HTTP.Method, "POST")
	}
}

func (p *Part) setDefaults() {
	p.Class = cmp.Or(p.Class, Data)
	for _, path := range []*string{p.path(), p.staging()} {
		if path != nil && *path != "" {
			*path = cmp.Or(strings.TrimRight(*path, "/"), "/")
		}
	}
	p.Name = cmp.Or(p.Name, p.defaultName())
	if p.Postgres != nil {
		if p.Postgres.Globals == nil {
			yes := true
			p.Postgres.Globals = &yes
		}
		p.Postgres.Format = cmp.Or(p.Postgres.Format, "plain")
	}
	if p.SQLite != nil {
		p.SQLite.Method = cmp.Or(p.SQLite.Method, "backup")
	}
	if p.Export != nil {
		p.Export.Method = cmp.Or(p.Export.Method, "POST")
	}
}

// path is what a part reads from the file system; nil for streams. The files of a Fedora staging directory come and go, so they are none.
func (p *Part) path() *string {
	switch {
	case p.Tree != nil:
		return &p.Tree.Path
	case p.SQLite != nil:
		return &p.SQLite.Path
	case p.Derby != nil:
		return &p.Derby.Path
	case p.H2 != nil:
		return &p.H2.Path
	case p.Export != nil && p.Export.Path != "":
		return &p.Export.Path
	}
	return nil
}

func (p *Part) staging() *string {
	if p.Fedora == nil {
		return nil
	}
	return &p.Fedora.Staging
}

// paths are those of the parts that come back as files.
func (f *File) paths() []string {
	var paths []string
	for i := range f.Parts {
		if path := f.Parts[i].path(); path != nil && f.Parts[i].SQLite == nil && filepath.IsAbs(*path) && filepath.Clean(*path) == *path {
			paths = append(paths, *path)
		}
	}
	return paths
}

// Kind is the key under which a part stands in the file, such as tree or postgres.
func (p *Part) Kind() string {
	switch {
	case p.Tree != nil:
		return "tree"
	case p.Command != nil:
		return "command"
	case p.Postgres != nil:
		return "postgres"
	case p.MariaDB != nil:
		return "mariadb"
	case p.SQLite != nil:
		return "sqlite"
	case p.Derby != nil:
		return "derby"
	case p.H2 != nil:
		return "h2"
	case p.Fedora != nil:
		return "fedora"
	case p.Export != nil:
		return "export"
	}
	return ""
}

// Subject is what a part is about, in few words.
func (p *Part) Subject() string {
	switch path := p.path(); {
	case path != nil:
		return *path
	case p.Command != nil:
		return strings.Join(p.Command.Run.Args[:min(1, len(p.Command.Run.Args))], "") + " > " + p.Command.File
	case p.Postgres != nil:
		return p.Postgres.Server.subject(p.Postgres.Databases)
	case p.MariaDB != nil:
		return p.MariaDB.Server.subject(p.MariaDB.Databases)
	case p.Fedora != nil:
		return p.Fedora.URL
	case p.Export != nil:
		return p.Export.URL
	}
	return ""
}

func (s *Server) subject(databases []string) string {
	text := strings.Join(databases, " ")
	if s.Host != "" {
		text += " at " + s.Host
	}
	return text
}

// defaultName is made of what a part reads, in characters that a file name may have.
func (p *Part) defaultName() string {
	name := p.Kind()
	switch path := p.path(); {
	case path != nil && p.SQLite != nil:
		name = filepath.Base(*path)
	case path != nil:
		name = *path
	case p.Command != nil && p.Command.File != "":
		name = strings.TrimSuffix(p.Command.File, filepath.Ext(p.Command.File))
	case p.Export != nil && p.Export.File != "":
		name = strings.TrimSuffix(p.Export.File, filepath.Ext(p.Export.File))
	}
	name = strings.Map(func(r rune) rune {
		if r == '/' || notInName.MatchString(string(r)) {
			return '-'
		}
		return r
	}, name)
	if name = strings.TrimLeft(name, "-._ "); name == "" {
		return p.Kind()
	}
	return string([]rune(name)[:min(len([]rune(name)), maxName)])
}
