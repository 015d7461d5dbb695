package restore

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/paper"
)

const servers = `
parts:
  - {name: pg, postgres: {host: db1, databases: all}}
  - {name: my, mariadb: {databases: [ccnet, seafile]}}
  - {name: lite, sqlite: {path: /srv/x/app.db}}
  - {name: list, command: {file: list.txt, run: [ls], restore: {args: [tee, /srv/list]}}}
  - {name: page, export: {url: "http://x/y", file: page.html}}
  - {name: fcrepo, fedora: {url: "http://fedora/rest", staging: /srv/staging}}
`

// heldStreams is what a snapshot of that source holds.
func heldStreams(f *source.File) (list []held.Part) {
	origin := &held.Origin{Then: f}
	for i, streams := range [][]paper.Stream{
		{{File: "globals.sql"}, {File: "app.sql", Databases: []string{"app"}}, {File: "app.properties"}, {File: "a%2Fb.dump"}, {File: "a%2Fb.properties"}},
		{{File: "databases.sql", Databases: []string{"ccnet", "seafile"}}}, {{File: "app.db"}}, {{File: "list.txt"}}, {{File: "page.html"}}, {{File: "documents_000001.bin"}},
	} {
		p := f.Parts[i]
		for k := range streams {
			streams[k].Path = paper.StreamPath(p.Name, streams[k].File)
		}
		list = append(list, held.Part{Source: p, Origin: origin, Streams: streams, Dir: paper.StreamPath(p.Name, "")})
	}
	return list
}

// planned are the streams that a plan makes of them: part, file, way, database, other name, target.
func planned(t *testing.T, o Options, now string) ([]string, error) {
	t.Helper()
	then := sourceFile(t, servers)
	p := &Plan{File: sourceFile(t, now), Options: o, rules: map[*held.Origin]*rules{}, pairs: map[*held.Origin][]Map{}, sent: make([]bool, len(o.Redirects))}
	for _, h := range heldStreams(then) {
		if wanted, _ := o.wants(&h.Source); !wanted {
			continue
		}
		if err := p.addStreams(h, held.Pair(then, p.File, &h.Source)); err != nil {
			return nil, err
		}
	}
	var list []string
	for i := range p.Streams {
		s := &p.Streams[i]
		list = append(list, strings.Join([]string{s.Part.Name, s.File, string(s.Way), s.Database, s.As, s.Target()}, " | "))
	}
	return list, p.redirects()
}

func redirects(t *testing.T, texts ...string) (list []Redirect) {
	t.Helper()
	for _, text := range texts {
		r, err := ParseRedirect(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// A24, D4, E11, E19: each stream goes to its server, in an order in which it can be restored.
func TestStreams(t *testing.T) {
	t.Parallel()
	rest := []string{
		"list | list.txt | program |  |  | tee /srv/list", "page | page.html | kept |  |  | stays in the snapshot: nothing is known that takes it back", "fcrepo | fcrepo | repository |  |  | http://fedora/rest",
	}
	for _, c := range []struct {
		name string
		o    Options
		now  string
		want []string
	}{
		{"as it was", Options{}, servers, append([]string{
			"pg | globals.sql | database |  |  | roles at db1", "pg | app.sql | database |  |  | app at db1", "pg | app.properties | database |  |  | app at db1",
			"pg | a%2Fb.dump | database |  |  | a/b at db1", "pg | a%2Fb.properties | database |  |  | a/b at db1",
			"my | databases.sql | database |  |  | ccnet, seafile", "lite | app.db | database |  | /srv/x/app.db | /srv/x/app.db"}, rest...)},
		{"this machine's servers and paths", Options{Parts: []string{"pg/app", "lite"}}, strings.NewReplacer("db1", "db9", "/srv/x", "/srv/y").Replace(servers), []string{
			"pg | globals.sql | database |  |  | roles at db9", "pg | app.sql | database |  |  | app at db9", "pg | app.properties | database |  |  | app at db9",
			"lite | app.db | database |  | /srv/y/app.db | /srv/y/app.db"}},
		{"elsewhere", Options{Parts: []string{"pg", "my", "lite"}, Redirects: redirects(t, "app=app2@db2:5433", "seafile=copy", "app.db=/tmp/z.db")}, servers, []string{
			"pg | globals.sql | database |  |  | roles at db2:5433", "pg | app.sql | database |  | app2 | app2 at db2:5433", "pg | app.properties | database |  | app2 | app2 at db2:5433",
			"pg | globals.sql | database |  |  | roles at db1", "pg | a%2Fb.dump | database |  |  | a/b at db1", "pg | a%2Fb.properties | database |  |  | a/b at db1",
			"my | databases.sql | database | ccnet |  | ccnet", "my | databases.sql | database | seafile | copy | copy", "lite | app.db | database |  | /tmp/z.db | /tmp/z.db"}},
		{"one of several", Options{Parts: []string{"my/seafile"}}, servers, []string{"my | databases.sql | database | seafile |  | seafile"}},
		{"beside", Options{To: "/d", Redirects: redirects(t, "seafile")}, servers, []string{
			"pg | globals.sql | file |  |  | /d/.cairn/streams/pg/globals.sql", "pg | app.sql | file |  |  | /d/.cairn/streams/pg/app.sql", "pg | app.properties | file |  |  | /d/.cairn/streams/pg/app.properties",
			"pg | a%2Fb.dump | file |  |  | /d/.cairn/streams/pg/a%2Fb.dump", "pg | a%2Fb.properties | file |  |  | /d/.cairn/streams/pg/a%2Fb.properties",
			"my | databases.sql | file |  |  | /d/.cairn/streams/my/databases.sql", "my | databases.sql | database | seafile |  | seafile",
			"lite | app.db | file |  |  | /d/.cairn/streams/lite/app.db", "list | list.txt | file |  |  | /d/.cairn/streams/list/list.txt",
			"page | page.html | file |  |  | /d/.cairn/streams/page/page.html", "fcrepo | fcrepo | file |  |  | /d/.cairn/streams/fcrepo"}},
	} {
		got, err := planned(t, c.o, c.now)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// What is named and not there is an error.
func TestUnknownDatabases(t *testing.T) {
	t.Parallel()
	for says, o := range map[string]Options{
		`part pg has no database "nil"`:        {Parts: []string{"pg/nil"}},
		`part my has no database "nil"`:        {Parts: []string{"my/nil"}},
		"has no database pg/nil":               {Redirects: redirects(t, "pg/nil=x")},
		"has no database my/app":               {Redirects: redirects(t, "my/app=x")},
		"goes to the absolute path of a file":  {Redirects: redirects(t, "app.db=other")},
		"goes to the absolute path of a file ": {Redirects: redirects(t, "lite=@host")},
	} {
		if got, err := planned(t, o, servers); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(says)) {
			t.Errorf("%s: %v, %v", says, got, err)
		}
	}
}
