package source

import (
	"regexp"
	"slices"
	"strings"

	"cairn/agent/document"
	"cairn/snapshot/pattern"
)

func (c checker) part(p *Part) {
	set := 0
	for _, is := range []bool{p.Tree != nil, p.Command != nil, p.Postgres != nil, p.MariaDB != nil, p.SQLite != nil, p.Derby != nil, p.H2 != nil, p.Fedora != nil, p.Export != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		c.bad(p, nil, "a part is exactly one of %s; this one has %d", strings.Join(kinds(), ", "), set)
		return
	}
	c.name(&p.Name, p, "the name of a part")
	if !slices.Contains(Classes(), p.Class) {
		c.bad(&p.Class, p, "unknown class %q%s", p.Class, document.Suggest(string(p.Class), classNames()))
	}
	if p.Each != "" {
		c.bad(&p.Each, p, "each is unrolled by Parse")
	}
	switch {
	case p.Tree != nil:
		c.tree(p.Tree)
	case p.Command != nil:
		c.command(p.Command)
	case p.Postgres != nil:
		c.postgres(p.Postgres)
	case p.MariaDB != nil:
		c.mariadb(p.MariaDB)
	case p.SQLite != nil:
		c.absolute(&p.SQLite.Path, p.SQLite, "path")
		c.oneOf(&p.SQLite.Method, p.SQLite, "method", "backup", "dump")
	case p.Derby != nil:
		c.absolute(&p.Derby.Path, p.Derby, "path")
	case p.H2 != nil:
		c.absolute(&p.H2.Path, p.H2, "path")
	case p.Fedora != nil:
		c.fedora(p.Fedora)
	case p.Export != nil:
		c.export(p.Export)
	}
}

func (c checker) oneOf(s *string, outer any, what string, known ...string) {
	if !slices.Contains(known, *s) {
		c.bad(s, outer, "unknown %s %q%s", what, *s, document.Suggest(*s, known))
	}
}

func (c checker) tree(t *Tree) {
	c.absolute(&t.Path, t, "path")
	for _, list := range [][]string{t.Exclude, t.Derived, t.Never} {
		for i := range list {
			c.pattern(&list[i], t)
		}
	}
}

func (c checker) pattern(s *string, outer any) {
	var list pattern.List
	if err := list.Add(*s, false); err != nil {
		c.bad(s, outer, "%v", err)
	}
}

func (c checker) fileName(s *string, outer any) {
	if *s == "" || *s == "." || *s == ".." || strings.ContainsRune(*s, '/') || strings.ContainsFunc(*s, isControl) || len(*s) > 200 {
		c.bad(s, outer, "file %q: want a file name without directories: it is the name of the stream in the snapshot", *s)
	}
}

func (c checker) command(m *Command) {
	c.fileName(&m.File, m)
	c.run(&m.Run, m, true)
	c.run(&m.Restore, m, false)
}

var (
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	passwordArg = regexp.MustCompile(`(?i)^--?[a-z-]*(password|passwd|passphrase|secret|token|api-?key)=.`)
	passwordOpt = regexp.MustCompile(`(?i)^--?(password|passwd|passphrase|secret|token|api-?key)$`)
)

// run checks a program. What looks like a password in its arguments is refused, because every user of a machine sees the arguments of all
// processes.
func (c checker) run(r *Run, outer any, needed bool) {
	if len(r.Args) == 0 {
		if needed || r.Dir != "" || len(r.Env) > 0 || len(r.Secrets) > 0 {
			c.bad(r, outer, "no program is named to run")
		}
		return
	}
	if r.Args[0] == "" {
		c.bad(&r.Args[0], outer, "the program has no name")
	}
	for i := range r.Args {
		arg := r.Args[i]
		if strings.ContainsRune(arg, 0) {
			c.bad(&r.Args[i], outer, "an argument has a zero byte")
		}
		if passwordArg.MatchString(arg) || passwordOpt.MatchString(arg) && i+1 < len(r.Args) {
			c.bad(&r.Args[i], outer, "a secret in the arguments can be seen by everybody on the machine: put it into secrets:, from where it becomes an environment variable")
		}
	}
	if r.Dir != "" {
		c.absolute(&r.Dir, outer, "dir")
	}
	for name := range r.Env {
		at := document.Key(&r.Env, name)
		switch _, twice := r.Secrets[name]; {
		case !envName.MatchString(name):
			c.bad(at, r, "%q cannot be an environment variable", name)
		case document.SecretName(name):
			c.bad(at, r, "%s looks like a secret, and this file is kept in each snapshot: put it into secrets:", name)
		case twice:
			c.bad(at, r, "%s is in env: and in secrets:", name)
		}
	}
	for name, secret := range r.Secrets {
		at := document.Key(&r.Secrets, name)
		if !envName.MatchString(name) {
			c.bad(at, r, "%q cannot be an environment variable", name)
		}
		c.secret(&secret, at)
	}
}

// secret checks where a secret is; outer is where it stands, for secrets of a map.
func (c checker) secret(s *Secret, outer any) {
	set := 0
	for _, is := range []bool{s.Env != "", s.File != "", len(s.Command) > 0, s.Credential != ""} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		c.bad(s, outer, "a secret is exactly one of credential, file, env, command")
	case s.Env != "" && !envName.MatchString(s.Env) && s.Env != "-": // "-" was refused while reading
		c.bad(&s.Env, outer, "this cannot be an environment variable")
	case s.File != "":
		c.absolute(&s.File, outer, "file")
	case s.Credential != "" && (strings.ContainsRune(s.Credential, '/') || s.Credential == "." || s.Credential == ".."):
		c.bad(&s.Credential, outer, "a credential is named without directories")
	}
}

func (c checker) server(s *Server, outer any) {
	for _, text := range []*string{&s.Host, &s.User} {
		// What begins with a dash would be an option of the client program.
		if strings.HasPrefix(*text, "-") || strings.ContainsFunc(*text, isControl) || strings.ContainsAny(*text, " ") {
			c.bad(text, outer, "%q cannot be a host or a user", *text)
		}
	}
	if strings.HasPrefix(s.Host, "/") {
		c.absolute(&s.Host, outer, "host")
	}
	if s.Port < 0 || s.Port > 65535 {
		c.bad(&s.Port, outer, "a port is a number from 1 to 65535")
	}
	if s.Password != nil {
		c.secret(s.Password, outer)
	}
	if slices.Contains(s.Client, "") {
		c.bad(&s.Client, outer, "client has an empty word")
	}
}

// All is the name that stands for all databases of a server.
const All = "all"

func (c checker) databases(list *[]string, outer any) {
	if len(*list) == 0 {
		c.bad(list, outer, "databases is missing: names, or all")
	}
	for i := range *list {
		switch name := (*list)[i]; {
		case name == All && len(*list) > 1:
			c.bad(&(*list)[i], outer, "all stands alone")
		case name == "" || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, isControl) || strings.ContainsRune(name, '/'):
			c.bad(&(*list)[i], outer, "%q cannot be a database: its dump is a file of that name", name)
		case slices.Contains((*list)[:i], name):
			c.bad(&(*list)[i], outer, "database %s comes twice", name)
		}
	}
}

func (c checker) postgres(p *Postgres) {
	c.server(&p.Server, p)
	c.databases(&p.Databases, p)
	c.oneOf(&p.Format, p, "format", "plain", "custom")
}

func (c checker) mariadb(m *MariaDB) {
	c.server(&m.Server, m)
	c.databases(&m.Databases, m)
	for i := range m.IgnoreTable {
		database, table, found := strings.Cut(m.IgnoreTable[i], ".")
		switch {
		case !found || database == "" || table == "" || strings.ContainsFunc(m.IgnoreTable[i], isControl):
			c.bad(&m.IgnoreTable[i], m, "%q is not DATABASE.TABLE", m.IgnoreTable[i])
		case !slices.Contains(m.Databases, All) && !slices.Contains(m.Databases, database):
			c.bad(&m.IgnoreTable[i], m, "database %s is not among the databases of this part%s", database, document.Suggest(database, m.Databases))
		}
	}
}
